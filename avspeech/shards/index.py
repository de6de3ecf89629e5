"""The index of shards: an Arrow file with a row per clip. It is mapped into memory, and so shared by all processes.

Columns that name a stream (``lips``, ``sound``, ``units:NAME``) come in threes: first byte in the shard, bytes, and the
first 8 bytes of the content's SHA-256. ``by_id`` is no value of its row: it holds the rows in the order of ``id_hash``.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from avspeech.files import written_whole
from avspeech.manifest import Utterance
from avspeech.shards.storage import ShardError

Profile = Literal["fast", "small"]
"""How streams are coded, see ``codecs``."""
VERSION = 1
INDEX = "index.arrow"
CODED = ("language", "corpus", "speaker", "crop")
"""Fields of few values, stored as numbers."""
_KEY = b"avspeech.shards"


@dataclass(frozen=True)
class Facts:
    """What an index says of all its clips."""

    profile: Profile
    units: dict[str, int] = field(default_factory=dict)
    """Units per second, by the name of the unit set."""
    files: list[str] = field(default_factory=list)
    """Shards, relative to the index."""
    recipe: str = ""
    """Hash of what one shard was made from; empty for the index of all."""
    failures: list[dict[str, str]] = field(default_factory=list)
    """Clips that could not be read, with reasons; of one shard only."""


def schema(units: Iterable[str]) -> pa.Schema:
    """Return the columns of an index."""
    plain = [("id", pa.large_string()), ("id_hash", pa.uint64()), ("by_id", pa.int32()), ("text", pa.large_string())]
    plain += [(name, pa.dictionary(pa.int32(), pa.string())) for name in CODED]
    plain += [("words", pa.large_string()), *((name, pa.int32()) for name in ("num_frames", "height", "width"))]
    plain += [("num_samples", pa.int32()), ("level", pa.float64()), ("shard", pa.int32())]
    for stream in ("lips", "sound", *(f"units:{name}" for name in units)):
        plain += [(f"{stream}.start", pa.int64()), (f"{stream}.size", pa.int32()), (f"{stream}.hash", pa.uint64())]
    return pa.schema(plain)


def short_hash(content: bytes) -> int:
    """Return the first 8 bytes of the SHA-256."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")


def describe(utterance: Utterance) -> dict[str, Any]:
    """Return the columns that an utterance fills by itself."""
    words = utterance.words and json.dumps([[w.text, w.start_s, w.end_s] for w in utterance.words], ensure_ascii=False)
    row = {"id": utterance.id, "id_hash": short_hash(utterance.id.encode()), "text": utterance.text, "words": words}
    return row | {name: getattr(utterance, name) for name in CODED}


def to_table(rows: Sequence[Mapping[str, Any]], units: Iterable[str]) -> pa.Table:
    """Return rows as a table; a column that a row lacks is 0 or null."""
    columns = {}
    for one in schema(units):
        none = 0 if pa.types.is_integer(one.type) else math.nan if pa.types.is_floating(one.type) else None
        columns[one.name] = pa.array([row.get(one.name, none) for row in rows], one.type)
    return pa.table(columns)


def write_index(path: Path, table: pa.Table, facts: Facts) -> None:
    """Write an index, whole or not at all. Equal input gives equal bytes; rows are one batch, a column one array."""
    note = {_KEY: json.dumps({"version": VERSION, **vars(facts)}, ensure_ascii=False).encode()}
    order = pa.array(np.argsort(table.column("id_hash").to_numpy(), kind="stable").astype(np.int32))
    table = table.set_column(table.schema.get_field_index("by_id"), "by_id", order)
    table = table.unify_dictionaries().combine_chunks().replace_schema_metadata(note)
    with written_whole(path) as unfinished, pa.ipc.new_file(str(unfinished), table.schema) as writer:
        writer.write_table(table)


def read_index(path: Path) -> tuple[pa.Table, Facts]:
    """Return an index, mapped into memory. ShardError: the file is missing, damaged or none of ours."""
    again = "write it with data_prep/write_shards.py"
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise ShardError(f"{path} cannot be read as an index of shards: {error}; {again}") from error
    if (note := (table.schema.metadata or {}).get(_KEY)) is None:
        raise ShardError(f"{path} is an Arrow file but no index of shards; {again}")
    facts = json.loads(note)
    if (version := facts.pop("version")) != VERSION:
        raise ShardError(f"{path} has version {version}, this program reads {VERSION}; {again} anew")
    return table, Facts(**facts)


def merge(out: Path, parts: Sequence[Path]) -> list[dict[str, str]]:
    """Write one index of the shards whose own indices are ``parts``; return the clips that are in none, with reasons.

    ShardError: a shard is missing, cut off, or has another profile or other units than the first.
    """
    tables, files, failures = [], [], []
    first = None
    for number, part in enumerate(parts):
        table, facts = read_index(part)
        first = first or facts
        if (facts.profile, facts.units) != (first.profile, first.units):
            raise ShardError(f"{part} has {facts.profile} {facts.units}, {parts[0]} {first.profile} {first.units}")
        files.append(os.path.relpath(part.with_suffix(".tar"), out.parent))
        failures += facts.failures
        place = table.schema.get_field_index("shard")
        tables.append(table.set_column(place, "shard", pa.array([number] * len(table), pa.int32())))
    assert first is not None
    write_index(out, pa.concat_tables(tables), Facts(first.profile, first.units, files))
    return failures
