"""Detect speech at 25 Hz: in sound with Silero VAD 6 (package ``silero-vad``, MIT), on lips by movement."""

import warnings
from collections.abc import Iterable
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avspeech.media.sound import Sound
from avspeech.timebase import SAMPLE_RATE, SAMPLES_PER_FRAME, samples_to_frames

CHUNK = 512  # samples at 16 kHz per probability: 32 ms
BLOCK = 640 * CHUNK  # samples in memory at once: 20 s, a whole number of video frames
WANTED_LEVEL, MOST_GAIN = 0.1, 100.0
"""Rms of the loudest frames, and largest factor, in the amplification of quiet files. At rms 0.002 the detector misses
every tenth word of clean synthetic speech, and none after amplification."""
MOVEMENT_FRAMES = 7  # 0.28 s: shorter than a word, longer than a sound with still lips
MOVING_LIPS = 0.22
"""Least standard deviation of mouth opening over 0.28 s, in crop pixels, of moving lips: 97 % of GRID's speech frames
exceed it, 18 % of its others."""


class VoiceDetectorError(ValueError):
    """``silero-vad`` is missing, or its model cannot be loaded."""


class SileroVAD:
    """Probability of speech per chunk of sound, by the model of ``silero_vad``."""

    def __init__(self, model: Any) -> None:
        self._model, self._lock = model, Lock()  # the model is stateful

    @torch.inference_mode()
    def __call__(self, blocks: Iterable[Tensor]) -> Tensor:
        """Return a float32 probability per chunk of 16 kHz blocks, each of whole chunks; one is in memory at a time."""
        with self._lock:
            self._model.reset_states()
            return torch.cat([torch.cat([self._heard(one_S) for one_S in block_S.split(CHUNK)]) for block_S in blocks])

    def _heard(self, chunk_S: Tensor) -> Tensor:
        return self._model(chunk_S, SAMPLE_RATE).reshape(1)


@cache
def load_silero() -> SileroVAD:
    """Return the detector, loaded once; VoiceDetectorError if it cannot be loaded."""
    num_threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            known = r".*torch\.jit\.load. is (deprecated|not supported)|path is deprecated"
            warnings.filterwarnings("ignore", message=known)
            from silero_vad import load_silero_vad

            return SileroVAD(load_silero_vad())
    except ImportError as error:
        raise VoiceDetectorError("finding speech needs silero-vad: `uv sync`, or `pip install silero-vad`") from error
    except (OSError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise VoiceDetectorError(f"Silero's detector cannot be loaded ({why}): `uv sync` reinstalls it") from error
    finally:
        torch.set_num_threads(num_threads)  # importing the package sets it to 1


def speech_probability(audio_S: Sound) -> np.ndarray:
    """Return ``prob_T``: float32 probability of speech per video frame, the maximum over its chunks.

    The higher probability of a forward and a backward run counts, because the detector is late at soft onsets (GRID: up
    to 0.55 s forwards, 0.35 s with both). Quiet files are amplified.

    Raises ValueError for another shape or values that are not finite, VoiceDetectorError without silero-vad.
    """
    if audio_S.ndim != 1:
        raise ValueError(f"audio of shape {audio_S.shape} came; wanted one axis, (S,): mono at 16 kHz")
    num_frames = samples_to_frames(len(audio_S))
    level_T = frame_level(audio_S)
    if not np.isfinite(level_T).all():
        raise ValueError("audio with values that are not finite came, wanted samples in [-1, 1]; check its file")
    detector = load_silero()
    if not num_frames:
        return np.zeros(0, np.float32)
    # Not the very loudest frame: a click would hide quiet speech.
    gain = min(max(WANTED_LEVEL / max(float(np.quantile(level_T, 0.999)), 1e-9), 1.0), MOST_GAIN)
    num_blocks = -(-len(audio_S) // BLOCK)
    forwards = detector(_block(audio_S, index, gain) for index in range(num_blocks))
    backwards = detector(_block(audio_S, index, gain).flip(0) for index in reversed(range(num_blocks))).flip(0)
    heard = torch.maximum(forwards, backwards).numpy()
    start_T = np.arange(num_frames) * SAMPLES_PER_FRAME
    last_T = np.minimum((start_T + SAMPLES_PER_FRAME - 1) // CHUNK, len(heard) - 1)
    touched_3T = np.minimum(start_T // CHUNK + np.arange(3)[:, None], last_T)  # two or three chunks
    return heard[touched_3T].max(axis=0)


def _block(audio_S: Sound, index: int, gain: float) -> Tensor:
    block_S = audio_S[index * BLOCK : (index + 1) * BLOCK] * np.float32(gain)
    return torch.from_numpy(np.pad(block_S, (0, -len(block_S) % CHUNK)).astype(np.float32, copy=False))


def frame_level(audio_S: Sound) -> np.ndarray:
    """Return ``level_T``: float32 rms of mono 16 kHz sound per video frame; not finite where the sound is not."""
    levels = [np.zeros(0, np.float32)]
    for start in range(0, len(audio_S), BLOCK):
        power_S = np.square(audio_S[start : start + BLOCK], dtype=np.float32)
        power_S = np.pad(power_S, (0, -len(power_S) % SAMPLES_PER_FRAME))
        levels.append(np.sqrt(power_S.reshape(-1, SAMPLES_PER_FRAME).mean(axis=1)))
    return np.concatenate(levels)


def lip_activity(openness_T: np.ndarray, threshold: float = MOVING_LIPS) -> np.ndarray:
    """Return ``moving_T``: bool, True where lips move as in speech; False without a face.

    ``openness_T``: ``Face.openness_T``, NaN without a face. ``threshold``: least ``lip_movement``. Both in crop pixels.
    """
    return lip_movement(openness_T) > threshold


def lip_movement(openness_T: np.ndarray) -> np.ndarray:
    """Return ``movement_T``: float32 standard deviation of the openness over 0.28 s; 0 with under four known frames."""
    shown_T = np.isfinite(openness_T)
    half = MOVEMENT_FRAMES // 2
    # Centred values in float64 keep the small difference of squares exact.
    centre = float(openness_T[shown_T].mean(dtype=np.float64)) if shown_T.any() else 0.0
    values_T = np.where(shown_T, openness_T.astype(np.float64) - centre, 0.0)

    def window_sum(x_T: np.ndarray) -> np.ndarray:
        return np.convolve(x_T, np.ones(MOVEMENT_FRAMES))[half : half + len(x_T)] if len(x_T) else x_T

    count_T = np.maximum(window_sum(shown_T.astype(np.float64)), 1)
    variance_T = window_sum(values_T**2) / count_T - (window_sum(values_T) / count_T) ** 2
    enough_T = shown_T & (count_T > half)
    return np.where(enough_T, np.sqrt(np.maximum(variance_T, 0)), 0).astype(np.float32)
