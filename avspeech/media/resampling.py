"""Resample sound to 16 kHz in a stream, into one array that grows in place: memory is flat apart from the array."""

from typing import Any

import av
import numpy as np

from avspeech.timebase import SAMPLE_RATE

RESTART_S = 60
"""Longer gaps are not sent through the resampler, which starts anew after them."""
_GROWTH = (2**16, 2**22)  # samples, least and most, by which the array grows; a twentieth of it between them


class Growing:
    """A float32 array to which samples are added at the end, without a second copy."""

    def __init__(self) -> None:
        self._array_S = np.zeros(0, np.float32)
        self.length = 0

    def extend(self, length: int) -> np.ndarray:
        """Return the next ``length`` samples, zeros, to write into; only until the next call."""
        self.length += length
        if self.length > len(self._array_S):
            growth = min(max(self.length // 20, _GROWTH[0]), _GROWTH[1])
            self._array_S.resize(self.length + growth, refcheck=False)
        return self._array_S[self.length - length : self.length]

    def trim(self, length: int) -> None:
        """Make it exactly so long."""
        self.extend(max(0, length - self.length))
        self._array_S[length : self.length] = 0
        self.length = length

    def finish(self) -> np.ndarray:
        """Return the array; nothing can be added any more."""
        self._array_S.resize(self.length, refcheck=False)
        return self._array_S


class Resampler:
    """Writes mono samples of any rate, at their positions, into a ``Growing`` array at 16 kHz."""

    def __init__(self) -> None:
        self._out = Growing()
        self._rate = self._begin = self._length = self._queued = 0
        self._first = 0  # position at ``_rate`` of the run's first sample
        self._queue: list[np.ndarray] = []
        self._resampler: Any = None

    def write(self, position: int, mono_S: np.ndarray, rate: int) -> None:
        """Add samples; zeros fill what lies between them and the last ones."""
        if self._rate == 0 and position <= RESTART_S * rate:
            self._start(0, rate)
        gap = position - self._first - self._length
        if rate != self._rate or gap > RESTART_S * rate:
            self._flush()
            self._start(position, rate)
            gap = 0
        while gap > 0:
            self._add(np.zeros(min(gap, rate), np.float32))
            gap -= rate
        self._add(mono_S)

    def finish(self) -> np.ndarray:
        """Return all sound, float32 at 16 kHz."""
        self._flush()
        return self._out.finish()

    def _start(self, position: int, rate: int) -> None:
        self._rate, self._length = rate, 0
        begin = round(position * SAMPLE_RATE / rate)
        self._out.extend(max(0, begin - self._out.length))
        self._begin, self._first = self._out.length, position
        if rate != SAMPLE_RATE:
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)

    def _add(self, mono_S: np.ndarray) -> None:
        self._queue.append(mono_S)
        self._queued += len(mono_S)
        self._length += len(mono_S)
        if self._queued >= self._rate:
            self._push()

    def _push(self) -> None:
        if not self._queued:
            return
        mono_S = np.concatenate(self._queue)
        self._queue, self._queued = [], 0
        if self._rate == SAMPLE_RATE:
            self._out.extend(len(mono_S))[:] = mono_S
            return
        frame = av.AudioFrame.from_ndarray(mono_S[None], format="flt", layout="mono")
        frame.sample_rate = self._rate
        self._take(self._resampler.resample(frame))

    def _take(self, frames: list[Any]) -> None:
        for frame in frames:
            samples_S = frame.to_ndarray()[0]
            self._out.extend(len(samples_S))[:] = samples_S

    def _flush(self) -> None:
        """End a run: its length is that of its samples, rounded up."""
        if not self._length:
            return
        self._push()
        if self._rate != SAMPLE_RATE:
            self._take(self._resampler.resample(None))
        self._out.trim(self._begin - (-self._length * SAMPLE_RATE // self._rate))
        self._length = 0
