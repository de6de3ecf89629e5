"""Choose the speaker without a model: the face whose mouth moves with the sound's loudness.

``avspeech.transcription.who_speaks`` has models for it, and takes this where a file has no sound.
Syllable-rate movement tells a speaker from another talking face, so both signals are compared after subtracting their
mean over 7 frames. Slow movement and its amount say little (measured in experiments/2026-11-roi-speed).
"""

import numpy as np

from avspeech.media.sound import Sound
from avspeech.roi.faces import FollowedFaces
from avspeech.roi.track import smooth_over_time
from avspeech.timebase import SAMPLES_PER_FRAME, frames_to_samples

MAX_LAG = 2  # largest offset between sound and picture, in frames (80 ms)
LAG_FACTOR = (1.0, 1.0, 0.75)  # weight of a correlation by lag, 0 to 2 frames
SLOW_LENGTH = 7  # length in frames of the mean that is subtracted
SLOW_WEIGHT = 0.3  # weight of the whole signals' correlation; the fast parts have 1
_AT_ONCE = 1500  # frames of sound in memory
LITTLE_MOVEMENT = 0.26  # movement in crop pixels per frame, about the landmark scatter, that halves the score


def energy_envelope(audio_S: Sound, num_frames: int, start: int = 0) -> np.ndarray:
    """Return ``energy_T``, float64: square root of the rms of each frame from ``start`` on, 0 past the end.

    ``audio_S`` is mono at 16 kHz.
    """
    energy_T = np.zeros(num_frames)
    for first in range(0, num_frames, _AT_ONCE):
        end = min(first + _AT_ONCE, num_frames)
        padded_S = np.zeros(frames_to_samples(end - first))
        heard_S = audio_S[frames_to_samples(start + first) : frames_to_samples(start + end)]
        padded_S[: len(heard_S)] = heard_S
        energy_T[first:end] = np.sqrt(np.sqrt((padded_S.reshape(-1, SAMPLES_PER_FRAME) ** 2).mean(axis=1)))
    return energy_T


def movement(openness_T: np.ndarray) -> float:
    """Return the mean change of the mouth's opening in crop pixels per frame."""
    return float(np.abs(np.diff(openness_T)).mean()) if len(openness_T) > 1 else 0.0


def speaking_score(openness_T: np.ndarray, energy_T: np.ndarray) -> float:
    """Return how well ``Face.openness_T`` fits ``energy_envelope``, -1.3 to 1.3; 0 where either is constant."""
    if len(openness_T) != len(energy_T):
        raise ValueError(f"openness of {len(openness_T)} and energy of {len(energy_T)} frames came; wanted the same")
    if len(openness_T) <= 2 * MAX_LAG:
        return 0.0
    mouth_T, sound_T = np.asarray(openness_T, np.float64), np.asarray(energy_T, np.float64)
    fast_mouth_T, fast_sound_T = (all_T - smooth_over_time(all_T, SLOW_LENGTH) for all_T in (mouth_T, sound_T))
    scores = []
    for lag in range(-MAX_LAG, MAX_LAG + 1):
        score = _correlation(fast_mouth_T, fast_sound_T, lag) + SLOW_WEIGHT * _correlation(mouth_T, sound_T, lag)
        scores.append(LAG_FACTOR[abs(lag)] * score if score > 0 else score)
    moved = movement(mouth_T)
    return max(scores) * moved / (moved + LITTLE_MOVEMENT)


def speaking_face(followed: FollowedFaces, audio_S: Sound | None, first: int, end: int) -> int | None:
    """Return the index of the face that speaks from frame ``first`` to before ``end``; None without a face.

    Scores are weighted by the share of frames in which the face is known. Without sound, the most moving mouth wins; of
    equal ones the larger face. ``audio_S`` is the whole video's sound, mono at 16 kHz.
    """
    if end <= first:  # the sound is longer than the picture
        return None
    energy_T = None if audio_S is None else energy_envelope(audio_S, end - first, first)
    scores: dict[int, float] = {}
    for index, face in enumerate(followed.faces):
        share = face.share_found(first, end)
        if share == 0:
            continue
        start, stop = max(first, face.first), min(end, face.end)
        openness_T = face.openness_T[start - face.first : stop - face.first]
        if energy_T is None:
            score = movement(openness_T)
        else:
            score = speaking_score(openness_T, energy_T[start - first : stop - first])
        scores[index] = seen_for(share, score)
    return max(scores, key=scores.__getitem__, default=None)


def seen_for(share: float, score: float) -> float:
    """Return a score lowered for a face that is known in only a share of the frames, also if it is negative."""
    return score * share if score > 0 else score - 1 + share


def _correlation(mouth_T: np.ndarray, sound_T: np.ndarray, lag: int) -> float:
    """Return Pearson's correlation, the mouth ``lag`` frames late; 0 where either is constant."""
    num = len(mouth_T) - abs(lag)
    mouth_T, sound_T = mouth_T[max(lag, 0) :][:num], sound_T[max(-lag, 0) :][:num]
    mouth_T, sound_T = mouth_T - mouth_T.mean(), sound_T - sound_T.mean()
    power = float(np.sqrt((mouth_T @ mouth_T) * (sound_T @ sound_T)))
    return float(mouth_T @ sound_T) / power if power > 1e-9 else 0.0
