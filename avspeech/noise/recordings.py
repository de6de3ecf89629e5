"""Recordings as whole int16 steps with the hashes that tell whether they are still the same; kept in memory."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avspeech.files import file_sha256
from avspeech.media.errors import MediaError
from avspeech.noise.mixing import rms

FULL_SCALE = 32768


def to_steps(audio_S: np.ndarray) -> np.ndarray:
    """Return float audio in [-1, 1] as int16 steps, (S,); values outside are clipped."""
    return np.clip(np.rint(audio_S.astype(np.float64) * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def steps_sha256(steps_S: np.ndarray) -> str:
    """Return the SHA-256 of int16 samples as little-endian bytes."""
    return hashlib.sha256(steps_S.astype("<i2").tobytes()).hexdigest()


@dataclass(frozen=True)
class Recording:
    """What is known of a file that has been decoded once."""

    sha256: str
    """Of its bytes."""
    samples_sha256: str
    """Of its samples at 16 kHz in int16 steps: another decoder may give others."""
    num_samples: int
    rms: float
    """Over the whole file, full scale is 1; 0 for a file without sound or samples."""


class PcmFiles:
    """Reads recordings; facts are kept for good, samples as long as they fit, the longest unused go first.

    Args:
        cache_bytes: memory for samples.
    """

    def __init__(self, cache_bytes: int = 1 << 30) -> None:
        self._cache_bytes, self._num_bytes = cache_bytes, 0
        self._facts: dict[Path, Recording] = {}
        self._samples: OrderedDict[Path, np.ndarray] = OrderedDict()

    def facts(self, path: Path) -> Recording:
        """Return the facts of a file, which are measured once: what changes later is not noticed.

        Raises:
            MediaError: it cannot be read.
        """
        if path not in self._facts:
            digest = _sha256(path)
            steps_S = self.steps(path)
            level = rms(steps_S.astype(np.float64) / FULL_SCALE) if len(steps_S) else 0.0
            self._facts[path] = Recording(digest, steps_sha256(steps_S), len(steps_S), level)
        return self._facts[path]

    def steps(self, path: Path) -> np.ndarray:
        """Return int16 samples, (S,), not to be written to.

        Raises:
            MediaError: the file cannot be read.
        """
        from avspeech.media.audio import read_audio  # needs PyAV, which a plan of generated noise does not

        if path in self._samples:
            self._samples.move_to_end(path)
            return self._samples[path]
        steps_S = self._samples[path] = to_steps(read_audio(path))
        self._num_bytes += steps_S.nbytes
        while self._num_bytes > self._cache_bytes and len(self._samples) > 1:
            self._num_bytes -= self._samples.popitem(last=False)[1].nbytes
        return steps_S


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
        MediaError: it cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise MediaError(path, f"cannot be read: {error.strerror}") from error
