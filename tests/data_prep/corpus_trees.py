"""Imitations of published corpora: their folders, texts and lists, with damage as it is found in them.

Media files are a few bytes: corpus readers do not decode. A new corpus is one ``Tree`` in ``TREES``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from data_prep.corpora import grid

ALIGN = "0 17750 sil\n17750 22500 bin\n22500 27000 blue\n27000 28000 at\n28000 28500 sp\n28500 31000 f\n31000 74500 sil"


class Tree(NamedTuple):
    """An imitation of a corpus."""

    module: ModuleType
    make: Callable[[Path], object]
    """Write the tree into a folder that exists; no two media files have the same name."""
    sizes: Mapping[str, int]
    """Number of utterances of each split."""
    losses: Mapping[str, str]
    """Reason by the end of the path, or by the id, of what is lost."""
    options: Mapping[str, Any] = {}
    """Of the module's ``read``; paths are below the folder."""
    speakers_apart: bool = True
    """No speaker is in two splits."""


def add(path: Path, content: str = "a few bytes") -> Path:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def make_grid(root: Path) -> None:
    for speaker, name in (("s1", "bbaf1n"), ("s1", "bbaf2n"), ("s20", "bbaf3n"), ("s20", "bbaf4n"), ("s20", "bbaf5n")):
        add(root / speaker / f"{name}.mpg")
        add(root / "align" / speaker / f"{name}.align", ALIGN)
    add(root / "s1" / "bbaf6n.mp4")
    add(root / "s20" / "bbaf3n.mp4")
    (root / "s20" / "bbaf4n.mpg").write_bytes(b"")
    add(root / "align" / "s20" / "bbaf5n.align", "0 1000 sil\n")
    add(root / "align" / "s20" / "bbaf7n.align", ALIGN)
    add(root / "audio" / "s1" / "bbaf1n.wav")


GRID_LOSSES = {
    "s1/bbaf6n.mp4": "missing text",
    "s20/bbaf3n.mpg": "same clip, other file",
    "s20/bbaf4n.mpg": "empty file",
    "s20/bbaf5n.mpg": "empty text",
    "s20/bbaf7n.align": "missing video",
    "audio": "sound of its own",
}

TREES = {"grid": Tree(grid, make_grid, {"all": 3}, GRID_LOSSES)}
