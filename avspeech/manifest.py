"""A corpus as a list of ``Utterance``: read, check and write JSON lines; read AV-HuBERT's tsv.

A line is an utterance. Relative paths start at the manifest's folder, so that a corpus can be moved as a whole.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from avspeech.files import read_text_lines, write_lines
from avspeech.timebase import Span


class ManifestError(ValueError):
    """A manifest cannot be used; the message names the file, the line and the reason."""


@dataclass(frozen=True)
class Word:
    """A word and its time in seconds from the clip's start."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Utterance:
    """One clip: the files of its streams and its transcript."""

    id: str
    """Unique in its manifest. It is the stem of files made from the clip, so it may contain "/" but no ".."."""
    video: Path | None = None
    """Media file with the face."""
    audio: Path | None = None
    """Media file with the sound; often ``video`` itself."""
    mouth: Path | None = None
    """96x96 grey mouth crop at 25 fps, from ``data_prep/extract_rois.py``."""
    num_frames: int | None = None
    """Length at 25 fps."""
    num_samples: int | None = None
    """Length at 16 kHz."""
    text: str | None = None
    language: str | None = None
    """ISO 639-1 code."""
    speaker: str | None = None
    words: tuple[Word, ...] | None = None
    crop: str | None = None
    """How ``mouth`` was cut, a name of ``avspeech.roi.mouth.CROPS``; None: unknown."""
    corpus: str | None = None
    """Name of the corpus that it comes from, such as "lrs3"."""
    start_s: float | None = None
    """Where it begins in ``video`` and ``audio``, which may be longer recordings; None: at their start."""
    end_s: float | None = None
    """Where it ends in them; None: at their end. ``mouth`` is already cut."""

    def __post_init__(self) -> None:
        if not self.id or self.id.startswith("/") or ".." in Path(self.id).parts:
            raise ValueError(f"id {self.id!r} must be a non-empty relative name without '..'")
        for name in ("num_frames", "num_samples"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value <= 0):
                raise ValueError(f"{name}={value!r} must be a positive whole number")
        if not 0 <= (self.start_s or 0) < (float("inf") if self.end_s is None else self.end_s):
            raise ValueError(f"start_s={self.start_s} and end_s={self.end_s}: it must end after it starts")
        for word in self.words or ():
            if not 0 <= word.start_s <= word.end_s:
                raise ValueError(f"word {word.text!r} runs from {word.start_s} to {word.end_s} s")

    @property
    def span(self) -> Span | None:
        """The part of ``video`` and ``audio`` that it is, for ``avspeech.media``; None: all of them."""
        return Span.between(self.start_s, self.end_s)

    def with_own(self, **changes: Any) -> "Utterance":
        """Return the utterance with files that hold nothing but it, and other changes.

        If it was a part of longer files, it is none any more, and those that are not replaced are left out.
        """
        if self.span is None:
            return replace(self, **changes)
        return replace(self, **({"video": None, "audio": None, "start_s": None, "end_s": None} | changes))


_PATHS = ("video", "audio", "mouth")
_FIELDS = {field.name for field in fields(Utterance)}


def _parse(record: Any, folder: Path) -> Utterance:
    if not isinstance(record, dict):
        raise ValueError(f"expected a JSON object, got {type(record).__name__}")
    if unknown := sorted(set(record) - _FIELDS):
        raise ValueError(f"unknown field {', '.join(unknown)}; known are {', '.join(sorted(_FIELDS))}")
    if not isinstance(record.get("id"), str):
        raise ValueError("field 'id' is missing or no text")
    values = {name: value for name, value in record.items() if value is not None}
    for name in _PATHS:
        if name in values:
            values[name] = folder / values[name]  # an absolute path stays as it is
    if "words" in values:
        values["words"] = tuple(Word(str(text), float(start), float(end)) for text, start, end in values["words"])
    return Utterance(**values)


