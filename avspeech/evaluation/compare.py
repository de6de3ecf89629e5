"""Compare two evaluations condition by condition, with significance tests.

    python -m avspeech.evaluation.compare runs/a/results.json runs/b/results.json --out compare.json
    python -m avspeech.evaluation.compare runs/av runs/av --modality_a audio+video --modality_b audio

Reads   results.json and hypotheses.jsonl from ``avspeech.evaluate`` or ``avspeech.evaluation.score``.
Writes  a table to the terminal, and as JSON (--out) and Markdown (--markdown).

Each row is one shared condition and language. p-values are corrected over all rows (Holm). Different noise plans, test
sets, texts, normalisations, tasks or drawn videos are refused with exit status 2.
"""

import sys
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli

from avspeech.evaluation.conditions import Condition, noise_label, with_minus
from avspeech.evaluation.paired_tests import LEVEL, PairedRow, correct_rows, pair_lines
from avspeech.evaluation.results import (
    ALL_LANGUAGES,
    Results,
    ScoredHypothesis,
    need_same_pictures,
    need_same_samples,
    read_results,
)
from avspeech.files import make_place, write_json, write_text

REFUSED = 2  # exit status
HEAD = ["condition", "lang", "utts", "WER A", "WER B", "A - B", "95 % interval"]
HEAD += ["p", "p Holm", "A wins", "p MP", "A is"]
LEFT = (0, 1, 11)  # columns of text; the others are numbers


@dataclass(frozen=True)
class Side:
    """System ``A`` or ``B``: a model in its results.json, and the requested modality."""

    label: str
    source: Path
    model: str
    modality: str | None
    """None compares each modality with itself."""
    results: Results
    run: Mapping[str, Any]

    @property
    def cells(self) -> list[tuple[Condition, str]]:
        rows = (row for row in self.results.conditions if row.model == self.model)
        return [(row.condition, row.language) for row in rows if self.modality in (None, row.modality)]

    def key(self, condition: Condition) -> Hashable:
        """Return what compared conditions share; the modality only if none was requested."""
        return condition if self.modality is None else (condition.noise, condition.snr_db, condition.video_stream)

    def lines(self, condition: Condition, language: str) -> dict[str, ScoredHypothesis]:
        lines = self.results.lines_of(self.model, condition)
        return {name: line for name, line in lines.items() if language in (line.language, ALL_LANGUAGES)}

    @property
    def about(self) -> dict[str, Any]:
        about = {"results": str(self.source), "model": self.model, "modality": self.modality}
        return about | {key: self.run[key] for key in ("manifest_sha256", "noise_plan_sha256")}


def read_side(label: str, path: Path, model: str | None = None, modality: str | None = None) -> Side:
    """Read one side from a results.json or its folder; ``ValueError``: something is missing or ambiguous."""
    if path.is_file() and path.name != "results.json":
        raise ValueError(f"{label}: {path} is no results.json; name that file or its folder")
    folder = path.parent if path.name == "results.json" else path
    results = read_results(folder)
    if not results.hypotheses:
        raise ValueError(f"{label}: {path} has no hypotheses.jsonl beside it, which is paired; keep both together")
    if model is None and len(results.models) > 1:
        names = ", ".join(results.models)
        raise ValueError(f"{label}: {path} has the models {names}; choose one with --model_{label.lower()}")
    model = model or results.models[0]
    modalities = [row.modality for row in results.conditions if row.model == model]
    for option, wanted, known in (("model", model, results.models), ("modality", modality, modalities)):
        if wanted is not None and wanted not in known:
            has = ", ".join(dict.fromkeys(known))
            raise ValueError(f"--{option}_{label.lower()} {wanted} is not in {path}; it has {has}")
    return Side(label, folder / "results.json", model, modality, results, results.run_of(model))


