"""Random masks for pre-training.

AV-HuBERT (arXiv:2201.02184, sections 3.3 and 3.4): spans of fixed length, drawn separately for each stream; masked lip
frames show another stretch of the clip. Differences by default: rows keep all spans (the official sampler trims all
rows to one count), the last frame can be masked, and donor frames are never padding. ``sampler: official`` selects the
official rules; tests draw with numpy in place of ``TorchDraws``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Generator, Tensor

from avspeech.models.cluster_predictor import MaskedInput


@dataclass(frozen=True)
class MaskingConfig:
    """Amount and kind of masking. Defaults: AV-HuBERT's last iteration."""

    on: Literal["input", "features"] = "input"
    """Mask the input streams, or the fused features (iterations 1 to 4)."""
    audio_fraction: float = 0.8
    """Expected share of masked audio frames, overlaps counted twice; fused frames with ``on: features``."""
    audio_span: int = 10
    """Frames of an audio span; 10 = 400 ms."""
    video_fraction: float = 0.3
    """Expected share of masked lip frames, overlaps counted twice."""
    video_span: int = 5
    """Frames of a lip span."""
    min_spans: int = 2
    """Fewest spans per clip."""
    video_donor: Literal["same_clip", "other_clip"] = "same_clip"
    """Source of replacement lip frames: same clip (``same_seq``) or other clip (``same_other_seq``)."""
    sampler: Literal["spans", "official"] = "spans"
    """Our rules or the official ones; see the module docstring."""

    def __post_init__(self) -> None:
        for stream in ("audio", "video"):
            fraction, span = getattr(self, f"{stream}_fraction"), getattr(self, f"{stream}_span")
            if not 0 <= fraction <= 1:
                raise ValueError(f"masking.{stream}_fraction={fraction} must lie between 0 and 1")
            if span < 1:
                raise ValueError(f"masking.{stream}_span={span} must be at least 1 frame")


@dataclass
class TorchDraws:
    """Draws from a CPU generator; None: torch's default."""

    generator: Generator | None = None

    def uniform(self) -> float:
        """Return a number from [0, 1)."""
        return torch.rand((), generator=self.generator).item()

    def choose(self, count: int, size: int) -> list[int]:
        """Return ``size`` different integers in [0, count), in random order."""
        if size == 1:
            return [int(torch.randint(count, (), generator=self.generator))]
        return torch.randperm(count, generator=self.generator)[:size].tolist()


def draw_masks(valid_BT: Tensor, config: MaskingConfig, generator: Generator | None = None) -> MaskedInput:
    """Draw the masks of a batch, on the CPU; padding (False in ``valid_BT``) stays unmasked."""
    lengths, frames = valid_BT.sum(dim=1).tolist(), valid_BT.shape[1]
    draws, is_official = TorchDraws(generator), config.sampler == "official"
    sampler = official_span_masks if is_official else _span_masks
    audio = (config.audio_fraction, config.audio_span, config.min_spans, draws)
    if config.on == "features":
        return MaskedInput(feature_BT=sampler(lengths, frames, *audio))
    spans = {"audio": audio, "video": (config.video_fraction, config.video_span, config.min_spans, draws)}
    order = reversed(spans) if is_official else spans  # the official code draws the video's first
    drawn = {name: sampler(lengths, frames, *spans[name]) for name in order}
    masks = MaskedInput(drawn["audio"], drawn["video"])
    if is_official and len(lengths) == 1:
        return blank_streams(masks)
    return hide_video(masks, config.video_donor, [frames] * len(lengths) if is_official else lengths, draws)


def _span_masks(
    lengths: Sequence[int], frames: int, fraction: float, span: int, min_spans: int, draws: TorchDraws
) -> Tensor:
    mask_BT = torch.zeros(len(lengths), frames, dtype=torch.bool)
    if fraction == 0:
        return mask_BT
    for row_T, length in zip(mask_BT, lengths, strict=True):
        count = int(fraction * length / span + draws.uniform())
        starts = max(length - span + 1, 1)  # a clip shorter than a span is one span
        for start in draws.choose(starts, min(starts, max(count, min_spans))):
            row_T[start : min(start + span, length)] = True
    return mask_BT