def read_manifest(path: str | Path, require: Iterable[str] = (), check_files: bool = False) -> list[Utterance]:
    """Read a JSON-lines manifest and check every line.

    Args:
        require: names of ``Utterance`` fields that every line must have.
        check_files: also check that the files of the required path fields exist.

    Raises:
        ManifestError: the manifest is empty, or a line is no JSON, has an unknown field, lacks a field, repeats an id
            or names a missing file. The message names the first such line and its id.
    """
    path, require = Path(path), tuple(require)
    utterances: list[Utterance] = []
    line_of: dict[str, int] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        name = "?"
        try:
            record = json.loads(line)
            name = record.get("id", "?") if isinstance(record, dict) else "?"
            utterance = _parse(record, path.parent)
            for field in require:
                if (value := getattr(utterance, field)) is None:
                    raise ValueError(f"field {field!r} is needed here and is missing")
                if check_files and field in _PATHS and not value.is_file():
                    raise ValueError(f"{field} file {value} does not exist")
            if utterance.id in line_of:
                raise ValueError(f"line {line_of[utterance.id]} has the same id")
        except (ValueError, TypeError) as error:
            raise ManifestError(f"{path}, line {number}, id {name!r}: {error}") from error
        line_of[utterance.id] = number
        utterances.append(utterance)
    if not utterances:
        raise ManifestError(f"{path}: holds no utterance")
    return utterances


def _lines(path: str | Path) -> list[str]:
    try:
        return read_text_lines(path)
    except (OSError, UnicodeError) as error:
        raise ManifestError(f"{path}: cannot be read as a manifest: {error}") from error


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest, whole or not at all; paths below its folder become relative."""
    folder = Path(os.path.abspath(path)).parent  # noqa: PTH100 - keeps symbolic links
    write_lines(path, (_record(utterance, folder) for utterance in utterances))


def _record(utterance: Utterance, folder: Path) -> dict[str, Any]:
    record = {name: value for name, value in asdict(utterance).items() if value is not None}
    for name in _PATHS:
        if name in record:
            file = Path(os.path.abspath(record[name]))  # noqa: PTH100
            record[name] = str(file.relative_to(folder) if file.is_relative_to(folder) else file)
    if utterance.words is not None:
        record["words"] = [[word.text, word.start_s, word.end_s] for word in utterance.words]
    return record


def read_tsv(tsv: str | Path, text: str | Path | None = None, language: str | None = None) -> list[Utterance]:
    """Read AV-HuBERT's manifest: a line with the root folder, then ``id, video, audio, frames, samples`` in tabs.

    The second-to-last column is the number of frames (Shi et al. 2022, ``preparation`` scripts). ``video`` is the mouth
    crop already, so it fills ``mouth`` too. ``text`` is the ``.wrd`` file with a transcript per line.

    Raises:
        ManifestError: the file cannot be read or is empty, a line has fewer than five columns or a length that is no
            number, or the numbers of lines differ.
    """
    if not (rows := _lines(tsv)):
        raise ManifestError(f"{tsv}: is empty, wanted a line with the root folder and one for each utterance")
    root, lines = rows[0], [line for line in rows[1:] if line]
    texts: list[str] | list[None] = [None] * len(lines)
    if text is not None:
        texts = _lines(text)
        if len(texts) != len(lines):
            raise ManifestError(f"{text} has {len(texts)} lines, {tsv} has {len(lines)} utterances")
    utterances = []
    for number, (line, transcript) in enumerate(zip(lines, texts, strict=True), start=2):
        try:
            utterances.append(parse_tsv(root, line, transcript, language))
        except ValueError as error:
            name = line.split("\t")[0]
            raise ManifestError(f"{tsv}, line {number}, id {name!r}: {error}") from error
    return utterances


def parse_tsv(root: str, line: str, text: str | None, language: str | None) -> Utterance:
    """Return the utterance of a line of ``read_tsv``. ValueError: it has no five columns, or a length is no number."""
    columns = line.split("\t")
    if len(columns) < 5:
        raise ValueError(f"expected 5 columns between tabs, got {len(columns)}")
    video, audio = Path(root, columns[1]), Path(root, columns[2])
    lengths = int(columns[-2]), int(columns[-1])
    given = {"text": text, "language": language, "crop": "official"}
    return Utterance(columns[0].lstrip("/"), video, audio, video, *lengths, **given)


def read_units(path: str | Path) -> Iterator[list[int]]:
    """Yield the lines of a ``.km`` file: one utterance each in the manifest's order, unit numbers between blanks."""
    for number, line in enumerate(_lines(path), start=1):
        try:
            yield [int(unit) for unit in line.split()]
        except ValueError as error:
            raise ManifestError(f"{path}, line {number}: {error}") from error


def hash_test_set(utterances: Sequence[Utterance]) -> str:
    """Return a hash of ids, texts, languages and speakers, in any order and without paths."""
    lines = sorted(json.dumps([one.id, one.text, one.language, one.speaker]) for one in utterances)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
