"""Where words begin and end, once it is known roughly when each is said: between its neighbours, and within speech.

CTC says one moment of a word, anywhere inside it, and attention lets the first word begin with the silence before it.
Numbers here were chosen on the training and validation clips of GRID and of synthetic speech.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from avspeech.timebase import FRAME_RATE

Interval = tuple[float, float]
"""Start and end in seconds."""

SPEECH = 0.5
"""A frame from this probability on is speech."""
PAUSE_S = 0.12
"""Shorter silences lie inside words, before the plosives."""
TYPICAL_GAP_S = 0.3
"""From one token to the next, where a text has but one."""
LONGEST_REACH_S = 0.6
"""A word begins and ends no further from the moments that are known of it."""
LATE_END_S = 0.3
"""By so much the last word's end may be too early, and is moved to the end of the speech."""
SHORTEST_S = 0.04
"""A word that would be shorter in speech is left where it is: the detector does not hear it."""


@dataclass(frozen=True)
class Moments:
    """What is known of a word: when its first and its last token are read, and how long these two are."""

    first: Interval
    """The frames in which its first token is read."""
    last: Interval
    first_letters: int = 1
    """Of its first token, at least 1: longer tokens reach further."""
    last_letters: int = 1


def speech_intervals(prob_T: np.ndarray) -> list[Interval]:
    """Return when somebody speaks, in order; pauses within words are no silence.

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

    Neighbours meet between their tokens, nearer to the shorter one (in the ratio of the roots of their letters), or
    leave the pauses between them out. The first word starts, and the last ends, with the speech if that is near, or
    half a typical gap from its token.

    Args:
        moments: of the words in order.
        duration_s: of the clip.
        speech: see ``speech_intervals``; none: not known.
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
    """Return when a text starts whose first token is read at ``first``."""
    near = min(gap, LONGEST_REACH_S) / 2
    begun = [start for start, end in speech if start < first[1] and end > first[0] - reach]
    if not begun:
        return min(_middle(first) - near, first[0])
    return min(max(begun[-1], _middle(first) - reach), _middle(first) - near / 2, first[0])


def _between(one: Moments, other: Moments, speech: Sequence[Interval]) -> Interval:
    """Return when the former of two neighbours ends and the latter begins."""
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
    """Return words without the silence at their ends, the last one up to the end of the speech if it is near.

    Args:
        words: start and end of each, in order.
        speech: see ``speech_intervals``; none: the words stay as they are.
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
    """Return words of which nothing is known: side by side, as long as their letters ask for.

    Args:
        letters: of each word, at least 1.
        start_s: of the first word.
        end_s: of the last word.
    """
    ends = start_s + np.cumsum([0, *letters]) / max(1, sum(letters)) * (end_s - start_s)
    return list(pairwise(ends.tolist()))
