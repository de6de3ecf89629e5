"""The three clocks of avspeech and every conversion between them.

Audio samples run at 16 kHz (axis ``S``), acoustic frames at 100 Hz (``A``), video frames and
everything that an encoder sees at 25 Hz (``T``). A name's axis letter says which clock it is on.
"""

SAMPLE_RATE = 16_000
"""Audio samples per second."""
ACOUSTIC_RATE = 100
"""Acoustic frames (filterbanks, MFCC) per second."""
FRAME_RATE = 25
"""Video frames per second; the clock of the encoder and of the units."""

SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE
ACOUSTIC_PER_FRAME = ACOUSTIC_RATE // FRAME_RATE


def frames_to_samples(num_frames: int) -> int:
    """Samples that last as long as ``num_frames`` video frames."""
    return num_frames * SAMPLES_PER_FRAME


def samples_to_frames(num_samples: int) -> int:
    """Video frames that ``num_samples`` touch; the last one may be filled only in part."""
    return -(-num_samples // SAMPLES_PER_FRAME)


def seconds_to_frame(time_s: float) -> int:
    """Index of the video frame that shows the moment ``time_s``."""
    return int(time_s * FRAME_RATE + 1e-6)


def seconds_to_sample(time_s: float) -> int:
    """Index of the audio sample nearest to ``time_s``."""
    return round(time_s * SAMPLE_RATE)
