"""AV-HuBERT's pre-training network: masked streams -> unit logits of every frame.

AV-HuBERT (arXiv:2201.02184, section 3.3). Masked audio or masked fused features become a learned vector, masked lips
other frames. The logit is the cosine between projected frame and unit embedding over 0.1.

Options beyond the paper: several unit sets (MS-HuBERT, arXiv:2406.05661), supervised intermediate blocks (ILS-SSL,
arXiv:2112.08778), dot products (Fast-HuBERT, arXiv:2309.13860), and skipped logits and lip frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avspeech.features.clip import MEAN
from avspeech.models.base import EncoderModel
from avspeech.models.configs import from_plain, to_plain
from avspeech.models.encoder import AVEncoder, EncoderConfig

TEMPERATURE = 0.1
OFFICIAL_SPECIALS = 4  # unused classes before the units of a released model: begin, padding, end, unknown


@dataclass(frozen=True)
class MaskedInput:
    """Masked frames (bool) of a batch: per input stream, or of the fused features (``feature_BT``)."""

    audio_BT: Tensor | None = None
    video_BT: Tensor | None = None
    video_source_BT: Tensor | None = None  # int64, index of the frame to show; its own if unmasked, -1: grey
    video_row_BT: Tensor | None = None  # int64, clip of the frame to show; None: its own
    feature_BT: Tensor | None = None
    zero_audio: bool = False
    """Masked audio becomes zero instead of the mask embedding, as in official batches of one."""

    @property
    def either_BT(self) -> Tensor:
        """bool, frames masked in at least one stream; their units are predicted."""
        masks = [mask_BT for mask_BT in (self.audio_BT, self.video_BT, self.feature_BT) if mask_BT is not None]
        assert masks, "a MaskedInput hides nothing"
        return torch.stack(masks).any(dim=0)

    def of_streams(self, audio: bool, video: bool) -> "MaskedInput":
        """Return the masks of the streams in the batch; those of a stream lost to modality dropout stay (official)."""
        masks = self if audio else replace(self, audio_BT=None)
        return masks if video else replace(masks, video_BT=None, video_source_BT=None, video_row_BT=None)

    def to(self, device: torch.device) -> "MaskedInput":
        """Return a copy on ``device``."""
        return replace(self, **{k: x.to(device) for k, x in vars(self).items() if isinstance(x, Tensor)})


@dataclass(frozen=True)
class UnitScores:
    """Logits of one unit set, from one block."""

    logits: Tensor  # (B, T, K), or (M, K) of selected frames; special classes come first
    unit_set: int  # its index
    block: int | None = None  # supervised block; None: encoder's end


@dataclass(frozen=True)
class Prediction:
    """Output of ``ClusterPredictor``."""

    scores: tuple[UnitScores, ...]  # all unit sets at the encoder's end, then those of the supervised blocks
    feature_penalty: Tensor  # scalar, mean square of the streams before fusion over the frames read

    @property
    def logits_BTK(self) -> Tensor:
        """Logits of the first unit set at the encoder's end."""
        return self.scores[0].logits


@dataclass(frozen=True)
class HeadConfig:
    """Unit prediction. Defaults are AV-HuBERT's."""

    unit_width: int = 256
    """Channels of the comparison of frames and units."""
    special_units: int = 0
    """Unused classes before the units; 4 matches released models."""
    similarity: Literal["cosine", "dot", "plain"] = "cosine"
    """Cosine or dot product over the temperature, or plain dot product (Fast-HuBERT)."""
    temperature: float = TEMPERATURE
    """Divisor of cosines and dot products."""
    supervised_blocks: tuple[int, ...] = ()
    """Encoder blocks, from 1, that also predict units, each with its own head (ILS-SSL)."""
    block_weight: float = 1.0
    """Loss weight of each supervised block; the encoder's end has 1."""


