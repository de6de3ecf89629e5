"""Resample sound to 16 kHz in a stream: memory is flat."""

from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from avspeech.media.sound import silence
from avspeech.timebase import SAMPLE_RATE

RESTART_S = 60
"""Longer gaps are not sent through the resampler, which starts anew after them."""


class Resampler:
    """Gives mono samples of any rate, each at its position, as sound at 16 kHz without gaps, piece by piece."""

    def __init__(self) -> None:
        self.length = 0
        """Samples that were given."""
        self._rate = self._begin = self._length = self._queued = 0
        self._first = 0  # position at ``_rate`` of the run's first sample
        self._queue: list[np.ndarray] = []
        self._resampler: Any = None

    def write(self, position: int, mono_S: np.ndarray, rate: int) -> Iterator[np.ndarray]:
        """Add samples; zeros fill what lies between them and the last ones."""
        if self._rate == 0 and position <= RESTART_S * rate:
            yield from self._start(0, rate)
        gap = position - self._first - self._length
        if rate != self._rate or gap > RESTART_S * rate:
            yield from self.finish()
            yield from self._start(position, rate)
            gap = 0
        while gap > 0:
            yield from self._add(np.zeros(min(gap, rate), np.float32))
            gap -= rate
        yield from self._add(mono_S)

    def finish(self) -> Iterator[np.ndarray]:
        """End a run: its length is that of its samples, rounded up."""
        if not self._length:
            return
        end = self._begin - (-self._length * SAMPLE_RATE // self._rate)
        yield from self._push()
        if self._rate != SAMPLE_RATE:
            yield from self._given(self._resampler.resample(None), end)
        yield from self._zeros(end)
        self._length = 0

    def _start(self, position: int, rate: int) -> Iterator[np.ndarray]:
        self._rate, self._length = rate, 0
        yield from self._zeros(round(position * SAMPLE_RATE / rate))
        self._begin, self._first = self.length, position
        if rate != SAMPLE_RATE:
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)

    def _zeros(self, end: int) -> Iterator[np.ndarray]:
        if self.length < end:
            yield self._counted(silence(end - self.length))

    def _add(self, mono_S: np.ndarray) -> Iterator[np.ndarray]:
        self._queue.append(mono_S)
        self._queued += len(mono_S)
        self._length += len(mono_S)
        if self._queued >= self._rate:
            yield from self._push()

    def _push(self) -> Iterator[np.ndarray]:
        if not self._queued:
            return
        mono_S = np.concatenate(self._queue)
        self._queue, self._queued = [], 0
        if self._rate == SAMPLE_RATE:
            yield self._counted(mono_S)
            return
        frame = av.AudioFrame.from_ndarray(mono_S[None], format="flt", layout="mono")
        frame.sample_rate = self._rate
        yield from self._given(self._resampler.resample(frame))

    def _given(self, frames: list[Any], end: int | None = None) -> Iterator[np.ndarray]:
        """Yield what the resampler gave, up to the sample ``end``."""
        for frame in frames:
            yield self._counted(frame.to_ndarray()[0][: None if end is None else end - self.length])

    def _counted(self, audio_S: np.ndarray) -> np.ndarray:
        self.length += len(audio_S)
        return audio_S
