"""Do these lips make this sound, and with what offset? Two encoders to vectors per frame that agree where they do.

The idea is SyncNet's (Chung and Zisserman 2016, "Out of time"): lips and sound go to one space, and the offset is where
they agree most. Where we differ: lips are a coarse grid of movement (each pixel less its mean over a second) and the
opening that landmarks measure, either of which may be absent; a window's agreement is one sum over its frames; it
competes with other offsets, other utterances of the same speaker and still lips; 0 are even odds that nobody seen
speaks. Trained by ``experiments/2026-11-who-speaks/train.py``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avspeech.features.clip import CLIP_SIZE, crop_clips
from avspeech.features.logfbank import NUM_FILTERS, log_filterbank
from avspeech.inputs import InputSpec, fit_samples
from avspeech.media.sound import Sound
from avspeech.models.base import Model
from avspeech.models.configs import from_plain, to_plain
from avspeech.timebase import ACOUSTIC_PER_FRAME, FRAME_RATE, SAMPLES_PER_FRAME

WEIGHTS = Path(__file__).parent / "weights" / "synchrony.safetensors"
MAX_LAG = 12  # frames of offset that are tried to either side; 480 ms
NEAR = 2  # frames of offset at which lips and sound still belong together
_LOOKAHEAD = 240  # samples after the last frame that its last window needs
_FLOOR = 12.0  # nepers below the loudest band of a window that still count; 52 dB


@dataclass(frozen=True)
class SynchronyConfig:
    """Sizes."""

    side: int = 12
    """Points on a side of the grid that the lips' encoder sees, of the 88 pixels of the crop."""
    width: int = 96
    """Channels per frame inside both encoders."""
    embedding: int = 64
    """Values per frame that are compared."""
    dropout: float = 0.2
    """Share of channels that training leaves out."""


class LipsEncoder(nn.Module):
    """Movement of a grid, (B, T, side, side), and of the opening, (B, T), -> (B, T, embedding)."""

    def __init__(self, config: SynchronyConfig) -> None:
        super().__init__()
        self.grid = nn.Conv1d(config.side**2, config.width, 5, 1, 2, bias=False)
        self.opening = nn.Conv1d(1, config.width, 7, 1, 3, bias=False)
        self.over_time = _over_time(config)

    def forward(self, grid_BTHW: Tensor, opening_BT: Tensor) -> Tensor:
        x_BDT = self.grid(grid_BTHW.flatten(2).transpose(1, 2)) + self.opening(opening_BT[:, None])
        return within_one(self.over_time(x_BDT).transpose(1, 2))


class SoundEncoder(nn.Module):
    """Log filterbanks, (B, 4 T, 26) -> (B, T, embedding)."""

    def __init__(self, config: SynchronyConfig) -> None:
        super().__init__()
        width, half = config.width, config.width * 2 // 3
        self.acoustic = nn.Sequential(
            nn.Conv1d(NUM_FILTERS, half, 5, 1, 2, bias=False), nn.BatchNorm1d(half), nn.ReLU(),
            nn.Conv1d(half, width, 8, ACOUSTIC_PER_FRAME, 2, bias=False),
        )  # fmt: skip
        self.over_time = _over_time(config)

    def forward(self, bands_BAF: Tensor) -> Tensor:
        loudest = bands_BAF.amax(dim=(1, 2), keepdim=True)
        heard_BAF = torch.maximum(bands_BAF, loudest - _FLOOR)
        heard_BAF = (heard_BAF - heard_BAF.mean(dim=(1, 2), keepdim=True)) / 3
        return within_one(self.over_time(self.acoustic(heard_BAF.transpose(1, 2))).transpose(1, 2))


