"""The clips of a data set: columns as arrays, and one clip at a time as an ``Utterance`` with its decoded streams."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from avspeech.data.augment import Streams
from avspeech.data.unit_sets import UnitSet
from avspeech.manifest import ManifestError, Utterance, read_manifest
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from avspeech.media.video import read_grey_clip
from avspeech.noise.mixing import to_steps
from avspeech.shards.reading import Shards, is_shards


class Clips(Protocol):
    """N clips in a fixed order. A column holds one value per clip, without a Python object for each in shards."""

    @property
    def num_frames_N(self) -> np.ndarray:
        """Lengths at 25 fps, int32; 0: unknown."""
        ...

    def __len__(self) -> int: ...

    def utterance(self, index: int) -> Utterance:
        """Return a clip's description, made on request."""
        ...

    def streams(self, index: int, audio: bool, video: bool, smallest: int = 1) -> Streams:
        """Return (``mouth_THW`` uint8, ``steps_S`` int16 at 16 kHz), None for what is not asked for.

        MediaError: a file cannot be read, has no samples, or a side of the mouth is below ``smallest`` pixels.
        """
        ...

    def has(self, field: str) -> np.ndarray:
        """Return which clips have ``mouth``, ``audio``, ``text`` or ``words``, (N,) bool."""
        ...

    def codes(self, field: str) -> tuple[np.ndarray, list[str | None]]:
        """Return a number per clip, (N,), and what it stands for, of language, corpus, speaker or crop."""
        ...

    def text_lengths(self) -> np.ndarray:
        """Return the characters of each text, (N,) int32; 0 without a text."""
        ...

    def select(self, kept_N: np.ndarray) -> "Clips":
        """Return the clips with these indices, in this order."""
        ...

    @property
    def voices(self) -> Sequence[Utterance] | Shards:
        """All clips, also those that ``select`` left out, as voices that babble is drawn from."""
        ...

    def units(self, name: str, rate: int | None) -> UnitSet:
        """Return a stored unit set, or that of the unit file ``name``; see ``UnitSet.read``."""
        ...


@dataclass(frozen=True)
class FileClips:
    """Clips whose streams are files."""

    utterances: Sequence[Utterance]

    @property
    def num_frames_N(self) -> np.ndarray:
        return self._column(lambda one: one.num_frames or 0, np.int32)

    def __len__(self) -> int:
        return len(self.utterances)

    def utterance(self, index: int) -> Utterance:
        return self.utterances[index]

    def streams(self, index: int, audio: bool, video: bool, smallest: int = 1) -> Streams:
        utterance = self.utterances[index]
        mouth_THW = steps_S = None
        if video:
            assert utterance.mouth is not None
            mouth_THW = read_grey_clip(utterance.mouth, smallest)
        if audio:
            steps_S = read_steps(utterance)
        return mouth_THW, steps_S

    def has(self, field: str) -> np.ndarray:
        return self._column(lambda one: getattr(one, field) is not None, np.bool_)

    def codes(self, field: str) -> tuple[np.ndarray, list[str | None]]:
        numbers: dict[str | None, int] = {}
        codes_N = self._column(lambda one: numbers.setdefault(getattr(one, field), len(numbers)), np.int32)
        return codes_N, list(numbers)

    def text_lengths(self) -> np.ndarray:
        return self._column(lambda one: len(one.text or ""), np.int32)

    def select(self, kept_N: np.ndarray) -> "FileClips":
        return FileClips([self.utterances[index] for index in kept_N.tolist()])

    @property
    def voices(self) -> Sequence[Utterance]:
        return self.utterances

    def units(self, name: str, rate: int | None) -> UnitSet:
        return UnitSet.read(name, rate)

    def _column(self, value: Callable[[Utterance], int], kind: type) -> np.ndarray:
        return np.fromiter(map(value, self.utterances), kind, len(self.utterances))


