"""Compare two evaluations condition by condition, with significance tests.

    python -m avspeech.evaluation.compare runs/a/results.json runs/b/results.json --out compare.json
    python -m avspeech.evaluation.compare runs/av runs/av --modality_a audio+video --modality_b audio

Reads   results.json and hypotheses.jsonl from ``avspeech.evaluate`` or ``avspeech.evaluation.score``.
Writes  a table to the terminal, and as JSON (--out) and Markdown (--markdown).

Each row is one shared condition and language. p-values are corrected over all rows (Holm). Different noise plans, test
sets, texts, normalisations, tasks or drawn videos are refused with exit status 2.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli

from avspeech.evaluation.comparison import (
    PairedRow,
    correct_rows,
    notes_of,
    pair_lines,
    to_json,
    to_markdown,
    to_terminal,
)
from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.merging import need_same_pictures, need_same_samples
from avspeech.evaluation.paired_tests import LEVEL
from avspeech.evaluation.results import ALL_LANGUAGES, Results, ScoredHypothesis, read_results
from avspeech.files import make_place, write_json, write_text

REFUSED = 2  # exit status


@dataclass(frozen=True)
class Side:
    """One of two systems: a model in its results, and the requested modality."""

    label: str
    """``A`` or ``B``."""
    source: Path
    """Its results.json."""
    model: str
    modality: str | None
    """None compares each modality with itself."""
    results: Results
    run: Mapping[str, Any]

    @property
    def cells(self) -> list[tuple[Condition, str]]:
        """Conditions and languages in row order."""
        rows = (row for row in self.results.conditions if row.model == self.model)
        return [(row.condition, row.language) for row in rows if self.modality in (None, row.modality)]

    def key(self, condition: Condition) -> tuple:
        """Return what compared conditions share; the modality only if none was requested."""
        modality = condition.modality if self.modality is None else None
        return condition.noise, condition.snr_db, condition.video_stream, modality

    def lines(self, condition: Condition, language: str) -> dict[str, ScoredHypothesis]:
        """Return transcripts by id."""
        lines = self.results.transcripts.get((self.model, condition.decoded_as), {})
        return {name: line for name, line in lines.items() if language in (line.language, ALL_LANGUAGES)}

    @property
    def about(self) -> dict[str, Any]:
        """Record of this side in the JSON."""
        hashes = {key: self.run[key] for key in ("manifest_sha256", "noise_plan_sha256")}
        return {"results": str(self.source), "model": self.model, "modality": self.modality, **hashes}


def read_side(label: str, path: Path, model: str | None = None, modality: str | None = None) -> Side:
    """Read one side from a results.json or its folder.

    Raises:
        ValueError: results, transcripts, model or modality are missing, or there are several models.
    """
    if path.is_file() and path.name != "results.json":
        raise ValueError(f"{label}: {path} is no results.json; name that file or its folder")
    folder = path.parent if path.name == "results.json" else path
    results = read_results(folder)
    if not results.hypotheses:
        raise ValueError(
            f"{label}: {path} has no hypotheses.jsonl beside it, and only transcripts can be paired; keep both together"
        )
    models = list(dict.fromkeys(row.model for row in results.conditions))
    if model is None and len(models) > 1:
        raise ValueError(f"{label}: {path} has the models {', '.join(models)}; choose one with --model_{label.lower()}")
    model = model or models[0]
    modalities = [row.modality for row in results.conditions if row.model == model]
    for option, wanted, known in (("model", model, models), ("modality", modality, modalities)):
        if wanted is not None and wanted not in known:
            has = ", ".join(dict.fromkeys(known))
            raise ValueError(f"--{option}_{label.lower()} {wanted} is not in {path}; it has {has}")
    run = next(run for run in results.runs if run["model"] == model)
    return Side(label, folder / "results.json", model, modality, results, run)


def compare(a: Side, b: Side) -> list[PairedRow]:
    """Return a row for every condition and language that both have; the seed of the draws is A's.

    Raises:
        ValueError: the evaluations are not comparable, are the same transcripts, or have nothing in common.
    """
    if (a.modality is None) != (b.modality is None):
        raise ValueError("only one of --modality_a and --modality_b was given; give both, or neither")
    # Runs of recognisers record no task.
    runs = [(f"{side.label} ({side.model})", {"task": "transcribe", **side.run}) for side in (a, b)]
    need_same_samples(runs, also=("task",))
    conditions_b = {(b.key(condition), language): condition for condition, language in b.cells}
    rows: dict[tuple, PairedRow | None] = {}  # video alone is one test, however many noises repeat its row
    for condition_a, language in a.cells:
        condition_b = conditions_b.get((a.key(condition_a), language))
        if condition_b is None:
            continue
        decoded = condition_a.decoded_as, condition_b.decoded_as, language
        if decoded in rows:
            continue
        if a.source.resolve() == b.source.resolve() and (a.model, decoded[0]) == (b.model, decoded[1]):
            raise ValueError(
                f"A and B are the same transcripts ({a.model}, {condition_a.label}); name two results, two models "
                "(--model_a, --model_b) or two modalities (--modality_a, --modality_b)"
            )
        lines_a, lines_b = a.lines(condition_a, language), b.lines(condition_b, language)
        need_same_pictures(condition_a, *runs)
        for name in lines_a.keys() & lines_b.keys():
            _need_same_line(lines_a[name], lines_b[name], condition_a)
        rows[decoded] = pair_lines((condition_a, condition_b), language, lines_a, lines_b, a.run["seed"])
    found = [row for row in rows.values() if row is not None]
    if not found:
        raise ValueError(
            f"A has {_listed(a)} and B has {_listed(b)}: no condition, language and utterance is in both; "
            "evaluate both with the same conditions YAML"
        )
    return correct_rows(found)


def _need_same_line(one: ScoredHypothesis, other: ScoredHypothesis, condition: Condition) -> None:
    if one.reference != other.reference:
        raise ValueError(
            f"utterance {one.id!r} has the reference {one.reference!r} in A and {other.reference!r} in B; "
            "evaluate both on the same texts"
        )
    if one.video_of != other.video_of:
        raise ValueError(
            f"utterance {one.id!r}, {condition.label}, was shown {one.video_of!r} in A and {other.video_of!r} in B; "
            "evaluate both on the same manifest"
        )


def _listed(side: Side, most: int = 6) -> str:
    names = list(dict.fromkeys(f"{condition.label} ({language})" for condition, language in side.cells))
    return "; ".join(names[:most]) + (f"; {len(names) - most} more" if len(names) > most else "")


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