def compare(a: Side, b: Side) -> list[PairedRow]:
    """Return a row for every shared condition and language; ``ValueError``: not comparable. The seed is A's."""
    if (a.modality is None) != (b.modality is None):
        raise ValueError("only one of --modality_a and --modality_b was given; give both, or neither")
    # Runs of recognisers record no task.
    runs = [(f"{side.label} ({side.model})", {"task": "transcribe", **side.run}) for side in (a, b)]
    need_same_samples(runs, also=("task",))
    conditions_b = {(b.key(condition), language): condition for condition, language in b.cells}
    rows: dict[tuple, PairedRow | None] = {}  # video alone is one test, however many noises repeat its row
    for condition_a, language in a.cells:
        condition_b = conditions_b.get((a.key(condition_a), language))
        decoded = condition_a.decoded_as, condition_b and condition_b.decoded_as, language
        if condition_b is None or decoded in rows:
            continue
        if a.source.resolve() == b.source.resolve() and (a.model, decoded[0]) == (b.model, decoded[1]):
            same = f"A and B are the same transcripts ({a.model}, {condition_a.label})"
            raise ValueError(f"{same}; name two results, models (--model_a, ...) or modalities (--modality_a, ...)")
        lines_a, lines_b = a.lines(condition_a, language), b.lines(condition_b, language)
        need_same_pictures(condition_a, *runs)
        for one, other in ((line, lines_b[name]) for name, line in lines_a.items() if name in lines_b):
            if one.reference != other.reference:
                found = f"utterance {one.id!r} has the reference {one.reference!r} in A and {other.reference!r} in B"
                raise ValueError(f"{found}; evaluate both on the same texts")
            if one.video_of != other.video_of:
                shown = f"was shown {one.video_of!r} in A and {other.video_of!r} in B"
                where = f"utterance {one.id!r}, {condition_a.label}"
                raise ValueError(f"{where}, {shown}; evaluate both on the same manifest")
        rows[decoded] = pair_lines((condition_a, condition_b), language, lines_a, lines_b, a.run["seed"])
    paired = [row for row in rows.values() if row is not None]
    if not paired:
        both = f"A has {_listed(a)} and B has {_listed(b)}: no condition, language and utterance is in both"
        raise ValueError(f"{both}; evaluate both with the same conditions YAML")
    return correct_rows(paired)


def _listed(side: Side, most: int = 6) -> str:
    names = list(dict.fromkeys(f"{condition.label} ({language})" for condition, language in side.cells))
    return "; ".join(names[:most]) + (f"; {len(names) - most} more" if len(names) > most else "")


def to_json(row: PairedRow) -> dict[str, Any]:
    """Return the row as a record: rates are fractions, intervals ``[low, high]``."""
    a, b, found = row.condition_a, row.condition_b, row.difference
    record = {"modality_a": a.modality, "modality_b": b.modality, "noise": a.noise, "snr_db": a.snr_db}
    record |= {"video_stream_a": a.video_stream, "video_stream_b": b.video_stream}
    sizes = ("language", "n_utterances", "n_only_a", "n_only_b", "n_words", "wer_a", "wer_b")
    record |= {name: getattr(row, name) for name in sizes}
    record |= {"difference": found.diff, "difference_95": [found.low, found.high], "method": found.method}
    record |= {"units": found.num_units, "unit": found.unit, "p_value": found.p_value, "p_holm": row.p_holm}
    return record | {"win_rate": found.win_rate, "matched_pairs_p": row.matched_pairs_p, "verdict": row.verdict}


