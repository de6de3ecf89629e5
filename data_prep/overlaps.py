"""What two sets of clips have in common: speakers, ids, texts. A test set that shares any with training is doubtful."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from avspeech.manifest import read_manifest
from avspeech.shards.index import INDEX, read_index
from avspeech.text.normalize import normalize_for_scoring

EXAMPLES = 10
KINDS = ("speakers", "ids", "texts")


@dataclass(frozen=True)
class ClipSet:
    """Clips by what must not occur in two sets; None where a clip has none, N clips each."""

    speakers: Sequence[str | None]
    ids: Sequence[str | None]
    texts: Sequence[str | None]


def read_clip_set(path: Path) -> ClipSet:
    """Return the clips of a manifest, or of shards by their folder or index. ManifestError or ShardError: neither."""
    if path.is_dir() or path.suffix == ".arrow":
        return clip_set_of(read_index(path / INDEX if path.is_dir() else path)[0])
    clips = read_manifest(path)
    return ClipSet([one.speaker for one in clips], [one.id for one in clips], [one.text for one in clips])


def clip_set_of(table: pa.Table) -> ClipSet:
    """Return the clips of an index of shards."""
    return ClipSet(*(table[name].to_pylist() for name in ("speaker", "id", "text")))


def overlaps(sets: Mapping[str, ClipSet], own: Iterable[str]) -> list[dict[str, Any]]:
    """Return for each two sets, one of them ``own``, what both have.

    Each is {first, second, kind, number, clips, examples}: how many speakers, ids or texts, how many clips of either
    have them, and some of them, the longest first. Texts are compared without case and punctuation.
    """
    hashed = {name: {kind: _hashes(getattr(one, kind), kind) for kind in KINDS} for name, one in sets.items()}
    own, found = set(own), []
    for first, second in combinations(sets, 2):
        for kind in KINDS if {first, second} & own else ():
            one_N, other_N = hashed[first][kind], hashed[second][kind]
            common = np.setdiff1d(np.intersect1d(one_N, other_N), [0])
            if len(common):
                shared_N = np.isin(one_N, common)
                names = {str(getattr(sets[first], kind)[place]) for place in np.flatnonzero(shared_N)}
                examples = sorted(names, key=lambda name: (-len(name), name))[:EXAMPLES]
                clips = [int(shared_N.sum()), int(np.isin(other_N, common).sum())]
                facts = {"first": first, "second": second, "kind": kind, "number": len(common)}
                found.append(facts | {"clips": clips, "examples": examples})
    return found


def _hashes(values: Sequence[str | None], kind: str) -> np.ndarray:
    """Return a number for each value, equal for equal values, 0 for none: (N,) int64."""
    if kind == "texts":
        values = [value and normalize_for_scoring(value) for value in values]
    return np.fromiter((hash(value) if value else 0 for value in values), np.int64, len(values))
