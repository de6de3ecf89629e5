"""Manifests of data that AV-HuBERT's scripts prepared: train.tsv, train.wrd and so on, with mouth crops and sound.

    python -m data_prep.corpora.avhubert data/lrs3/433h_data data/lrs3/manifests --corpus lrs3

Shi, Hsu, Lakhotia and Mohamed, "Learning audio-visual speech representation by masked multimodal cluster prediction",
ICLR 2022, arXiv:2201.02184; ``preparation`` of its code.

Reads   <split>.tsv in the root, one line with a folder, then "id, video, audio, frames, samples" in tabs; the texts
        <split>.wrd, a line each, where there are any. Files that are not at their old place are looked for below
        ``media``, by their names and folders.
Writes  <split>.jsonl for each .tsv; losses.jsonl.
A restart replaces whole manifests.

The folder of a clip in its id is named as the speaker, as in LRS3 and VoxCeleb2.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli

from avspeech.files import read_text_lines
from avspeech.manifest import parse_tsv
from data_prep.corpora.reader import Corpus, run
from data_prep.corpora.tree import NO_TEXT, SOUNDS, Tree

LICENCE = "that of the corpus the clips are from; AV-HuBERT's own code and lists are under its licence (CC BY-NC 4.0)"
LAYOUT = "a video that a .tsv names"


def main(
    root: Path, out_dir: Path, corpus: str = "avhubert", language: str | None = "en", media: Path | None = None
) -> None:
    """Write the manifests of a folder of AV-HuBERT's.

    Args:
        root: folder of the .tsv and .wrd files.
        out_dir: folder of the manifests.
        corpus: name of the corpus that the clips are from, such as lrs3.
        language: code of the texts' language; null leaves it open.
        media: folder of the clips, if they were moved; null is root.
    """
    run(partial(read, root, corpus, language, media), root, out_dir)


def read(root: Path, corpus: str = "avhubert", language: str | None = "en", media: Path | None = None) -> Corpus:
    """Return the corpus; options as ``main``. ValueError: no folder, or texts and clips differ in number."""
    tree = Tree(corpus, LICENCE, media or root)
    places = _Places(tree)
    for tsv in sorted(root.glob("*.tsv")):
        for source, folder, line, text in _lines(tsv):
            with tree.losing(source):
                listed = parse_tsv(folder, line, text, language)
                video, audio = (places.find(path) for path in (listed.video, listed.audio))
                if text is not None and not text.strip():
                    tree.use(audio)
                    tree.lose(video, NO_TEXT, listed.id)
                    continue
                facts: dict[str, Any] = {"speaker": _speaker(listed.id), "corpus": corpus}
                tree.add(tsv.stem, replace(listed, video=video, mouth=video, audio=audio, **facts))
    return tree.finish(LAYOUT)


def _lines(tsv: Path) -> Iterator[tuple[str, str, str, str | None]]:
    """Yield file and number of each line, the folder that its paths start from, the line, and its text if there is."""
    folder, *lines = read_text_lines(tsv) or [""]
    texts: list[str] | list[None] = [None] * len(lines)
    if (file := tsv.with_suffix(".wrd")).is_file() and len(texts := read_text_lines(file)) != len(lines):
        raise ValueError(f"{file} has {len(texts)} lines, {tsv} has {len(lines)} clips; make both again")
    for number, (line, text) in enumerate(zip(lines, texts, strict=True), start=2):
        yield f"{tsv.name}, line {number}", folder, line, text


def _speaker(name: str) -> str | None:
    """Return VoxCeleb2's person of an id, else the folder of the clip."""
    folders = name.split("/")[:-1]
    return next((part for part in folders if re.fullmatch(r"id\d{5}", part)), folders[-1] if folders else None)


class _Places:
    """Where files are that were listed at another place."""

    def __init__(self, tree: Tree) -> None:
        self._files = {os.path.abspath(path): path for path in tree.files}  # noqa: PTH100 - keeps links
        self._by_name: dict[tuple[str, bool], list[Path]] = {}
        for path in tree.files:
            self._by_name.setdefault(self._name(path), []).append(path)

    @staticmethod
    def _name(path: Path) -> tuple[str, bool]:
        return path.stem, path.suffix.lower() in SOUNDS

    def find(self, listed: Path | None) -> Path:
        """Return the file that was meant: itself, or that of the same name with most folders in common, one or more."""
        assert listed is not None
        if listed.is_file():
            return self._files.get(os.path.abspath(listed), listed)  # noqa: PTH100
        shared = {path: _shared(path, listed) for path in self._by_name.get(self._name(listed), [])}
        best = max(shared, key=shared.__getitem__, default=listed)
        return best if shared.get(best) and list(shared.values()).count(shared[best]) == 1 else listed


def _shared(path: Path, other: Path) -> int:
    """Return how many folders two paths share before their names."""
    pairs = zip(reversed(path.parts[:-1]), reversed(other.parts[:-1]), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


if __name__ == "__main__":
    auto_cli(main)
