"""What it does to a clip to be stored otherwise: pictures repeat and drop out, sound comes early or late.

Files have 24 to 60 frames a second, encoders delay sound by some milliseconds without saying so. A model that was
trained on clips of one make only writes other words for them.
"""

import numpy as np

from avspeech.timebase import FRAME_RATE, SAMPLE_RATE

FRAME_RATES = (20.0, 60.0)
"""Frames per second that a clip may have been stored with."""


def at_other_rate(mouth_THW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the clip as it comes back at 25 fps after being stored with another rate, (T, H, W).

    The other rate and its phase are drawn. Each of its frames shows what was on screen at its moment; each frame that
    comes back shows the last of them before its middle, as ``avspeech.media.video`` reads files.
    """
    rate, phase = rng.uniform(*FRAME_RATES), rng.uniform()
    stored_T = np.floor((np.arange(len(mouth_THW)) + 0.5) / FRAME_RATE * rate - phase)
    shown_T = np.floor((stored_T + phase) / rate * FRAME_RATE).astype(int)
    return mouth_THW[np.clip(shown_T, 0, len(mouth_THW) - 1)]


def shifted(audio_S: np.ndarray, longest_ms: float, rng: np.random.Generator) -> np.ndarray:
    """Return the sound up to so much earlier or later, as long as before; what is missing is silence."""
    limit = round(longest_ms * SAMPLE_RATE / 1000)
    shift = int(rng.integers(-limit, limit + 1))
    if shift < 0:
        return np.pad(audio_S[-shift:], (0, min(-shift, len(audio_S))))
    return np.pad(audio_S[: max(len(audio_S) - shift, 0)], (min(shift, len(audio_S)), 0))
