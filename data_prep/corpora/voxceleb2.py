"""Manifests of VoxCeleb2: interviews of 6,112 people, 2,442 h in many languages, without texts.

    python -m data_prep.corpora.voxceleb2 data/vox2 data/vox2/en --id_lists '{en: vox-en.id.gz}' --only '[en]'

Chung, Nagrani and Zisserman, "VoxCeleb2: deep speaker recognition", Interspeech 2018, arXiv:1806.05622.

Reads   videos <set>/mp4/<person>/<video>/<clip>.mp4, set being dev or test, "mp4" being anything or missing; a person
        is id00012.
Writes  train.jsonl and test.jsonl, and valid.jsonl if it is asked for; losses.jsonl.
A restart replaces whole manifests.

Languages are not part of the corpus. ``id_lists`` names them by lists of clips, such as AV-HuBERT's 628,418 of English
(avhubert/preparation/data/vox-en.id.gz of github.com/facebookresearch/av_hubert), in lines such as
"dev/id05668/XWKC1JUM_ow/00053"; ``table`` by a table in tabs, commas or blanks, with or without a header, of clips,
videos or people and their language. Sound is read from the videos, not from the corpus's second copy of it (aac/).
"""

import csv
import gzip
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli

from avspeech.files import read_text, split_lines
from avspeech.manifest import Utterance
from data_prep.corpora.reader import Corpus, run
from data_prep.corpora.tree import ABSENT, BAD_TEXT, NOT_ASKED, SOUNDS, VIDEOS, Tree, speakers_apart

LICENCE = "CC BY 4.0 for the lists; each clip is its YouTube owner's, used for research by a request to Oxford's VGG"
LAYOUT = "dev or test, then <person>/<video>/<clip>, a person being id and five digits"
LANGUAGE_COLUMNS = {"language", "lang", "lid", "label"}
KEY_COLUMNS = {
    "id",
    "key",
    "utt",
    "utt_id",
    "utterance",
    "clip",
    "file",
    "filename",
    "path",
    "video",
    "video_id",
    "speaker",
}
_JOINED = re.compile(r"(id\d{5})-(.{11})-(\d{5})")
Key = tuple[str, ...]


def main(
    root: Path,
    out_dir: Path,
    id_lists: dict[str, Path] | None = None,
    table: Path | None = None,
    only: tuple[str, ...] = (),
    num_valid: int = 0,
    seed: int = 0,
) -> None:
    """Write the manifests of VoxCeleb2.

    Args:
        root: folder of the corpus.
        out_dir: folder of the manifests.
        id_lists: for a language's code, a file with a clip (or video, or person) a line; may be gzipped.
        table: file with the same in one column and the language in another.
        only: languages to take; empty takes all clips, those of unknown language too.
        num_valid: least number of clips of dev that are set aside for validation, all of the same people.
        seed: of the choice of these people.
    """
    run(partial(read, root, id_lists, table, only, num_valid, seed), root, out_dir)


def read(
    root: Path,
    id_lists: Mapping[str, Path] | None = None,
    table: Path | None = None,
    only: tuple[str, ...] = (),
    num_valid: int = 0,
    seed: int = 0,
) -> Corpus:
    """Return the corpus; options as ``main``. ValueError: no folder, or a list cannot be read."""
    tree = Tree("voxceleb2", LICENCE, root)
    of_test = bool(re.fullmatch(r"test|vox2_test\w*", root.name))
    clips = tree.clips(partial(_name, of_test=of_test))
    languages = _languages(tree, id_lists or {}, table)
    if only and not languages:
        raise ValueError(f"only={list(only)} came without languages; name --id_lists or --table")
    known = {name: _find(languages, name) for name in clips}
    taken = [name for name in clips if not only or known[name] in only]
    apart = speakers_apart([name[1] for name in taken if name[0] == "dev"], num_valid, seed)
    wanted = set(taken)
    for name, video in clips.items():
        if name not in wanted:
            tree.lose(video, NOT_ASKED, f"its language is {known[name] or 'not known'}")
            continue
        split = "test" if name[0] == "test" else "valid" if name[1] in apart else "train"
        facts: dict[str, Any] = {"speaker": name[1], "language": known[name], "corpus": "voxceleb2"}
        with tree.losing(video):
            tree.add(split, Utterance("/".join(name), video, video, **facts))
    _lose_absent(tree, languages, clips)
    return tree.finish(LAYOUT)