@dataclass(frozen=True)
class ShardClips:
    """Clips of shards, all or those with the indices ``kept_N``."""

    shards: Shards
    kept_N: np.ndarray | None = None

    @property
    def num_frames_N(self) -> np.ndarray:
        return self._kept(self.shards.numbers("num_frames"))

    def __len__(self) -> int:
        return len(self.shards) if self.kept_N is None else len(self.kept_N)

    def utterance(self, index: int) -> Utterance:
        return self.shards.utterance(self._place(index))

    def streams(self, index: int, audio: bool, video: bool, smallest: int = 1) -> Streams:
        place = self._place(index)
        mouth_THW = self.shards.mouth(place) if video else None
        if mouth_THW is not None and min(mouth_THW.shape[1:]) < smallest:
            height, width = mouth_THW.shape[1:]
            size = f"{height}x{width}, wanted {smallest} pixels a side; extract it anew"
            raise MediaError(self.shards.path, f"the mouth of {self.utterance(index).id!r} is {size}")
        return mouth_THW, self.shards.sound(place) if audio else None

    def has(self, field: str) -> np.ndarray:
        return self._kept(self.shards.has(field))

    def codes(self, field: str) -> tuple[np.ndarray, list[str | None]]:
        codes_N, values = self.shards.codes(field)
        return self._kept(codes_N), values

    def text_lengths(self) -> np.ndarray:
        return self._kept(self.shards.text_lengths())

    def select(self, kept_N: np.ndarray) -> "ShardClips":
        return ShardClips(self.shards, kept_N if self.kept_N is None else self.kept_N[kept_N])

    @property
    def voices(self) -> Shards:
        return self.shards

    def units(self, name: str, rate: int | None) -> UnitSet:
        if name not in self.shards.facts.units and Path(name).exists():
            return UnitSet.read(name, rate)
        rows, stored = self.shards.units(name), self.shards.facts.units[name]
        if rate not in (None, stored):
            raise ManifestError(
                f"{self.shards.path}: units {name} are {stored} per second, data.units_rate={rate} came"
            )
        unit_set = UnitSet(rows, stored)
        return unit_set if self.kept_N is None else unit_set.select(self.kept_N)

    def _kept(self, column_N: np.ndarray) -> np.ndarray:
        return column_N if self.kept_N is None else column_N[self.kept_N]

    def _place(self, index: int) -> int:
        return index if self.kept_N is None else int(self.kept_N[index])


def read_steps(utterance: Utterance, read: Callable[..., np.ndarray] = read_audio) -> np.ndarray:
    """Return an utterance's sound, of its ``span`` alone, int16 (S,).

    MediaError: ``audio`` cannot be read, or has no samples there.
    """
    assert utterance.audio is not None
    steps_S = to_steps(read(utterance.audio, span=utterance.span))
    if not len(steps_S):
        raise MediaError(utterance.audio, "has no audio samples" + ("" if utterance.span is None else " there"))
    return steps_S


def as_clips(clips: Clips | Sequence[Utterance]) -> Clips:
    """Return utterances as clips, and clips as they are."""
    return FileClips(clips) if isinstance(clips, Sequence) else clips


def open_clips(path: str | Path, audio: bool = False) -> Clips:
    """Return the clips of a manifest, or of shards: their index, its folder or URL.

    ManifestError, ShardError: it is neither, or a clip lacks the ``audio`` asked for.
    """
    if not is_shards(path):
        return FileClips(read_manifest(path, require=["audio"] if audio else []))
    clips = ShardClips(Shards(path))
    if audio and (lacking := first_lacking(clips, "audio")) is not None:
        raise ManifestError(f"{path}: the sound of {lacking!r} is needed here and is not stored")
    return clips


def first_lacking(clips: Clips, field: str) -> str | None:
    """Return the id of the first clip without a field, see ``Clips.has``."""
    has_N = clips.has(field)
    return None if has_N.all() else clips.utterance(int(has_N.argmin())).id


def first_of_each(clips: Clips, field: str) -> list[tuple[int, str | None]]:
    """Return every value of a ``Clips.codes`` field with the first clip that has it, in the clips' order."""
    codes_N, values = clips.codes(field)
    found, first = np.unique(codes_N, return_index=True)
    return sorted(zip(first.tolist(), [values[code] for code in found.tolist()], strict=True), key=lambda one: one[0])
