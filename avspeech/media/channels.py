"""Mix the channels of a sound to one that carries the speech, and bring odd scales of float samples to full scale 1.

The usual mix is kept unless the whole file shows that it cancels or hides speech: then the channels that carry speech
are mixed, those of opposite sign turned. Speech changes its level at 2 to 8 Hz by far more than noise and music do
(Scheirer and Slaney 1997, "Construction and evaluation of a robust multifeature speech/music discriminator").
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from avspeech.media.errors import MediaError

PLANES = 7  # most planar channels that PyAV converts without a crash
CANCELLED = 0.25
"""Energy of a mix, as a share of that of channels that do not know each other, below which they cancel: -6 dB."""
HIDDEN = 0.75
"""Change of level of a mix, as a share of the liveliest channel's, below which it hides that channel's speech."""
LIVELY_DB = 7.0
"""Change of level from which on a channel carries speech."""
FAR_OUT = 2.0  # level that samples of full scale 1 do not exceed but for a few
LOUD = 64.0  # level up to which float samples that are no whole numbers are only loud, as from 32-bit recorders
MAX_FAR_OUT = 1e-3  # share of samples beyond it, from which on their full scale is another

_FULL_SCALE = {"u8": 2**7, "s16": 2**15, "s32": 2**31, "s64": 2**63, "flt": 1, "dbl": 1}
_DOWNMIX = {"FL": 0.7071, "FR": 0.7071, "FC": 1.0, "LFE": 0.0, "LFE2": 0.0}
"""Weights for more than two channels (ITU-R BS.775), scaled to sum 1; other channels have 0.5."""
_FLOOR = 1e-9  # energy per sample of silence, -90 dBFS


class Mixer:
    """Mixes frames to mono, and watches whether speech survives."""

    def __init__(self, weights: np.ndarray | None = None) -> None:
        """``weights``: of the channels, None for the usual mix; frames with another number of channels get that."""
        self.weights = weights
        self.levels = Levels()
        self.watch: Watch | None = None

    def mono(self, frame: Any) -> np.ndarray:
        """Return a frame's samples as float32: by default the mean of two channels, a weighted mean of more."""
        channels = frame.layout.nb_channels
        if frame.format.is_planar and channels > PLANES:
            packer = av.AudioResampler(format=frame.format.packed, layout=frame.layout, rate=frame.sample_rate)
            frame = packer.resample(frame)[0]
        samples = frame.to_ndarray()
        if not frame.format.is_planar:
            samples = samples.reshape(-1, channels).T
        kind = frame.format.name.removesuffix("p")
        if kind in ("flt", "dbl"):
            self.levels.add(samples)
        samples_CS = samples.astype(np.float32 if kind in ("s16", "u8", "flt") else np.float64)
        if kind == "u8":
            samples_CS -= 128
        weights = _usual(frame, channels)
        if channels > 1 and self.weights is None:
            self._observe(samples_CS, weights / weights.sum(), frame.sample_rate, _FULL_SCALE[kind])
        elif self.weights is not None and len(self.weights) == channels:
            return (self.weights / _FULL_SCALE[kind] @ samples_CS).astype(np.float32)
        weights /= weights.sum() * _FULL_SCALE[kind]
        mono_S = weights @ samples_CS if channels > 1 else samples_CS[0] * weights[0]
        return mono_S.astype(np.float32)

    def _observe(self, samples_CS: np.ndarray, weights: np.ndarray, rate: int, full_scale: float) -> None:
        if self.watch is None:
            self.watch = Watch(weights, rate)
        if len(weights) == len(self.watch.weights) and rate == self.watch.rate:
            self.watch.add(samples_CS, full_scale)


def _usual(frame: Any, channels: int) -> np.ndarray:
    mix = np.array([_DOWNMIX.get(channel.name, 0.5) for channel in frame.layout.channels])
    return mix if channels > 2 and mix.any() else np.ones(channels)


