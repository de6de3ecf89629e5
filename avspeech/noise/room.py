"""Speech in a room: convolution with a measured impulse response, identical bit by bit on every machine.

Both inputs are int16 steps, so rounding removes the FFT's error (below 0.01 for clips of a minute).
"""

import numpy as np
from scipy.signal import fftconvolve

from avspeech.noise.mixing import rms


def choose_gain(speech_S: np.ndarray, response_S: np.ndarray) -> float:
    """Return the gain that keeps the rms, or less to avoid clipping; 0 for silent speech. Inputs: int16 steps."""
    wet_S = _convolve(speech_S, response_S)
    if not wet_S.any():
        return 0.0
    return min(rms(speech_S.astype(np.float64)) / rms(wet_S), 32767 / float(np.abs(wet_S).max()))


def reverberate(speech_S: np.ndarray, response_S: np.ndarray, gain: float) -> np.ndarray:
    """Return reverberated speech, int16 steps (S,): no delay, echoes cut at the end."""
    return np.rint(_convolve(speech_S, response_S) * gain).astype(np.int16)


def _convolve(speech_S: np.ndarray, response_S: np.ndarray) -> np.ndarray:
    direct = int(np.argmax(np.abs(response_S.astype(np.int32))))  # sample of the direct sound
    wet_S = fftconvolve(speech_S.astype(np.float64), response_S.astype(np.float64))
    return np.rint(np.asarray(wet_S)[direct : direct + len(speech_S)])
