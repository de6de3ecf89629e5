"""The mouth over time: phones with coarticulation and full lip closures.

Each phone pulls the mouth parameters towards its shape with a weight that decays outside it (Cohen & Massaro 1993).
Blending alone never shuts the lips in fast speech, so a bilabial also caps the opening, to zero in its closure.
"""

from collections.abc import Sequence

import numpy as np

from avspeech.timebase import FRAME_RATE
from data_prep.synthetic.speech import Phone, closure_of
from data_prep.synthetic.visemes import JAW, NAMES, OPEN, TUCK, VISEMES, WIDTH

LIP_SPEED = 14.0
"""Speed of lips that open from a closure, cm/s."""
SMALLEST_GAP = 0.06
"""Gaps below this are drawn shut, cm."""


def mouth_trajectory(
    phones: Sequence[Phone], num_frames: int, rng: np.random.Generator, opening: float = 1.0, clarity: float = 1.0
) -> np.ndarray:
    """Return ``mouth_TF``, float32: the ``MOUTH`` parameters in the middle of each video frame.

    ``rng`` varies how far each phone is carried out. ``opening`` scales the speaker's mouth, ``clarity`` the speed of
    changes between shapes; 1 is usual for both.
    """
    time_T = (np.arange(num_frames) + 0.5) / FRAME_RATE
    visemes = [VISEMES[phone.viseme] for phone in phones]
    start_M = np.array([phone.start_s for phone in phones])
    end_M = np.array([phone.end_s for phone in phones])
    duration_M = end_M - start_M
    shape_MF = np.array([viseme.shape for viseme in visemes])
    effort_M = opening * (1 + 0.07 * rng.standard_normal(len(phones)))
    shape_MF[:, OPEN] *= effort_M * np.sqrt(np.clip(duration_M / 0.09, 0.75, 1.15))  # short vowels open less
    shape_MF[:, JAW] *= effort_M
    shape_MF[:, WIDTH] *= 1 + 0.02 * rng.standard_normal(len(phones))

    outside_MT = np.maximum(0, np.maximum(start_M[:, None] - time_T, time_T - end_M[:, None]))
    off_centre_MT = np.minimum(duration_M[:, None], np.abs(2 * time_T - (start_M + end_M)[:, None])) / 2
    falloff_M = clarity * np.array([viseme.falloff for viseme in visemes])
    strength_M = np.array([viseme.strength for viseme in visemes])
    weight_MT = strength_M[:, None] * np.exp(-falloff_M[:, None] * (outside_MT + 0.35 * off_centre_MT))
    mouth_TF = (weight_MT.T @ shape_MF) / (weight_MT.sum(0)[:, None] + 1e-9)
    _shut(mouth_TF, phones, time_T)
    return mouth_TF.astype(np.float32)


def viseme_labels(phones: Sequence[Phone], num_frames: int) -> np.ndarray:
    """Return the viseme in each frame's middle, (T,) int64 indices into ``visemes.NAMES``; silence between phones."""
    time_T = (np.arange(num_frames) + 0.5) / FRAME_RATE
    label_T = np.full(num_frames, NAMES.index("SIL"))
    for phone in phones:
        label_T[(time_T >= phone.start_s) & (time_T < phone.end_s)] = NAMES.index(phone.viseme)
    return label_T


def _shut(mouth_TF: np.ndarray, phones: Sequence[Phone], time_T: np.ndarray) -> None:
    for phone in phones:
        if phone.viseme != "PBM":
            continue
        start_s, end_s = closure_of(phone)
        away_T = np.maximum(0, np.maximum(start_s - time_T, time_T - end_s))
        mouth_TF[:, OPEN] = np.minimum(mouth_TF[:, OPEN], LIP_SPEED * away_T)
        mouth_TF[:, TUCK] *= np.clip(away_T / 0.04, 0, 1)
    mouth_TF[mouth_TF[:, OPEN] < SMALLEST_GAP, OPEN] = 0