def to_terminal(rows: Sequence[PairedRow]) -> str:
    lines = [HEAD, *([noise_label(*row.noise), *_cells(row)[1:]] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table, block = [], ""
    for row, line in zip((None, *rows), lines, strict=True):
        if row is not None and block != (block := _given(row)):
            table.append(f"-- {block}")
        sized = enumerate(zip(line, widths, strict=True))
        padded = [cell.ljust(width) if column in LEFT else cell.rjust(width) for column, (cell, width) in sized]
        table.append("  ".join(padded).rstrip())
    return "\n".join(table)


def to_markdown(rows: Sequence[PairedRow]) -> str:
    lines = [HEAD, ["---" if column in LEFT else "--:" for column in range(len(HEAD))]]
    lines += [[cell.replace("|", "\\|") for cell in _cells(row)] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def notes_of(rows: Sequence[PairedRow]) -> list[str]:
    """Return notes on the columns and the limits of the rows, one line each."""
    notes = [
        "WER in %, over the utterances that both scored; A - B and its interval in points, below zero A is better.",
        "p: paired bootstrap; A wins: share of draws with fewer errors for A; p MP: matched pairs (Gillick and Cox).",
        f"A is: by p Holm, which holds for all {len(rows)} rows together at {LEVEL:.0%}.",
    ]
    found = [row.difference for row in rows]
    for unit in dict.fromkeys(one.unit for one in found):
        counts = sorted({one.num_units for one in found if one.unit == unit})
        methods = ", ".join(dict.fromkeys(one.method for one in found if one.unit == unit))
        notes.append(f"Drawn: {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} {unit}s ({methods}).")
    if any(one.method == "too-few-units" for one in found):
        notes.append("Two or three speakers are too few: intervals are wide and a difference is hardly ever clear.")
    a, b = max(row.n_only_a for row in rows), max(row.n_only_b for row in rows)
    if a or b:
        notes.append(f"Left out of a row: up to {a} utterances that only A scored, up to {b} that only B did.")
    return notes


def _given(row: PairedRow) -> str:
    """Return the inputs without noise: ``audio+video, blank video``, or ``audio+video : audio``."""
    given = (Condition(one.modality, video_stream=one.video_stream) for one in (row.condition_a, row.condition_b))
    return " : ".join(dict.fromkeys(one.label.replace(", clean", "") for one in given))


def _cells(row: PairedRow) -> list[str]:
    found, rates = row.difference, [f"{100 * wer:.1f}" for wer in (row.wer_a, row.wer_b)]
    diff, low, high = (with_minus(f"{100 * points:+.1f}") for points in found[:3])
    p, p_holm, p_pairs = (
        "<0.001" if p < 0.001 else f"{p:.3f}" for p in (found.p_value, row.p_holm, row.matched_pairs_p)
    )
    head = [f"{_given(row)}, {noise_label(*row.noise)}", row.language, str(row.n_utterances), *rates, diff]
    tail = [f"{100 * found.win_rate:.0f} %", p_pairs, row.verdict.replace("no clear difference", "not clear")]
    return [*head, f"{low} to {high}", p, p_holm, *tail]


def main(
    a: Path,
    b: Path,
    model_a: str | None = None,
    model_b: str | None = None,
    modality_a: str | None = None,
    modality_b: str | None = None,
    out: Path | None = None,
    markdown: Path | None = None,
) -> None:
    """Compare two evaluations condition by condition, with tests.

    Args:
        a: results.json of the first system, or its folder.
        b: results.json of the second system, or its folder.
        model_a: first model; required if its results have several.
        model_b: second model; required if its results have several.
        modality_a: first modality, compared with ``modality_b``; by default each is compared with itself.
        modality_b: second modality.
        out: JSON file of the comparison.
        markdown: Markdown file of the comparison.
    """
    try:
        sides = read_side("A", a, model_a, modality_a), read_side("B", b, model_b, modality_b)
        rows = compare(*sides)
        for option, file in (("--out", out), ("--markdown", markdown)):
            if file is not None:
                make_place(file, option)
    except ValueError as error:
        print(f"not compared: {error}", file=sys.stderr)
        sys.exit(REFUSED)
    about = [", ".join(filter(None, (f"{s.label}: {s.model}", s.modality))) + f" ({s.source})" for s in sides]
    plan = next((side.run["noise_plan_sha256"] for side in sides if side.run["noise_plan_sha256"]), "none")
    about, notes = [*about, f"noise plan: {plan}"], notes_of(rows)
    if out is not None:
        head = {"format": "avspeech comparison", "version": 1, "level": LEVEL, "tests": len(rows)}
        head |= {"seed": sides[0].run["seed"], "a": sides[0].about, "b": sides[1].about}
        write_json(out, {**head, "rows": [to_json(row) for row in rows]}, indent=2)
    if markdown is not None:
        listed = "\n".join(f"- {line}" for line in about)
        write_text(markdown, "\n\n".join([listed, to_markdown(rows), *notes]) + "\n")
    print("\n".join([*about, "", to_terminal(rows), "", *notes]))


if __name__ == "__main__":
    auto_cli(main)
