"""The ways in which laboratories mix, taken apart: choosing the noise's scale, and adding it at a given scale.

Only the first has sums over a clip, whose last bits differ between machines and numpy versions; a plan stores their
result. The second works sample by sample, in operations that IEEE 754 rounds in one way, so it is the same to the
bit everywhere (a maximum is exact in any order).

- ``avspeech``: noise from a drawn sample on; float64; the whole mix scaled down where it would leave int16; rounded to
  the nearest int16 step. The speech's level is its rms over the clip, or over its active part (``speech_level``).
- ``avhubert`` (Shi et al. 2022, arXiv:2201.01763; the arithmetic is their code's, see ``mix_officially``): noise from
  its first sample on, babble is the mean of voices cut to the shortest; float32; scaled down likewise; cut to int16
  steps toward zero.
- ``auto_avsr`` (Ma et al. 2023, arXiv:2303.14307; the arithmetic is torchaudio's ``add_noise``, which their code
  calls): noise from a drawn sample on, such that it need not be repeated; energies over the clip; float32; neither
  scaled nor rounded, so it may leave [-1, 1]. Their 0 dB, which draws another SNR, is not copied: 0 dB is 0 dB.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from avspeech.noise.mixing import repeat_to_length, rms
from avspeech.noise.recordings import FULL_SCALE, steps_sha256
from avspeech.noise.speech_level import active_level

RULES = ("avspeech", "avhubert", "auto_avsr")
LEVELS = ("clip", "active")
FURTHEST_SNR_DB = 100.0
"""Beyond, float32 no longer holds speech and noise at once, and int16 has not for long."""
_LOWEST, _HIGHEST = -1.0, 32767 / 32768  # what int16 can hold


def check_rule(rule: str, level: str) -> None:
    """Check that the names are known and go together.

    Raises:
        ValueError: names the key.
    """
    if rule not in RULES:
        raise ValueError(f"rule={rule!r} must be one of {', '.join(RULES)}")
    if level not in LEVELS:
        raise ValueError(f"level={level!r} must be one of {', '.join(LEVELS)}")
    if level != "clip" and rule != "avspeech":
        raise ValueError(f"level={level!r} does not go with rule={rule!r}, which measures the clip; set level: clip")


def check_snrs(snrs_db: Sequence[float]) -> None:
    """Check that there are such signal-to-noise ratios.

    Raises:
        ValueError: names the first that is not, as ``snrs_db[0]``.
    """
    for index, snr_db in enumerate(snrs_db):
        if not -FURTHEST_SNR_DB <= snr_db <= FURTHEST_SNR_DB:  # nor is nan
            raise ValueError(
                f"snrs_db[{index}]={snr_db} must be a number from {-FURTHEST_SNR_DB:g} to {FURTHEST_SNR_DB:g}; clean "
                "speech is include_clean: true"
            )


def lay_over(rule: str, pieces: Sequence[tuple[np.ndarray, int, float]], num_samples: int) -> np.ndarray:
    """Return noise made of pieces, (num_samples,), in [-1, 1] for one piece and at any level for more.

    Args:
        rule: float64 for ``avspeech``, float32 for the others.
        pieces: int16 samples, first sample and gain of each; repeated where they are short.
        num_samples: length of the speech.
    """
    if rule == "avhubert" and len(pieces) > 1:  # means of int16 files are int16 files
        shortest = min(len(steps_S) for steps_S, _, _ in pieces)
        sum_S = np.sum([steps_S[:shortest] for steps_S, _, _ in pieces], axis=0, dtype=np.int64)
        return repeat_to_length(np.trunc(sum_S / len(pieces)).astype(np.float32) / np.float32(FULL_SCALE), num_samples)
    total_S = np.zeros(num_samples)
    for steps_S, offset, gain in pieces:
        total_S += repeat_to_length(steps_S, num_samples, offset).astype(np.float64) * (gain / FULL_SCALE)
    return total_S if rule == "avspeech" else total_S.astype(np.float32)


def speech_level(speech_S: np.ndarray, level: str) -> float:
    """Return the rms of speech in int16 steps over the ``clip`` or its ``active`` part; full scale is 1."""
    audio_S = speech_S.astype(np.float64) / FULL_SCALE
    return active_level(audio_S)[0] if level == "active" else rms(audio_S)


def choose_scale(rule: str, loudness: float, speech_S: np.ndarray, noise_S: np.ndarray, snr_db: float) -> float:
    """Return what the noise is multiplied by; neither speech nor noise may be silent.

    Args:
        rule: how levels are taken.
        loudness: the speech's level, for ``avspeech``; the others measure as their code does.
        speech_S: int16 steps.
        noise_S: as ``lay_over`` gave it.
        snr_db: ratio in dB.
    """
    if rule == "avhubert":
        clean_S = speech_S.astype(np.float32) / np.float32(FULL_SCALE)
        clean_rms, noise_rms = (np.sqrt(np.mean(np.square(part))) for part in (clean_S, noise_S))
        return float(clean_rms / 10 ** (snr_db / 20) / noise_rms)
    if rule == "auto_avsr":
        clean_S = speech_S.astype(np.float32) / np.float32(FULL_SCALE)
        clean_db, noise_db = (10 * math.log10(np.sum(np.square(part, dtype=np.float64))) for part in (clean_S, noise_S))
        return float(np.float32(10 ** ((clean_db - noise_db - snr_db) / 20)))
    return loudness / rms(noise_S) / 10 ** (snr_db / 20)


def add_noise(rule: str, speech_S: np.ndarray, noise_S: np.ndarray, scale: float) -> np.ndarray:
    """Return speech plus scaled noise in [-1, 1] units before any rounding, float64 or float32 as the rule has it.

    Args:
        rule: whose arithmetic.
        speech_S: int16 steps.
        noise_S: as ``lay_over`` gave it.
        scale: as ``choose_scale`` gave it.
    """
    kind = np.float64 if rule == "avspeech" else np.float32
    return speech_S.astype(kind) / kind(FULL_SCALE) + noise_S * kind(scale)


def finish(rule: str, mixed_S: np.ndarray) -> np.ndarray:
    """Return the mix as it is heard, float32: scaled down where it leaves int16, and in int16 steps, if so ruled."""
    if rule == "auto_avsr":
        return mixed_S
    high, low = mixed_S.max(), mixed_S.min()
    if rule == "avspeech":
        steps_S = np.rint(mixed_S / max(1.0, high / _HIGHEST, low / _LOWEST) * FULL_SCALE)
        return (steps_S / FULL_SCALE).astype(np.float32)
    if high > _HIGHEST or low < _LOWEST:
        limit, peak = (_HIGHEST, high) if high >= -low else (_LOWEST, low)
        mixed_S = mixed_S * np.float32(np.float32(limit) / peak)
    return np.trunc(mixed_S * np.float32(FULL_SCALE)) / np.float32(FULL_SCALE)


def measured_snr_db(loudness: float, speech_S: np.ndarray, mixed_S: np.ndarray) -> float:
    """Return the SNR of a mix that ``add_noise`` made: the speech's level over the rms of all that is not speech."""
    return 20 * math.log10(loudness / rms(mixed_S.astype(np.float64) - speech_S.astype(np.float64) / FULL_SCALE))


def mix_sha256(rule: str, heard_S: np.ndarray) -> str:
    """Return the SHA-256 of a mix as little-endian bytes: int16 steps, or float32 for ``auto_avsr``."""
    if rule == "auto_avsr":
        return hashlib.sha256(heard_S.astype("<f4").tobytes()).hexdigest()
    return steps_sha256(np.rint(heard_S * np.float32(FULL_SCALE)).astype(np.int16))
