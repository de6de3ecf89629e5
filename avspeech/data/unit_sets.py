"""Units of one codebook for every clip: packed rows of a ``.km`` file, or rows that a shard index finds."""

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from avspeech.inputs import IGNORE
from avspeech.manifest import ManifestError, read_units
from avspeech.timebase import FRAME_RATE


class Rows(Protocol):
    """The units of each clip, by index."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Sequence[int] | np.ndarray: ...


@dataclass(frozen=True)
class PackedRows:
    """Rows of whole numbers in one array: no Python object per clip, so that forked processes share it."""

    values: np.ndarray
    starts_N: np.ndarray  # and the end of the last row

    @classmethod
    def pack(cls, rows: Iterable[Sequence[int]]) -> "PackedRows":
        """Return the rows, uint16 where the numbers allow it."""
        values, starts = array("i"), array("q", [0])
        for row in rows:
            values.extend(row)
            starts.append(len(values))
        packed = np.frombuffer(values, np.int32) if values else np.zeros(0, np.int32)
        fits = not len(packed) or (packed.min() >= 0 and packed.max() <= np.iinfo(np.uint16).max)
        return cls(packed.astype(np.uint16) if fits else packed, np.frombuffer(starts, np.int64))

    def __len__(self) -> int:
        return len(self.starts_N) - 1

    def __getitem__(self, index: int, /) -> np.ndarray:
        return self.values[self.starts_N[index] : self.starts_N[index + 1]]


@dataclass(frozen=True)
class _Picked:
    rows: Rows
    kept_N: np.ndarray

    def __len__(self) -> int:
        return len(self.kept_N)

    def __getitem__(self, index: int, /) -> Sequence[int] | np.ndarray:
        return self.rows[int(self.kept_N[index])]


@dataclass(frozen=True)
class UnitSet:
    """Units of one codebook, in the clips' order; ``rate`` is units per second, 25 or a multiple of it.

    Of units at 100 Hz, from MFCCs, frame t takes unit 4 t (official code of AV-HuBERT, arXiv:2201.02184).
    """

    rows: Rows
    rate: int = FRAME_RATE

    def __post_init__(self) -> None:
        if self.rate % FRAME_RATE or self.rate < FRAME_RATE:
            raise ValueError(f"data.units_rate={self.rate} must be {FRAME_RATE} or a multiple of it")

    @classmethod
    def read(cls, path: str | Path, rate: int | None = None) -> "UnitSet":
        """Return the units of a ``.km`` file.

        ``rate`` None is that of ``PATH.json`` (``data_prep/assign_units.py``), else 25. Raises ManifestError for a line
        without units or another rate than in ``PATH.json``.
        """
        facts = Path(f"{path}.json")
        stored = json.loads(facts.read_text(encoding="utf-8")).get("rate") if facts.exists() else None
        if None not in (rate, stored) and rate != stored:
            raise ManifestError(
                f"{path} has {stored} units per second, as {facts.name} beside it says, and data.units_rate={rate} "
                "came; leave data.units_rate out"
            )
        return cls(PackedRows.pack(read_units(path)), rate or stored or FRAME_RATE)

    def select(self, kept_N: np.ndarray) -> "UnitSet":
        """Return the units of these clips, as a view."""
        return UnitSet(_Picked(self.rows, kept_N), self.rate)

    def at_frames(self, index: int, num_frames: int) -> np.ndarray:
        """Return the unit of each frame, (T,) int64, ``IGNORE`` if none."""
        step, row = self.rate // FRAME_RATE, self.rows[index]
        # A frame needs all of its units: the first of an incomplete group would belong to the clip's ragged end.
        known = row[: len(row) - step + 1 : step][:num_frames]
        units_T = np.full(num_frames, IGNORE, np.int64)
        units_T[: len(known)] = known
        return units_T
