"""Noise at a signal-to-noise ratio, as training mixes it in; tests mix the same way, from a plan (``mixing_rules``).

The mixing rule is AV-HuBERT's (noise-robust variant: Shi et al. 2022, arXiv:2201.01763; the rule from their code):
rms over the whole clip, noise repeated to cover the clip, and the whole mix scaled down where it would leave the
int16 range. We differ in one point: where the noise starts is drawn for each utterance, not always
its first sample, so that a recogniser cannot learn one stretch of noise by heart. ``rule: official`` starts
at the first sample and also rounds as the official code does.

All audio here is a numpy array, float32 mono at 16 kHz in [-1, 1]. Where noise comes from: ``sources.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

KINDS = ("babble", "white", "file")
_LOWEST, _HIGHEST = -1.0, 32767 / 32768  # what int16 can hold


@dataclass(frozen=True)
class NoiseConfig:
    """Noise that training adds to the audio. Defaults are AV-HuBERT's: a quarter of the clips, at 0 dB."""

    probability: float = 0.25
    """Share of the utterances that get noise, each drawing for itself; 0 trains on clean audio."""
    snr_db: tuple[float, float] = (0.0, 0.0)
    """Lowest and highest signal-to-noise ratio in dB; drawn evenly between the two."""
    kinds: tuple[str, ...] = ("babble",)
    """Kinds of noise, each equally likely: babble (other training clips), white, file (`files`)."""
    num_voices: tuple[int, int] = (2, 8)
    """Fewest and most voices that one stretch of babble is made of."""
    files: tuple[str, ...] = ()
    """Noise recordings, for the kind `file`."""
    num_files: int = 1
    """Recordings laid over each other for the kind `file`: their mean, cut to the shortest (official `noise_num`)."""
    rule: Literal["avspeech", "official"] = "avspeech"
    """`official`: recordings start at their first sample, and the mix is made in float32 and cut to whole int16 steps
    toward zero, as AV-HuBERT's code does; to the bit."""

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"noise.probability={self.probability} must lie in 0..1")
        if self.snr_db[0] > self.snr_db[1]:
            raise ValueError(f"noise.snr_db={self.snr_db} must be [lowest, highest]")
        if not 1 <= self.num_voices[0] <= self.num_voices[1]:
            raise ValueError(f"noise.num_voices={self.num_voices} must be [fewest, most], at least one voice")
        if unknown := sorted(set(self.kinds) - set(KINDS)):
            raise ValueError(f"noise.kinds names {', '.join(unknown)}; known are {', '.join(KINDS)}")
        if self.probability and not self.kinds:
            raise ValueError("noise.kinds is empty; name a kind, or set noise.probability=0 for clean audio")
        if self.num_files < 1:
            raise ValueError(f"noise.num_files={self.num_files} must be at least 1")
        if "file" in self.kinds and not self.files:
            raise ValueError("noise.kinds names 'file', and noise.files lists none")


def mix_at_snr(clean_S: np.ndarray, noise_S: np.ndarray, snr_db: float | None) -> np.ndarray:
    """Return speech plus noise, (S,) float32, such that rms(speech) / rms(noise) = 10^(snr_db / 20).

    Both rms are over the whole clip, silences included. A mix that would leave the int16 range is scaled down as
    a whole, which keeps the ratio. Where the ratio does not exist (silent speech or silent noise) nothing is added.

    Args:
        clean_S: speech in [-1, 1].
        noise_S: noise at any level; repeated when shorter than the speech, cut from its start when longer.
        snr_db: ratio in dB; None is clean speech and returns ``clean_S`` unchanged.

    Raises:
        ValueError: an array is empty, has more than one axis or holds no finite numbers.
    """
    if snr_db is None:
        return clean_S
    noise_S = repeat_to_length(noise_S, len(clean_S))
    clean_rms, noise_rms = rms(clean_S), rms(noise_S)
    if not clean_rms or not noise_rms:
        return clean_S
    mixed_S = clean_S.astype(np.float64) + noise_S.astype(np.float64) * (clean_rms / noise_rms / 10 ** (snr_db / 20))
    excess = max(mixed_S.max() / _HIGHEST, mixed_S.min() / _LOWEST)
    return (mixed_S / max(1.0, excess)).astype(np.float32)


