"""Decide which of a segment's two streams can be trusted, where one of them spoils the other.

Sound without a voice is left out where lips move. Lips are left out that are shown too seldom, or that do not go with a
clear voice. Word errors of each case: experiments/2026-11-awkward-recordings.
"""

import numpy as np
import torch

from avspeech.features.logfbank import log_filterbank
from avspeech.roi.motion import SLOWEST
from avspeech.transcription.result import Doubt

UNHEARD = Doubt("audio", "nobody is heard: lips alone", "Nobody is heard to speak{where}: the lips alone were read.")
FOREIGN = Doubt(
    "video", "the voice is of nobody in view: sound alone", "The voice seems to be of nobody in view{where}: {fate}."
)
APART = Doubt("video", "lips and sound are out of step: sound alone", "Lips and sound are out of step{where}: {fate}.")
OF_BOTH = (UNHEARD, FOREIGN, APART)  # doubts that need both streams
VOICE, VOICE_FRAMES = 0.8, 4
"""Least probability of speech, and frames in a row that have it, of a voice. 84 pieces of made music have at most 2,
hiss, hum, wind and tones none, single words of clean speech 6 and more."""
FEWEST_PICTURES = 0.95 * SLOWEST
"""Pictures a second below which lips are not read beside sound. One model has 18 % word errors from sound, 13 % with
lips at 8 and 17 % at 6; another 12 % from sound, 5 % with lips at 8 and 8 % at 6."""
CONTRAST_DB, _FIRST_BAND = 42.0, 3
"""Least decibels between the loud and the quiet tenth of a clear voice, without the bands below 200 Hz: 80 % of clean
real clips have them, of clips in babble at 0 dB 5 %, at 10 dB 20 %."""


def has_voice(prob_T: np.ndarray) -> bool:
    """Return whether anybody is heard, by the probability of speech per frame."""
    sure_T = np.concatenate([[0], np.cumsum(prob_T >= VOICE)])
    return bool((sure_T[VOICE_FRAMES:] - sure_T[:-VOICE_FRAMES] == VOICE_FRAMES).any())


def is_clear(audio_S: np.ndarray) -> bool:
    """Return whether pauses are far quieter than speech; in noise a voice is not known to be another's.

    ``audio_S`` is mono at 16 kHz.
    """
    if not len(audio_S):
        return False
    bands_AF = log_filterbank(torch.from_numpy(np.ascontiguousarray(audio_S)))[:, _FIRST_BAND:]
    quiet, loud = np.quantile(torch.logsumexp(bands_AF, dim=1).numpy(), [0.1, 0.9])
    return float(loud - quiet) * 10 / np.log(10) >= CONTRAST_DB


def too_few(rate: float) -> Doubt:
    """Return the doubt of lips that are shown so many times a second."""
    shown = f"The picture has {rate:.0f} pictures a second, too few for lips"
    return Doubt("video", "too few pictures: sound alone", shown + "{where}: {fate}.")
