"""Transcripts of any system, from JSON lines, Kaldi text, trn, csv or tsv -> ``OutsideHypothesis``.

| format | ending | a line |
|---|---|---|
| ``jsonl`` | ``.jsonl`` | an object with ``id`` and ``hypothesis`` (or ``text``); so is our own hypotheses.jsonl |
| ``kaldi`` | ``.txt``, or a file called ``text`` | the id, a blank, the words; only the id where nothing was heard |
| ``trn`` | ``.trn`` | the words, then ``(id)`` or ``(speaker-id)``, see ``avspeech.evaluation.trn`` |
| ``csv``, ``tsv`` | ``.csv``, ``.tsv`` | columns named in the first line, the keys of ``jsonl``; tsv has no quotes |

JSON lines, csv and tsv may also say the condition of each line (``modality``, ``noise``, ``snr_db``, ``video_stream``
as in results.json) and the ``language``, so that one file holds a whole grid. Text is UTF-8. Whatever is wrong is said
with file and line.
"""

import csv
import difflib
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from io import StringIO
from pathlib import Path
from typing import Any

from avspeech.evaluation.conditions import CLEAN, OWN, VIDEO_STREAMS, Condition
from avspeech.evaluation.results import ScoredHypothesis
from avspeech.evaluation.text_lines import FileFault, read_text, read_text_lines
from avspeech.evaluation.trn import read_trn

ENDINGS = {".jsonl": "jsonl", ".txt": "kaldi", ".trn": "trn", ".csv": "csv", ".tsv": "tsv"}
FORMATS = tuple(ENDINGS.values())
TEXT_KEYS = ("hypothesis", "text")
CONDITION_KEYS = ("modality", "noise", "snr_db", "video_stream")
_KNOWN = tuple(dict.fromkeys(("id", *TEXT_KEYS, *CONDITION_KEYS, *(one.name for one in fields(ScoredHypothesis)))))
_NOISE_NAME = re.compile(r"[A-Za-z0-9_-]+")  # as in a conditions YAML: it becomes part of file names


@dataclass(frozen=True)
class OutsideHypothesis:
    """What a system heard in one utterance under one condition."""

    id: str
    text: str
    condition: Condition
    language: str | None
    path: Path
    line: int


@dataclass(frozen=True)
class _Row:
    """A line as it stands in the file; ``ids`` is what the utterance may be called."""

    number: int
    ids: tuple[str, ...]
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def format_of(path: Path) -> str:
    """Return the format that a file's name says.

    Raises:
        FileFault: it says none.
    """
    if path.name == "text":
        return "kaldi"
    if path.suffix.lower() not in ENDINGS:
        raise FileFault(path, None, f"the name ends in none of {', '.join(ENDINGS)}; say with --format what it is")
    return ENDINGS[path.suffix.lower()]


def read_hypotheses(
    path: str | Path, known_ids: Collection[str], condition: Condition | None = None, format: str | None = None
) -> list[OutsideHypothesis]:
    """Read the transcripts of one file.

    Args:
        path: the file.
        known_ids: of the manifest.
        condition: of every line; None where the lines say it themselves.
        format: one of ``FORMATS``; None takes the one that the name says.

    Raises:
        FileFault: the file cannot be read as its format, a line names an unknown utterance, or one twice under the
            same condition, or no condition, or another one than ``condition``.
    """
    path = Path(path)
    format = format or format_of(path)
    if format not in FORMATS:
        raise ValueError(f"format {format!r} came, wanted one of {', '.join(FORMATS)}")
    known_ids = set(known_ids)
    found: list[OutsideHypothesis] = []
    line_of: dict[tuple[Condition, str], int] = {}
    unknown: list[tuple[int, str]] = []
    models: list[str] = []
    for row in _READERS[format](path):
        ids = [name for name in row.ids if name in known_ids]
        if len(ids) > 1:
            raise FileFault(path, row.number, f"may be utterance {ids[0]!r} or {ids[1]!r}; rename one of them")
        if not ids:
            unknown.append((row.number, row.ids[-1]))
            continue
        heard = _condition(path, row, condition)
        first = line_of.setdefault((heard, ids[0]), row.number)
        if first != row.number:
            raise FileFault(path, row.number, f"has id {ids[0]!r} in {heard.label!r}, as line {first} has already")
        models.append(row.fields.get("model", ""))
        if models[-1] != models[0]:
            raise FileFault(
                path, row.number, f"is of model {models[-1]!r}, others of {models[0]!r}; score one at a time"
            )
        found.append(OutsideHypothesis(ids[0], row.text, heard, _language(path, row), path, row.number))
    if unknown:
        (number, name), *others = unknown
        more = f", nor are {len(others)} more of this file" if others else ""
        raise FileFault(path, number, f"id {name!r} is not in the manifest{more}; take them out or name their manifest")
    if not found:
        raise FileFault(path, None, "holds no hypothesis")
    return found


def parse_label(label: str, grid: Collection[Condition] = ()) -> Condition:
    """Return the condition that is called ``label``, such as ``audio+video, babble 0 dB`` (``Condition.label``).

    Args:
        label: as it stands in a report.
        grid: the conditions there are; empty allows every noise and SNR.

    Raises:
        ValueError: no condition is called so.
    """
    for condition in grid or _guesses(label):
        if condition.label == label:
            return condition
    if not grid:
        raise ValueError(
            f"condition {label!r} came, wanted one such as 'audio, clean', 'audio+video, babble 0 dB' or "
            "'audio+video, clean, blank video'"
        )
    labels = [condition.label for condition in grid]
    near = difflib.get_close_matches(label, labels, n=3) or labels[:3]
    raise ValueError(f"condition {label!r} is none of the {len(labels)} of the grid; nearest are {'; '.join(near)}")


