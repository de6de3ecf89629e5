"""Find speech and cut a file into intervals that a model can take, in pauses where possible.

Intervals are ``(start, end)`` in 25 Hz frames, end exclusive. They are padded, because detectors are late at soft
onsets, and split at least cost if they are long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from avspeech.timebase import FRAME_RATE
from avspeech.transcription.speech_activity import MOVING_LIPS, lip_activity, lip_movement

Interval = tuple[int, int]

SHORTEST_S = 0.4  # shortest segment, except in a shorter file
_DIP_FRAMES, _HUSH_FRAMES = 10, 4
"""Windows around a cut: 0.4 s for the probability of speech (long pauses), 0.16 s for loudness (between words)."""
_CUT_COST = 0.05  # of each cut; silence costs 0, certain speech 1: two cuts in pauses are better than one in a word
_UNEVEN_COST = 0.02  # cost of the longest piece; quadratic in length, to prefer equal pieces
_HUSH_COST = 0.2
"""Cost of a cut in the loudest frames, or without sound in those with most lip movement; it halved the cut words in
GRID and synthetic speech without pauses."""


@dataclass(frozen=True)
class CuttingConfig:
    """How speech is found and cut."""

    longest_s: float = 20.0  # longest segment in seconds, at least 2
    min_pause_s: float = 0.5  # shortest pause in seconds that ends a segment
    padding_s: float = 0.2  # seconds of padding on each side, at most to the middle of the pause
    speech_threshold: float = 0.3  # least probability of a speech frame
    lips_threshold: float = MOVING_LIPS  # least lip movement in crop pixels, see ``lip_activity``
    min_lips_s: float = 0.5  # least seconds of unheard lip movement that are speech; a landmark jump lasts 0.28 s
    whole_margin_s: float = 1.5  # most seconds of silence on a side of a file's only stretch of speech that stay

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 2 if name == "longest_s" else 0
            if name != "speech_threshold" and not value >= least:
                raise ValueError(f"{name}={value} came, wanted {least} or more; see the cutting configuration")
        if not 0 < self.speech_threshold <= 1:
            raise ValueError(f"speech_threshold={self.speech_threshold} came, wanted more than 0 and at most 1")


@dataclass(frozen=True)
class Speech:
    """Where a file holds speech."""

    speech_T: np.ndarray  # bool, True in speech frames
    cut_cost_T: np.ndarray  # float64, cost of a cut before each frame


def find_speech(
    prob_T: np.ndarray | None,
    openness_T: np.ndarray | None,
    num_frames: int,
    config: CuttingConfig = CuttingConfig(),
    level_T: np.ndarray | None = None,
) -> Speech:
    """Return where speech is heard, or seen for ``min_lips_s`` or longer where nothing is heard.

    Args:
        prob_T: of ``speech_probability``; None without sound.
        openness_T: opening of the mouth, see ``lip_activity``; NaN without a face, None without video.
        level_T: of ``frame_level``; used for the cost of cuts, with ``prob_T`` only.

    Raises ValueError for an array of another length, or a probability outside 0..1.
    """
    for name, array in (("prob_T", prob_T), ("openness_T", openness_T), ("level_T", level_T)):
        if array is not None and array.shape != (num_frames,):
            raise ValueError(f"{name} of shape {array.shape} came, wanted ({num_frames},); use one length for all")
    if prob_T is not None and not ((prob_T >= 0) & (prob_T <= 1)).all():
        raise ValueError("prob_T with values outside 0..1 came, wanted probabilities; see speech_probability")
    heard_T = np.zeros(num_frames, bool) if prob_T is None else prob_T >= config.speech_threshold
    speech_T = heard_T.copy()
    if openness_T is not None:
        seen_T = np.zeros(num_frames, bool)
        moving = runs(lip_activity(openness_T, config.lips_threshold))
        for start, end in close_gaps(moving, config.min_pause_s * FRAME_RATE):
            seen_T[start:end] = True
        for start, end in runs(seen_T & ~heard_T):
            if end - start >= config.min_lips_s * FRAME_RATE:
                speech_T[start:end] = True
    if prob_T is not None:
        return Speech(speech_T, _cut_cost(prob_T, level_T))
    return Speech(speech_T, _cut_cost(speech_T, None if openness_T is None else lip_movement(openness_T)))


def cut_segments(speech: Speech, config: CuttingConfig = CuttingConfig()) -> list[Interval]:
    """Return the intervals of a file, in order, without overlap, with all speech frames; without speech all of it."""
    num_frames = len(speech.speech_T)
    longest, shortest = int(config.longest_s * FRAME_RATE), round(SHORTEST_S * FRAME_RATE)
    spoken = close_gaps(runs(speech.speech_T), config.min_pause_s * FRAME_RATE)
    found = _join_cramped(spoken, num_frames, shortest)
    if not found:
        count = -(-num_frames // longest)
        return list(pairwise(num_frames * index // count for index in range(count + 1))) if count else []
    margin = config.whole_margin_s * FRAME_RATE
    if len(found) == 1 and num_frames <= longest and max(found[0][0], num_frames - found[0][1]) <= margin:
        return [(0, num_frames)]
    edges = [0, *((before[1] + after[0]) // 2 for before, after in pairwise(found)), num_frames]
    padding = round(config.padding_s * FRAME_RATE)
    grown = [_grow(*both, padding, shortest) for both in zip(found, pairwise(edges), strict=True)]
    pieces = [piece for interval in grown for piece in _split(interval, speech.cut_cost_T, longest, shortest)]
    return [piece for piece in pieces if speech.speech_T[slice(*piece)].any()]  # cut-off padding holds no speech


def runs(mask_T: np.ndarray) -> list[Interval]:
    change = np.flatnonzero(np.diff(np.concatenate([[False], mask_T, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in change.reshape(-1, 2)]


def close_gaps(intervals: Sequence[Interval], gap: float) -> list[Interval]:
    joined: list[Interval] = []
    for start, end in intervals:
        if joined and start - joined[-1][1] < gap:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _join_cramped(intervals: list[Interval], num_frames: int, shortest: int) -> list[Interval]:
    """Join intervals that cannot grow to ``shortest`` within half of each adjacent pause."""
    index = 0
    while index < len(intervals) and len(intervals) > 1:
        (start, end), is_last = intervals[index], index + 1 == len(intervals)
        before = start - intervals[index - 1][1] if index else 2 * start
        after = 2 * (num_frames - end) if is_last else intervals[index + 1][0] - end
        if end - start + before // 2 + after // 2 >= shortest:
            index += 1
            continue
        if index and (is_last or before <= after):
            index -= 1
        intervals[index : index + 2] = [(intervals[index][0], intervals[index + 1][1])]
    return intervals


def _grow(interval: Interval, room: Interval, padding: int, shortest: int) -> Interval:
    """Return the interval with ``padding`` on each side, or grown to ``shortest``, within its room."""
    start, end = max(interval[0] - padding, room[0]), min(interval[1] + padding, room[1])
    start = max(min(start, end - shortest), room[0])
    return start, min(max(end, start + shortest), room[1])


def _cut_cost(speech_T: np.ndarray, loud_T: np.ndarray | None) -> np.ndarray:
    cost_T = _around(speech_T, _DIP_FRAMES)
    if loud_T is None or not len(loud_T):
        return cost_T
    loudest = max(float(np.quantile(loud_T, 0.95)), 1e-9)
    return cost_T + _HUSH_COST * _around(np.minimum(loud_T / loudest, 1), _HUSH_FRAMES)


def _around(values_T: np.ndarray, length: int) -> np.ndarray:
    """Return the mean over ``length`` frames around each frame's start, over fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values_T, dtype=np.float64)])
    here_T = np.arange(len(values_T))
    first_T, last_T = np.maximum(here_T - length // 2, 0), np.minimum(here_T + length // 2, len(values_T))
    return (sums[last_T] - sums[first_T]) / (last_T - first_T)


def _split(interval: Interval, cost_T: np.ndarray, longest: int, shortest: int) -> list[Interval]:
    """Return the pieces of ``shortest`` to ``longest`` frames with the least total cost, by dynamic programming."""
    first, length = interval[0], interval[1] - interval[0]
    if length <= longest:
        return [interval]
    piece_cost = _UNEVEN_COST * (np.arange(longest, shortest - 1, -1) / longest) ** 2  # longest first
    best_T = np.full(length + 1, np.inf)
    best_T[0] = 0.0
    before_T = np.zeros(length + 1, np.int64)
    for here in range(shortest, length + 1):
        earliest = max(here - longest, 0)
        costs = best_T[earliest : here - shortest + 1]
        costs = costs + piece_cost[-len(costs) :]
        choice = int(costs.argmin())
        before_T[here] = earliest + choice
        best_T[here] = costs[choice] + (_CUT_COST + cost_T[first + here] if here < length else 0.0)
    pieces = []
    while length:
        pieces.append((first + int(before_T[length]), first + length))
        length = int(before_T[length])
    return pieces[::-1]
