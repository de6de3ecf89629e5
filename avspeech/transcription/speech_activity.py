"""Where somebody speaks, on the 25 Hz clock: heard by a voice activity detector, and seen on the lips."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from avspeech.timebase import SAMPLES_PER_FRAME, samples_to_frames
from avspeech.transcription.silero import CHUNK, load_silero

BLOCK = 640 * CHUNK
"""Samples that are in memory at once; 20 s, and a whole number of video frames too."""
WANTED_LEVEL, MOST_GAIN = 0.1, 100.0
"""A file whose loudest frames have a smaller rms is amplified to it, 40 dB at most. At rms 0.002 the detector misses
every tenth word of clean synthetic speech, and none after amplification."""
MOVEMENT_FRAMES = 7
"""0.28 s: short enough for a word, and longer than a sound for which lips stand still."""
MOVING_LIPS = 0.25
"""Standard deviation of the mouth's opening over 0.28 s, in crop pixels, from which on lips count as moving. It holds
for 97 % of the speaking frames of GRID clips and 90 % of synthetic ones, and for 18 % of GRID's others."""


def speech_probability(audio_S: np.ndarray) -> np.ndarray:
    """Return ``prob_T``: how likely somebody speaks in each video frame that the sound touches, float32 in 0..1.

    Silero's detector hears the file forwards and backwards, and the higher probability counts: it is late where
    speech starts softly (up to 0.55 s on GRID forwards, 0.35 s so), and no word's start may be lost. A frame has the
    highest probability of the 32 ms chunks that it touches. Quiet files are amplified.

    Args:
        audio_S: float32 mono at 16 kHz; no samples give no frames.

    Raises:
        ValueError: the audio has more than one axis or holds no finite numbers.
        VoiceDetectorError: the package silero-vad is not installed.
    """
    if audio_S.ndim != 1:
        raise ValueError(f"audio of shape {audio_S.shape} came; wanted one axis, (S,): mono at 16 kHz")
    num_frames = samples_to_frames(len(audio_S))
    level_T = frame_level(audio_S)
    if not np.isfinite(level_T).all():
        raise ValueError("audio with values that are not finite came, wanted samples in [-1, 1]; check its file")
    detector = load_silero()
    # Not the very loudest frame: a click would hide quiet speech.
    gain = min(max(WANTED_LEVEL / max(float(np.quantile(level_T, 0.999)), 1e-9), 1.0), MOST_GAIN) if num_frames else 1.0
    num_blocks = -(-len(audio_S) // BLOCK)
    forwards = detector(_block(audio_S, index, gain) for index in range(num_blocks))
    backwards = detector(_block(audio_S, index, gain).flip(0) for index in reversed(range(num_blocks))).flip(0)
    heard = torch.maximum(forwards, backwards).numpy()
    first_T = np.arange(num_frames) * SAMPLES_PER_FRAME // CHUNK
    last_T = np.minimum(((np.arange(num_frames) + 1) * SAMPLES_PER_FRAME - 1) // CHUNK, len(heard) - 1)
    middle_T = np.minimum(first_T + 1, last_T)  # a frame touches two chunks or three
    return np.maximum(np.maximum(heard[first_T], heard[middle_T]), heard[last_T]) if num_frames else heard


def _block(audio_S: np.ndarray, index: int, gain: float) -> Tensor:
    block_S = audio_S[index * BLOCK : (index + 1) * BLOCK] * np.float32(gain)
    return torch.from_numpy(np.pad(block_S, (0, -len(block_S) % CHUNK)).astype(np.float32, copy=False))


def frame_level(audio_S: np.ndarray) -> np.ndarray:
    """Return ``level_T``: the root mean square of the sound in each video frame, float32; not finite where it is not.

    Args:
        audio_S: float mono at 16 kHz.
    """

    def pieces() -> Iterator[np.ndarray]:
        for start in range(0, len(audio_S), BLOCK):
            power_S = np.square(audio_S[start : start + BLOCK], dtype=np.float32)
            power_S = np.pad(power_S, (0, -len(power_S) % SAMPLES_PER_FRAME))
            yield np.sqrt(power_S.reshape(-1, SAMPLES_PER_FRAME).mean(axis=1))

    return np.concatenate([np.zeros(0, np.float32), *pieces()])


def lip_activity(openness_T: np.ndarray, threshold: float = MOVING_LIPS) -> np.ndarray:
    """Return ``moving_T``: whether the lips move as they do in speech, bool; never where no face is.

    Args:
        openness_T: how far the mouth is open in crop pixels, ``avspeech.roi.faces.Face.openness_T``, per frame at
            25 Hz; NaN where no face is.
        threshold: least standard deviation over 0.28 s, in crop pixels.

    Raises:
        ValueError: the openness has more than one axis.
    """
    return lip_movement(openness_T) > threshold


def lip_movement(openness_T: np.ndarray) -> np.ndarray:
    """Return ``movement_T``: standard deviation of the openness over 0.28 s around each frame, float32.

    It is 0 where no face is, and where fewer than four frames around show one. Arguments as for ``lip_activity``.
    """
    if openness_T.ndim != 1:
        raise ValueError(f"openness of shape {openness_T.shape} came; wanted one number per frame, (T,)")
    shown_T = np.isfinite(openness_T)
    half = MOVEMENT_FRAMES // 2
    # Sums over windows of values near their mean, in float64, so that the small difference of squares stays exact.
    centre = float(openness_T[shown_T].mean(dtype=np.float64)) if shown_T.any() else 0.0
    values_T = np.where(shown_T, openness_T.astype(np.float64) - centre, 0.0)

    def window_sum(x_T: np.ndarray) -> np.ndarray:
        return np.convolve(x_T, np.ones(MOVEMENT_FRAMES))[half : half + len(x_T)] if len(x_T) else x_T

    count_T = np.maximum(window_sum(shown_T.astype(np.float64)), 1)
    variance_T = window_sum(values_T**2) / count_T - (window_sum(values_T) / count_T) ** 2
    enough_T = shown_T & (count_T > half)
    return np.where(enough_T, np.sqrt(np.maximum(variance_T, 0)), 0).astype(np.float32)
