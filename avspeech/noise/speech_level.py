"""Active speech level after ITU-T P.56 (12/2011), method B: pauses do not lower it, unlike the rms.

The envelope is smoothed twice over 30 ms. For thresholds a factor of 2 apart, the level is taken over the time above
the threshold plus 200 ms hangover. The result is the level 15.9 dB above its threshold. Unlike the recommendation, we
interpolate in decibels in closed form, and thresholds reach down to 1/64 of an int16 step.
"""

import math

import numpy as np
from scipy.signal import lfilter

from avspeech.timebase import SAMPLE_RATE

_TIME_CONSTANT_S, _HANGOVER_S, _MARGIN_DB = 0.03, 0.2, 15.9
_THRESHOLDS = 2.0 ** np.arange(-21, 0)


def active_level(audio_S: np.ndarray) -> tuple[float, float]:
    """Return the rms of active speech, and the active share of the clip, from float audio in [-1, 1] at 16 kHz.

    Both are 0 in silence, for single samples, and beside clicks much louder than the speech.
    """
    audio_S = audio_S.astype(np.float64)
    energy = float(np.sum(np.square(audio_S)))
    keep, envelope_S = math.exp(-1 / (SAMPLE_RATE * _TIME_CONSTANT_S)), np.abs(audio_S)
    for _ in range(2):
        envelope_S = np.asarray(lfilter([1 - keep], [1, -keep], envelope_S))
    above: tuple[float, float] | None = None  # level and threshold in dB of the threshold before
    for threshold in _THRESHOLDS:
        if not (count := _active_samples(envelope_S >= threshold)):  # silence included
            break
        level_db, threshold_db = 10 * math.log10(energy / count), 20 * math.log10(threshold)
        excess = level_db - threshold_db - _MARGIN_DB
        if excess <= 0:
            if above is None:
                break
            before = above[0] - above[1] - _MARGIN_DB
            level_db = above[0] + before / (before - excess) * (level_db - above[0])
            return 10 ** (level_db / 20), min(1.0, energy / len(audio_S) / 10 ** (level_db / 10))
        above = level_db, threshold_db
    return 0.0, 0.0


def _active_samples(above_S: np.ndarray) -> int:
    """Count the samples above a threshold or within the hangover after one."""
    index_S = np.arange(len(above_S))
    last_S = np.maximum.accumulate(np.where(above_S, index_S, -len(above_S) - SAMPLE_RATE))
    return int(np.count_nonzero(index_S - last_S <= round(_HANGOVER_S * SAMPLE_RATE)))
