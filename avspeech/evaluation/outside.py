"""Read hypotheses of any system from JSON lines, Kaldi text, trn, csv or tsv, all in UTF-8.

| format | ending | a line |
|---|---|---|
| ``jsonl`` | ``.jsonl`` | an object with ``id`` and ``hypothesis`` (or ``text``), as in our hypotheses.jsonl |
| ``kaldi`` | ``.txt``, or a file called ``text`` | the id, a space, the words; only the id if there are none |
| ``trn`` | ``.trn`` | the words, then ``(id)`` or ``(speaker-id)``, see ``avspeech.evaluation.trn`` |
| ``csv``, ``tsv`` | ``.csv``, ``.tsv`` | columns named in the first line, the keys of ``jsonl``; tsv has no quotes |

Lines of jsonl, csv and tsv may give ``language`` and condition (``modality``, ``noise``, ``snr_db``, ``video_stream``).
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
from typing import Any, NamedTuple
from urllib.parse import unquote

from avspeech.evaluation.conditions import CLEAN, OWN, Condition
from avspeech.evaluation.results import ScoredHypothesis

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


class OutsideHypothesis(NamedTuple):
    id: str
    text: str
    condition: Condition
    language: str | None
    path: Path
    line: int


@dataclass(frozen=True)
class _Row:
    number: int
    ids: tuple[str, ...]
    """Possible ids: a trn id may include the speaker."""
    text: str
    fields: Mapping[str, Any] = field(default_factory=dict)


class TrnLine(NamedTuple):
    text: str
    id: str
    speaker: str | None = None
    """Part of the id before the first ``-``."""
    number: int = 0
    possible_ids: tuple[str, ...] = ()
    """Ids that a manifest may use: in files of others also with the speaker."""


def read_hypotheses(
    path: str | Path, known_ids: Collection[str], condition: Condition | None = None, format: str | None = None
) -> list[OutsideHypothesis]:
    """Read the hypotheses of one file for utterances of ``known_ids``.

    ``condition`` None: the lines give it. ``format`` is one of ``FORMATS``; None takes it from the file's name.

    Raises:
        ValueError: unknown format.
        FileFault: wrong format, unknown or repeated utterance, or a missing or contradictory condition.
    """
    path = Path(path)
    format = format or ("kaldi" if path.name == "text" else ENDINGS.get(path.suffix.lower()))
    if format is None:
        raise FileFault(path, None, f"the name ends in none of {', '.join(ENDINGS)}; give its format with --format")
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
            why = f"is of model {models[-1]!r}, others of {models[0]!r}; score one model at a time"
            raise FileFault(path, row.number, why)
        language = row.fields.get("language") or None
        if language is not None and not isinstance(language, str):
            raise FileFault(path, row.number, f"language={language!r} must be a code such as 'en'")
        found.append(OutsideHypothesis(ids[0], row.text, heard, language, path, row.number))
    if unknown:
        (number, name), *others = unknown
        more = f", nor are {len(others)} more of this file" if others else ""
        raise FileFault(path, number, f"id {name!r} is not in the manifest{more}; take them out or name their manifest")
    if not found:
        raise FileFault(path, None, "holds no hypothesis")
    return found


def parse_label(label: str, grid: Collection[Condition] = ()) -> Condition:
    """Return the condition with a label such as ``audio+video, babble 0 dB``; ``ValueError`` if there is none.

    It must be in ``grid``; an empty grid allows every noise and SNR.
    """
    if grid:
        labels = {condition.label: condition for condition in grid}
        if label in labels:
            return labels[label]
        near = difflib.get_close_matches(label, labels, n=3) or list(labels)[:3]
        raise ValueError(f"condition {label!r} is none of the {len(labels)} of the grid; nearest are {'; '.join(near)}")
    if match := _LABEL.fullmatch(label):
        modality, noise, snr_db, seen, _ = match.groups()
        try:
            level = None if snr_db is None else float(snr_db)
            condition = Condition(modality, noise, level, seen or OWN)
        except ValueError:  # no such modality or stream, or not together
            condition = None
        if condition is not None and condition.label == label:
            return condition
    raise ValueError(
        f"condition {label!r} came, wanted one such as 'audio, clean', 'audio+video, babble 0 dB' or "
        "'audio+video, clean, blank video'"
    )


def _condition(path: Path, row: _Row, given: Condition | None) -> Condition:
    said = {key: row.fields[key] for key in CONDITION_KEYS if row.fields.get(key) not in (None, "")}
    if given is not None and not said:
        condition = given
    elif "modality" not in said:
        raise FileFault(path, row.number, "gives no modality; add it, or name one: --condition 'audio, clean'")
    else:
        noise = said.get("noise", CLEAN)
        if not re.fullmatch(_NOISE_NAME, str(noise)):
            raise FileFault(path, row.number, f"noise={noise!r} must be a name of letters, digits, - and _")
        try:
            condition = Condition(said["modality"], noise, _number(said.get("snr_db")), said.get("video_stream", OWN))
        except (ValueError, TypeError) as error:
            raise FileFault(path, row.number, str(error)) from error
        if given not in (None, condition):
            raise FileFault(path, row.number, f"is {condition.label!r}, but the file was given as {given.label!r}")
    if (same := condition.decoded_as) != condition:
        why = f"{condition.label!r} is the same to the model as {same.label!r}: give it once, as that"
        raise FileFault(path, row.number, why)
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


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file without byte order mark; ``FileFault`` otherwise."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise FileFault(path, None, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        why = f"byte 0x{error.object[error.start]:02x} is no UTF-8; save the file as UTF-8"
        raise FileFault(path, number, why) from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines and their numbers from 1. Only a line feed ends one: a transcript may hold U+2028."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line.removesuffix("\r")


def _read_jsonl(path: Path) -> Iterator[_Row]:
    for number, line in _lines(path):
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
        why = f"has {', '.join(map(repr, unknown))}, known are {', '.join(_KNOWN)}; rename or leave it out"
        raise FileFault(path, number, why)
    text_key = next((key for key in TEXT_KEYS if key in record), None)
    if "id" not in record or text_key is None:
        raise FileFault(path, number, f"has {', '.join(map(repr, record)) or 'nothing'}, wanted 'id' and 'hypothesis'")
    for key in ("id", text_key):
        if not isinstance(record[key], str):
            raise FileFault(path, number, f"has {key}={record[key]!r}, wanted text; '' where nothing was heard")
    return _Row(number, (record["id"],), record[text_key], record)


def _read_kaldi(path: Path) -> Iterator[_Row]:
    for number, line in _lines(path):
        name, *words = line.split(maxsplit=1)
        yield _Row(number, (name,), words[0] if words else "")


def read_trn(path: str | Path) -> Iterator[TrnLine]:
    """Yield the lines of a trn file without comments, empty lines and the non-word ``@``.

    ``FileFault``: a line has no id, or holds alternatives ``{ a / b }``, which make the error rate ambiguous.
    """
    path = Path(path)
    escaped = read_text(path).split("\n", 1)[0] == TRN_HEADER
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
        speaker, dash, rest = name.partition("-")
        if escaped:
            yield TrnLine(unquote(text), unquote(rest), unquote(speaker), number, (unquote(rest),))
        elif dash and speaker and rest:
            yield TrnLine(text, rest, speaker, number, (rest, name))
        else:
            yield TrnLine(text, name, None, number, (name,))


_READERS: dict[str, Callable[[Path], Iterator[_Row]]] = {
    "jsonl": _read_jsonl,
    "kaldi": _read_kaldi,
    "trn": lambda path: (_Row(line.number, line.possible_ids, line.text) for line in read_trn(path)),
    "csv": lambda path: _read_columns(path, ",", quoted=True),
    "tsv": lambda path: _read_columns(path, "\t", quoted=False),
}
