"""Start and end of words, from rough times, the neighbours and the speech.

CTC gives one moment inside a word, and attention starts the first word in the silence before it. The constants were
tuned on training and validation clips of GRID and of synthetic speech.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from avspeech.timebase import FRAME_RATE

Interval = tuple[float, float]  # start and end in seconds

SPEECH = 0.5  # lowest probability of a speech frame
PAUSE_S = 0.12  # shortest pause; shorter silences lie inside words, before plosives
TYPICAL_GAP_S = 0.3  # from one token to the next, assumed for a text of one token
LONGEST_REACH_S = 0.6  # from a word's known moments to its start or end
LATE_END_S = 0.3  # largest gap by which the last word is extended to the end of the speech
SHORTEST_S = 0.04  # a word with less speech than this keeps its times: the detector missed it


@dataclass(frozen=True)
class Moments:
    """Times and lengths (at least 1 letter) of a word's first and last token; longer tokens reach further."""

    first: Interval
    last: Interval
    first_letters: int = 1
    last_letters: int = 1


def speech_intervals(prob_T: np.ndarray) -> list[Interval]:
    """Return the intervals of speech, in order, from 25 Hz probabilities; pauses within words count as speech."""
    padded = np.concatenate([[False], np.asarray(prob_T) >= SPEECH, [False]])
    edges = np.flatnonzero(padded[1:] != padded[:-1]) / FRAME_RATE
    intervals: list[Interval] = []
    for start, end in edges.reshape(-1, 2).tolist():
        if intervals and start - intervals[-1][1] < PAUSE_S - 1e-6:
            start = intervals.pop()[0]
        intervals.append((start, end))
    return intervals


def words_around(moments: Sequence[Moments], duration_s: float, speech: Sequence[Interval] = ()) -> list[Interval]:
    """Return the start and end of each word, in order; empty ``speech``: not known.

    Neighbours meet between their tokens, nearer to the shorter one (ratio of the roots of their letters). A pause
    belongs to neither. The text starts and ends with the speech if near, else half a typical gap from its tokens.
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
    near = min(gap, LONGEST_REACH_S) / 2
    begun = [start for start, end in speech if start < first[1] and end > first[0] - reach]
    if not begun:
        return min(_middle(first) - near, first[0])
    return min(max(begun[-1], _middle(first) - reach), _middle(first) - near / 2, first[0])


def _between(one: Moments, other: Moments, speech: Sequence[Interval]) -> Interval:
    """Return the end of the former neighbour and the start of the latter."""
    gaps = ((end, start) for (_, end), (start, _) in pairwise(speech))
    if pauses := [(end, start) for end, start in gaps if end >= one.last[1] and start <= other.first[0]]:
        return pauses[0][0], pauses[-1][1]
    share = 1 / (1 + (other.first_letters / one.last_letters) ** 0.5)
    boundary = _middle(one.last) + share * (_middle(other.first) - _middle(one.last))
    boundary = min(max(boundary, one.last[1]), other.first[0])
    return boundary, boundary


def fit_to_speech(words: Sequence[Interval], speech: Sequence[Interval]) -> list[Interval]:
    """Return words without the silence at their ends; the last word lasts to the end of the speech if that is near."""
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
    """Return words side by side, each as long as its share of the letters (at least 1 per word)."""
    ends = start_s + np.cumsum([0, *letters]) / max(1, sum(letters)) * (end_s - start_s)
    return list(pairwise(ends.tolist()))
