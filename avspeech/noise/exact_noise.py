"""Noise and random choices, identical bit by bit on every machine: SHAKE-256 and integer arithmetic.

numpy's generators may change between versions, and a logarithm's last bit between processors. A text key names a
stream, so a plan stores the key instead of the noise.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

Thing = TypeVar("Thing")
_TERMS = 12  # uniform 16-bit numbers in a sample: nearly Gaussian (excess kurtosis -0.1), never beyond 6 sigma
_ROWS = 7  # of pink noise; row k holds its value for 2^(k+1) samples, the last for 8 ms


def stream_key(seed: int, utterance_id: str, noise: str, snr_db: float | None) -> str:
    """Return the key of one mix; ``snr_db`` None means no SNR. 5 and 5.0, 0.0 and -0.0 give the same key."""
    level = None if snr_db is None else float(snr_db) + 0.0
    return json.dumps(["avspeech noise", int(seed), utterance_id, noise, level], separators=(",", ":"))


class ExactDraws:
    """Unbiased choices drawn from the stream of a key."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._hash = hashlib.shake_256(key.encode())
        self._bytes, self._next, self._pictures = b"", 0, 0

    def below(self, bound: int) -> int:
        """Return an integer from 0 to ``bound`` - 1, unbiased (rejection sampling)."""
        if not 1 <= bound <= 1 << 32:
            raise ValueError(f"bound={bound} came, wanted 1 to 2^32 possibilities")
        limit = (1 << 64) - (1 << 64) % bound
        while (number := self._word()) >= limit:
            pass
        return number % bound

    def between(self, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``, both included."""
        return low + self.below(high - low + 1)

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * (self.below(1 << 32) / (1 << 32))

    def side(self) -> float:
        """Return -1.0 or 1.0."""
        return 2.0 * self.below(2) - 1.0

    def pick(self, things: Sequence[Thing]) -> Thing:
        """Return one of ``things``, each equally likely."""
        return things[self.below(len(things))]

    def shuffled(self, count: int) -> Iterator[int]:
        """Yield 0 to ``count`` - 1 in random order, drawing only as many as are read (Fisher-Yates)."""
        moved: dict[int, int] = {}
        for place in range(count):
            other = self.between(place, count - 1)
            yield moved.get(other, other)
            moved[other] = moved.get(place, place)

    def order(self, allowed: np.ndarray, wanted: int) -> Iterator[int]:
        """Yield all indices in random order, so excluding one file does not move the others."""
        return self.shuffled(len(allowed))

    def generated(self, kind: str, num_samples: int) -> np.ndarray:
        """Return the key's white or pink noise, int16."""
        return exact_noise(kind, self.key, num_samples)

    def picture(self, height: int, width: int) -> np.ndarray:
        """Return near-Gaussian noise, mean 0 and deviation 1, (H, W) float32, new in every call."""
        self._pictures += 1
        drawn = exact_noise("white", f"{self.key} picture {self._pictures}", height * width)
        return drawn.reshape(height, width).astype(np.float32) / np.float32(1024)

    def _word(self) -> int:
        if self._next + 8 > len(self._bytes):
            self._bytes = self._hash.digest(max(256, 2 * len(self._bytes)))  # always from the start of the stream
        word = int.from_bytes(self._bytes[self._next : self._next + 8], "little")
        self._next += 8
        return word


def exact_noise(generator: str, key: str, num_samples: int) -> np.ndarray:
    """Return noise with an rms of about 1/32 of full scale, int16 (num_samples,).

    ``generator`` is ``white``, or ``pink`` (-3 dB per octave above 60 Hz, flat below); else ValueError. A longer noise
    of the same key begins differently.
    """
    if generator == "white":
        return _white(f"{key} white", num_samples, 6)
    if generator != "pink":
        raise ValueError(f"generator {generator!r} came, wanted white or pink")
    # A sum of noises, each held twice as long as the one before; no two change together (Voss-McCartney).
    total = _white(f"{key} pink 0", num_samples, 8).astype(np.int64)
    for row in range(_ROWS):
        hold = 2 ** (row + 1)
        values = _white(f"{key} pink {row + 1}", num_samples // hold + 2, 8)
        total += np.repeat(values, hold)[hold // 2 : hold // 2 + num_samples]
    return total.astype(np.int16)


def _white(key: str, num_samples: int, shift: int) -> np.ndarray:
    """Return near-Gaussian int16 noise of standard deviation 2^(16 - shift)."""
    drawn = np.frombuffer(hashlib.shake_256(key.encode()).digest(2 * _TERMS * num_samples), dtype="<u2")
    sums = drawn.reshape(_TERMS, num_samples).sum(axis=0, dtype=np.int64) - _TERMS * 65535 // 2
    return (sums >> shift).astype(np.int16)
