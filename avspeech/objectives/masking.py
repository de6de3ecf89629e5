"""Draw which frames pre-training hides.

AV-HuBERT (Shi et al. 2022, arXiv:2201.02184, sections 3.3 and 3.4 and their configurations): spans of fixed length,
each stream its own; a masked run of lip frames shows another stretch of the same clip. Where we differ: a row keeps
all its spans (the official sampler cuts every row of a batch to the same count, which breaks spans apart), the last
frame of a clip can be masked, donor frames are never padding, and all draws come from an explicit generator.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from avspeech.models.cluster_predictor import MaskedInput


@dataclass(frozen=True)
class MaskingConfig:
    """How much is hidden. Defaults are AV-HuBERT's last iteration."""

    on: Literal["input", "features"] = "input"
    """Mask each stream at the input, or the fused features (iterations 1 to 4)."""
    audio_fraction: float = 0.8
    """Expected share of audio frames inside spans, counted with overlaps; with ``on: features`` of fused frames."""
    audio_span: int = 10
    """Frames of an audio span; 10 frames = 400 ms."""
    video_fraction: float = 0.3
    """Expected share of lip frames inside spans, counted with overlaps."""
    video_span: int = 5
    """Frames of a lip span."""
    min_spans: int = 2
    """Spans that even the shortest clip gets."""

    def __post_init__(self) -> None:
        for name in ("audio_fraction", "video_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"masking.{name}={getattr(self, name)} must lie between 0 and 1")
        for name in ("audio_span", "video_span"):
            if getattr(self, name) < 1:
                raise ValueError(f"masking.{name}={getattr(self, name)} must be at least 1 frame")


def draw_masks(valid_BT: Tensor, config: MaskingConfig, generator: Generator | None = None) -> MaskedInput:
    """Draw the masks of a batch, on the CPU.

    Args:
        valid_BT: bool, True where a frame is real; only these are masked.
        config: fractions and spans.
        generator: a CPU generator; None uses torch's own.
    """
    lengths = valid_BT.sum(dim=1).tolist()
    frames = valid_BT.shape[1]
    audio_BT = _span_masks(lengths, frames, config.audio_fraction, config.audio_span, config.min_spans, generator)
    if config.on == "features":
        return MaskedInput(feature_BT=audio_BT)
    video_BT = _span_masks(lengths, frames, config.video_fraction, config.video_span, config.min_spans, generator)
    source_BT = draw_donors(video_BT, lengths, generator)
    return MaskedInput(audio_BT=audio_BT, video_BT=video_BT, video_source_BT=source_BT)


def _span_masks(
    lengths: list[int], frames: int, fraction: float, span: int, min_spans: int, generator: Generator | None
) -> Tensor:
    mask_BT = torch.zeros(len(lengths), frames, dtype=torch.bool)
    if fraction == 0:
        return mask_BT
    for row_T, length in zip(mask_BT, lengths, strict=True):
        count = int(fraction * length / span + torch.rand((), generator=generator).item())
        starts = max(length - span + 1, 1)  # places where a span fits; a clip shorter than a span is one span
        chosen = torch.randperm(starts, generator=generator)[: max(count, min_spans)]
        for start in chosen.tolist():
            row_T[start : min(start + span, length)] = True
    return mask_BT


def draw_donors(mask_BT: Tensor, lengths: list[int], generator: Generator | None = None) -> Tensor:
    """Draw for each masked run a stretch of the same clip to show instead (AV-HuBERT's ``same_seq``).

    Args:
        mask_BT: bool, lip frames to hide.
        lengths: real frames of each row.

    Returns:
        ``video_source_BT`` of ``MaskedInput``. The donor starts anywhere but so close that it would show the run
        itself; past the clip's end its last frame is repeated. A run that leaves no such place becomes grey (-1).
    """
    source_BT = torch.arange(mask_BT.shape[1]).repeat(len(mask_BT), 1)
    for row_T, source_T, length in zip(mask_BT, source_BT, lengths, strict=True):
        for start, end in runs(row_T):
            span = end - start
            starts = [s for s in range(length) if not max(0, start - span) <= s < end]
            if not starts:
                source_T[start:end] = -1
                continue
            donor = starts[int(torch.randint(len(starts), (), generator=generator))]
            source_T[start:end] = torch.arange(donor, donor + span).clamp(max=length - 1)
    return source_BT


def runs(mask_T: Tensor) -> list[tuple[int, int]]:
    """Return the (start, end) of every stretch of True in a 1-D mask."""
    edges = torch.diff(mask_T.int(), prepend=mask_T.new_zeros(1, dtype=torch.int), append=mask_T.new_zeros(1).int())
    starts, ends = (edges == 1).nonzero()[:, 0], (edges == -1).nonzero()[:, 0]
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
