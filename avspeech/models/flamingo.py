"""Audio-visual Whisper: its decoder attends to AV-HuBERT features through gated layers.

Whisper-Flamingo (arXiv:2406.10082, section 2.2) and mWhisper-Flamingo (arXiv:2502.01547, section 2). Lip features at 25
Hz -> linear -> one learned scalar -> keys and values. Differences, unless ``official_padding`` and
``zero_dropped_video``: padding is not attended, dropped video skips the gated layers (audio alone equals Whisper).
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from avspeech.inputs import MODALITIES, InputSpec
from avspeech.models.configs import to_plain
from avspeech.models.encoder import AVEncoder, EncoderConfig
from avspeech.models.fusion import AUDIO, VIDEO
from avspeech.models.memory import Memory
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig


@dataclass(frozen=True)
class FlamingoConfig:
    """Sizes of an audio-visual Whisper."""

    whisper: WhisperConfig = WhisperConfig()
    """The audio model."""
    video: EncoderConfig = EncoderConfig(width=1024, depth=24, num_heads=16, ffn_width=4096)
    """AV-HuBERT encoder of the video, without audio; the official one is Large."""
    video_norm: bool = False
    """Normalise the projected lip features."""
    zero_dropped_video: bool = False
    """Feed the gated layers zeros for dropped video (official training) instead of skipping them."""


class Flamingo(Whisper):
    """Audio and video -> text; decodes as ``Whisper``, only ``encode_streams`` differs."""

    kind = "flamingo"
    title = "Audio-visual Whisper (Whisper-Flamingo)"
    has_video = True
    config_class = FlamingoConfig

    def __init__(self, config: FlamingoConfig) -> None:
        super().__init__(config.whisper)
        self.config = config
        self.video_encoder = config.video.build()
        self.video_project = nn.Linear(config.video.width, config.whisper.text_width)
        self.video_scale = nn.Parameter(torch.ones(()))
        self.video_norm = nn.LayerNorm(config.whisper.text_width) if config.video_norm else nn.Identity()

    def to_config(self) -> dict[str, Any]:
        return {"flamingo": to_plain(self.config)}

    @property
    def inputs(self) -> InputSpec:
        lips, size = self.video_encoder, self.video_encoder.inputs.clip_size
        return replace(super().inputs, clip_size=size, crop=lips.crop or InputSpec.crop, modalities=MODALITIES)

    @property
    def lip_encoder(self) -> AVEncoder:
        return self.video_encoder

    @property
    def stream_encoders(self) -> list[nn.Module]:
        return [self.encoder, self.video_encoder]

    def size_lines(self) -> list[str]:
        source = (self.source or {}).get("video_model") or "trained here"
        return [*super().size_lines(), f"video encoder ({source}): {self.video_encoder.size_line}"]

    def encode_streams(
        self,
        logmel_BAF: Tensor | None,
        valid_BA: Tensor | None = None,
        video_BTHW: Tensor | None = None,
        valid_BT: Tensor | None = None,
        keep_B2: Tensor | None = None,
    ) -> Memory:
        """Return the decoder's memory; dropped streams are not encoded. ValueError if an utterance has no stream left.

        Args:
            logmel_BAF: Whisper's log-mel at 100 Hz, zero where padded; None: no audio.
            valid_BA, valid_BT: bool, True for real acoustic and video frames; None: all.
            video_BTHW: grey mouth crops at 25 Hz, uint8, or normalised float; None: no video.
            keep_B2: bool, columns AUDIO and VIDEO; False drops that stream of that utterance; None: both.
        """
        if logmel_BAF is None and video_BTHW is None:
            raise ValueError("audio and video are both None; the model needs at least one stream")
        if keep_B2 is not None and not bool(keep_B2.any(dim=1).all()):
            raise ValueError("keep_B2 drops both streams of an utterance; keep at least one")
        for column, name, stream in ((AUDIO, "audio", logmel_BAF), (VIDEO, "video", video_BTHW)):
            if keep_B2 is not None and stream is None and not bool(keep_B2[:, 1 - column].all()):
                raise ValueError(f"keep_B2 leaves an utterance {name} alone, and the batch came without {name}")
        if logmel_BAF is None:
            assert video_BTHW is not None
            empty = self.video_project.weight.new_zeros(len(video_BTHW), 1, self.sizes.audio_width)
            memory = Memory(empty)  # attention over zeros is the same however many there are
        else:
            memory = self._partial_audio_memory(logmel_BAF, valid_BA, None if keep_B2 is None else keep_B2[:, AUDIO])
        keep_B = None if keep_B2 is None else keep_B2[:, VIDEO]
        zeroes = self.config.zero_dropped_video
        if video_BTHW is None or (keep_B is not None and not bool(keep_B.any())):
            zeros_BTD = memory.memory_BTD.new_zeros(len(memory), 1, self.sizes.text_width)
            return replace(memory, video_BTD=zeros_BTD if zeroes else None)
        if valid_BT is None:
            valid_BT = torch.ones(video_BTHW.shape[:2], dtype=torch.bool, device=video_BTHW.device)
        video_BTD = self.video_features(video_BTHW, valid_BT, keep_B)
        seen_BT = None if self.sizes.official_padding else valid_BT
        return Memory(memory.memory_BTD, memory.valid_BT, video_BTD, seen_BT, None if zeroes else keep_B)

    def video_features(self, video_BTHW: Tensor, valid_BT: Tensor, keep_B: Tensor | None = None) -> Tensor:
        """Return the lip features for the gated layers, (B, T, D); zero where ``keep_B`` is False."""
        if keep_B is not None and not bool(keep_B.all()):
            return _spread(self.video_features(video_BTHW[keep_B], valid_BT[keep_B]), keep_B)
        lips_BTD = self.video_encoder(None, video_BTHW, valid_BT)
        return self.video_norm(self.video_project(lips_BTD)) * self.video_scale

    def _partial_audio_memory(self, logmel_BAF: Tensor, valid_BA: Tensor | None, keep_B: Tensor | None) -> Memory:
        """Encode only the kept utterances; the memory of the others is zero."""
        if keep_B is None or bool(keep_B.all()):
            return self.audio_memory(logmel_BAF, valid_BA)
        if not bool(keep_B.any()):
            return Memory(logmel_BAF.new_zeros(len(keep_B), 1, self.sizes.audio_width))
        some = self.audio_memory(logmel_BAF[keep_B], None if valid_BA is None else valid_BA[keep_B])
        valid_BP = None if some.valid_BT is None else _spread(some.valid_BT, keep_B, fill=True)
        return Memory(_spread(some.memory_BTD, keep_B), valid_BP)

    @property
    def new_weights(self) -> list[nn.Parameter]:
        """Weights that Whisper lacks: gates, gated layers and projection."""
        added = [self.video_project, self.video_norm, *(block.video for block in self.decoder.blocks)]
        return [self.video_scale, *(weight for part in added for weight in part.parameters())]  # type: ignore[union-attr]


def _spread(some: Tensor, keep_B: Tensor, fill: bool = False) -> Tensor:
    """Return rows for a whole batch: ``some`` where ``keep_B`` is True, else filled."""
    return some.new_full((len(keep_B), *some.shape[1:]), fill).index_copy(0, keep_B.nonzero()[:, 0], some)
