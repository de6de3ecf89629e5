"""Manifests of Lombard GRID: GRID's commands by 54 people, plain and against noise, from the front and the side.

    python -m data_prep.corpora.lombard_grid data/lombardgrid data/lombardgrid/manifests --view front

Alghamdi, Maddock, Marxer, Barker and Brown, "A corpus of audio-visual Lombard speech with frontal and profile views",
JASA 143(6), 2018; CC BY 4.0.

Reads   videos <speaker>_<l or p>_<sentence> (s2_l_bbim3a.mov) below folders front and side, the sound audio/<name>.wav
        where there is one, else that of the video; alignment/<name>.json for word times.
Writes  all.jsonl, or valid.jsonl, test.jsonl and train.jsonl if speakers are named for them; losses.jsonl.
A restart replaces whole manifests.

Ids are <view>/<name>: l is Lombard speech, p plain. Speakers are named lombard_s2, as they are not GRID's. Six letters
spell the sentence (``grid.spell``). A name that ends in _WRONG_<sentence> was misread so: that sentence is the text.
"""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any, Literal

from jsonargparse import auto_cli

from avspeech.files import read_text
from avspeech.manifest import Utterance, Word
from data_prep.corpora.grid import spell
from data_prep.corpora.reader import Corpus, run
from data_prep.corpora.tree import BAD_TEXT, NO_TEXT, NOT_ASKED, SOUNDS, Lost, Tree

LICENCE = "CC BY 4.0, for all uses (Alghamdi, Maddock, Marxer, Barker, Brown 2018)"
LAYOUT = "front or side, and videos <speaker>_<l or p>_<sentence> in it"
NAME = re.compile(r"(?P<speaker>s\d+)_(?P<manner>[lp])_(?P<asked>[a-z0-9]+)(?:_WRONG_(?P<said>.+))?")
VIEWS = ("front", "side")
LONGEST_S = 30
"""Recordings last a few seconds; larger times have another unit."""


def main(
    root: Path,
    out_dir: Path,
    view: Literal["front", "side", "both"] = "both",
    manner: Literal["lombard", "plain", "both"] = "both",
    valid: tuple[str, ...] = (),
    test: tuple[str, ...] = (),
) -> None:
    """Write the manifests of a Lombard GRID tree.

    Args:
        root: folder of the corpus.
        out_dir: folder of the manifests.
        view: camera.
        manner: speech against noise, or plain.
        valid: speakers of the validation set, such as s2.
        test: speakers of the test set. Without valid and test speakers all clips go to all.jsonl.
    """
    run(partial(read, root, view, manner, valid, test), root, out_dir)


def read(
    root: Path, view: str = "both", manner: str = "both", valid: tuple[str, ...] = (), test: tuple[str, ...] = ()
) -> Corpus:
    """Return the corpus; options as ``main``. ValueError: no folder, or a speaker in two sets."""
    if twice := set(valid) & set(test):
        raise ValueError(f"speakers {', '.join(sorted(twice))} came for valid and for test; name each once")
    tree = Tree("lombard_grid", LICENCE, root, (".json",))
    sounds = {path.stem: path for path in tree.of(SOUNDS)}
    alignments = {path.stem: path for path in tree.of([".json"])}
    splits = dict.fromkeys(valid, "valid") | dict.fromkeys(test, "test")
    for (seen, stem), video in tree.clips(_name, ".mov").items():
        name = NAME.fullmatch(stem)
        assert name is not None
        files = sounds.get(video.stem), alignments.get(video.stem)
        if view not in (seen, "both") or manner[0] not in (name["manner"], "b"):
            tree.lose(video, NOT_ASKED, f"--view {view} --manner {manner}")
            tree.use(*files)
            continue
        split = splits.get(name["speaker"], "train" if splits else "all")
        with tree.losing(video):
            tree.add(split, _utterance(video, seen, name, *files), files[1])
    return tree.finish(LAYOUT)


def _name(parts: tuple[str, ...]) -> tuple[str, str] | None:
    """Return view and name of a file; None if it is no clip."""
    view = next((part for part in reversed(parts[:-1]) if part in VIEWS), None)
    return None if view is None or not NAME.fullmatch(parts[-1]) else (view, parts[-1])


def _utterance(video: Path, view: str, name: re.Match, sound: Path | None, alignment: Path | None) -> Utterance:
    """Return a clip's utterance. Lost: it has no text."""
    text = _text(name["said"] or name["asked"])
    words = None if alignment is None else read_words(alignment, text)
    facts: dict[str, Any] = {"text": text, "language": "en", "words": words, "corpus": "lombard_grid"}
    return Utterance(f"{view}/{video.stem}", video, sound or video, speaker=f"lombard_{name['speaker']}", **facts)


def _text(sentence: str) -> str:
    if "sil" in sentence:
        raise Lost(NO_TEXT, "nothing was said")
    if (text := spell(sentence)) is None:
        raise Lost(BAD_TEXT, f"{sentence!r} came, wanted the six letters of a sentence of GRID")
    return text


def read_words(path: Path, text: str) -> tuple[Word, ...] | None:
    """Return the words' times from their phones; None if there are not as many words, or the file is no alignment.

    The file is {name: [{"phone": "B_B", "offset": 0.5, "duration": 0.1}, ...]}; _B begins a word, _I and _E go on with
    it, _S is a word, silences are "SIL" or "sil". Times are in seconds.
    """
    groups: list[list[dict[str, Any]]] = []
    try:
        (phones,) = json.loads(read_text(path)).values()
        for phone in phones:
            kind = phone["phone"].rpartition("_")[2]
            if phone["phone"].lower().startswith("sil"):
                continue
            if kind in ("B", "S"):
                groups.append([])
            groups[-1].append(phone)
        times = [(group[0]["offset"], group[-1]["offset"] + group[-1]["duration"]) for group in groups]
        if len(times) != len(text.split()) or times[-1][1] > LONGEST_S:
            return None
        return tuple(
            Word(word, float(start), round(end, 6)) for word, (start, end) in zip(text.split(), times, strict=True)
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OSError):
        return None


if __name__ == "__main__":
    auto_cli(main)