class UnitHead(nn.Module):
    """Frames -> unit logits: one projection per unit set, one shared embedding table."""

    def __init__(self, width: int, num_units: Sequence[int], config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.classes = [config.special_units + units for units in num_units]
        self.project = nn.Linear(width, config.unit_width * len(self.classes))
        self.embedding = nn.Parameter(torch.empty(sum(self.classes), config.unit_width))
        if config.similarity == "plain":
            nn.init.normal_(self.embedding, std=config.unit_width**-0.5)
        else:
            nn.init.uniform_(self.embedding)

    def forward(self, x_D: Tensor) -> list[Tensor]:
        """Return the logits of each unit set, (..., K), from frames (..., D)."""
        frames, table = self.project(x_D).float().unflatten(-1, (len(self.classes), -1)), self.embedding.float()
        if self.config.similarity == "cosine":
            frames, table = F.normalize(frames, dim=-1, eps=1e-6), F.normalize(table, dim=-1, eps=1e-6)
        scale = 1.0 if self.config.similarity == "plain" else 1 / self.config.temperature
        tables = table.split(self.classes)
        return [frame @ one.T * scale for frame, one in zip(frames.unbind(-2), tables, strict=True)]


class ClusterPredictor(EncoderModel):
    """Encoder, mask embedding and unit heads; ``mask_features`` masks fused features (iterations 1 to 4)."""

    encoder: AVEncoder
    kind = "cluster_predictor"
    title = "Pre-trained audio-visual encoder (AV-HuBERT), features only"
    no_text = (
        "it was pre-trained to predict units and has no vocabulary; fine-tune it with python -m avspeech.train, or "
        "take a fine-tuned model such as avhubert/large_noise_pt_noise_ft_433h"
    )

    def __init__(
        self,
        encoder: EncoderConfig,
        num_units: int | Sequence[int],
        mask_features: bool = False,
        head: HeadConfig = HeadConfig(),
    ) -> None:
        super().__init__()
        if wrong := [block for block in head.supervised_blocks if not 1 <= block < encoder.depth]:
            raise ValueError(f"head.supervised_blocks={wrong} came, wanted blocks from 1 to {encoder.depth - 1}")
        self.encoder = encoder.build()
        self.num_units = (num_units,) if isinstance(num_units, int) else tuple(num_units)
        self.mask_features, self.head = mask_features, head
        self.mask_embedding = nn.Parameter(torch.empty(encoder.width if mask_features else encoder.audio_features))
        nn.init.uniform_(self.mask_embedding)
        self.unit_head = UnitHead(encoder.width, self.num_units, head)
        heads = {str(block): UnitHead(encoder.width, self.num_units, head) for block in head.supervised_blocks}
        self.block_heads = nn.ModuleDict(heads)

    def to_config(self) -> dict[str, Any]:
        config = {"encoder": to_plain(self.encoder.config), "num_units": self.num_units}
        return {**config, "mask_features": self.mask_features, **to_plain(self.head)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        encoder = from_plain(EncoderConfig, config["encoder"])
        head = {name: value for name, value in config.items() if name not in ("encoder", "num_units", "mask_features")}
        return cls(encoder, config["num_units"], config["mask_features"], from_plain(HeadConfig, head))

    def size_lines(self) -> list[str]:
        units, where = ", ".join(map(str, self.num_units)), "features" if self.mask_features else "input"
        return [f"encoder: {self.encoder.size_line}", f"units: {units}; masks its {where}"]

    def forward(
        self,
        audio_BTF: Tensor | None,
        video_BTHW: Tensor | None,
        valid_BT: Tensor,
        masks: MaskedInput | None = None,
        keep_B2: Tensor | None = None,
        num_targets: int | None = None,
        frames_M: Tensor | None = None,
        skip_hidden_lips: bool = False,
    ) -> Prediction:
        """Return the prediction. Raises ValueError if the masks do not match ``mask_features``.

        Args:
            audio_BTF, video_BTHW, valid_BT, keep_B2: as in ``Encoder.forward``.
            masks: None: nothing masked.
            num_targets: cut streams and masks to this many frames after the front ends (official); None: whole.
            frames_M: int64, frames of the flattened (B, T) to score; None: all.
            skip_hidden_lips: with feature masking, leave masked frames out of ResNet, feature penalty and BatchNorm.
        """
        hidden_BT = None if masks is None else masks.feature_BT
        if masks is not None and (hidden_BT is not None) != self.mask_features:
            here, there = ("features", "input") if self.mask_features else ("input", "features")
            raise ValueError(f"the model masks its {here}, the masks are for its {there}: set masking.on to {here!r}")
        audio_BTF, video_BTHW = self.hide_input(audio_BTF, video_BTHW, masks)
        unread_BT = hidden_BT if skip_hidden_lips else None
        streams_BTE = self.encoder.join_streams(audio_BTF, video_BTHW, valid_BT, keep_B2, unread_BT)
        if num_targets is not None:
            streams_BTE, valid_BT = streams_BTE[:, :num_targets], valid_BT[:, :num_targets]
            hidden_BT = None if hidden_BT is None else hidden_BT[:, :num_targets]
            unread_BT = None if unread_BT is None else unread_BT[:, :num_targets]
        penalty = self._penalty(streams_BTE, valid_BT, unread_BT)
        x_BTD = fused_BTD = self.hide_features(self.encoder.fuse(streams_BTE), hidden_BT)
        taps: list[tuple[int | None, nn.Module, Tensor]] = []
        for block, x_BTD in self.encoder.run_blocks(fused_BTD, valid_BT):
            if block in self.head.supervised_blocks:
                taps.append((block, self.block_heads[str(block)], x_BTD))
        taps.insert(0, (None, self.unit_head, self.encoder.finish(x_BTD)))
        scores = [
            UnitScores(logits, unit_set, block)
            for block, head, y_BTD in taps
            for unit_set, logits in enumerate(head(y_BTD if frames_M is None else y_BTD.flatten(0, 1)[frames_M]))
        ]
        return Prediction(tuple(scores), penalty)

    def hide_input(
        self, audio_BTF: Tensor | None, video_BTHW: Tensor | None, masks: MaskedInput | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return both streams with their masked frames replaced."""
        if masks is None:
            return audio_BTF, video_BTHW
        if audio_BTF is not None and masks.audio_BT is not None:
            shown_F = torch.zeros_like(self.mask_embedding) if masks.zero_audio else self.mask_embedding
            audio_BTF = torch.where(masks.audio_BT[..., None], shown_F.to(audio_BTF.dtype), audio_BTF)
        if video_BTHW is not None and masks.video_source_BT is not None:
            video_BTHW = substitute_frames(video_BTHW, masks.video_source_BT, masks.video_row_BT)
        return audio_BTF, video_BTHW

    def hide_features(self, x_BTD: Tensor, hidden_BT: Tensor | None) -> Tensor:
        """Return the fused stream with the mask embedding in masked frames."""
        shown_D = self.mask_embedding.to(x_BTD.dtype)
        return x_BTD if hidden_BT is None else torch.where(hidden_BT[..., None], shown_D, x_BTD)

    def _penalty(self, streams_BTE: Tensor, valid_BT: Tensor, unread_BT: Tensor | None) -> Tensor:
        squares_BTE = streams_BTE.float().square()
        if self.encoder.config.official_padding:
            return squares_BTE.mean()
        counted_BT = valid_BT if unread_BT is None else valid_BT & ~unread_BT
        total = torch.where(counted_BT[..., None], squares_BTE, 0).sum()
        return total / (counted_BT.sum().clamp(min=1) * squares_BTE.shape[-1])


def substitute_frames(video_BTHW: Tensor, source_BT: Tensor, row_BT: Tensor | None = None) -> Tensor:
    """Return clips whose frame (b, t) is frame ``source_BT[b, t]`` of clip ``row_BT[b, t]``, or of its own.

    Both are int64; a source of -1 is mean grey.
    """
    if row_BT is None:
        row_BT = torch.arange(len(video_BTHW), device=video_BTHW.device)[:, None]
    shown_BTHW = video_BTHW[row_BT, source_BT.clamp(min=0)]
    grey = 0.0 if video_BTHW.is_floating_point() else round(MEAN * 255)
    return shown_BTHW.masked_fill_(source_BT[..., None, None] < 0, grey)
