"""Read shards: columns of the index as arrays, and one clip at a time by its bytes."""

import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from avspeech.manifest import Utterance, Word
from avspeech.shards.index import CODED, INDEX, read_index, short_hash
from avspeech.shards.storage import ShardError, Storage, is_url

_STREAM_OF = {"mouth": "lips", "audio": "sound"}


class Shards:
    """The clips of an index, in its order. It keeps no Python object per clip, and may be used after a fork.

    Args:
        path: the index, or the folder or URL that holds it as ``index.arrow``.

    Raises ShardError: there is no such index, or it is empty.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        root, _, name = self.path.rpartition("/") if self.path.endswith(".arrow") else (self.path, "", INDEX)
        self._storage = Storage(root or ".")
        if is_url(root):
            version = f"{short_hash(self._storage.facts(name).encode()):016x}"  # another index, other cached bytes
            self._storage = Storage(root, version)
        self._table, self.facts = read_index(self._storage.local(name))
        self._columns: dict[str, Any] = {}  # finding one in the table takes 10 times as long as a value in it
        self._numbers: dict[str, np.ndarray] = {}
        if not len(self):
            raise ShardError(f"{self.path} holds no clip; data_prep/write_shards.py lists the reasons")

    def __reduce__(self) -> tuple:
        return Shards, (self.path,)

    def __len__(self) -> int:
        return len(self._table)

    def column(self, name: str) -> Any:
        """Return a column of the index as one Arrow array."""
        if name not in self._columns:
            self._columns[name] = self._table.column(name).chunk(0)
        return self._columns[name]

    def numbers(self, name: str) -> np.ndarray:
        """Return a column of numbers, (N,), without a copy."""
        if name not in self._numbers:
            self._numbers[name] = self.column(name).to_numpy()
        return self._numbers[name]

    def has(self, field: str) -> np.ndarray:
        """Return which clips have ``mouth``, ``audio``, ``text`` or ``words``, (N,) bool."""
        if field in _STREAM_OF:
            return self.numbers(f"{_STREAM_OF[field]}.size") > 0
        return self.column(field).is_valid().to_numpy(zero_copy_only=False)

    def codes(self, field: str) -> tuple[np.ndarray, list[str | None]]:
        """Return a number per clip, (N,) int32, and what it stands for, of a field of ``index.CODED``."""
        coded = self.column(field)
        values = [*coded.dictionary.to_pylist(), None]
        return coded.indices.fill_null(len(values) - 1).to_numpy(), values

    def text_lengths(self) -> np.ndarray:
        """Return the characters of each text, (N,); 0 without a text."""
        return pc.call_function("utf8_length", [self.column("text")]).fill_null(0).to_numpy()

    def _value(self, name: str, index: int) -> Any:
        return self.column(name)[index].as_py()

    def utterance(self, index: int) -> Utterance:
        """Return a clip without its files. IndexError: there is none."""
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} of {len(self)} in {self.path}")
        words = self._value("words", index)
        return Utterance(
            self._value("id", index),
            num_frames=self._value("num_frames", index) or None,
            num_samples=self._value("num_samples", index) or None,
            text=self._value("text", index),
            words=None if words is None else tuple(Word(*word) for word in json.loads(words)),
            **{name: self._value(name, index) for name in CODED},
        )

    def mouth(self, index: int) -> np.ndarray:
        """Return the mouth crop, (T, H, W) uint8. ShardError as ``content``."""
        from avspeech.shards.codecs import decode_lips  # PyAV and OpenCV, which noise without files does not need

        frames, height, width = (int(self.numbers(name)[index]) for name in ("num_frames", "height", "width"))
        return decode_lips(self.content(index, "lips"), self.facts.profile, (frames, height, width))

    def sound(self, index: int) -> np.ndarray:
        """Return int16 samples, (S,), read-only. ShardError as ``content``."""
        from avspeech.shards.codecs import decode_sound

        return decode_sound(self.content(index, "sound"), self.facts.profile)

    def content(self, index: int, stream: str) -> bytes:
        """Return the bytes of a clip's stream. ShardError: the clip has none, or the shard is not as it was written."""
        name = self.facts.files[int(self.numbers("shard")[index])]
        start, size, wanted = (int(self.numbers(f"{stream}.{one}")[index]) for one in ("start", "size", "hash"))
        what = f"{self.path}, shard {name}: {stream} of clip {self._value('id', index)!r}"
        if not size:
            raise ShardError(f"{what} is not stored; write the shards anew with it")
        content = self._storage.read(name, start, size)
        if short_hash(content) != wanted and self._storage.forget(name, start, size):
            content = self._storage.read(name, start, size)
        if short_hash(content) != wanted:
            raise ShardError(
                f"{what} is damaged: {len(content)} of {size} bytes from byte {start} on, and another SHA-256; get the "
                "shard again, or remove it and its .arrow file and run data_prep/write_shards.py as before"
            )
        return content

    def units(self, name: str) -> "UnitRows":
        """Return the rows of a unit set. ShardError: there is no such set."""
        if name not in self.facts.units:
            known = ", ".join(self.facts.units) or "none"
            raise ShardError(f"{self.path} has no units {name!r}; it has {known}")
        return UnitRows(self, name)

    def find(self, id: str) -> np.ndarray:
        """Return the indices of the clips with an id."""
        hashes_N, order_N = self.numbers("id_hash"), self.numbers("by_id")
        wanted, places = short_hash(id.encode()), range(len(self))
        first, end = (
            cut(places, wanted, key=lambda k: int(hashes_N[order_N[k]])) for cut in (bisect_left, bisect_right)
        )
        return order_N[first:end]


@dataclass(frozen=True)
class UnitRows:
    """Units of each clip, uint16."""

    shards: Shards
    name: str

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int, /) -> np.ndarray:
        return np.frombuffer(self.shards.content(index, f"units:{self.name}"), "<u2")


def is_shards(path: str | Path) -> bool:
    """True for an index, a folder or a URL; a manifest is a file of another kind."""
    return is_url(path) or str(path).endswith(".arrow") or Path(path).is_dir()
