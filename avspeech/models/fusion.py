"""Fusion of audio and video at 25 Hz; either may be missing.

AV-HuBERT (arXiv:2201.02184, section 3.2) zeroes dropped streams, concatenates audio and video, normalises and projects.
Difference: we drop per utterance by default; one draw per batch gives small batches one-sided gradients.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

AUDIO, VIDEO = 0, 1  # columns of keep_B2


class Fusion(nn.Module):
    """Concatenate (all released models), normalise and project to ``width`` channels; or add and normalise."""

    def __init__(self, width: int, kind: Literal["concat", "add"] = "concat") -> None:
        super().__init__()
        self.kind = kind
        joined = 2 * width if kind == "concat" else width
        self.norm = nn.LayerNorm(joined)
        self.project = nn.Linear(joined, width) if kind == "concat" else nn.Identity()

    def join(self, audio_BTD: Tensor, video_BTD: Tensor, keep_B2: Tensor | None = None) -> Tensor:
        """Return the streams side by side, (B, T, 2 D), or their sum; zero where ``keep_B2`` drops them."""
        if audio_BTD.shape != video_BTD.shape:
            shapes = f"audio {tuple(audio_BTD.shape)} and video {tuple(video_BTD.shape)}"
            raise ValueError(f"{shapes} must both be (B, T, D); avspeech.inputs.make_sample brings them to one length")
        if keep_B2 is not None:  # torch.where, not a product: a NaN in a dropped stream must not leak
            audio_BTD = torch.where(keep_B2[:, AUDIO, None, None], audio_BTD, 0)
            video_BTD = torch.where(keep_B2[:, VIDEO, None, None], video_BTD, 0)
        return torch.cat([audio_BTD, video_BTD], dim=-1) if self.kind == "concat" else audio_BTD + video_BTD

    def forward(self, streams_BTE: Tensor) -> Tensor:
        """Return the fused stream, (B, T, D), from the output of ``join``."""
        return self.project(self.norm(streams_BTE))


@dataclass(frozen=True)
class ModalityDropout:
    """Chances of keeping both streams or one in training; their sum is 1."""

    p_both: float = 1.0
    """Chance of keeping both streams."""
    p_audio_only: float = 0.0
    """Chance of dropping the video."""
    p_video_only: float = 0.0
    """Chance of dropping the audio."""
    per_batch: bool = False
    """Draw once per batch, as in the code of AV-HuBERT and Whisper-Flamingo."""

    def __post_init__(self) -> None:
        chances = (self.p_both, self.p_audio_only, self.p_video_only)
        if min(chances) < 0 or abs(sum(chances) - 1) > 1e-6:
            raise ValueError(
                f"modality_dropout.p_both={self.p_both}, p_audio_only={self.p_audio_only} and "
                f"p_video_only={self.p_video_only} must be chances that add up to 1"
            )

    def draw(self, batch_size: int, generator: Generator | None = None) -> Tensor:
        """Return a random ``keep_B2``: each utterance draws whether it loses a stream, and which."""
        draws = 1 if self.per_batch else batch_size
        p_drop = 1 - self.p_both
        drop_B = torch.rand(draws, generator=generator) < p_drop
        audio_B = torch.rand(draws, generator=generator) < (self.p_video_only / p_drop if p_drop > 0 else 0.5)
        return torch.stack([~(drop_B & audio_B), ~(drop_B & ~audio_B)], dim=1).expand(batch_size, 2)


def fixed_keep(batch_size: int, modality: str) -> Tensor | None:
    """Return ``keep_B2`` for ``audio``, ``video`` or ``audio+video`` (None); raises ValueError otherwise."""
    if modality == "audio+video":
        return None
    if modality not in ("audio", "video"):
        raise ValueError(f"modality {modality!r} is none of audio, video, audio+video")
    return torch.tensor([[modality == "audio", modality == "video"]]).repeat(batch_size, 1)
