"""What LRS2 and LRS3 have in common: text files with word times, and long clips that are cut at pauses."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import floor
from pathlib import Path
from typing import Any, NamedTuple

from avspeech.files import read_text_lines
from avspeech.manifest import Utterance, Word
from avspeech.timebase import FRAME_RATE
from data_prep.corpora.tree import BAD_TEXT, MISSING_TEXT, NO_TEXT, Lost, Tree

LONGEST_S, PAUSE_S = 15.0, 0.4
"""AV-HuBERT's: clips whose last word ends later are cut at pauses longer than this (Shi et al. 2022, arXiv:2201.02184,
lrs3_prepare.py)."""
_MARK = re.compile(r"\{[^{}]*\}")


class Described(NamedTuple):
    """What a text file says of a clip."""

    text: str
    """Lower case, as AV-HuBERT's transcripts; without marks such as {NS}."""
    words: tuple[Word, ...]
    """Empty if it has no times."""


class Piece(NamedTuple):
    """A part of a clip; times of words count from its start, None is the clip's own start or end."""

    start_s: float | None
    end_s: float | None
    words: tuple[Word, ...]


def check_cutting(longest_s: float, pause_s: float) -> None:
    """Raise ValueError if pauses are shorter than two frames, or no clip is short enough."""
    if pause_s < 2 / FRAME_RATE or longest_s <= 0:
        raise ValueError(
            f"longest_s={longest_s:g}, pause_s={pause_s:g} came; wanted above 0, and {2 / FRAME_RATE} or more"
        )


def add_clip(tree: Tree, split: str, video: Path, text: Path | None, longest_s: float, pause_s: float) -> None:
    """Add a clip ``set/speaker/name.mp4`` to a split; pieces of it if it lasts ``longest_s`` or more."""
    name = "/".join(tree.parts(video)[-3:])
    tree.use(text)
    with tree.losing(video):
        if text is None:
            raise Lost(MISSING_TEXT, f"no {name}.txt")
        described = read_described(text)
        facts: dict[str, Any] = {"language": "en", "speaker": name.split("/")[1], "corpus": tree.name}
        pieces = cut_at_pauses(described.words, longest_s, pause_s)
        if not pieces:
            is_all = described.text == " ".join(word.text for word in described.words)
            facts |= {"words": described.words} if is_all else {}
            tree.add(split, Utterance(name, video, video, text=described.text, **facts))
        for number, piece in enumerate(pieces):
            said = {"text": " ".join(word.text for word in piece.words), "words": piece.words}
            part = Utterance(f"{name}_{number}", video, video, start_s=piece.start_s, end_s=piece.end_s, **facts)
            if not tree.add(split, replace(part, **said)):
                return  # the same for all pieces


def read_described(path: Path) -> Described:
    """Read a text file: "Text:  HELLO YOU", other "Key: value" lines, tables between empty lines.

    The table of words is headed WORD START END, with times in seconds; other columns do not count. Lost: there is no
    "Text:" line, nothing in it, or a line of the table is not valid.
    """
    lines = read_text_lines(path)
    texts = [line.partition(":")[2] for line in lines if line.startswith("Text:")]
    if not texts:
        raise Lost(BAD_TEXT, f"{path}: no line begins with 'Text:'")
    if not (text := _spoken(texts[0])):
        raise Lost(NO_TEXT, str(path))
    return Described(text, tuple(_words(path, lines)))


def _spoken(text: str) -> str:
    return " ".join(_MARK.sub(" ", text).lower().split())


def _words(path: Path, lines: Sequence[str]) -> Iterator[Word]:
    header = next((number for number, line in enumerate(lines) if line.split()[:3] == ["WORD", "START", "END"]), None)
    before_s = 0.0
    for number, line in enumerate(lines[header + 1 :] if header is not None else [], start=(header or 0) + 2):
        if not line.strip():
            return
        try:
            text, start, end = line.split()[:3]
            word = Word(_spoken(text), float(start), float(end))
            if not before_s <= word.start_s <= word.end_s:
                raise ValueError("times go back")
        except ValueError as error:
            raise Lost(BAD_TEXT, f"{path}, line {number}: {line!r} came, wanted 'WORD START END ...'") from error
        before_s = word.start_s
        if word.text:
            yield word


def cut_at_pauses(words: Sequence[Word], longest_s: float = LONGEST_S, pause_s: float = PAUSE_S) -> list[Piece]:
    """Return the pieces of a clip, cut in the middle of its pauses, at a frame as AV-HuBERT's; none if it stays whole.

    A piece is longer than ``longest_s`` where no pause is. The first begins with the clip, the last ends with it.
    """
    if not words or words[-1].end_s < longest_s:
        return []
    groups, edges_s, end_s = [[words[0]]], [], words[0].end_s
    for word in words[1:]:
        if word.start_s - end_s > pause_s:
            edges_s.append(floor((end_s + word.start_s) / 2 * FRAME_RATE) / FRAME_RATE)
            groups.append([])
        groups[-1].append(word)
        end_s = max(end_s, word.end_s)
    pieces = zip([None, *edges_s], [*edges_s, None], groups, strict=True)
    return [Piece(start_s, end_s, _moved(group, start_s or 0)) for start_s, end_s, group in pieces]


def _moved(words: Sequence[Word], start_s: float) -> tuple[Word, ...]:
    times = ((word, round(word.start_s - start_s, 3), round(word.end_s - start_s, 3)) for word in words)
    return tuple(Word(word.text, max(start, 0), end) for word, start, end in times)


def texts_by_clip(tree: Tree) -> dict[tuple[str, ...], Path]:
    """Return the text files by their last two folders and name; texts may be in a tree of their own."""
    return {tree.parts(path)[-3:]: path for path in tree.of([".txt"])}
