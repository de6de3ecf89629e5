"""Where speech is -> segments that a model can take, cut where nobody speaks.

All times are frames at 25 Hz, a span is ``[start, end)``. The order of work: frames that hold speech (heard, or seen on
the lips where nothing is heard), stretches of them with short pauses closed, long stretches split where it hurts
least. Stretches are grown into the pauses around them first, because a detector is late where speech starts softly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from avspeech.timebase import FRAME_RATE
from avspeech.transcription.speech_activity import MOVING_LIPS, lip_activity, lip_movement

SHORTEST_S = 0.4
"""No segment is shorter, but for a file that is."""
_DIP_FRAMES, _HUSH_FRAMES = 10, 4
"""Around a cut: over 0.4 s the probability of speech is averaged, so that a longer pause is the better one, and over
0.16 s the loudness, which dips between words without a pause."""
_CUT_COST = 0.05
"""Of each cut, on the scale where one through silence costs 0 and one through certain speech 1: fewer cuts are better,
yet two in pauses are better than one in a word."""
_UNEVEN_COST = 0.02
"""Of a piece of the greatest length, with its square: equal pieces, where nothing else tells."""
_HUSH_COST = 0.2
"""Of a cut in the loudest frames (or those with the most movement of lips, without sound). It counts where nothing is
a pause: half as many words were hit in GRID and synthetic speech without any."""


@dataclass(frozen=True)
class Span:
    """A stretch of the file that is decoded as one."""

    start: int
    """First frame."""
    end: int
    """Frame after the last one."""
    speech: bool = True
    """False: neither ear nor eye found speech in the whole file; the caller decides whether to decode it."""
    torn: bool = False
    """Speech goes on over the end, into the next segment, since there was no pause: a word may be cut in two there."""


@dataclass(frozen=True)
class CuttingConfig:
    """How speech is found and cut."""

    longest_s: float = 20.0
    """The longest segment that the model can take, in seconds; at least 2."""
    min_pause_s: float = 0.5
    """A pause of this length or longer ends a segment."""
    padding_s: float = 0.2
    """How far a segment reaches into the pauses around it, at most to their middle."""
    speech_threshold: float = 0.3
    """Probability from which on a frame holds speech."""
    lips_threshold: float = MOVING_LIPS
    """Movement in crop pixels from which on lips speak, see ``lip_activity``."""
    min_lips_s: float = 0.5
    """How long lips must move, where nothing is heard, to count as speech; a jump of the landmarks shows for 0.28 s."""
    whole_margin_s: float = 1.5
    """A file with one stretch of speech that fits as a whole, and silence of at most this length before and after it,
    is one segment."""

    def __post_init__(self) -> None:
        if not self.longest_s >= 2:
            raise ValueError(f"longest_s={self.longest_s} came, wanted 2 s or more; see the cutting configuration")
        for name in ("min_pause_s", "padding_s", "lips_threshold", "min_lips_s", "whole_margin_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)} came, wanted 0 or more; see the cutting configuration")
        if not 0 < self.speech_threshold <= 1:
            came = f"speech_threshold={self.speech_threshold}"
            raise ValueError(f"{came} came, wanted above 0 and at most 1; see the cutting configuration")


def cut_segments(
    prob_T: np.ndarray | None,
    openness_T: np.ndarray | None,
    num_frames: int,
    config: CuttingConfig = CuttingConfig(),
    level_T: np.ndarray | None = None,
) -> list[Span]:
    """Return the segments of a file in order; they never overlap, and every frame that holds speech lies in one.

    Args:
        prob_T: probability of speech, of ``speech_probability``; None without sound, or where it must not be used.
        openness_T: opening of the speaker's mouth, see ``lip_activity``; NaN where no face is, None without video.
        num_frames: T, the length of the file.
        config: lengths and thresholds.
        level_T: loudness, of ``frame_level``; it only says where to cut speech that has no pause, and counts as little
            as any sound where ``prob_T`` is None.

    Raises:
        ValueError: an array has another length than ``num_frames``, or a probability is none.
    """
    for name, array in (("prob_T", prob_T), ("openness_T", openness_T), ("level_T", level_T)):
        if array is not None and array.shape != (num_frames,):
            raise ValueError(
                f"{name} of shape {array.shape} came, wanted ({num_frames},); bring the streams to one length"
            )
    if prob_T is not None and not ((prob_T >= 0) & (prob_T <= 1)).all():
        raise ValueError("prob_T with values outside 0..1 came, wanted probabilities; see speech_probability")
    longest, shortest = int(config.longest_s * FRAME_RATE), round(SHORTEST_S * FRAME_RATE)
    speech_T = find_speech(prob_T, openness_T, num_frames, config)
    stretches = _close_gaps(_runs(speech_T), config.min_pause_s * FRAME_RATE)
    stretches = _join_cramped(stretches, num_frames, shortest)
    if not stretches:
        count = max(1, -(-num_frames // longest)) if num_frames else 0
        edges = [num_frames * index // count for index in range(count + 1)] if count else []
        return [Span(start, end, speech=False) for start, end in pairwise(edges)]
    margin = config.whole_margin_s * FRAME_RATE
    if num_frames <= longest and len(stretches) == 1:
        (start, end), *_ = stretches
        if start <= margin and num_frames - end <= margin:
            return [Span(0, num_frames)]
    edges = [0, *((before[1] + after[0]) // 2 for before, after in pairwise(stretches)), num_frames]
    padding = round(config.padding_s * FRAME_RATE)
    grown = [_grow(*both, padding, shortest) for both in zip(stretches, pairwise(edges), strict=True)]
    if prob_T is not None:
        cost_T = _cut_cost(prob_T, level_T)
    else:
        cost_T = _cut_cost(speech_T, None if openness_T is None else lip_movement(openness_T))
    pieces = [piece for stretch in grown for piece in _split(stretch, cost_T, longest, shortest)]
    torn_at = {end for _, end in pieces if end < num_frames and speech_T[end - 1] and speech_T[end]}
    # Where a stretch was too long with its padding only, that may have been cut off, and holds no speech.
    return [Span(start, end, torn=end in torn_at) for start, end in pieces if speech_T[start:end].any()]


def find_speech(
    prob_T: np.ndarray | None, openness_T: np.ndarray | None, num_frames: int, config: CuttingConfig
) -> np.ndarray:
    """Return ``speech_T``: whether a frame holds speech, bool.

    Where nothing is heard, lips speak that move for ``min_lips_s`` or longer; a pause in their movement that would not
    end a segment does not end that either.

    Args:
        prob_T: probability of speech, or None.
        openness_T: opening of the mouth, or None.
        num_frames: T.
        config: thresholds and lengths.
    """
    heard_T = np.zeros(num_frames, bool) if prob_T is None else prob_T >= config.speech_threshold
    if openness_T is None:
        return heard_T
    seen_T = np.zeros(num_frames, bool)
    for start, end in _close_gaps(
        _runs(lip_activity(openness_T, config.lips_threshold)), config.min_pause_s * FRAME_RATE
    ):
        seen_T[start:end] = True
    speech_T = heard_T.copy()
    for start, end in _runs(seen_T & ~heard_T):
        if end - start >= config.min_lips_s * FRAME_RATE:
            speech_T[start:end] = True
    return speech_T


def _runs(mask_T: np.ndarray) -> list[tuple[int, int]]:
    """Return the spans in which the mask is True."""
    change = np.flatnonzero(np.diff(np.concatenate([[False], mask_T, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in change.reshape(-1, 2)]


def _close_gaps(spans: Sequence[tuple[int, int]], gap: float) -> list[tuple[int, int]]:
    """Join spans that lie closer together than ``gap`` frames."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start - joined[-1][1] < gap:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _join_cramped(stretches: list[tuple[int, int]], num_frames: int, shortest: int) -> list[tuple[int, int]]:
    """Join stretches that cannot grow to ``shortest`` within the nearer halves of the pauses around them."""
    stretches = list(stretches)
    index = 0
    while index < len(stretches) and len(stretches) > 1:
        start, end = stretches[index]
        before = start - stretches[index - 1][1] if index else None
        after = stretches[index + 1][0] - end if index + 1 < len(stretches) else None
        room = end - start + (start if before is None else before // 2)
        room += num_frames - end if after is None else after // 2
        if room >= shortest:
            index += 1
            continue
        if before is not None and (after is None or before <= after):
            index -= 1
        stretches[index : index + 2] = [(stretches[index][0], stretches[index + 1][1])]
    return stretches


def _grow(stretch: tuple[int, int], room: tuple[int, int], padding: int, shortest: int) -> tuple[int, int]:
    """Return the stretch with ``padding`` on each side, or more up to ``shortest``, as far as its room allows."""
    start, end = max(stretch[0] - padding, room[0]), min(stretch[1] + padding, room[1])
    start = max(min(start, end - shortest), room[0])
    return start, min(max(end, start + shortest), room[1])


def _cut_cost(speech_T: np.ndarray, loud_T: np.ndarray | None) -> np.ndarray:
    """Return what a cut before each frame costs, from how likely speech is around it and how loud it is."""
    cost_T = _around(speech_T, _DIP_FRAMES)
    if loud_T is None:
        return cost_T
    loudest = max(float(np.quantile(loud_T, 0.95)), 1e-9)
    return cost_T + _HUSH_COST * _around(np.minimum(loud_T / loudest, 1), _HUSH_FRAMES)


def _around(values_T: np.ndarray, length: int) -> np.ndarray:
    """Return the mean over ``length`` frames around each frame's start, fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values_T, dtype=np.float64)])
    here_T = np.arange(len(values_T))
    first_T, last_T = np.maximum(here_T - length // 2, 0), np.minimum(here_T + length // 2, len(values_T))
    return (sums[last_T] - sums[first_T]) / (last_T - first_T)


def _split(stretch: tuple[int, int], cost_T: np.ndarray, longest: int, shortest: int) -> list[tuple[int, int]]:
    """Return the pieces, ``shortest`` to ``longest`` frames each, whose cuts cost least together; they leave no gap.

    By dynamic programming over the frames: the best way to cut off everything before a frame is the best of those up
    to one piece earlier.
    """
    first, last = stretch
    length = last - first
    if length <= longest:
        return [stretch]
    piece_cost = _UNEVEN_COST * (np.arange(longest, shortest - 1, -1) / longest) ** 2  # from the longest piece on
    best_T = np.full(length + 1, np.inf)
    best_T[0] = 0.0
    before_T = np.zeros(length + 1, np.int64)
    for here in range(shortest, length + 1):
        earliest = max(here - longest, 0)
        costs = best_T[earliest : here - shortest + 1]
        costs = costs + piece_cost[len(piece_cost) - len(costs) :]
        choice = int(costs.argmin())
        before_T[here] = earliest + choice
        best_T[here] = costs[choice] + (_CUT_COST + cost_T[first + here] if here < length else 0.0)
    pieces = []
    while length:
        pieces.append((first + int(before_T[length]), first + length))
        length = int(before_T[length])
    return pieces[::-1]