def _guesses(label: str) -> Iterator[Condition]:
    """Conditions that may be called so; which one it is, their own labels tell."""
    modality, _, rest = label.partition(", ")
    heard, _, seen = rest.partition(", ")
    noise, snr_db = (CLEAN if heard == "clean" else heard), None
    if match := re.fullmatch(r"(\S+) (\S+) dB", heard):
        noise = match[1]
        try:
            snr_db = _number(match[2])
        except ValueError:
            return
    if not _NOISE_NAME.fullmatch(noise):
        return
    for stream in (*VIDEO_STREAMS, seen):
        try:
            yield Condition(modality, noise, snr_db, stream)
        except ValueError:  # no such modality or stream, or not together
            continue


def _condition(path: Path, row: _Row, given: Condition | None) -> Condition:
    said = {key: row.fields[key] for key in CONDITION_KEYS if row.fields.get(key) not in (None, "")}
    if given is not None and not said:
        return _only_once(path, row, given)
    if "modality" not in said:
        raise FileFault(path, row.number, "says no modality; add it, or say for the file: --condition 'audio, clean'")
    noise = said.get("noise", CLEAN)
    if not isinstance(noise, str) or not _NOISE_NAME.fullmatch(noise):
        raise FileFault(path, row.number, f"noise={noise!r} must be a name of letters, digits, - and _")
    try:
        condition = Condition(said["modality"], noise, _number(said.get("snr_db")), said.get("video_stream", OWN))
    except (ValueError, TypeError) as error:
        raise FileFault(path, row.number, str(error)) from error
    if given is not None and condition != given:
        raise FileFault(path, row.number, f"is {condition.label!r}, but the file is said to be {given.label!r}")
    return _only_once(path, row, condition)


def _only_once(path: Path, row: _Row, condition: Condition) -> Condition:
    """Refuse a condition that differs from another in nothing that the model gets: its rows repeat the other's."""
    if (same := condition.decoded_as) != condition:
        raise FileFault(
            path, row.number, f"{condition.label!r} is for the model the same as {same.label!r}: give it once, as that"
        )
    return condition


def _number(value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (ValueError, TypeError):
        number = float("nan")
    if not math.isfinite(number):
        raise ValueError(f"snr_db={value!r} must be a number, or empty where there is none")
    return number


def _language(path: Path, row: _Row) -> str | None:
    language = row.fields.get("language")
    if language is not None and not isinstance(language, str):
        raise FileFault(path, row.number, f"language={language!r} must be a code such as 'en'")
    return language or None


def _read_jsonl(path: Path) -> Iterator[_Row]:
    for number, line in read_text_lines(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise FileFault(path, number, f"is no JSON ({error.msg} at character {error.pos + 1})") from error
        if not isinstance(record, dict):
            raise FileFault(path, number, f"is a JSON {type(record).__name__}, wanted an object with id and hypothesis")
        yield _row(path, number, record)


def _read_columns(path: Path, delimiter: str, quoted: bool) -> Iterator[_Row]:
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(StringIO(read_text(path), newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    header: list[str] = []
    number = 1
    try:
        for values in reader:
            if not header:
                header = [name.strip() for name in values]
                if len(set(header)) < len(header):
                    raise FileFault(path, number, f"names a column twice: {', '.join(header)}")
            elif values:
                if len(values) != len(header):
                    raise FileFault(path, number, f"has {len(values)} columns, the first line {len(header)}")
                yield _row(path, number, dict(zip(header, values, strict=True)))
            number = reader.line_num + 1  # a quoted text may run over several lines
    except csv.Error as error:
        raise FileFault(path, number, f"is no csv ({error})") from error


def _row(path: Path, number: int, record: Mapping[str, Any]) -> _Row:
    if unknown := [key for key in record if key not in _KNOWN]:
        raise FileFault(
            path, number, f"has {', '.join(map(repr, unknown))}, known are {', '.join(_KNOWN)}; rename or leave it out"
        )
    text_key = next((key for key in TEXT_KEYS if key in record), None)
    if "id" not in record or text_key is None:
        raise FileFault(path, number, f"has {', '.join(map(repr, record)) or 'nothing'}, wanted 'id' and 'hypothesis'")
    for key in ("id", text_key):
        if not isinstance(record[key], str):
            raise FileFault(path, number, f"has {key}={record[key]!r}, wanted text; '' where nothing was heard")
    return _Row(number, (record["id"],), record[text_key], record)


def _read_kaldi(path: Path) -> Iterator[_Row]:
    for number, line in read_text_lines(path):
        if line.strip():
            name, *words = line.split(maxsplit=1)
            yield _Row(number, (name,), words[0] if words else "")


def _read_trn(path: Path) -> Iterator[_Row]:
    for line in read_trn(path):
        yield _Row(line.number, line.possible_ids, line.text)


_READERS: dict[str, Callable[[Path], Iterator[_Row]]] = {
    "jsonl": _read_jsonl,
    "kaldi": _read_kaldi,
    "trn": _read_trn,
    "csv": lambda path: _read_columns(path, ",", quoted=True),
    "tsv": lambda path: _read_columns(path, "\t", quoted=False),
}
