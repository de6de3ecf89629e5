"""Motion of a speaker in a clip: the mouth follows the phones; head, eyes and light drift.

Each phone pulls the mouth parameters towards its shape with a weight that decays outside it (Cohen & Massaro 1993).
Blending alone never shuts the lips in fast speech, so a bilabial also caps the opening, to zero in its closure.
"""

from collections.abc import Sequence

import numpy as np

from avspeech.timebase import FRAME_RATE
from data_prep.synthetic.render import Motion
from data_prep.synthetic.speaker import Speaker
from data_prep.synthetic.speech import Phone, Speech, closure_of
from data_prep.synthetic.visemes import JAW, NAMES, OPEN, TUCK, VISEMES, WIDTH

TURN_REST = (0.10, 0.05, 0.03)
"""Standard deviation over clips of yaw, pitch and roll, radians."""
TURN_SWAY = (0.06, 0.035, 0.025)
"""Scale of their drift within a clip, radians."""
TURN_LIMIT = (0.30, 0.18, 0.12)
BLINK = (1, 2, 2, 1)
"""Eye textures of a blink, four frames."""
LIP_SPEED = 14.0
"""Speed of lips that open from a closure, cm/s."""
SMALLEST_GAP = 0.06
"""Gaps below this are drawn shut, cm."""


def draw_motion(speech: Speech, speaker: Speaker, rng: np.random.Generator) -> Motion:
    """Return a speaker's motion during a speech."""
    num_frames = speech.num_frames
    mouth_TF = mouth_trajectory(speech.phones, num_frames, rng, speaker.opening, speaker.clarity)
    turn_T3 = np.stack([_sway(rng, num_frames) for _ in range(3)], -1) * TURN_SWAY + rng.normal(0, TURN_REST)
    eyes_T = np.zeros(num_frames, int)
    start = int(rng.uniform(5, 60))
    while start < num_frames:
        eyes_T[start : start + len(BLINK)] = BLINK[: num_frames - start]
        start += int(rng.uniform(40, 120))
    return Motion(
        mouth_TF=mouth_TF,
        turn_T3=np.clip(turn_T3, np.negative(TURN_LIMIT), TURN_LIMIT),
        shift_T2=np.stack([2.0 * _sway(rng, num_frames), 1.5 * _sway(rng, num_frames)], -1),
        scale=rng.uniform(0.92, 1.04),
        eyes_T=eyes_T,
        light_T=1 + 0.02 * _sway(rng, num_frames, 0.2),
    )


def _sway(rng: np.random.Generator, num_frames: int, speed_hz: float = 0.5) -> np.ndarray:
    """Return a slow drift of about unit size, (T,)."""
    time_T = np.arange(num_frames) / FRAME_RATE
    waves = (rng.normal(0, 0.5) * np.sin(2 * np.pi * (speed_hz * f * time_T + rng.random())) for f in (0.4, 0.9, 1.7))
    return np.sum(list(waves), axis=0)


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
    for phone in (phone for phone in phones if phone.viseme == "PBM"):
        start_s, end_s = closure_of(phone)
        away_T = np.maximum(0, np.maximum(start_s - time_T, time_T - end_s))
        mouth_TF[:, OPEN] = np.minimum(mouth_TF[:, OPEN], LIP_SPEED * away_T)
        mouth_TF[:, TUCK] *= np.clip(away_T / 0.04, 0, 1)
    mouth_TF[mouth_TF[:, OPEN] < SMALLEST_GAP, OPEN] = 0
