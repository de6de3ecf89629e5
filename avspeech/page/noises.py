"""The noises that a visitor can add to the sound of a video."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from avspeech.manifest import read_manifest
from avspeech.noise.exact_noise import exact_noise
from avspeech.noise.mixing import mix_at_snr
from avspeech.noise.recordings import FULL_SCALE
from avspeech.noise.sources import BabbleSource, Voice

NONE = "none"
LOWEST_SNR_DB, HIGHEST_SNR_DB = -15, 20


class Noises:
    """White and pink noise, and babble where there are voices.

    The same noise for every job, so that two models are heard in the same noise and a job can be repeated.

    Args:
        voices: clips that babble is made of.
    """

    def __init__(self, voices: Sequence[Voice] = ()) -> None:
        self._babble = BabbleSource(voices, num_voices=(6, 6)) if voices else None

    @property
    def kinds(self) -> list[str]:
        """What can be chosen, ``none`` first."""
        return [NONE, "white", "pink", *(["babble"] if self._babble else [])]

    def add(self, audio_S: np.ndarray, kind: str, snr_db: float) -> np.ndarray:
        """Return the sound with noise at ``snr_db``, or as it came for the kind ``none``.

        Raises:
            ValueError: there is no such noise or no such ratio, or no voice for babble can be read.
        """
        if kind not in self.kinds:
            raise ValueError(f"noise {kind!r} came, wanted one of {', '.join(self.kinds)}")
        if kind == NONE or not len(audio_S):
            return audio_S
        if not LOWEST_SNR_DB <= snr_db <= HIGHEST_SNR_DB:
            raise ValueError(f"an SNR of {snr_db} dB came, wanted {LOWEST_SNR_DB} to {HIGHEST_SNR_DB}")
        if kind == "babble":
            assert self._babble is not None
            noise_S = self._babble.draw(len(audio_S), np.random.default_rng(0))
        else:
            noise_S = exact_noise(kind, "page", len(audio_S)).astype(np.float32) / FULL_SCALE
        return mix_at_snr(audio_S, noise_S, snr_db)


def read_voices(manifest: Path) -> list[Voice]:
    """Return the voices of a manifest.

    Raises:
        ValueError: it cannot be read, or a line has no sound.
    """
    return [
        Voice(one.id, one.audio, one.speaker)
        for one in read_manifest(manifest, require=("audio",))
        if one.audio is not None
    ]
