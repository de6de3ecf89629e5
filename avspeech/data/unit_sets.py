"""Units of a manifest's utterances, one per encoder frame.

Units are at 25 Hz or, from MFCCs, at 100 Hz; then frame t takes unit 4 t (official code of AV-HuBERT,
arXiv:2201.02184). Frames after the last unit have none.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avspeech.inputs import IGNORE
from avspeech.manifest import ManifestError, read_units
from avspeech.timebase import FRAME_RATE


@dataclass(frozen=True)
class UnitSet:
    """Units of one codebook, in manifest order."""

    rows: Sequence[Sequence[int]]
    rate: int = FRAME_RATE
    """Units per second, 25 or a multiple of it."""

    def __post_init__(self) -> None:
        if self.rate % FRAME_RATE or self.rate < FRAME_RATE:
            raise ValueError(f"data.units_rate={self.rate} must be {FRAME_RATE} or a multiple of it")

    @classmethod
    def read(cls, path: str | Path, rate: int | None = None) -> "UnitSet":
        """Return the units of a ``.km`` file.

        ``rate`` is in units per second; None reads it from ``PATH.json`` (from ``data_prep/assign_units.py``), else 25.
        Raises ManifestError for a line without units or a different rate in ``PATH.json``.
        """
        path = Path(path)
        facts = path.with_name(path.name + ".json")
        stored = json.loads(facts.read_text(encoding="utf-8")).get("rate") if facts.exists() else None
        if None not in (rate, stored) and rate != stored:
            raise ManifestError(
                f"{path} has {stored} units per second, as {facts.name} beside it says, and data.units_rate={rate} "
                "came; leave data.units_rate out"
            )
        return cls(read_units(path), rate or stored or FRAME_RATE)

    def at_frames(self, index: int, num_frames: int) -> np.ndarray:
        """Return the unit of each frame, (T,) int64, ``IGNORE`` if none."""
        step = self.rate // FRAME_RATE
        row = self.rows[index]
        # A frame needs all of its units: the first of an incomplete group would belong to the clip's ragged end.
        known = np.asarray(row[: len(row) - step + 1 : step][:num_frames], dtype=np.int64)
        units_T = np.full(num_frames, IGNORE, dtype=np.int64)
        units_T[: len(known)] = known
        return units_T