def _name(parts: Key, of_test: bool) -> Key | None:
    """Return set, person, video and clip of a file; None if it is no clip. The set is dev unless a folder says test.

    ``of_test``: the root is the folder of the test set.
    """
    if len(parts) < 3 or not re.fullmatch(r"id\d{5}", parts[-3]):
        return None
    is_test = of_test or any("test" in re.split(r"[^a-z]+", part.lower()) for part in parts[:-3])
    return "test" if is_test else "dev", *parts[-3:]


def _languages(tree: Tree, id_lists: Mapping[str, Path], table: Path | None) -> dict[Key, str]:
    """Return the language of clips, videos and people."""
    found: dict[Key, str] = {}
    for language, path in id_lists.items():
        found |= {_key(line): language for line in _lines(path) if line.strip()}
    for number, key, value in [] if table is None else _rows(table):
        if (code := _code(value)) is None:
            tree.lose(f"{table}, line {number}", BAD_TEXT, f"language {value!r} came, wanted a code or an English name")
        else:
            found[key] = code
    return found


def _lines(path: Path) -> list[str]:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8") as file:
                return split_lines(file.read())
        return split_lines(read_text(path))
    except (OSError, UnicodeError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as a list of clips: {error}") from error


def _rows(path: Path) -> Iterator[tuple[int, Key, str]]:
    """Yield line numbers, keys and languages of a table."""
    lines = _lines(path)
    mark = "\t" if "\t" in lines[0] else "," if "," in lines[0] else None
    cells = [line.split() for line in lines] if mark is None else list(csv.reader(lines, delimiter=mark))
    header = [cell.strip().lower() for cell in cells[0]]
    column = next((at for at, name in enumerate(header) if name in LANGUAGE_COLUMNS), None)
    key = next((at for at, name in enumerate(header) if name in KEY_COLUMNS), 0)
    for number, row in list(enumerate(cells, start=1))[column is not None :]:
        if len(row) > 1:
            yield number, _key(row[key]), row[1 if column is None else column].strip()


def _key(name: str) -> Key:
    """Return person, video and clip, or as many of them as a name has, whatever folders lie around."""
    name = name.strip()
    stem = name[: name.rindex(".")] if Path(name).suffix.lower() in VIDEOS | SOUNDS else name
    if joined := _JOINED.fullmatch(stem.rpartition("/")[2]):
        return joined.groups()
    parts = stem.strip("/").split("/")
    person = next((at for at, part in enumerate(parts) if re.fullmatch(r"id\d{5}", part)), 0)
    return tuple(parts[person:])


def _find(languages: Mapping[Key, str], name: Key) -> str | None:
    """Return a clip's language: its own, else its video's, else its person's."""
    _, person, video, clip = name
    keys = ((person, video, clip), (video, clip), (person, video), (video,), (person,))
    return next((languages[key] for key in keys if key in languages), None)


def _code(language: str) -> str | None:
    language = language.lower()
    if re.fullmatch(r"[a-z]{2,3}", language):
        return language
    from whisper.tokenizer import TO_LANGUAGE_CODE  # names of languages; takes seconds

    return TO_LANGUAGE_CODE.get(language)


def _lose_absent(tree: Tree, languages: Mapping[Key, str], clips: Mapping[Key, Path]) -> None:
    """Lose what lists name and the tree lacks."""
    there = {part for name in clips for part in (name[1:], name[2:], name[1:3], name[2:3], name[1:2])}
    for key in languages.keys() - there:
        tree.lose("/".join(key), ABSENT)


if __name__ == "__main__":
    auto_cli(main)