@dataclass
class Watch:
    """What a file's channels and their usual mix are like."""

    weights: np.ndarray
    rate: int
    _blocks: list[np.ndarray] = field(default_factory=list)
    _held: int = 0
    _changes: list[np.ndarray] = field(default_factory=list)  # dB, of each channel and the mix, by second

    def __post_init__(self) -> None:
        self._covariance_CC = np.zeros((len(self.weights),) * 2)

    def add(self, samples_CS: np.ndarray, full_scale: float) -> None:
        """Take samples, which may be in pieces of any length."""
        self._blocks.append(samples_CS * np.float32(1 / full_scale))
        self._held += samples_CS.shape[1]
        if self._held >= self.rate:
            self._weigh()

    def _weigh(self) -> None:
        sound_CS = np.concatenate(self._blocks, axis=1).astype(np.float32)
        self._blocks, self._held = [], 0
        sharp_CS = np.diff(sound_CS)  # hum and rumble say nothing about speech
        self._covariance_CC += sharp_CS @ sharp_CS.T
        both_DS = np.concatenate([sharp_CS, (self.weights.astype(np.float32) @ sharp_CS)[None]])
        hop = max(self.rate // 50, 1)
        if (count := both_DS.shape[1] // hop) >= 10:
            power_DH = np.square(both_DS[:, : count * hop]).reshape(-1, count, hop).mean(axis=2)
            self._changes.append(np.std(10 * np.log10(power_DH + _FLOOR), axis=1))

    def better(self) -> np.ndarray | None:
        """Return weights of the channels that carry the speech where the usual mix loses it, else None."""
        if self._held:
            self._weigh()
        energy_C = np.diag(self._covariance_CC)
        if not self._changes or not energy_C.any():
            return None
        liveliness_D = np.percentile(self._changes, 80, axis=0)
        lively_C, mix = liveliness_D[:-1], liveliness_D[-1]
        mixed = self.weights @ self._covariance_CC @ self.weights
        cancels = mixed < CANCELLED * (self.weights**2 @ energy_C) or not (self.weights**2 @ energy_C)
        hides = lively_C.max() >= LIVELY_DB and mix < HIDDEN * lively_C.max()
        if not cancels and not hides:
            return None
        chosen_C = lively_C >= max(LIVELY_DB, lively_C.max() / 2)
        if not chosen_C.any():
            chosen_C = energy_C > 0
        signs_C = np.where(self._covariance_CC[int(np.argmax(energy_C * chosen_C))] < 0, -1.0, 1.0)
        better_C = signs_C * chosen_C / chosen_C.sum()
        return better_C if cancels or (better_C <= 0).any() else None


class Levels:
    """How far the samples of float formats go."""

    def __init__(self) -> None:
        self.peak, self.is_whole = 0.0, True
        self._count = self._far = 0

    def add(self, samples: np.ndarray) -> None:
        peak = float(np.abs(samples).max(initial=0))
        self._count += samples.size
        self.is_whole = self.is_whole and bool((samples == np.rint(samples)).all())
        if peak > FAR_OUT:
            self._far += int((np.abs(samples) > FAR_OUT).sum())
        self.peak = max(self.peak, peak)

    def full_scale(self, path: Path) -> float:
        """Return what to divide the samples by. MediaError: they are too large for any scale that is in use."""
        if self.peak <= FAR_OUT or not (self.is_whole or self._far > MAX_FAR_OUT * self._count):
            return 1
        if not self.is_whole and self.peak <= LOUD:
            return self.peak
        for bits in (7, 15, 23, 31):
            if self.peak <= 2**bits:
                return 2**bits
        raise MediaError(path, f"has samples up to {self.peak:.3g}, wanted at most 1; make the file again")


def describe(weights: np.ndarray) -> str:
    """Return a note on the channels that were read."""
    parts = [f"{number}{' (turned)' if weight < 0 else ''}" for number, weight in enumerate(weights, 1) if weight]
    return f"The {len(weights)} sound channels together cancel or hide the speech: {', '.join(parts)} read alone."
