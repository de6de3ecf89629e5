"""Manifests of the GRID corpus: six-word commands, 3 s each, 34 speakers.

    python -m data_prep.corpora.grid data/grid data/grid/manifests

Cooke, Barker, Cunningham and Shao, "An audio-visual corpus for speech perception and automatic speech recognition",
JASA 120(5), 2006; CC BY 4.0.

Reads   videos of any ending and alignments (.align) anywhere below the root, matched by speaker folder (s1 ... s34)
        and name; an optional manifest.tsv in the root tells speakers and splits, and names files that are elsewhere.
        A clip in several files is one clip: one is taken, the others are listed.
Writes  train.jsonl, valid.jsonl and test.jsonl, or all.jsonl without splits; losses.jsonl, what was left out and why.
A restart replaces whole manifests.
"""

import csv
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jsonargparse import auto_cli

from avspeech.files import read_text_lines
from avspeech.manifest import Utterance, Word
from data_prep.corpora.reader import Corpus, run
from data_prep.corpora.tree import ABSENT, BAD_TEXT, MISSING_TEXT, UNLISTED, VIDEOS, Lost, Tree

LICENCE = "CC BY 4.0, for all uses (Cooke, Barker, Cunningham, Shao 2006)"
LAYOUT = "videos and .align files of the same name, below folders s1, s2, ... where there are several speakers"
UNITS_PER_SECOND = 25_000
"""Time unit of alignments is 1/25000 s; 1000 units are one video frame."""
SILENCES = {"sil", "sp"}
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_LETTERS = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {letter: letter for letter in "abcdefghijklmnopqrstuvxyz"},
    dict(zip("z123456789", _DIGITS, strict=True)),
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)
"""What each letter of a clip's name stands for."""


class Clip(NamedTuple):
    """A clip of the tree and all its files; none if it is listed and missing."""

    name: str
    speaker: str | None
    split: str
    files: tuple[Path, ...]


def main(root: Path, out_dir: Path, videos: str = "mp4") -> None:
    """Write the manifests of a GRID tree.

    Args:
        root: folder of the corpus.
        out_dir: folder of the manifests.
        videos: ending that is taken where a clip has files of several.
    """
    run(partial(read, root, videos), root, out_dir)


def read(root: Path, videos: str = "mp4") -> Corpus:
    """Return the corpus; options as ``main``. ValueError: no folder, or a manifest.tsv without its columns."""
    tree = Tree("grid", LICENCE, root, (".align",))
    clips = find_clips(tree)
    several_speakers = len({clip.speaker for clip in clips if clip.files}) > 1
    alignments = {(speaker_of(path, root), path.stem): path for path in tree.of([".align"])}
    for clip in clips:
        if not clip.files:
            tree.lose(clip.name, ABSENT, "in manifest.tsv, without a video")
            continue
        video = tree.best(clip.files, f".{videos}")
        align = alignments.get((clip.speaker, clip.name)) or alignments.get((None, clip.name))
        tree.use(align)
        with tree.losing(video):
            if align is None:
                raise Lost(MISSING_TEXT, f"no {clip.name}.align of speaker {clip.speaker} below {root}")
            words = read_align(align)
            own = f"{clip.speaker}/{clip.name}" if several_speakers else clip.name  # speakers' names repeat
            facts: dict[str, Any] = {"text": " ".join(word.text for word in words), "language": "en", "words": words}
            tree.add(clip.split, Utterance(own, video, video, speaker=clip.speaker, corpus="grid", **facts))
    return tree.finish(LAYOUT)


def read_align(path: Path) -> tuple[Word, ...]:
    """Return the words of an alignment with times, without silence. ValueError if a line or the file is not valid."""
    words = []
    lines = enumerate(read_text_lines(path), start=1)
    for number, line in ((number, line) for number, line in lines if line.strip()):
        try:
            start, end, text = line.split()
            word = Word(text, int(start) / UNITS_PER_SECOND, int(end) / UNITS_PER_SECOND)
            if word.end_s < word.start_s:
                raise ValueError("it ends before it starts")
        except ValueError as error:
            wanted = "wanted 'start end word' in 1/25000 s"
            raise Lost(BAD_TEXT, f"{path}, line {number}: {line!r} came, {wanted}") from error
        if text not in SILENCES:
            words.append(word)
    if not words:
        raise Lost("empty text", f"{path} holds no word")
    return tuple(words)


def spell(name: str) -> str | None:
    """Return the command that the six letters of a clip's name stand for, "bbaf2n": bin blue at f two now; or None."""
    words = [known.get(letter) for known, letter in zip(_LETTERS, name, strict=False)]
    return " ".join(filter(None, words)) if len(name) == len(_LETTERS) and all(words) else None


def speaker_of(path: Path, root: Path) -> str | None:
    """Return the folder s1, s2, ... between root and file, or None."""
    names = [part for part in path.relative_to(root).parts[:-1] if re.fullmatch(r"s\d+", part)]
    return names[-1] if names else None


def find_clips(tree: Tree) -> list[Clip]:
    """Return the clips of the folders, with what manifest.tsv tells of them; what it does not name is lost."""
    found: dict[tuple[str | None, str], list[Path]] = {}
    for path in tree.of(VIDEOS):
        found.setdefault((speaker_of(path, tree.root), path.stem), []).append(path)
    if not (table := tree.root / "manifest.tsv").is_file():
        return [Clip(name, speaker, "all", tuple(files)) for (speaker, name), files in found.items()]
    rows = list(csv.DictReader(read_text_lines(table), delimiter="\t"))
    if rows and not {"id", "path"} <= rows[0].keys():
        raise ValueError(f"{table} has columns {', '.join(rows[0])}; wanted id and path, or no manifest.tsv")
    clips = [_listed(row, tree, found) for row in rows]
    _lose_unlisted(tree, clips)
    return clips


def _listed(row: dict[str, str], tree: Tree, found: dict[tuple[str | None, str], list[Path]]) -> Clip:
    speaker, name = row.get("speaker") or None, row["id"]
    named = (tree.root / row[column] for column in ("path", "original") if row.get(column))
    files = [path for path in named if path.is_file()]
    files += found.get((speaker, name)) or found.get((None, name), [])
    return Clip(name, speaker, row.get("split") or "all", tuple(dict.fromkeys(files)))


def _lose_unlisted(tree: Tree, clips: Iterable[Clip]) -> None:
    listed = {path for clip in clips for path in clip.files}
    for path in tree.of(VIDEOS):
        if path not in listed:
            tree.lose(path, UNLISTED, "manifest.tsv does not name it")


if __name__ == "__main__":
    auto_cli(main)
