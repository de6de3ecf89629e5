"""Write shards: one tar file and its own index each, by any number of processes at once.

A shard gets its name last, after its index. Who writes it holds a lock on its unfinished file, which ends with the
process: others take it over.
"""

import fcntl
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from avspeech.manifest import Utterance
from avspeech.shards.codecs import LIPS, SOUND, encode_lips, encode_sound
from avspeech.shards.index import Facts, Profile, describe, read_index, short_hash, to_table, write_index
from avspeech.shards.storage import ShardError
from avspeech.timebase import samples_to_frames


@dataclass(frozen=True)
class Content:
    """What a shard keeps of a clip."""

    utterance: Utterance
    mouth_THW: np.ndarray | None = None
    steps_S: np.ndarray | None = None
    level: float = float("nan")
    """Rms of the sound, full scale 1, for babble."""
    units: Mapping[str, np.ndarray] = field(default_factory=dict)


class _ShardWriter:
    """Adds clips to an open tar file; ``rows`` are those of its index. Equal clips give equal bytes."""

    def __init__(self, file: BinaryIO, profile: Profile, units: Mapping[str, int]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - see ``close``
        self.profile: Profile = profile
        self.units, self.rows = dict(units), list[dict[str, Any]]()

    def add(self, number: int, content: Content) -> None:
        """Add a clip; its number in the corpus is WebDataset's key. ValueError: it cannot be stored in this profile."""
        utterance, mouth_THW, steps_S = content.utterance, content.mouth_THW, content.steps_S
        streams: dict[str, tuple[str, bytes]] = {}
        row = describe(utterance) | {"level": content.level, "num_frames": utterance.num_frames or 0}
        if steps_S is not None:
            streams["sound"] = SOUND[self.profile], encode_sound(steps_S, self.profile)
            row["num_samples"] = len(steps_S)
            row["num_frames"] = row["num_frames"] or samples_to_frames(len(steps_S))
        if mouth_THW is not None:
            streams["lips"] = LIPS[self.profile], encode_lips(mouth_THW, self.profile)
            row |= dict(zip(("num_frames", "height", "width"), mouth_THW.shape, strict=True))
        for name, units in content.units.items():
            streams[f"units:{name}"] = f"units_{name}.u16", units.astype("<u2").tobytes()
        hashes = {suffix: hashlib.sha256(stream).hexdigest() for suffix, stream in streams.values()}
        kept = ("id", "text", "language", "corpus", "speaker", "crop", "num_frames", "num_samples", "height", "width")
        told = {name: row.get(name) for name in kept} | {"words": json.loads(row["words"] or "null")}
        told |= {"units": self.units, "sha256": hashes}
        self._member(f"{number:09}.json", json.dumps(told, ensure_ascii=False).encode())
        for stream, (suffix, data) in streams.items():
            start = self._member(f"{number:09}.{suffix}", data)
            row |= {f"{stream}.start": start, f"{stream}.size": len(data), f"{stream}.hash": short_hash(data)}
        self.rows.append(row)

    def _member(self, name: str, data: bytes) -> int:
        """Write a member without date or owner; return where its content starts."""
        member = tarfile.TarInfo(name)
        member.size = len(data)
        start = self._tar.offset + tarfile.BLOCKSIZE
        self._tar.addfile(member, io.BytesIO(data))
        return start

    def close(self) -> None:
        self._tar.close()


def recipe_of(*settings: object) -> str:
    """Return the hash of what decides a shard's bytes."""
    return hashlib.sha256(json.dumps(settings, ensure_ascii=False).encode()).hexdigest()


def is_whole(tar: Path, recipe: str) -> bool:
    """True if a shard is finished and was made by this recipe."""
    try:
        return tar.exists() and read_index(tar.with_suffix(".arrow"))[1].recipe == recipe
    except ShardError:
        return False


def write_shard(
    tar: Path, recipe: str, profile: Profile, units: Mapping[str, int], clips: Iterable[tuple[int, str, Content | str]]
) -> bool:
    """Write a shard and its index; return False if it is whole already, or another process writes it now.

    Args:
        recipe: ``recipe_of`` all that decides the shard.
        units: units per second, by the name of the unit set.
        clips: number in the corpus, id, and content or the reason why it could not be read.
    """
    unfinished = tar.with_suffix(".tar.part")
    with claimed(unfinished, wait=False) as file:
        if file is None or is_whole(tar, recipe):
            return False
        tar.unlink(missing_ok=True)  # of another recipe, or without its index
        writer, failures = _ShardWriter(file, profile, units), []
        for number, name, content in clips:
            try:
                if isinstance(content, str):
                    raise ValueError(content)
                writer.add(number, content)
            except ValueError as error:
                failures.append({"id": name, "why": str(error)})
        writer.close()
        file.flush()
        facts = Facts(profile, dict(units), [tar.name], recipe, failures)
        write_index(tar.with_suffix(".arrow"), to_table(writer.rows, units), facts)
        unfinished.replace(tar)
        return True


@contextmanager
def claimed(unfinished: Path, wait: bool) -> Iterator[BinaryIO | None]:
    """Give an empty file that no other process has, and remove it unless it is renamed.

    While another process has it: None, or ``wait``. What a killed process left is taken over.
    """
    while True:
        with os.fdopen(os.open(unfinished, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield None
                return
            if not _is_at(file, unfinished):  # the other process has finished with it between our two calls
                continue
            try:
                file.truncate()
                yield file
            finally:
                if _is_at(file, unfinished):
                    unfinished.unlink()
            return


def _is_at(file: BinaryIO, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
