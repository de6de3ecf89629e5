"""Transcripts as NIST's ``sclite`` reads them: one line ``words (speaker-utteranceid)``; read, write, export.

    python -m avspeech.evaluation.trn RESULTS_DIR OUT_DIR --model av --normalized true
    sclite -r OUT_DIR/ref.trn trn -h OUT_DIR/hyp.audio_clean.trn trn -i spu_id -s -e utf-8 -o rsum spk

Reads   hypotheses.jsonl and results.json of a folder that ``avspeech.evaluate`` or ``avspeech.evaluation.score`` wrote.
Writes  OUT_DIR/ref.trn and one hyp.<condition>.trn for each condition that was transcribed.

``-i spu_id`` makes the speaker of sclite's table from what stands before the first ``-``, ``-s`` keeps upper and lower
case apart, as we do; sclite 2.10 also wants a line break after the last line.

A few characters mean something to sclite wherever they stand: ``{ a / b }`` are alternatives, ``@`` is no word at all,
a line that starts with ``;;`` or ``**`` is a comment, the last parenthesis holds the id. In files of ours they are
written as in web addresses (``%7B``), in ids also blanks, slashes and whatever is not ASCII, and the first line, a
comment, says so; only below such a line are they read back. Words keep their identity, so error counts do not change.
"""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from jsonargparse import auto_cli

from avspeech.evaluation.results import ScoredHypothesis, read_results
from avspeech.evaluation.text_lines import FileFault, read_text_lines
from avspeech.files import make_folder, write_text
from avspeech.text.normalize import normalize_for_scoring, text_language

NO_SPEAKER = "unknown"
_HEADER = ";; avspeech trn: % and two digits stand for a character that sclite would not take as one"
_IN_WORDS = re.compile(r"[%{}()@;*]")
_LINE = re.compile(r"(?P<text>.*?)\s*\((?P<name>[^()]*)\)\s*")


@dataclass(frozen=True)
class TrnLine:
    """One utterance of a trn file."""

    text: str
    id: str
    speaker: str | None = NO_SPEAKER
    """None, in a file that was read, where the id holds no ``-``."""
    number: int = 0
    """Line of the file that it was read from."""
    escaped: bool = True
    """Whether the file is one of ours; in others' the speaker may belong to the id."""

    @property
    def possible_ids(self) -> tuple[str, ...]:
        """What the utterance may be called in a manifest: in files that are not ours also with its speaker."""
        return (self.id,) if self.escaped or self.speaker is None else (self.id, f"{self.speaker}-{self.id}")


def write_trn(path: str | Path, lines: Iterable[TrnLine]) -> None:
    """Write a trn file; white space inside a text becomes one blank. The file appears only when whole.

    Raises:
        ValueError: an id comes twice.
    """
    written, seen = [_HEADER], set()
    for line in lines:
        if line.id in seen:
            raise ValueError(f"{path}: id {line.id!r} came twice, wanted once a file; sclite would mix them up")
        seen.add(line.id)
        words = _IN_WORDS.sub(lambda match: f"%{ord(match[0]):02X}", " ".join(line.text.split()))
        speaker = quote(line.speaker or NO_SPEAKER, safe="").replace("-", "%2D")
        written.append(f"{words} ({speaker}-{quote(line.id, safe='')})")
    write_text(Path(path), "\n".join([*written, ""]))


def read_trn(path: str | Path) -> list[TrnLine]:
    """Read a trn file, ours or anybody's; comments and empty lines are left out.

    The speaker is what stands before the first ``-`` of the id. A lone ``@`` is no word, as to sclite.

    Raises:
        FileFault: names the line that has no id, or that holds alternatives ``{ a / b }``: an error rate then
            depends on which one is taken, so write the one that is meant.
    """
    path = Path(path)
    numbered = read_text_lines(path)
    escaped = bool(numbered) and numbered[0][1] == _HEADER
    lines = []
    for number, line in numbered:
        if not line.strip() or line.startswith((";;", "**")):
            continue
        match = _LINE.fullmatch(line)
        if match is None or not match["name"].strip():
            raise FileFault(path, number, "ends without an id, wanted: words (speaker-utteranceid)")
        text, name = match["text"], match["name"].strip()
        if "{" in text:
            raise FileFault(path, number, "has alternatives { a / b }, which are not scored; write the one meant")
        text = " ".join(word for word in text.split() if word != "@")
        speaker, dash, rest = name.partition("-")
        if escaped:
            lines.append(TrnLine(unquote(text), unquote(rest), unquote(speaker), number))
        elif dash and speaker and rest:
            lines.append(TrnLine(text, rest, speaker, number, escaped=False))
        else:
            lines.append(TrnLine(text, name, None, number, escaped=False))
    return lines


def export_trn(
    results_dir: str | Path, out_dir: str | Path, model: str | None = None, normalized: bool = False
) -> list[Path]:
    """Write the references and the transcripts of each condition as trn, return the paths, ref.trn first.

    An utterance without transcript in a condition is absent from its file; sclite then leaves it out.

    Args:
        results_dir: of an evaluation.
        out_dir: of the files.
        model: whose transcripts; None if the folder holds one model's.
        normalized: write texts as they were compared, by the evaluation's own rule; otherwise as they came.

    Raises:
        ValueError: the folder holds no results, no such model, or several and none was named; or ``out_dir`` cannot be
            written to.
    """
    results = read_results(results_dir)
    models = sorted({line.model for line in results.hypotheses})
    if model is None and len(models) != 1:
        raise ValueError(f"{results_dir} holds transcripts of {', '.join(models) or 'no model'}; name one with --model")
    if model is not None and model not in models:
        raise ValueError(f"{results_dir} holds no transcripts of {model!r}, only of {', '.join(models) or 'none'}")
    model = model or models[0]
    run = next(run for run in results.runs if run["model"] == model)

    def trn_line(line: ScoredHypothesis, text: str) -> TrnLine:
        if normalized:
            text = normalize_for_scoring(text, text_language(line.language, run.get("task")), run["normalization"])
        return TrnLine(text, line.id, line.speaker)

    references: dict[str, TrnLine] = {}
    heard: dict[str, list[TrnLine]] = {}
    for line in results.hypotheses:
        if line.model == model:
            references.setdefault(line.id, trn_line(line, line.reference))
            name = line.condition.label.replace(", ", "_").replace(" ", "_")
            heard.setdefault(name, []).append(trn_line(line, line.hypothesis))
    out_dir = Path(out_dir)
    make_folder(out_dir, "out_dir")
    files = {out_dir / "ref.trn": list(references.values())}
    files |= {out_dir / f"hyp.{name}.trn": lines for name, lines in heard.items()}
    for path, lines in files.items():
        write_trn(path, lines)
    return list(files)


def main(results_dir: Path, out_dir: Path, model: str | None = None, normalized: bool = False) -> None:
    """Write the transcripts of an evaluation for sclite.

    Args:
        results_dir: folder with results.json and hypotheses.jsonl.
        out_dir: folder of the trn files.
        model: whose transcripts, where the folder holds several models'.
        normalized: write texts as they were compared instead of as they came.
    """
    try:
        reference, *hypotheses = export_trn(results_dir, out_dir, model, normalized)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    for path in hypotheses:
        options = ["-i", "spu_id", "-s", "-e", "utf-8", "-o", "rsum", "spk"]
        print(shlex.join(["sclite", "-r", str(reference), "trn", "-h", str(path), "trn", *options]))


if __name__ == "__main__":
    auto_cli(main)