def _over_time(config: SynchronyConfig) -> nn.Sequential:
    width = config.width
    return nn.Sequential(
        nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout1d(config.dropout),
        nn.Conv1d(width, width, 3, 1, 1, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Conv1d(width, config.embedding, 3, 1, 1),
    )  # fmt: skip


def within_one(x_BTD: Tensor) -> Tensor:
    """Return vectors shorter than 1: a frame that tells nothing may stay near 0."""
    return x_BTD / (1 + x_BTD.square().sum(dim=-1, keepdim=True)).sqrt()


class Synchrony(Model):
    """Encoders of lips and sound, and the scale of their agreement."""

    kind = "synchrony"
    title = "Agreement of lips and sound"
    no_text = "it tells who speaks, not what; give it to --who_speaks"
    inputs = InputSpec(audio_bins=NUM_FILTERS)
    lip_encoder = None

    def __init__(self, config: SynchronyConfig = SynchronyConfig()) -> None:
        super().__init__()
        self.config = config
        self.lips, self.sound = LipsEncoder(config), SoundEncoder(config)
        self.scale, self.bias = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def to_config(self) -> dict[str, Any]:
        return to_plain(self.config)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(from_plain(SynchronyConfig, config))

    def see(self, mouth_BTHW: Tensor | None, openness_BT: Tensor | None = None) -> Tensor:
        """Return vectors of lips, (B, T, D).

        Args:
            mouth_BTHW: uint8 official crops, (B, T, 96, 96) or (B, T, 88, 88); None: the opening alone is used.
            openness_BT: ``Face.openness_T``, float crop pixels; None: the crops alone are used.

        Raises ValueError without either.
        """
        if mouth_BTHW is None and openness_BT is None:
            raise ValueError("neither mouth crops nor an opening came; give at least one")
        grid_BTHW = None if mouth_BTHW is None else grid_movement(crop_clips(mouth_BTHW, CLIP_SIZE), self.config.side)
        if grid_BTHW is None:
            assert openness_BT is not None
            grid_BTHW = openness_BT.new_zeros(*openness_BT.shape, self.config.side, self.config.side)
        opening_BT = grid_BTHW.new_zeros(grid_BTHW.shape[:2])
        return self.lips(grid_BTHW, opening_BT if openness_BT is None else opening_movement(openness_BT))

    def hear(self, bands_BAF: Tensor) -> Tensor:
        """Return vectors of sound, (B, T, D), of ``log_filterbank``, (B, 4 T, 26)."""
        return self.sound(bands_BAF)

    def compare(self, lips_BTD: Tensor, sound_BUD: Tensor, real_U: Tensor) -> Tensor:
        """Return ``scores_BL``, the log-odds of belonging together at each lag of the sound, first the most negative.

        Args:
            lips_BTD: vectors of T frames of lips.
            sound_BUD: vectors of the same frames and of (U - T) / 2 on either side; row b, or one row for all.
            real_U: bool, False where there is no sound, such as before the file.
        """
        num_frames = lips_BTD.shape[1]
        windows_BLDT = (sound_BUD * real_U[:, None]).unfold(1, num_frames, 1)
        shared_L = real_U.unfold(0, num_frames, 1).sum(dim=-1).clamp(min=1)
        dots_BL = torch.einsum("btd,bldt->bl", lips_BTD, windows_BLDT.expand(len(lips_BTD), -1, -1, -1))
        return self.scale.exp() * dots_BL * (num_frames / shared_L) + self.bias


def grid_movement(crop_BTHW: Tensor, side: int) -> Tensor:
    """Return the ``movement`` of a grid, (B, T, side, side), laid over uint8 crops of 88 pixels."""
    quarter_BTHW = F.avg_pool2d(crop_BTHW.float() / 255, 4)
    return movement(F.interpolate(quarter_BTHW, (side, side), mode="bilinear", align_corners=False))


def movement(grid_BTHW: Tensor) -> Tensor:
    """Return each point less its mean over a second, over the contrast of the mean picture."""
    points_BPT = grid_BTHW.flatten(2).transpose(1, 2)
    mean_BPT = _second_mean(points_BPT)
    contrast_B11 = mean_BPT.mean(dim=2).std(dim=1).clamp(min=0.02)[:, None, None]
    return ((points_BPT - mean_BPT) / contrast_B11).transpose(1, 2).reshape(grid_BTHW.shape)


def opening_movement(openness_BT: Tensor) -> Tensor:
    """Return the opening less its mean over a second, in units of two crop pixels."""
    return (openness_BT - _second_mean(openness_BT)) / 2


def _second_mean(x_BXT: Tensor) -> Tensor:
    return F.avg_pool1d(x_BXT, FRAME_RATE, 1, FRAME_RATE // 2, count_include_pad=False)


def sound_input(audio_S: Sound, first: int, num_frames: int, margin: int = MAX_LAG) -> tuple[Tensor, Tensor]:
    """Return (4 U, 26) filterbanks of frames ``first - margin`` on, U = num_frames + 2 margin, and ``real_U``."""
    start, end = first - margin, first + num_frames + margin
    before = max(-start, 0) * SAMPLES_PER_FRAME
    sound_S = audio_S[max(start, 0) * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME + _LOOKAHEAD]
    sound_S = fit_samples(np.pad(sound_S, (before, 0)), (end - start) * SAMPLES_PER_FRAME + _LOOKAHEAD)
    frame_U = torch.arange(start, end)
    real_U = (frame_U >= 0) & (frame_U * SAMPLES_PER_FRAME < len(audio_S))
    return log_filterbank(torch.from_numpy(np.ascontiguousarray(sound_S))), real_U


def odds(scores_BL: Tensor) -> Tensor:
    """Return the best log-odds within ``NEAR`` frames of no offset, (B,): above 0 the face speaks."""
    middle = scores_BL.shape[-1] // 2
    return scores_BL[..., middle - NEAR : middle + NEAR + 1].amax(dim=-1)


def offset(scores_L: Tensor) -> tuple[int, float]:
    """Return the sound's offset in frames, above 0 where it is late, and its lead in log-odds over distant offsets."""
    best = int(scores_L.argmax())
    distant_L = scores_L[(torch.arange(len(scores_L)) - best).abs() > NEAR]
    return best - len(scores_L) // 2, float(scores_L[best] - distant_L.max())
