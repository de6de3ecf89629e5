"""AV-HuBERT's pre-training network: the encoder sees corrupted streams and predicts the unit of every frame.

Shi et al. 2022, arXiv:2201.02184, section 3.3. Masking is an argument (``MaskedInput``, drawn by
``objectives/masking.py``). On the input, masked audio frames become a learned vector and masked lip
frames are other frames of the same clip; on the features (the first iterations), fused frames become
a learned vector. A unit's logit is the cosine between the projected frame and the unit's embedding, over 0.1.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avspeech.features.clip import MEAN
from avspeech.models.encoder import AVEncoder, EncoderConfig

TEMPERATURE = 0.1


@dataclass(frozen=True)
class MaskedInput:
    """Which frames of a batch are hidden, and how.

    Either the two stream masks and ``video_source_BT`` are set (masking on the input), or ``feature_BT`` is.
    """

    audio_BT: Tensor | None = None
    """bool, audio frames to replace by the mask embedding."""
    video_BT: Tensor | None = None
    """bool, lip frames to replace."""
    video_source_BT: Tensor | None = None
    """int64, the frame of the same clip to show instead; its own index where nothing is masked, -1 for grey."""
    feature_BT: Tensor | None = None
    """bool, fused frames to replace by the mask embedding."""

    @property
    def either_BT(self) -> Tensor:
        """bool, frames whose unit is to be predicted from context: hidden in at least one stream."""
        if self.feature_BT is not None:
            return self.feature_BT
        assert self.audio_BT is not None and self.video_BT is not None
        return self.audio_BT | self.video_BT

    def to(self, device: torch.device) -> "MaskedInput":
        """Return a copy on ``device``."""
        tensors = (self.audio_BT, self.video_BT, self.video_source_BT, self.feature_BT)
        return MaskedInput(*(None if x is None else x.to(device) for x in tensors))


@dataclass(frozen=True)
class Prediction:
    """What the network says about a batch."""

    logits_BTK: Tensor
    """A logit for each unit."""
    feature_penalty: Tensor
    """Mean square of the streams before fusion, over real frames; a scalar."""


class ClusterPredictor(nn.Module):
    """Encoder, mask embedding and unit head.

    Args:
        encoder: size of the encoder.
        num_units: K.
        mask_features: the mask embedding lives in the fused features (iterations 1 to 4), not in the audio input.
        unit_width: channels in which frames and units are compared.
    """

    def __init__(
        self, encoder: EncoderConfig, num_units: int, mask_features: bool = False, unit_width: int = 256
    ) -> None:
        super().__init__()
        self.encoder = AVEncoder(encoder)
        self.mask_embedding = nn.Parameter(torch.empty(encoder.width if mask_features else encoder.audio_features))
        self.unit_project = nn.Linear(encoder.width, unit_width)
        self.unit_embedding = nn.Parameter(torch.empty(num_units, unit_width))
        nn.init.uniform_(self.mask_embedding)
        nn.init.uniform_(self.unit_embedding)
        self.num_units, self.mask_features, self.unit_width = num_units, mask_features, unit_width

    def forward(
        self,
        audio_BTF: Tensor | None,
        video_BTHW: Tensor | None,
        valid_BT: Tensor,
        masks: MaskedInput | None = None,
        keep_B2: Tensor | None = None,
    ) -> Prediction:
        """Predict the unit of every frame.

        Args:
            audio_BTF: stacked filterbanks, normalised per frame.
            video_BTHW: grey lip clip, uint8 or normalised float.
            valid_BT: bool, True where a frame is real.
            masks: what to hide; None hides nothing.
            keep_B2: bool, columns AUDIO and VIDEO, False drops that stream of that utterance.

        Raises:
            ValueError: the masks are of the other kind than ``mask_features``.
        """
        if masks is not None and (masks.feature_BT is not None) != self.mask_features:
            here, there = ("features", "input") if self.mask_features else ("input", "features")
            raise ValueError(f"the model masks its {here}, the masks are for its {there}: set masking.on to {here!r}")
        if masks is not None and audio_BTF is not None and masks.audio_BT is not None:
            audio_BTF = torch.where(masks.audio_BT[..., None], self.mask_embedding.to(audio_BTF.dtype), audio_BTF)
        if masks is not None and video_BTHW is not None and masks.video_source_BT is not None:
            video_BTHW = substitute_frames(video_BTHW, masks.video_source_BT)
        streams_BTE = self.encoder.join_streams(audio_BTF, video_BTHW, valid_BT, keep_B2)
        penalty = streams_BTE.float().square()[valid_BT].mean()
        x_BTD = self.encoder.fuse(streams_BTE)
        if masks is not None and masks.feature_BT is not None:
            x_BTD = torch.where(masks.feature_BT[..., None], self.mask_embedding.to(x_BTD.dtype), x_BTD)
        x_BTD = self.encoder.contextualize(x_BTD, valid_BT)
        return Prediction(self.unit_logits(x_BTD), penalty)

    def unit_logits(self, x_BTD: Tensor) -> Tensor:
        """Return cosine over temperature, (B, T, K)."""
        frame_BTU = F.normalize(self.unit_project(x_BTD).float(), dim=-1, eps=1e-6)
        unit_KU = F.normalize(self.unit_embedding.float(), dim=-1, eps=1e-6)
        return frame_BTU @ unit_KU.T / TEMPERATURE


def substitute_frames(video_BTHW: Tensor, source_BT: Tensor) -> Tensor:
    """Return the clips with frame t replaced by frame ``source_BT[b, t]`` of the same clip.

    Args:
        video_BTHW: uint8 or float.
        source_BT: int64, -1 for a frame of the mean grey.
    """
    rows_B1 = torch.arange(len(video_BTHW), device=video_BTHW.device)[:, None]
    shown_BTHW = video_BTHW[rows_B1, source_BT.clamp(min=0)]
    grey = 0.0 if video_BTHW.is_floating_point() else round(MEAN * 255)
    return shown_BTHW.masked_fill_(source_BT[..., None, None] < 0, grey)
