"""Manifests of LRW: 500 words of British television, up to 1,000 clips of 1.16 s each.

    python -m data_prep.corpora.lrw data/lrw data/lrw/manifests

Chung and Zisserman, "Lip reading in the wild", ACCV 2016.

Reads   <WORD>/{train,val,test}/<WORD>_00001.mp4 anywhere below the root (lipread_mp4/), and <WORD>_00001.txt beside
        it, of which the line "Duration: 0.53 seconds" counts.
Writes  train.jsonl, valid.jsonl, test.jsonl; losses.jsonl.
A restart replaces whole manifests.

The word is in the middle of the clip, among other words: ``text`` is this one, and ``words`` its time by its duration.
Speakers are not known.
"""

import re
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli

from avspeech.files import read_text
from avspeech.manifest import Utterance, Word
from data_prep.corpora.reader import Corpus, run
from data_prep.corpora.tree import Tree

LICENCE = "an agreement with the BBC, signed by a university or research organisation, for research only"
LAYOUT = "a folder for each word, train, val or test in it, and clips <WORD>_<number>"
SPLITS = {"train": "train", "val": "valid", "test": "test"}
MIDDLE_S = 29 / 25 / 2
"""Middle of a clip: all have 29 frames at 25 fps."""


def main(root: Path, out_dir: Path) -> None:
    """Write the manifests of LRW.

    Args:
        root: folder of the corpus.
        out_dir: folder of the manifests.
    """
    run(partial(read, root), root, out_dir)


def read(root: Path) -> Corpus:
    """Return the corpus. ValueError: no folder."""
    tree, untimed = Tree("lrw", LICENCE, root, (".txt",)), 0
    for parts, video in tree.clips(_name).items():
        text = parts[0].lower()
        length_s = _duration(note := tree.beside(video, [".txt"]))
        words = None if length_s is None else (Word(text, *(_around(length_s))),)
        facts: dict[str, Any] = {"text": text, "language": "en", "words": words, "corpus": "lrw"}
        with tree.losing(video):
            taken = tree.add(SPLITS[parts[1]], Utterance("/".join(parts), video, video, **facts), note)
            untimed += taken and words is None
    if untimed:
        tree.note(f"{untimed} clips have no .txt with a Duration up to 1.16 s: their words have no times.")
    return tree.finish(LAYOUT)


def _name(parts: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return word, set and clip of a file; None if it is no clip."""
    is_clip = len(parts) >= 3 and parts[-2] in SPLITS and parts[-1].startswith(f"{parts[-3]}_")
    return parts[-3:] if is_clip else None


def _around(length_s: float) -> tuple[float, float]:
    return round(MIDDLE_S - length_s / 2, 3), round(MIDDLE_S + length_s / 2, 3)


def _duration(path: Path | None) -> float | None:
    """Return the length of the word in seconds; None if the file does not tell."""
    try:
        found = None if path is None else re.search(r"^Duration:\s*(\d+\.?\d*)", read_text(path), re.MULTILINE)
    except (OSError, UnicodeError):
        return None
    length_s = None if found is None else float(found[1])
    return length_s if length_s is not None and 0 < length_s <= 2 * MIDDLE_S else None


if __name__ == "__main__":
    auto_cli(main)
