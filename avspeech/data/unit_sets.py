"""Units of a manifest's utterances, on the clock of the encoder.

Units may be at 25 Hz or, from MFCCs, at 100 Hz. Then frame t takes unit 4 t, without any pooling (AV-HuBERT, Shi et
al. 2022, arXiv:2201.02184, official code). Frames beyond the last unit have none and carry -100.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avspeech.inputs import IGNORE
from avspeech.timebase import FRAME_RATE


@dataclass(frozen=True)
class UnitSet:
    """Units of one codebook for every utterance of a manifest, in its order."""

    rows: Sequence[Sequence[int]]
    rate: int = FRAME_RATE
    """Units per second, 25 or a multiple of it."""

    def __post_init__(self) -> None:
        if self.rate % FRAME_RATE or self.rate < FRAME_RATE:
            raise ValueError(f"data.units_rate={self.rate} must be {FRAME_RATE} or a multiple of it")

    def at_frames(self, index: int, num_frames: int) -> np.ndarray:
        """Return the unit of each of an utterance's frames, (T,) int64, ``IGNORE`` where there is none."""
        units_T = np.full(num_frames, IGNORE, dtype=np.int64)
        known = np.asarray(thin_out(self.rows[index], self.rate)[:num_frames], dtype=np.int64)
        units_T[: len(known)] = known
        return units_T


def thin_out(units: Sequence[int], rate: int) -> Sequence[int]:
    """Return the unit of every frame that all of its units are there for: number ``rate / 25 * t`` for frame t."""
    step = rate // FRAME_RATE
    return units[: len(units) - step + 1 : step]
