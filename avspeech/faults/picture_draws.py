"""What is random about a picture's faults, drawn from a text key: choices that are the same on every machine."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from avspeech.noise.exact_noise import ExactDraws, exact_noise

Thing = TypeVar("Thing")
_DEVIATION = 1024.0
"""Of ``exact_noise``: 1/32 of int16's full scale."""


class PictureDraws(ExactDraws):
    """Choices, lengths and noise of a key, each drawn after the one before."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self._key, self._noises = key, 0

    def uniform(self, low: float, high: float) -> float:
        """Return a number from ``low`` up to, not including, ``high``."""
        return low + (high - low) * (self.below(1 << 32) / (1 << 32))

    def side(self) -> float:
        """Return -1.0 or 1.0."""
        return 2.0 * self.below(2) - 1.0

    def pick(self, things: Sequence[Thing]) -> Thing:
        """Return one of them, each equally likely."""
        return things[self.below(len(things))]

    def noise(self, height: int, width: int) -> np.ndarray:
        """Return near-Gaussian noise of mean 0 and deviation 1, (H, W) float32; every call other noise."""
        self._noises += 1
        drawn = exact_noise("white", f"{self._key} picture {self._noises}", height * width)
        return drawn.reshape(height, width).astype(np.float32) / np.float32(_DEVIATION)
