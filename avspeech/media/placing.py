"""Put decoded samples at their places in time.

Time stamps are followed only where they disagree with the number of samples for good: stamps that a recorder took when
packets arrived wobble, and following each one tears sound that has no gap.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

MAX_DRIFT_S = Fraction(1, 50)
"""Drift beyond which timestamps replace the sample count: half a frame. Some containers round timestamps to 1 ms."""
LOOK_AHEAD_S = 2
"""How far later stamps are asked whether a drift lasts."""
_NEXT = 5  # stamps that tell whether the drift is there already
_STEP_S = 0.005  # change of the drift from one stamp to the next beyond rounding
_MIN_STEPS = 3  # of them, both up and down, among stamps that wobble


class Piece(NamedTuple):
    """Decoded mono samples, and their time in seconds by the stamp."""

    time: Fraction
    mono_S: np.ndarray
    rate: int


class Placed(NamedTuple):
    """Samples and the place of their first, at their rate from the start on."""

    position: int
    mono_S: np.ndarray
    rate: int


def place(pieces: Iterable[Piece], start: Fraction) -> Iterator[Placed]:
    """Yield samples in order, without overlap; those from before ``start`` are left out. The rate may change."""
    queue: deque[tuple[int, np.ndarray]] = deque()
    rate = length = queued = 0
    for piece in pieces:
        if piece.rate != rate:
            length = yield from _drain(queue, rate, length)
            length, rate, queued = round(length * Fraction(piece.rate, rate or 1)), piece.rate, 0
        queue.append((round((piece.time - start) * rate), piece.mono_S))
        queued += len(piece.mono_S)
        while queued > LOOK_AHEAD_S * rate and len(queue) > 1:
            queued -= len(queue[0][1])
            placed = _next(queue, rate, length)
            length = placed.position + len(placed.mono_S)
            yield placed
    yield from _drain(queue, rate, length)


def _drain(queue: deque[tuple[int, np.ndarray]], rate: int, length: int) -> Iterator[Placed]:
    while queue:
        placed = _next(queue, rate, length)
        length = placed.position + len(placed.mono_S)
        yield placed
    return length


def _next(queue: deque[tuple[int, np.ndarray]], rate: int, length: int) -> Placed:
    """Take the first samples of the queue and put them behind the ``length`` samples that have a place."""
    position, mono_S = queue.popleft()
    if position < 0 and length == 0:  # priming samples from before the origin
        mono_S, position = mono_S[-position:], 0
    drift = position - length
    if length == 0 or abs(drift) > MAX_DRIFT_S * rate:
        drift = _lasting(_drifts(drift, length + len(mono_S), queue, rate), rate, length == 0)
        length += max(drift, 0)
        mono_S = mono_S[max(-drift, 0) :]
    return Placed(length, mono_S, rate)


def _drifts(drift: int, length: int, queue: Iterable[tuple[int, np.ndarray]], rate: int) -> list[int]:
    """Return how far the stamps are from the sample count, from now on up to a gap of a second."""
    drifts = [drift]
    for position, mono_S in queue:
        if abs(position - length - drifts[-1]) > rate:
            break
        drifts.append(position - length)
        length += len(mono_S)
    return drifts


def _lasting(drifts: Sequence[int], rate: int, is_first: bool) -> int:
    """Return the drift to follow, in samples."""
    steps = np.diff(drifts)
    soon, later = np.median(drifts[:_NEXT]), np.median(drifts)
    allowed, drift = float(MAX_DRIFT_S) * rate, drifts[0]
    if min((steps > _STEP_S * rate).sum(), (steps < -_STEP_S * rate).sum()) >= _MIN_STEPS:
        low, high = np.percentile(drifts, (10, 90))
        allowed, drift = allowed + (high - low) / 2, round(later)
    if is_first:
        return max(drift, 0)
    return drift if min(soon, later) > allowed or max(soon, later) < -allowed else 0