def official_span_masks(
    lengths: Sequence[int], frames: int, fraction: float, span: int, min_spans: int, draws: TorchDraws
) -> Tensor:
    """Return masks, (B, T) bool, by the official sampler; ``lengths`` are the real frames of each row.

    Spans may overlap and leave out the last frame. Random frames are then unmasked until all rows have the same count.
    Draws: one uniform; per row a uniform and the starts; per row with too many frames those that stay masked.
    """
    if fraction == 0:
        return torch.zeros(len(lengths), frames, dtype=torch.bool)
    draws.uniform()  # the official code draws a count for the batch that it does not use
    hidden: list[list[int]] = []
    for length in lengths:
        count = max(min_spans, int(fraction * length / span + draws.uniform()))
        room = length - span if length - span > count else count + 1
        starts = draws.choose(room, count)
        hidden.append(sorted({start + k for start in starts for k in range(span) if start + k < length}))
    fewest = min(map(len, hidden))
    mask_BT = torch.zeros(len(lengths), frames, dtype=torch.bool)
    for row_T, places in zip(mask_BT, hidden, strict=True):
        if len(places) > fewest:
            places = [places[i] for i in draws.choose(len(places), fewest)]
        row_T[places] = True
    return mask_BT


def blank_streams(masks: MaskedInput) -> MaskedInput:
    """Return masks with grey lips and zero audio: the official rule for a batch of one clip."""
    assert masks.video_BT is not None
    own_BT = torch.arange(masks.video_BT.shape[1]).expand_as(masks.video_BT)
    return replace(masks, video_source_BT=own_BT.masked_fill(masks.video_BT, -1), zero_audio=True)


def hide_video(
    masks: MaskedInput, donor: Literal["same_clip", "other_clip"], lengths: Sequence[int], draws: TorchDraws
) -> MaskedInput:
    """Return masks with replacements for masked lip frames; a single clip is its own donor.

    ``lengths`` are the frames of each row that may serve as donors: real ones, or all in the official code.
    """
    assert masks.video_BT is not None
    batch = len(masks.video_BT)
    if donor == "same_clip" or batch == 1:
        return replace(masks, video_source_BT=draw_donors(masks.video_BT, lengths, draws))
    shift, rows_B1 = 1 + draws.choose(batch - 1, 1)[0], torch.arange(batch)[:, None]
    others_BT = torch.where(masks.video_BT, (rows_B1 + shift) % batch, rows_B1)  # the clip ``shift`` rows later
    own_BT = torch.arange(masks.video_BT.shape[1]).repeat(batch, 1)
    return replace(masks, video_source_BT=own_BT, video_row_BT=others_BT)


def draw_donors(mask_BT: Tensor, lengths: Sequence[int], draws: TorchDraws) -> Tensor:
    """Return ``video_source_BT`` with a random donor stretch for each masked run (AV-HuBERT's ``same_seq``).

    The donor does not overlap the run; past the end its last frame repeats. A run without a donor becomes grey (-1).
    """
    source_BT = torch.arange(mask_BT.shape[1]).repeat(len(mask_BT), 1)
    for row_T, source_T, length in zip(mask_BT, source_BT, lengths, strict=True):
        for start, end in runs(row_T):
            span = end - start
            starts = [s for s in range(length) if not max(0, start - span) <= s < end]
            source_T[start:end] = -1
            if starts:
                donor = starts[draws.choose(len(starts), 1)[0]]
                source_T[start:end] = torch.arange(donor, donor + span).clamp(max=length - 1)
    return source_BT


def runs(mask_T: Tensor) -> list[tuple[int, int]]:
    """Return (start, end) of each run of True."""
    edges = torch.nn.functional.pad(mask_T.int(), (1, 1)).diff()
    starts, ends = ((edges == sign).nonzero()[:, 0].tolist() for sign in (1, -1))
    return list(zip(starts, ends, strict=True))
