"""A corpus as a list of ``Utterance``: read, check and write JSON lines; read AV-HuBERT's tsv.

A line is an utterance. Relative paths start at the manifest's folder, so that a corpus can be moved as a whole. Errors
name the file, the line and the id, because manifests are written by hand and by foreign scripts.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from avspeech.files import write_lines


class ManifestError(ValueError):
    """A manifest cannot be used; the message names the file, the line and the reason."""


@dataclass(frozen=True)
class Word:
    """A word and its time in seconds."""

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
    """Media file with the sound; often the same file as ``video``."""
    mouth: Path | None = None
    """96x96 grey mouth crop at 25 fps, from ``data_prep/extract_rois.py``."""
    num_frames: int | None = None
    """Length in frames at 25 fps."""
    num_samples: int | None = None
    """Length in samples at 16 kHz."""
    text: str | None = None
    """Transcript for training and scoring."""
    language: str | None = None
    """ISO 639-1 code."""
    speaker: str | None = None
    words: tuple[Word, ...] | None = None
    """Words with times in seconds from the clip's start; None: unknown."""

    def __post_init__(self) -> None:
        if not self.id or self.id.startswith("/") or ".." in Path(self.id).parts:
            raise ValueError(f"id {self.id!r} must be a non-empty relative name without '..'")
        for name in ("num_frames", "num_samples"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value <= 0):
                raise ValueError(f"{name}={value!r} must be a positive whole number")
        for word in self.words or ():
            if not 0 <= word.start_s <= word.end_s:
                raise ValueError(f"word {word.text!r} runs from {word.start_s} to {word.end_s} s")


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
        path: the manifest.
        require: names of ``Utterance`` fields that must not be empty in any line.
        check_files: also check that the files of the required path fields exist.

    Raises:
        ManifestError: the manifest is empty, or a line is no JSON, has an unknown field, lacks a field, repeats an id
            or names a missing file. The message names the first such line and its id.
    """
    path, require = Path(path), tuple(require)
    utterances: list[Utterance] = []
    line_of: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines would also split at U+2028 in a text
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read as a manifest: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name = "?"
        try:
            record = json.loads(line)
            name = record.get("id", "?") if isinstance(record, dict) else "?"
            utterance = _parse(record, path.parent)
            _require(utterance, require, check_files)
            if utterance.id in line_of:
                raise ValueError(f"line {line_of[utterance.id]} has the same id")
        except (ValueError, TypeError) as error:
            raise ManifestError(f"{path}, line {number}, id {name!r}: {error}") from error
        line_of[utterance.id] = number
        utterances.append(utterance)
    if not utterances:
        raise ManifestError(f"{path}: holds no utterance")
    return utterances


def _require(utterance: Utterance, require: tuple[str, ...], check_files: bool) -> None:
    for name in require:
        value = getattr(utterance, name)
        if value is None:
            raise ValueError(f"field {name!r} is needed here and is missing")
        if check_files and name in _PATHS and not value.is_file():
            raise ValueError(f"{name} file {value} does not exist")


def write_manifest(path: str | Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest, whole or not at all; paths below its folder become relative."""
    write_lines(path, (_record(utterance, Path(path).parent) for utterance in utterances))


def _record(utterance: Utterance, folder: Path) -> dict[str, Any]:
    record = {name: value for name, value in asdict(utterance).items() if value is not None}
    for name in _PATHS:
        if name in record:
            record[name] = _relative(record[name], folder)
    if utterance.words is not None:
        record["words"] = [[word.text, word.start_s, word.end_s] for word in utterance.words]
    return record


def _relative(path: Path, folder: Path) -> str:
    path, folder = Path(os.path.abspath(path)), Path(os.path.abspath(folder))  # noqa: PTH100 - keeps symbolic links
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def read_tsv(tsv: str | Path, text: str | Path | None = None, language: str | None = None) -> list[Utterance]:
    """Read AV-HuBERT's manifest: a line with the root folder, then ``id, video, audio, frames, samples`` in tabs.

    The second-to-last column is the number of frames, as in the official code (Shi et al. 2022, ``preparation``
    scripts). There ``video`` is the mouth crop already, so it fills ``mouth`` too.

    Args:
        tsv: the ``.tsv`` file.
        text: the ``.wrd`` file with one transcript per line; None leaves the text empty.
        language: code for every utterance.

    Raises:
        ManifestError: a line has fewer than five columns or a length that is no number, or the numbers of lines differ.
    """
    tsv = Path(tsv)
    root, *lines = tsv.read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line]
    texts: list[str] | list[None] = [None] * len(lines)
    if text is not None:
        texts = Path(text).read_text(encoding="utf-8").splitlines()
        if len(texts) != len(lines):
            raise ManifestError(f"{text} has {len(texts)} lines, {tsv} has {len(lines)} utterances")
    return list(_parse_tsv(tsv, Path(root), lines, texts, language))


def _parse_tsv(
    tsv: Path, root: Path, lines: list[str], texts: list[str] | list[None], language: str | None
) -> Iterator[Utterance]:
    for number, (line, transcript) in enumerate(zip(lines, texts, strict=True), start=2):
        columns = line.split("\t")
        try:
            if len(columns) < 5:
                raise ValueError(f"expected 5 columns between tabs, got {len(columns)}")
            video, audio = root / columns[1], root / columns[2]
            yield Utterance(
                id=columns[0].lstrip("/"),
                video=video,
                audio=audio,
                mouth=video,
                num_frames=int(columns[-2]),
                num_samples=int(columns[-1]),
                text=transcript,
                language=language,
            )
        except ValueError as error:
            raise ManifestError(f"{tsv}, line {number}, id {columns[0]!r}: {error}") from error


def read_units(path: str | Path) -> list[list[int]]:
    """Read a ``.km`` file: one utterance per line in the manifest's order, unit numbers separated by blanks."""
    path = Path(path)
    units = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            units.append([int(unit) for unit in line.split()])
        except ValueError as error:
            raise ManifestError(f"{path}, line {number}: {error}") from error
    return units


def hash_test_set(utterances: Sequence[Utterance]) -> str:
    """Return a hash of ids, texts, languages and speakers, in any order.

    It does not depend on paths, so two laboratories get the same one.
    """
    lines = sorted(json.dumps([one.id, one.text, one.language, one.speaker]) for one in utterances)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
