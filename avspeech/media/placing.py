"""Put decoded samples at their places in time.

Time stamps are followed only where they disagree with the number of samples for good: stamps that a recorder took when
packets arrived wobble, and following each one tears sound that has no gap.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np

MAX_DRIFT_S = Fraction(1, 50)
"""Drift beyond which timestamps replace the sample count: half a frame. Some containers round timestamps to 1 ms."""
LOOK_AHEAD_S = 2
"""How far later stamps are asked whether a drift lasts."""
_NEXT = 5  # stamps that tell whether the drift is there already
_STEP_S = 0.005  # change of the drift from one stamp to the next beyond rounding
_PAST = 50  # stamps before the present one that tell how much they wobble
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
    line, length, rate = _Line(0, 0), 0, 0
    for piece in pieces:
        if piece.rate != rate:
            yield from line.drain()
            length, rate = round(line.length * Fraction(piece.rate, rate or 1)), piece.rate
            line = _Line(rate, length)
        line.add(round((piece.time - start) * rate), piece.mono_S)
        while line.is_full:
            yield line.take()
    yield from line.drain()


class _Line:
    """Samples of one rate that wait for their place, which is behind the ``length`` samples before them."""

    def __init__(self, rate: int, length: int) -> None:
        self.rate, self.length = rate, length
        self._queue: deque[tuple[int, np.ndarray]] = deque()
        self._queued = 0
        self._past: deque[int] = deque(maxlen=_PAST)  # drifts

    @property
    def is_full(self) -> bool:
        return self._queued > LOOK_AHEAD_S * self.rate and len(self._queue) > 1

    def add(self, position: int, mono_S: np.ndarray) -> None:
        self._queue.append((position, mono_S))
        self._queued += len(mono_S)

    def drain(self) -> Iterator[Placed]:
        while self._queue:
            yield self.take()

    def take(self) -> Placed:
        """Return the samples that come next."""
        position, mono_S = self._queue.popleft()
        self._queued -= len(mono_S)
        if position < 0 and self.length == 0:  # priming samples from before the origin
            mono_S, position = mono_S[-position:], 0
        drift = position - self.length
        self._past.append(drift)
        if self.length == 0 or abs(drift) > MAX_DRIFT_S * self.rate:
            follow = self._lasting(drift, len(mono_S))
            self._past = deque((one - follow for one in self._past), _PAST)
            self.length += max(follow, 0)
            mono_S = mono_S[max(-follow, 0) :]
        placed = Placed(self.length, mono_S, self.rate)
        self.length += len(mono_S)
        return placed

    def _lasting(self, drift: int, num_samples: int) -> int:
        """Return how much of a drift to follow, in samples."""
        coming = self._coming(drift, num_samples)
        steps = np.diff([*list(self._past)[:-1], *coming]) / self.rate
        allowed = float(MAX_DRIFT_S) * self.rate
        soon, later = np.median(coming[:_NEXT]), np.median(coming)
        if min((steps > _STEP_S).sum(), (steps < -_STEP_S).sum()) >= _MIN_STEPS:
            low, high = np.percentile([*self._past, *coming], (5, 95))
            allowed, drift = allowed + (high - low) / 2, round(later)
        if self.length == 0:
            return max(drift, 0)
        return drift if min(soon, later) > allowed or max(soon, later) < -allowed else 0

    def _coming(self, drift: int, num_samples: int) -> list[int]:
        """Return how far the stamps are from the sample count, from now on up to a gap of a second."""
        drifts, length = [drift], self.length + num_samples
        for position, mono_S in self._queue:
            if abs(position - length - drifts[-1]) > self.rate:
                break
            drifts.append(position - length)
            length += len(mono_S)
        return drifts
