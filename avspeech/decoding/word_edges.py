"""Start and end of words whose rough times are known: between their neighbours, and within speech.

CTC gives one moment anywhere inside a word, and attention lets the first word begin with the silence before it.
The numbers were chosen on the training and validation clips of GRID and of synthetic speech.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from avspeech.timebase import FRAME_RATE

Interval = tuple[float, float]
"""Start and end in seconds."""

SPEECH = 0.5
"""Lowest probability of a frame that counts as speech."""
PAUSE_S = 0.12
"""Shortest pause in seconds; shorter silences lie inside words, before plosives."""
TYPICAL_GAP_S = 0.3
"""Seconds from one token to the next, assumed for a text of one token."""
LONGEST_REACH_S = 0.6
"""Most seconds from a word's known moments to its start or end."""
LATE_END_S = 0.3
"""Largest gap in seconds by which the last word is extended to the end of the speech."""
SHORTEST_S = 0.04
"""A word with less speech than this, in seconds, keeps its times: the detector missed it."""


@dataclass(frozen=True)
class Moments:
    """Times at which a word's first and last token are read, and how long these tokens are."""

    first: Interval
    """When the first token is read."""
    last: Interval
    """When the last token is read."""
    first_letters: int = 1
    """Letters of the first token, at least 1; longer tokens reach further."""
    last_letters: int = 1
    """Letters of the last token, at least 1."""


def speech_intervals(prob_T: np.ndarray) -> list[Interval]:
    """Return the intervals of speech, in order; pauses within words count as speech.

    Args:
        prob_T: probability of speech in each frame at 25 Hz.
    """
    padded = np.concatenate([[False], np.asarray(prob_T) >= SPEECH, [False]])
    edges = np.flatnonzero(padded[1:] != padded[:-1]) / FRAME_RATE
    intervals: list[Interval] = []
    for start, end in edges.reshape(-1, 2).tolist():
        if intervals and start - intervals[-1][1] < PAUSE_S - 1e-6:
            start = intervals.pop()[0]
        intervals.append((start, end))
    return intervals


def words_around(moments: Sequence[Moments], duration_s: float, speech: Sequence[Interval] = ()) -> list[Interval]:
    """Return the start and end of each word.

    Neighbours meet between their tokens, nearer to the shorter token (in the ratio of the roots of their letters);
    a pause between them belongs to neither. The first word starts, and the last word ends, with the speech if that is
    near, otherwise half a typical gap from its token.

    Args:
        moments: one entry per word, in order.
        duration_s: length of the clip.
        speech: see ``speech_intervals``; empty: not known.
    """
    if not moments:
        return []
    ends = [side for word in moments for side in dict.fromkeys((word.first, word.last))]
    gaps = [_middle(b) - _middle(a) for a, b in pairwise(ends)]
    gap = float(np.median(gaps)) if gaps else TYPICAL_GAP_S
    reach = min(max(1.5 * gap, TYPICAL_GAP_S), LONGEST_REACH_S)
    first, last = moments[0].first, moments[-1].last
    starts = [_onset(first, gap, reach, speech)]
    stops: list[float] = []
    for one, other in pairwise(moments):
        end, start = _between(one, other, speech)
        stops.append(min(end, max(one.last[1], _middle(one.last) + reach)))
        starts.append(max(start, min(other.first[0], _middle(other.first) - reach)))
    mirrored = [(-end, -start) for start, end in reversed(speech)]
    stops.append(-_onset((-last[1], -last[0]), gap, reach, mirrored))
    return [(max(0.0, start), min(duration_s, stop)) for start, stop in zip(starts, stops, strict=True)]


def _middle(interval: Interval) -> float:
    return (interval[0] + interval[1]) / 2


def _onset(first: Interval, gap: float, reach: float, speech: Sequence[Interval]) -> float:
    """Return the start of a text whose first token is read at ``first``."""
    near = min(gap, LONGEST_REACH_S) / 2
    begun = [start for start, end in speech if start < first[1] and end > first[0] - reach]
    if not begun:
        return min(_middle(first) - near, first[0])
    return min(max(begun[-1], _middle(first) - reach), _middle(first) - near / 2, first[0])


def _between(one: Moments, other: Moments, speech: Sequence[Interval]) -> Interval:
    """Return the end of the former neighbour and the start of the latter."""
    pauses = [
        (end, start) for (_, end), (start, _) in pairwise(speech) if end >= one.last[1] and start <= other.first[0]
    ]
    if pauses:
        return pauses[0][0], pauses[-1][1]
    share = 1 / (1 + (other.first_letters / one.last_letters) ** 0.5)
    boundary = _middle(one.last) + share * (_middle(other.first) - _middle(one.last))
    boundary = min(max(boundary, one.last[1]), other.first[0])
    return boundary, boundary


def fit_to_speech(words: Sequence[Interval], speech: Sequence[Interval]) -> list[Interval]:
    """Return words without the silence at their ends; the last word lasts to the end of the speech if that is near.

    Args:
        words: start and end of each, in order.
        speech: see ``speech_intervals``; empty: the words stay as they are.
    """
    fitted = []
    for start, end in words:
        heard = [(max(start, a), min(end, b)) for a, b in speech if min(end, b) - max(start, a) > SHORTEST_S]
        fitted.append((heard[0][0], heard[-1][1]) if heard else (start, end))
    if fitted:
        start, end = fitted[-1]
        near = [stop for begin, stop in speech if begin <= end < stop <= end + LATE_END_S]
        fitted[-1] = (start, *near)[:2] if near else (start, end)
    return fitted


def spread(letters: Sequence[int], start_s: float, end_s: float) -> list[Interval]:
    """Return words without known times: side by side, each as long as its share of the letters.

    Args:
        letters: number of letters of each word, at least 1.
        start_s: start of the first word.
        end_s: end of the last word.
    """
    ends = start_s + np.cumsum([0, *letters]) / max(1, sum(letters)) * (end_s - start_s)
    return list(pairwise(ends.tolist()))
