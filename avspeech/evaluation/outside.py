"""Read hypotheses of any system from JSON lines, Kaldi text, trn, csv or tsv, all in UTF-8.

| format | ending | a line |
|---|---|---|
| ``jsonl`` | ``.jsonl`` | an object with ``id`` and ``hypothesis`` (or ``text``), as in our hypotheses.jsonl |
| ``kaldi`` | ``.txt``, or a file called ``text`` | the id, a space, the words; only the id if there are none |
| ``trn`` | ``.trn`` | the words, then ``(id)`` or ``(speaker-id)`` |
| ``csv``, ``tsv`` | ``.csv``, ``.tsv`` | columns named in the first line, the keys of ``jsonl``; tsv has no quotes |

Lines of jsonl, csv and tsv may give ``language`` and condition (``modality``, ``noise``, ``snr_db``, ``video_stream``).
"""

import csv
import difflib
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote

from avspeech.evaluation.conditions import CLEAN, OWN, Condition
from avspeech.evaluation.results import ScoredHypothesis
from avspeech.files import read_text, split_lines

ENDINGS = {".jsonl": "jsonl", ".txt": "kaldi", ".trn": "trn", ".csv": "csv", ".tsv": "tsv"}
FORMATS = tuple(ENDINGS.values())
TEXT_KEYS = ("hypothesis", "text")
CONDITION_KEYS = ("modality", "noise", "snr_db", "video_stream")
_KNOWN = tuple(dict.fromkeys(("id", *TEXT_KEYS, *CONDITION_KEYS, *(one.name for one in fields(ScoredHypothesis)))))
_NOISE_NAME = r"[A-Za-z0-9_-]+"  # as in a conditions YAML: it becomes part of file names
_LABEL = re.compile(rf"([a-z+]+), ({_NOISE_NAME})(?: (-?[\d.]+) dB)?(?:, (\S+?)( video)?)?")
TRN_HEADER = ";; avspeech trn: % and two digits stand for a character that sclite would not take as one"
"""First line of our trn files; the lines below it are percent-encoded."""
_TRN_LINE = re.compile(r"(?P<text>.*?)\s*\((?P<name>[^()]*)\)\s*")


class FileFault(ValueError):
    """A file cannot be used: file, line and reason."""

    def __init__(self, path: Path, number: int | None, why: str) -> None:
        super().__init__(f"{path}: {why}" if number is None else f"{path}, line {number}: {why}")


class Row(NamedTuple):
    """One hypothesis of a file, as it stands in line ``number``."""

    path: Path
    number: int
    ids: tuple[str, ...]
    """Ids that a manifest may use: that of a trn file of others may include the speaker."""
    text: str
    fields: Mapping[str, Any] = {}
    speaker: str | None = None

    def fault(self, why: str) -> FileFault:
        return FileFault(self.path, self.number, why)


class OutsideHypothesis(NamedTuple):
    id: str
    text: str
    condition: Condition
    language: str | None
    row: Row


def read_hypotheses(
    path: str | Path, known_ids: Collection[str], condition: Condition | None = None, format: str | None = None
) -> list[OutsideHypothesis]:
    """Read one file for utterances of ``known_ids``; without ``condition`` its lines give it.

    ``format`` is one of ``FORMATS``; None takes it from the file's name. ``ValueError``: unknown format. ``FileFault``:
    wrong format, unknown or repeated utterance, or a missing or contradictory condition.
    """
    path = Path(path)
    format = format or ("kaldi" if path.name == "text" else ENDINGS.get(path.suffix.lower()))
    if format is None:
        raise FileFault(path, None, f"the name ends in none of {', '.join(ENDINGS)}; give its format with --format")
    if format not in FORMATS:
        raise ValueError(f"format {format!r} came, wanted one of {', '.join(FORMATS)}")
    known_ids = set(known_ids)
    found: dict[tuple[Condition, str], OutsideHypothesis] = {}
    unknown: list[Row] = []
    models: list[str] = []
    for row in _READERS[format](path):
        ids = [name for name in row.ids if name in known_ids]
        if len(ids) > 1:
            raise row.fault(f"may be utterance {ids[0]!r} or {ids[1]!r}; rename one of them")
        if not ids:
            unknown.append(row)
            continue
        heard = _condition(row, condition)
        if (heard, ids[0]) in found:
            first = found[heard, ids[0]].row.number
            raise row.fault(f"has id {ids[0]!r} in {heard.label!r}, as line {first} has already")
        models.append(row.fields.get("model", ""))
        if models[-1] != models[0]:
            raise row.fault(f"is of model {models[-1]!r}, others of {models[0]!r}; score one model at a time")
        language = row.fields.get("language") or None
        if language is not None and not isinstance(language, str):
            raise row.fault(f"language={language!r} must be a code such as 'en'")
        found[heard, ids[0]] = OutsideHypothesis(ids[0], row.text, heard, language, row)
    if unknown:
        more = f", nor are {len(unknown) - 1} more of this file" if len(unknown) > 1 else ""
        why = f"id {unknown[0].ids[-1]!r} is not in the manifest{more}; take them out or name their manifest"
        raise unknown[0].fault(why)
    if not found:
        raise FileFault(path, None, "holds no hypothesis")
    return list(found.values())


