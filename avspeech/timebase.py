"""The three clocks of avspeech and the conversions between them.

Audio samples run at 16 kHz (axis ``S``), acoustic frames at 100 Hz (``A``), video frames, encoder and units at 25 Hz
(``T``).
"""

from typing import NamedTuple

SAMPLE_RATE = 16_000
ACOUSTIC_RATE = 100
FRAME_RATE = 25
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE
ACOUSTIC_PER_FRAME = ACOUSTIC_RATE // FRAME_RATE


class Span(NamedTuple):
    """A part of a longer recording, in its video frames: ``first`` to before ``end``, or to its end (None)."""

    first: int
    end: int | None

    @classmethod
    def between(cls, start_s: float | None, end_s: float | None) -> "Span | None":
        """Return the nearest frames to two times, at least one; None for all of a recording."""
        if not start_s and end_s is None:
            return None
        first = round((start_s or 0) * FRAME_RATE)
        return cls(first, None if end_s is None else max(round(end_s * FRAME_RATE), first + 1))


def frames_to_samples(num_frames: int) -> int:
    """Return the number of samples in ``num_frames`` video frames."""
    return num_frames * SAMPLES_PER_FRAME


def samples_to_frames(num_samples: int) -> int:
    """Return the number of video frames that ``num_samples`` samples fill, the last one perhaps in part."""
    return -(-num_samples // SAMPLES_PER_FRAME)
