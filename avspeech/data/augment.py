"""Training augmentation of one utterance, apart from noise.

``stored_at_other_rate`` and ``shifted`` imitate other files: 8 to 60 fps, and audio delayed by the encoder.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from avspeech.features.clip import MEAN
from avspeech.roi.motion import moving
from avspeech.timebase import FRAME_RATE, SAMPLE_RATE

Streams = tuple[np.ndarray | None, np.ndarray | None]
FRAME_RATES = (8.0, 60.0)  # range of the simulated source frame rates, in fps; half of them are below 22


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentation of the streams, apart from noise. Defaults are AV-HuBERT's."""

    random_crop: bool = True
    """Crop all frames at one random place instead of the centre."""
    flip: float = 0.5
    """Chance of mirroring the clip."""
    contrast: float = 0.0
    """Largest relative change of brightness and contrast, for corpora with few faces; 0: off."""
    frame_rates: float = 0.0
    """Chance of frames as read from a source of 8 to 60 fps: dropped, or made between two (``roi.motion``)."""
    shift_ms: float = 0.0
    """Largest shift of the audio against the video, either way, in ms."""
    time_masks: int = 0
    """Blanked intervals in each 25 Hz stream; not for log-mel."""
    time_mask_frames: int = 5
    """Longest ``time_masks`` interval, in frames at 25 Hz."""
    max_frames: int | None = None
    """Cut longer clips to this many frames at a random place; null: whole clips."""
    mel_masks: int = 0
    """Bands and intervals of log-mel set to 0 (SpecAugment; Whisper-Flamingo's ``ls-basic``: 1)."""
    mel_mask_bins: int = 27
    """Upper bound (exclusive) of a band, in mel bins."""
    mel_mask_frames: int = 100
    """Upper bound (exclusive) of a ``mel_masks`` interval, in frames at 100 Hz."""


class Augmenter:
    """``avspeech.inputs.Augmentation`` with random draws; ``rng`` is for this utterance and epoch."""

    def __init__(self, config: AugmentConfig, rng: np.random.Generator, logmel: bool) -> None:
        self.config, self.rng, self.logmel = config, rng, logmel

    def decoded(self, audio_S: np.ndarray | None, mouth_THW: np.ndarray | None) -> Streams:
        """Return the streams shifted and resampled in time; lengths stay the same."""
        if self.config.shift_ms > 0 and audio_S is not None:
            audio_S = shifted(audio_S, self.config.shift_ms, self.rng)
        if mouth_THW is not None and 0 < self.config.frame_rates > self.rng.random():
            mouth_THW = stored_at_other_rate(mouth_THW, self.rng)
        return audio_S, mouth_THW

    def audio(self, features: Tensor) -> Tensor:
        """Mask filterbanks in time, or log-mel in bands and time (SpecAugment, arXiv:1904.08779, section 2)."""
        if not self.logmel:
            return self._time_masked(features, 0)
        for _ in range(self.config.mel_masks):
            for axis, widest in ((1, self.config.mel_mask_bins), (0, self.config.mel_mask_frames)):
                width = int(self.rng.integers(max(1, min(widest, features.shape[axis]))))
                start = int(self.rng.integers(features.shape[axis] - width + 1))
                features.narrow(axis, start, width).zero_()
        return features

    def offset(self, height: int, width: int, size: int) -> tuple[int, int] | None:
        """Draw (top, left) of the crop; None: centre."""
        if not self.config.random_crop:
            return None
        left, top = (int(self.rng.integers(side - size + 1)) for side in (width, height))
        return top, left

    def video(self, video_THW: Tensor) -> Tensor:
        """Mirror, change the contrast, and show the mean grey in masked intervals."""
        if self.rng.random() < self.config.flip:
            video_THW = video_THW.flip(2)
        if self.config.contrast > 0:
            gain, shift = self.rng.uniform(-self.config.contrast, self.config.contrast, 2)
            video_THW = change_contrast(video_THW, 1 + gain, 255 * shift / 2)
        else:
            video_THW = video_THW.clone()
        return self._time_masked(video_THW, round(MEAN * 255))

    def _time_masked(self, stream: Tensor, blank: int) -> Tensor:
        for _ in range(self.config.time_masks):
            width = int(self.rng.integers(min(self.config.time_mask_frames, len(stream)) + 1))
            start = int(self.rng.integers(len(stream) - width + 1))
            stream[start : start + width] = blank
        return stream


def change_contrast(clip_THW: Tensor, gain: float, shift: float) -> Tensor:
    """Return the clip, uint8, scaled around its mean by ``gain`` and moved by ``shift``."""
    clip, middle = clip_THW.numpy(), clip_THW.numpy().mean()
    table_256 = ((np.arange(256) - middle) * gain + middle + shift).clip(0, 255).astype(np.uint8)
    return torch.from_numpy(table_256[clip])


def stored_at_other_rate(mouth_THW: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the clip, (T, H, W), as read at 25 fps from a file of random rate and phase.

    A frame read is the last stored one before its middle, as in ``avspeech.media.video``; lips move between those of a
    slow file. Rates are drawn evenly on a logarithmic scale.
    """
    rate, phase = np.exp(rng.uniform(*np.log(FRAME_RATES))), rng.uniform()
    stored_T = np.floor((np.arange(len(mouth_THW)) + 0.5) / FRAME_RATE * rate - phase)
    from_T = (stored_T + phase) / rate
    seen_T = np.floor(from_T * FRAME_RATE).astype(int)
    read_THW = mouth_THW[np.clip(seen_T, 0, len(mouth_THW) - 1)]
    if rate >= FRAME_RATE:
        return read_THW
    until_T = (stored_T + 1 + phase) / rate
    return np.stack(list(moving(read_THW, np.stack([from_T, until_T], axis=1))))


def shifted(audio_S: np.ndarray, longest_ms: float, rng: np.random.Generator) -> np.ndarray:
    """Return the audio shifted by up to ``longest_ms`` either way, padded with silence to its old length."""
    limit = round(longest_ms * SAMPLE_RATE / 1000)
    shift = int(rng.integers(-limit, limit + 1))
    start = limit - shift
    return np.pad(audio_S, limit)[start : start + len(audio_S)]