def parse_label(label: str, grid: Collection[Condition] = ()) -> Condition:
    """Return the condition of a label such as ``audio, babble 0 dB``, in ``grid`` if given, or ``ValueError``."""
    if grid:
        labels = {condition.label: condition for condition in grid}
        if label in labels:
            return labels[label]
        near = difflib.get_close_matches(label, labels, n=3) or list(labels)[:3]
        raise ValueError(f"condition {label!r} is none of the {len(labels)} of the grid; nearest are {'; '.join(near)}")
    if match := _LABEL.fullmatch(label):
        modality, noise, snr_db, seen, _ = match.groups()
        with suppress(ValueError):  # no such modality or stream, or not together
            condition = Condition(modality, noise, float(snr_db) if snr_db else None, seen or OWN)
            if condition.label == label:
                return condition
    examples = "'audio, clean', 'audio+video, babble 0 dB' or 'audio+video, clean, blank video'"
    raise ValueError(f"condition {label!r} came, wanted one such as {examples}")


def _condition(row: Row, given: Condition | None) -> Condition:
    said = {key: row.fields[key] for key in CONDITION_KEYS if row.fields.get(key) not in (None, "")}
    if given is not None and not said:
        condition = given
    elif "modality" not in said:
        raise row.fault("gives no modality; add it, or name one: --condition 'audio, clean'")
    else:
        noise = said.get("noise", CLEAN)
        if not re.fullmatch(_NOISE_NAME, str(noise)):
            raise row.fault(f"noise={noise!r} must be a name of letters, digits, - and _")
        try:
            snr_db = _number(said["snr_db"]) if "snr_db" in said else None
            condition = Condition(said["modality"], noise, snr_db, said.get("video_stream", OWN))
        except (ValueError, TypeError) as error:
            raise row.fault(str(error)) from error
        if given not in (None, condition):
            raise row.fault(f"is {condition.label!r}, but the file was given as {given.label!r}")
    if (same := condition.decoded_as) != condition:
        raise row.fault(f"{condition.label!r} is the same to the model as {same.label!r}: give it once, as that")
    return condition


def _number(value: Any) -> float:
    number = math.nan
    with suppress(ValueError, TypeError):
        number = math.nan if isinstance(value, bool) else float(value)
    if not math.isfinite(number):
        raise ValueError(f"snr_db={value!r} must be a number, or empty where there is none")
    return number


def _read_text(path: Path) -> str:
    try:
        return read_text(path)
    except OSError as error:
        raise FileFault(path, None, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        why = f"byte 0x{error.object[error.start]:02x} is no UTF-8; save the file as UTF-8"
        raise FileFault(path, number, why) from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank and their numbers from 1."""
    return ((number, line) for number, line in enumerate(split_lines(_read_text(path)), start=1) if line.strip())


def _read_jsonl(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise FileFault(path, number, f"is no JSON ({error.msg} at character {error.pos + 1})") from error
        if not isinstance(record, dict):
            raise FileFault(path, number, f"is a JSON {type(record).__name__}, wanted an object with id and hypothesis")
        yield _row(path, number, record)


def _read_columns(path: Path, delimiter: str, quoting: Literal[0, 3]) -> Iterator[Row]:
    reader = csv.reader(StringIO(_read_text(path), newline=""), delimiter=delimiter, quoting=quoting, strict=True)
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


def _row(path: Path, number: int, record: Mapping[str, Any]) -> Row:
    if unknown := [key for key in record if key not in _KNOWN]:
        why = f"has {', '.join(map(repr, unknown))}, known are {', '.join(_KNOWN)}; rename or leave it out"
        raise FileFault(path, number, why)
    text_key = next((key for key in TEXT_KEYS if key in record), None)
    if "id" not in record or text_key is None:
        raise FileFault(path, number, f"has {', '.join(map(repr, record)) or 'nothing'}, wanted 'id' and 'hypothesis'")
    for key in ("id", text_key):
        if not isinstance(record[key], str):
            raise FileFault(path, number, f"has {key}={record[key]!r}, wanted text; '' where nothing was heard")
    return Row(path, number, (record["id"],), record[text_key], record)


def _read_kaldi(path: Path) -> Iterator[Row]:
    for number, line in _lines(path):
        name, *words = line.split(maxsplit=1)
        yield Row(path, number, (name,), "".join(words))


def read_trn(path: str | Path) -> Iterator[Row]:
    """Yield the lines of a trn file; the non-word ``@`` is dropped, alternatives ``{ a / b }`` are a ``FileFault``."""
    path = Path(path)
    escaped = split_lines(_read_text(path))[:1] == [TRN_HEADER]
    for number, line in _lines(path):
        if line.startswith((";;", "**")):
            continue
        match = _TRN_LINE.fullmatch(line)
        if match is None or not match["name"].strip():
            raise FileFault(path, number, "ends without an id, wanted: words (speaker-utteranceid)")
        text, name = match["text"], match["name"].strip()
        if "{" in text:
            raise FileFault(path, number, "has alternatives { a / b }, which are not scored; write the one meant")
        text = " ".join(word for word in text.split() if word != "@")
        speaker, _, rest = name.partition("-")
        if escaped:
            yield Row(path, number, (unquote(rest),), unquote(text), speaker=unquote(speaker))
        elif speaker and rest:
            yield Row(path, number, (rest, name), text, speaker=speaker)
        else:
            yield Row(path, number, (name,), text)


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "jsonl": _read_jsonl,
    "kaldi": _read_kaldi,
    "trn": read_trn,
    "csv": partial(_read_columns, delimiter=",", quoting=csv.QUOTE_MINIMAL),
    "tsv": partial(_read_columns, delimiter="\t", quoting=csv.QUOTE_NONE),
}