def mix_officially(clean_S: np.ndarray, noise_S: np.ndarray, snr_db: float) -> np.ndarray:
    """Return the mix as ``mix_at_snr`` does, but to the bit what the official code makes of int16 samples.

    Its arithmetic is float32 and its result loses the fraction of an int16 step toward zero. Silent noise, on which
    the official code divides by zero, adds nothing.

    Args:
        clean_S: speech, float32 whole int16 steps over 32768.
        noise_S: noise, likewise; repeated, or cut from its start.
        snr_db: ratio in dB.
    """
    clean_S = clean_S.astype(np.float32)
    noise_S = repeat_to_length(noise_S, len(clean_S)).astype(np.float32)
    clean_rms, noise_rms = (np.sqrt(np.mean(np.square(part))) for part in (clean_S, noise_S))
    if not clean_rms or not noise_rms:
        return clean_S
    mixed_S = clean_S + noise_S * (clean_rms / 10 ** (snr_db / 20) / noise_rms)
    high, low = mixed_S.max(), mixed_S.min()
    if high > _HIGHEST or low < _LOWEST:
        limit, peak = (_HIGHEST, high) if high >= -low else (_LOWEST, low)
        mixed_S = mixed_S * np.float32(np.float32(limit) / peak)
    return np.trunc(mixed_S * np.float32(32768)) / np.float32(32768)


def average(recordings: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of recordings cut to the shortest, in whole int16 steps rounded down; one stays as it is."""
    if len(recordings) == 1:
        return recordings[0]
    shortest = min(len(recording_S) for recording_S in recordings)
    mean_S = np.mean([recording_S[:shortest] for recording_S in recordings], axis=0, dtype=np.float64)
    return (np.floor(mean_S * 32768) / 32768).astype(np.float32)


def rms(audio_S: np.ndarray) -> float:
    """Return the root mean square over the whole array."""
    value = (
        float(np.sqrt(np.mean(np.square(audio_S, dtype=np.float64)))) if audio_S.ndim == 1 and len(audio_S) else None
    )
    if value is None or not np.isfinite(value):
        what = "values that are not finite" if value is not None else f"shape {audio_S.shape}"
        raise ValueError(f"audio with {what} came, wanted (S,) finite samples in [-1, 1]; check the file it came from")
    return value


def repeat_to_length(audio_S: np.ndarray, num_samples: int, offset: int = 0) -> np.ndarray:
    """Return ``num_samples`` samples from ``offset`` on, starting over at the end of the audio as often as needed."""
    if not len(audio_S):
        raise ValueError("audio of length 0 came, wanted at least one sample to repeat; check the noise files")
    first_S = audio_S[offset : offset + num_samples]  # most often that is all, and a long file is not copied
    if len(first_S) == num_samples:
        return first_S
    return np.concatenate([first_S, np.resize(audio_S, num_samples - len(first_S))])


def babble(voices: Sequence[np.ndarray], num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return several voices at once, (num_samples,) float32.

    Every voice is brought to the same rms over its whole length, so that none leads, starts at a drawn sample and
    is repeated. The sum's level means nothing: ``mix_at_snr`` sets it. Silent voices add nothing.
    """
    total_S = np.zeros(num_samples, dtype=np.float32)
    for voice_S in voices:
        offset = int(rng.integers(len(voice_S))) if len(voice_S) else 0
        level = rms(voice_S)
        if level:
            total_S += repeat_to_length(voice_S, num_samples, offset) * np.float32(0.05 / level)
    return total_S


def white_noise(num_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return Gaussian white noise of rms 0.05, (num_samples,) float32."""
    return rng.standard_normal(num_samples, dtype=np.float32) * np.float32(0.05)
