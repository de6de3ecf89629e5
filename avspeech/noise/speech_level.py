"""Level of active speech, after ITU-T P.56 (12/2011), method B.

The rms over a clip falls with every pause in it, so at one SNR a hesitant speaker gets less noise than a fluent one.
Method B smooths the envelope twice over 30 ms. For thresholds a factor of 2 apart it counts the time that the envelope
lies above the threshold or did so in the last 200 ms, and takes the level over that time. The result is the level that
lies 15.9 dB above its threshold. We interpolate in decibels in closed form, where the recommendation halves the
interval until it is within half a decibel. Our thresholds reach further down, to 1/64 of an int16 step.
"""

import math

import numpy as np
from scipy.signal import lfilter

from avspeech.timebase import SAMPLE_RATE

_TIME_CONSTANT_S, _HANGOVER_S, _MARGIN_DB = 0.03, 0.2, 15.9
_THRESHOLDS = 2.0 ** np.arange(-21, 0)


def active_level(audio_S: np.ndarray) -> tuple[float, float]:
    """Return the rms of the speech while it is active, and the share of the clip in which it is (activity factor).

    Both are 0 where no speech is found: in silence, in single samples, and beside clicks that are much louder than the
    speech (full scale beside speech at -70 dB).

    Args:
        audio_S: speech in [-1, 1] at 16 kHz, any float dtype.
    """
    audio_S = audio_S.astype(np.float64)
    energy = float(np.sum(np.square(audio_S)))
    if not energy:
        return 0.0, 0.0
    keep = math.exp(-1 / (SAMPLE_RATE * _TIME_CONSTANT_S))
    envelope_S = np.abs(audio_S)
    for _ in range(2):
        envelope_S = np.asarray(lfilter([1 - keep], [1, -keep], envelope_S))
    above: tuple[float, float] | None = None  # level and threshold in dB of the threshold before
    for threshold in _THRESHOLDS:
        count = _active_samples(envelope_S >= threshold)
        if not count:
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
    """Count the samples that lie above a threshold or follow one that did within the hangover."""
    index_S = np.arange(len(above_S))
    last_S = np.maximum.accumulate(np.where(above_S, index_S, -len(above_S) - SAMPLE_RATE))
    return int(np.count_nonzero(index_S - last_S <= round(_HANGOVER_S * SAMPLE_RATE)))
