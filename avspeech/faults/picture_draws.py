"""Random choices of a picture fault from a text key, equal on every machine."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from avspeech.noise.exact_noise import ExactDraws, exact_noise

Thing = TypeVar("Thing")
_DEVIATION = 1024.0
"""Standard deviation of ``exact_noise``: 1/32 of int16's full scale."""


class PictureDraws(ExactDraws):
    """A sequence of choices, lengths and noise that depends on a key."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self._key, self._noises = key, 0

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * (self.below(1 << 32) / (1 << 32))

    def side(self) -> float:
        """Return -1.0 or 1.0."""
        return 2.0 * self.below(2) - 1.0

    def pick(self, things: Sequence[Thing]) -> Thing:
        """Return one of ``things``, each equally likely."""
        return things[self.below(len(things))]

    def noise(self, height: int, width: int) -> np.ndarray:
        """Return near-Gaussian noise, mean 0 and deviation 1, (H, W) float32, new in every call."""
        self._noises += 1
        drawn = exact_noise("white", f"{self._key} picture {self._noises}", height * width)
        return drawn.reshape(height, width).astype(np.float32) / np.float32(_DEVIATION)
