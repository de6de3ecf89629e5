"""Fuse an audio and a video stream at 25 Hz, either of which may be missing.

AV-HuBERT (Shi et al. 2022, arXiv:2201.02184, section 3.2) zeroes a dropped stream, concatenates audio and video in that
order, normalises and projects back. The streams to keep are an argument: training draws them with ``ModalityDropout``,
evaluation fixes them. Where we differ: AV-HuBERT draws once per batch, we draw per utterance by default, since one draw
per batch makes the gradient of a small batch all-audio or all-video.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

AUDIO, VIDEO = 0, 1  # columns of keep_B2


class Fusion(nn.Module):
    """Concatenate two streams, normalise, project back to ``width`` channels; or add them and normalise.

    Args:
        width: D, channels of each stream.
        kind: ``concat`` (all released models) or ``add``. Added streams need no projection.
    """

    def __init__(self, width: int, kind: Literal["concat", "add"] = "concat") -> None:
        super().__init__()
        self.kind = kind
        joined = 2 * width if kind == "concat" else width
        self.norm = nn.LayerNorm(joined)
        self.project = nn.Linear(joined, width) if kind == "concat" else nn.Identity()

    def join(self, audio_BTD: Tensor, video_BTD: Tensor, keep_B2: Tensor | None = None) -> Tensor:
        """Return the two streams side by side, (B, T, 2 D), or their sum; zero where a stream is dropped.

        Args:
            audio_BTD: audio features at 25 Hz, any float dtype.
            video_BTD: lip features, same shape as the audio.
            keep_B2: bool, column AUDIO and column VIDEO; False silences that stream for that utterance.
                None keeps both.

        Raises:
            ValueError: the two streams differ in shape.
        """
        if audio_BTD.shape != video_BTD.shape:
            raise ValueError(
                f"audio {tuple(audio_BTD.shape)} and video {tuple(video_BTD.shape)} must both be "
                "(B, T, D); avspeech.inputs.make_sample brings them to one length"
            )
        if keep_B2 is not None:  # torch.where, not a product: a NaN in a dropped stream must not leak
            audio_BTD = torch.where(keep_B2[:, AUDIO, None, None], audio_BTD, 0)
            video_BTD = torch.where(keep_B2[:, VIDEO, None, None], video_BTD, 0)
        return torch.cat([audio_BTD, video_BTD], dim=-1) if self.kind == "concat" else audio_BTD + video_BTD

    def forward(self, streams_BTE: Tensor) -> Tensor:
        """Return the fused stream, (B, T, D), from what ``join`` gave."""
        return self.project(self.norm(streams_BTE))


@dataclass(frozen=True)
class ModalityDropout:
    """Chances that training shows an utterance both streams, or one alone. They add up to 1."""

    p_both: float = 1.0
    """Chance that the utterance keeps both streams."""
    p_audio_only: float = 0.0
    """Chance that it loses the video."""
    p_video_only: float = 0.0
    """Chance that it loses the audio."""
    per_batch: bool = False
    """Draw once for all utterances of a batch, as AV-HuBERT's and Whisper-Flamingo's code does."""

    def __post_init__(self) -> None:
        chances = (self.p_both, self.p_audio_only, self.p_video_only)
        if min(chances) < 0 or abs(sum(chances) - 1) > 1e-6:
            raise ValueError(
                f"modality_dropout.p_both={self.p_both}, p_audio_only={self.p_audio_only} and "
                f"p_video_only={self.p_video_only} must be chances that add up to 1"
            )

    def draw(self, batch_size: int, generator: Generator | None = None) -> Tensor:
        """Draw ``keep_B2``; no utterance loses both streams.

        Two numbers are drawn for each utterance: whether it loses a stream, and which.
        """
        draws = 1 if self.per_batch else batch_size
        p_drop = 1 - self.p_both
        drop_B = torch.rand(draws, generator=generator) < p_drop
        audio_B = torch.rand(draws, generator=generator) < (self.p_video_only / p_drop if p_drop > 0 else 0.5)
        return torch.stack([~(drop_B & audio_B), ~(drop_B & ~audio_B)], dim=1).expand(batch_size, 2)


def fixed_keep(batch_size: int, modality: str) -> Tensor | None:
    """Return ``keep_B2`` for a modality by name: ``audio``, ``video`` or ``audio+video`` (None: keep both).

    Raises:
        ValueError: another name.
    """
    if modality == "audio+video":
        return None
    if modality not in ("audio", "video"):
        raise ValueError(f"modality {modality!r} is none of audio, video, audio+video")
    keep_B2 = torch.zeros(batch_size, 2, dtype=torch.bool)
    keep_B2[:, AUDIO if modality == "audio" else VIDEO] = True
    return keep_B2
