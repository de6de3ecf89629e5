"""Motion of a speaker in a clip: the mouth follows the phones; head, eyes and light drift."""

import numpy as np

from avspeech.timebase import FRAME_RATE
from data_prep.synthetic.render import Motion
from data_prep.synthetic.speaker import Speaker
from data_prep.synthetic.speech import Speech
from data_prep.synthetic.trajectory import mouth_trajectory

TURN_REST = (0.10, 0.05, 0.03)
"""Standard deviation over clips of yaw, pitch and roll, radians."""
TURN_SWAY = (0.06, 0.035, 0.025)
"""Scale of their drift within a clip, radians."""
TURN_LIMIT = (0.30, 0.18, 0.12)
BLINK = (1, 2, 2, 1)
"""Eye textures of a blink, four frames."""


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
