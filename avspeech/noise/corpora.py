"""Published noise corpora as they lie on a disk -> recordings. A tree that looks otherwise is an error that says how.

- MUSAN (Snyder et al. 2015, arXiv:1510.08484): ``noise``, ``music`` and ``speech``, each with folders of wav files.
- DEMAND (Thiemann et al. 2013): a folder for each environment with ``ch01.wav`` to ``ch16.wav``; we take channel 1.
- NOISEX-92 (Varga & Steeneken 1993): ``babble.wav``, ``factory1.wav`` and 13 more, in one folder or below.

MUSAN's 80/10/10 split is AV-HuBERT's in kind: speech by "speaker", which in their code is the name of the original
recording (the annotations of MUSAN name no speakers, so a reader may stand on two sides); music and noise by file.
Which recording goes where cannot be theirs, because they shuffle without a seed: ours follows a hash of the name, so a
missing file moves no other across more than a border. Two more differences: they cut everything into 10 s pieces and
lose what is shorter; we keep recordings whole. A tree of their pieces (``short-musan``) works too: pieces stay with
their recording.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from avspeech.noise.spec import MUSAN_PARTS, SPLITS

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".aiff", ".sph"}
    | {".mp4", ".mkv", ".mov", ".webm", ".mpg"}
)
NOISEX92 = frozenset(
    {"babble", "buccaneer1", "buccaneer2", "destroyerengine", "destroyerops", "f16", "factory1", "factory2"}
    | {"hfchannel", "leopard", "m109", "machinegun", "pink", "volvo", "white"}
)


def folder_files(root: Path) -> list[Path]:
    """Return every media file below a folder, sorted; hidden ones are left out.

    Raises:
        ValueError: there is no such folder, or no such file in it.
    """
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


def musan_files(root: Path, part: str, split: str) -> list[Path]:
    """Return the recordings of a part and split of MUSAN, sorted; ``babble`` is made of those of ``speech``.

    Raises:
        ValueError: the tree is no MUSAN, or the split is empty.
    """
    assert part in MUSAN_PARTS and split in SPLITS
    folder = root / ("speech" if part == "babble" else part)
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
    """Return the names of ``train`` (80 %), ``valid`` (10 %, rounded down like the first) or ``test`` (the rest)."""
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"musan split {name}".encode()).digest())
    train, valid = int(0.8 * len(ranked)), int(0.1 * len(ranked))
    start, end = {"train": (0, train), "valid": (train, train + valid), "test": (train + valid, None)}[split]
    return set(ranked[start:end])


def demand_files(root: Path, environment: str | None = None) -> list[Path]:
    """Return channel 1 of every environment of DEMAND, or of one; sorted.

    Raises:
        ValueError: the tree is no DEMAND, lacks that environment or has one twice (at two sample rates).
    """
    files = sorted(root.rglob("ch01.wav"))
    if not files:
        raise ValueError(f"{root} is no DEMAND tree: wanted {root}/<environment>/ch01.wav, such as DKITCHEN/ch01.wav")
    return _named({file: file.parent.name for file in files}, environment, root)


def noisex92_files(root: Path, name: str | None = None) -> list[Path]:
    """Return the recordings of NOISEX-92, or one; sorted. Other files are not looked at.

    Raises:
        ValueError: none of the known names is there, or the one asked for is not, or one is there twice.
    """
    files = sorted(file for file in root.rglob("*.wav") if file.stem.lower() in NOISEX92)
    if not files:
        raise ValueError(f"{root} is no NOISEX-92 folder: wanted some of {', '.join(sorted(NOISEX92))}, each .wav")
    return _named({file: file.stem.lower() for file in files}, None if name is None else name.lower(), root)


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
    """Return the recording that a file is, or is a piece of: ``speech-us-gov-0012`` for ``speech-us-gov-0012-3``."""
    return re.sub(r"(-\d{4})-\d+$", r"\1", file.stem)
