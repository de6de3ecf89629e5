"""Noises that a visitor can add to the sound."""

from collections.abc import Mapping

import numpy as np

from avspeech.manifest import Utterance
from avspeech.noise.drawn import DrawnNoise
from avspeech.noise.spec import NoiseConfig, NoiseSpec

NONE = "none"
LOWEST_SNR_DB, HIGHEST_SNR_DB = -15, 20
_SEED = 0  # equal noise for all models and repeated jobs


class Noises:
    """White, pink and ``more`` noises; ValueError if files are missing."""

    def __init__(self, more: Mapping[str, NoiseSpec] = {}) -> None:
        noises = {"white": NoiseSpec("white"), "pink": NoiseSpec("pink"), **more}
        self._noise = DrawnNoise(NoiseConfig(noises=noises), split="test")
        self.kinds = [NONE, *self._noise.names]
        """Choices, ``none`` first."""

    def add(self, audio_S: np.ndarray, kind: str, snr_db: float) -> np.ndarray:
        """Return the sound with noise at ``snr_db``; ValueError for an unknown noise or ratio, or unreadable voices."""
        if kind not in self.kinds:
            raise ValueError(f"noise {kind!r} came, wanted one of {', '.join(self.kinds)}")
        if kind == NONE or not len(audio_S):
            return audio_S
        if not LOWEST_SNR_DB <= snr_db <= HIGHEST_SNR_DB:
            raise ValueError(f"an SNR of {snr_db} dB came, wanted {LOWEST_SNR_DB} to {HIGHEST_SNR_DB}")
        return self._noise.add(audio_S, kind, snr_db, np.random.default_rng(_SEED), Utterance("page"))
