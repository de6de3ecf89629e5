"""Mix noise into speech at a signal-to-noise ratio, by one of three published rules.

- ``avspeech``: random start sample; float64; a mix beyond int16 is scaled down as a whole. The speech level is the rms
  over the clip or over its active part (``speech_level``).
- ``avhubert`` (Shi et al. 2022, arXiv:2201.01763, and their code): noise starts at its first sample; several recordings
  are averaged, cut to the shortest; float32; scaled down likewise; truncated to int16 steps toward zero.
- ``auto_avsr`` (Ma et al. 2023, arXiv:2303.14307; torchaudio's ``add_noise``): random start without repetition where
  possible; float32; no scaling or rounding, so a mix may leave [-1, 1]. Unlike their code, 0 dB is not redrawn.

Audio is float32 mono at 16 kHz in [-1, 1]; "steps" are int16 samples (audio times 32768). ``choose_scale`` differs in
its last bits between machines, so a plan stores its result. ``add_noise`` and ``finish`` give the same bits everywhere.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from avspeech.noise.speech_level import active_level

CLEAN = "none"  # name of no noise in a condition
Rule = Literal["avspeech", "avhubert", "auto_avsr"]
Level = Literal["clip", "active"]
RULES: tuple[str, ...] = get_args(Rule)
LEVELS: tuple[str, ...] = get_args(Level)
FURTHEST_SNR_DB = 100  # beyond it, float32 cannot hold speech and noise at once, nor can int16
FULL_SCALE = 32768
_LOWEST, _HIGHEST = -1.0, 32767 / 32768  # the range of int16


def check_rule(rule: str, level: str) -> None:
    """Check that rule and level are known and go together; ValueError names the key."""
    if rule not in RULES:
        raise ValueError(f"rule={rule!r} must be one of {', '.join(RULES)}")
    if level not in LEVELS:
        raise ValueError(f"level={level!r} must be one of {', '.join(LEVELS)}")
    if level != "clip" and rule != "avspeech":
        raise ValueError(f"level={level!r} does not go with rule={rule!r}, which measures the clip; set level: clip")


def check_snrs(snrs_db: Sequence[float], key: str = "snrs_db") -> None:
    """Check that all SNRs are numbers from -100 to 100 dB; ValueError names the first other one, as ``snrs_db[0]``."""
    for index, snr_db in enumerate(snrs_db):
        if not -FURTHEST_SNR_DB <= snr_db <= FURTHEST_SNR_DB:  # refuses nan, too
            raise ValueError(f"{key}[{index}]={snr_db} must be a number from {-FURTHEST_SNR_DB} to {FURTHEST_SNR_DB}")


def mix_at_snr(
    clean_S: np.ndarray, noise_S: np.ndarray, snr_db: float | None, rule: str = "avspeech", level: str = "clip"
) -> np.ndarray:
    """Return speech plus noise, (S,) float32, with rms(speech) / rms(noise) = 10^(snr_db / 20).

    Noise is repeated or cut to the speech. Silence in either, or ``snr_db`` None, returns the speech unchanged. Only
    plans round ``avspeech`` to int16. ValueError: an array is empty, not finite or has more than one axis.
    """
    if snr_db is None:
        return clean_S
    noise_S, loudness = repeat_to_length(noise_S, len(clean_S)), speech_level(clean_S, level)
    if not rms(noise_S) or not loudness:
        return clean_S
    scale = choose_scale(rule, loudness, clean_S, noise_S, snr_db)
    return finish(rule, add_noise(rule, clean_S, noise_S, scale))


def lay_over(
    rule: str, pieces: Sequence[tuple[np.ndarray, int, float]], num_samples: int, voices: bool, exact: bool = True
) -> np.ndarray:
    """Return the sum of pieces (``avhubert``: mean), (num_samples,); [-1, 1] for one piece, else any level.

    A piece is its steps, first sample and gain, repeated if short. ``voices`` is True for babble, whose mean AV-HuBERT
    rounds toward zero and not down; ``exact`` sums in float64 (plans), else in float32 (training).
    """
    if rule == "avhubert" and len(pieces) > 1:  # a mean of int16 files is an int16 file there
        shortest = min(len(steps_S) for steps_S, _, _ in pieces)
        sum_S = np.sum([steps_S[:shortest] for steps_S, _, _ in pieces], axis=0, dtype=np.int64)
        mean_S = (np.trunc if voices else np.floor)(sum_S / len(pieces))
        return repeat_to_length(mean_S.astype(np.float32) / np.float32(FULL_SCALE), num_samples)
    kind = np.float64 if exact else np.float32
    total_S = np.zeros(num_samples, kind)
    for steps_S, offset, gain in pieces:
        total_S += repeat_to_length(steps_S, num_samples, offset).astype(kind) * kind(gain / FULL_SCALE)
    return total_S if rule == "avspeech" else total_S.astype(np.float32)


def speech_level(speech_S: np.ndarray, level: str) -> float:
    """Return the rms of speech over the ``clip`` or its ``active`` part, full scale 1."""
    return active_level(speech_S)[0] if level == "active" else rms(speech_S)


def choose_scale(rule: str, loudness: float, speech_S: np.ndarray, noise_S: np.ndarray, snr_db: float) -> float:
    """Return the factor of the noise ``noise_S`` (from ``lay_over``); speech and noise must not be silent.

    ``loudness`` is the speech level for ``avspeech``; the other rules measure it as their code does.
    """
    if rule == "avspeech":
        return loudness / rms(noise_S) / 10 ** (snr_db / 20)
    clean_S, noise_S = speech_S.astype(np.float32), noise_S.astype(np.float32)
    if rule == "avhubert":
        clean_rms, noise_rms = (np.sqrt(np.mean(np.square(part))) for part in (clean_S, noise_S))
        return float(clean_rms / 10 ** (snr_db / 20) / noise_rms)
    clean_db, noise_db = (10 * math.log10(np.sum(np.square(part, dtype=np.float64))) for part in (clean_S, noise_S))
    return float(np.float32(10 ** ((clean_db - noise_db - snr_db) / 20)))


def add_noise(rule: str, speech_S: np.ndarray, noise_S: np.ndarray, scale: float) -> np.ndarray:
    """Return speech plus scaled noise, unrounded: float64 for ``avspeech``, else float32."""
    kind = np.float64 if rule == "avspeech" else np.float32
    return speech_S.astype(kind) + noise_S.astype(kind) * kind(scale)


def finish(rule: str, mixed_S: np.ndarray, in_steps: bool = False) -> np.ndarray:
    """Return the final mix, float32, scaled down if the rule says so; ``in_steps`` rounds ``avspeech`` mixes."""
    if rule == "auto_avsr":
        return mixed_S
    high, low = mixed_S.max(), mixed_S.min()
    if rule == "avspeech":
        mixed_S = mixed_S / max(1.0, high / _HIGHEST, low / _LOWEST)
        return (np.rint(mixed_S * FULL_SCALE) / FULL_SCALE if in_steps else mixed_S).astype(np.float32)
    if high > _HIGHEST or low < _LOWEST:
        limit, peak = (_HIGHEST, high) if high >= -low else (_LOWEST, low)
        mixed_S = mixed_S * np.float32(np.float32(limit) / peak)
    return np.trunc(mixed_S * np.float32(FULL_SCALE)) / np.float32(FULL_SCALE)


def measured_snr_db(loudness: float, speech_S: np.ndarray, mixed_S: np.ndarray) -> float:
    """Return the SNR of what ``add_noise`` returned."""
    return 20 * math.log10(loudness / rms(mixed_S.astype(np.float64) - speech_S.astype(np.float64)))


def rms(audio_S: np.ndarray) -> float:
    """Return the root mean square. ValueError: the array is empty, not finite or has more than one axis."""
    one = audio_S.ndim == 1 and len(audio_S) > 0
    value = float(np.sqrt(np.mean(np.square(audio_S, dtype=np.float64)))) if one else math.nan
    if not math.isfinite(value):
        what = "values that are not finite" if one else f"shape {audio_S.shape}"
        raise ValueError(f"audio with {what} came, wanted (S,) finite samples in [-1, 1]; check the file it came from")
    return value


def repeat_to_length(audio_S: np.ndarray, num_samples: int, offset: int = 0) -> np.ndarray:
    """Return ``num_samples`` samples from ``offset`` on, repeating the audio as needed."""
    if not len(audio_S):
        raise ValueError("audio of length 0 came, wanted at least one sample to repeat; check the noise files")
    first_S = audio_S[offset : offset + num_samples]  # most often that is all, and a long file is not copied
    if len(first_S) == num_samples:
        return first_S
    return np.concatenate([first_S, np.resize(audio_S, num_samples - len(first_S))])


def to_steps(audio_S: np.ndarray) -> np.ndarray:
    """Return audio as int16 steps, (S,); values outside [-1, 1] are clipped."""
    return np.clip(np.rint(audio_S.astype(np.float64) * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def to_audio(steps_S: np.ndarray) -> np.ndarray:
    """Return int16 steps as float32 audio in [-1, 1]."""
    return steps_S.astype(np.float32) / np.float32(FULL_SCALE)


def steps_sha256(steps_S: np.ndarray) -> str:
    """Return the SHA-256 of int16 samples as little-endian bytes."""
    return hashlib.sha256(steps_S.astype("<i2").tobytes()).hexdigest()


def mix_sha256(rule: str, heard_S: np.ndarray) -> str:
    """Return the SHA-256 of a mix as little-endian int16 steps (``auto_avsr``: float32)."""
    if rule == "auto_avsr":
        return hashlib.sha256(heard_S.astype("<f4").tobytes()).hexdigest()
    return steps_sha256(np.rint(heard_S * np.float32(FULL_SCALE)).astype(np.int16))
