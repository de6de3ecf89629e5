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

from avspeech.files import walk_files

SPLITS = ("train", "valid", "test")
SUFFIXES = re.compile(r"\.(wav|flac|mp3|ogg|opus|m4a|aac|aiff|sph|mp4|mkv|mov|webm|mpg)", re.IGNORECASE)
NOISEX92 = (
    "babble", "buccaneer1", "buccaneer2", "destroyerengine", "destroyerops", "f16", "factory1", "factory2",
    "hfchannel", "leopard", "m109", "machinegun", "pink", "volvo", "white",
)  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """A tree of recordings with a name."""

    files: Callable[[Path, str | None, str], list[Path]]  # from root, part, split; ValueError for another layout
    parts: tuple[str, ...] | None = ()  # part names, one required; None: any name, or no name for all; empty: no parts
    split: bool = False  # true if it is split into train, valid and test
    voices: str | None = None  # part whose recordings are summed like the voices of babble


def folder_files(root: Path, part: str | None = None, split: str = "test") -> list[Path]:
    """Return every media file below a folder, sorted; hidden ones are left out."""
    if not root.is_dir():
        raise ValueError(f"{root} is no folder, wanted one with recordings")
    files = [file for file in walk_files(root) if SUFFIXES.fullmatch(file.suffix) and file.is_file()]
    if not files:
        raise ValueError(f"{root} holds no recordings, wanted files such as *.wav or *.flac, also in subfolders")
    return sorted(files)


def musan_files(root: Path, part: str | None, split: str) -> list[Path]:
    """Return MUSAN's recordings of a part and split; ``babble`` uses ``speech``."""
    folder = root / ("speech" if part == "babble" else str(part))
    files = sorted(folder.glob("*/[!.]*.wav"))
    if not files:
        inner = next(root.glob("*/speech"), None) if root.is_dir() else None
        hint = f"; is it {inner.parent}?" if inner else ""
        raise ValueError(f"{root} is no MUSAN tree: wanted {folder}/*/*.wav (<source>/<name>.wav){hint}")
    # The original recording is speech-us-gov-0012 for the piece speech-us-gov-0012-3.
    recording_of = {file: re.sub(r"(-\d{4})-\d+$", r"\1", file.stem) for file in files}
    kept = split_of(split, set(recording_of.values()))
    chosen = [file for file, recording in recording_of.items() if recording in kept]
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
    files = sorted(file for file in walk_files(root) if file.name == "ch01.wav")
    if not files:
        raise ValueError(f"{root} is no DEMAND tree: wanted {root}/<environment>/ch01.wav, such as DKITCHEN/ch01.wav")
    return _chosen({file: file.parent.name for file in files}, environment, root)


def noisex92_files(root: Path, name: str | None = None, split: str = "test") -> list[Path]:
    """Return one or all NOISEX-92 recordings; files of other names are ignored."""
    recordings = sorted(file for file in walk_files(root) if file.suffix.lower() == ".wav")
    names = {file: file.stem.lower() for file in recordings if file.stem.lower() in NOISEX92}
    if not names:
        raise ValueError(f"{root} is no NOISEX-92 folder: wanted some of {', '.join(NOISEX92)}, each .wav")
    return _chosen(names, name and name.lower(), root)


def _chosen(names: dict[Path, str], wanted: str | None, root: Path) -> list[Path]:
    chosen: dict[str, Path] = {}
    for file, name in names.items():
        if wanted in (None, name) and chosen.setdefault(name, file) != file:
            raise ValueError(f"{root} has {name} twice: {chosen[name]} and {file}; name the folder of one")
    if not chosen:
        raise ValueError(f"{root} has no {wanted}, wanted one of {', '.join(sorted(set(names.values())))}")
    return list(chosen.values())


CORPORA: dict[str, Corpus] = {
    "folder": Corpus(folder_files),
    "musan": Corpus(musan_files, ("noise", "music", "speech", "babble"), split=True, voices="babble"),
    "demand": Corpus(demand_files, parts=None),
    "noisex92": Corpus(noisex92_files, parts=None),
}
