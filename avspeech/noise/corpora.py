"""Folders of published noise corpora -> lists of recordings. To add a corpus, extend ``CORPORA``.

- MUSAN (Snyder et al. 2015, arXiv:1510.08484): ``noise``, ``music`` and ``speech``, each with folders of wav files.
- DEMAND (Thiemann et al. 2013): one folder per environment with ``ch01.wav`` to ``ch16.wav``; only channel 1 is used.
- NOISEX-92 (Varga & Steeneken 1993): ``babble.wav``, ``factory1.wav`` and 13 more, in any subfolder.

MUSAN's 80/10/10 split follows AV-HuBERT: speech by original recording, music and noise by file. Their shuffle has no
seed; ours ranks by a hash of the name. Recordings stay whole, and their 10 s pieces (``short-musan``) stay together.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "valid", "test")
MUSAN_PARTS = ("noise", "music", "speech", "babble")
AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aiff", ".sph"}
    | {".mp4", ".mkv", ".mov", ".webm", ".mpg"}
)
NOISEX92 = frozenset(
    {"babble", "buccaneer1", "buccaneer2", "destroyerengine", "destroyerops", "f16", "factory1", "factory2"}
    | {"hfchannel", "leopard", "m109", "machinegun", "pink", "volvo", "white"}
)


@dataclass(frozen=True)
class Corpus:
    """A tree of recordings with a name."""

    files: Callable[[Path, str | None, str], list[Path]]
    """Takes root, part, split; returns sorted recordings. Raises ValueError for a tree of another layout."""
    parts: tuple[str, ...] | None = ()
    """Part names, one required; None: any name, or no name for all; empty: no parts."""
    split: bool = False
    """True if it is split into train, valid and test."""
    voices: str | None = None
    """Part whose recordings are summed like the voices of babble."""


def folder_files(root: Path, part: str | None = None, split: str = "test") -> list[Path]:
    """Return every media file below a folder, sorted; hidden ones are left out."""
    if not root.is_dir():
        raise ValueError(f"{root} is no folder, wanted one with recordings")
    files = sorted(
        file
        for file in root.rglob("*")
        if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file() and not file.name.startswith(".")
    )
    if not files:
        raise ValueError(f"{root} holds no recordings, wanted files such as *.wav or *.flac, also in subfolders")
    return files


def musan_files(root: Path, part: str | None, split: str) -> list[Path]:
    """Return MUSAN's recordings of a part and split; ``babble`` uses ``speech``."""
    folder = root / ("speech" if part == "babble" else str(part))
    files = sorted(file for file in folder.glob("*/*.wav") if not file.name.startswith("."))
    if not files:
        inner = next(root.glob("*/speech"), None) if root.is_dir() else None
        hint = f"; is it {inner.parent}?" if inner else ""
        raise ValueError(
            f"{root} is no MUSAN tree: wanted {folder}/*/*.wav, such as {folder}/<source>/<name>.wav{hint}"
        )
    kept = split_of(split, {_recording(file) for file in files})
    chosen = [file for file in files if _recording(file) in kept]
    if not chosen:
        raise ValueError(f"{root} has {len(files)} recordings of {part}, too few for the {split} share of 80/10/10 %")
    return chosen


def split_of(split: str, names: Iterable[str]) -> set[str]:
    """Return the names in ``train`` (80 %), ``valid`` (10 %, both rounded down) or ``test`` (the rest)."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"musan split {name}".encode()).digest())
    train, valid = int(0.8 * len(ranked)), int(0.1 * len(ranked))
    start, end = {"train": (0, train), "valid": (train, train + valid), "test": (train + valid, None)}[split]
    return set(ranked[start:end])


def demand_files(root: Path, environment: str | None = None, split: str = "test") -> list[Path]:
    """Return channel 1 of one or all DEMAND environments. An environment at two sample rates is an error."""
    files = sorted(root.rglob("ch01.wav"))
    if not files:
        raise ValueError(f"{root} is no DEMAND tree: wanted {root}/<environment>/ch01.wav, such as DKITCHEN/ch01.wav")
    return _named({file: file.parent.name for file in files}, environment, root)


def noisex92_files(root: Path, name: str | None = None, split: str = "test") -> list[Path]:
    """Return one or all NOISEX-92 recordings; files of other names are ignored."""
    files = sorted(file for file in root.rglob("*.wav") if file.stem.lower() in NOISEX92)
    if not files:
        raise ValueError(f"{root} is no NOISEX-92 folder: wanted some of {', '.join(sorted(NOISEX92))}, each .wav")
    return _named({file: file.stem.lower() for file in files}, None if name is None else name.lower(), root)


CORPORA: dict[str, Corpus] = {
    "folder": Corpus(folder_files),
    "musan": Corpus(musan_files, MUSAN_PARTS, split=True, voices="babble"),
    "demand": Corpus(demand_files, parts=None),
    "noisex92": Corpus(noisex92_files, parts=None),
}


def _named(names: dict[Path, str], wanted: str | None, root: Path) -> list[Path]:
    chosen = [file for file, name in names.items() if wanted in (None, name)]
    if not chosen:
        raise ValueError(f"{root} has no {wanted}, wanted one of {', '.join(sorted(set(names.values())))}")
    for file in chosen:
        twin = next(other for other in chosen if names[other] == names[file])
        if twin != file:
            raise ValueError(f"{root} has {names[file]} twice: {twin} and {file}; name the folder of one")
    return chosen


def _recording(file: Path) -> str:
    """Return the original recording's name: ``speech-us-gov-0012`` for the piece ``speech-us-gov-0012-3``."""
    return re.sub(r"(-\d{4})-\d+$", r"\1", file.stem)
