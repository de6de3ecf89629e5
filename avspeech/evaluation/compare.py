"""Two evaluations, condition by condition: which system is better, and is it more than chance.

    python -m avspeech.evaluation.compare runs/a/results.json runs/b/results.json --out compare.json
    python -m avspeech.evaluation.compare runs/av runs/av --modality_a audio+video --modality_b audio

Reads   results.json and hypotheses.jsonl of both, which ``avspeech.evaluate`` and ``avspeech.evaluation.score`` write.
Writes  a table to the terminal; the same as JSON (--out) and as Markdown (--markdown).

Every condition and language that both have is compared over the utterances that both scored. Refused, with exit
status 2, is what was not measured on the same thing: other noise plans, test sets, texts, normalisation, task, or
another stand-in or fault of the same video. p-values are corrected over all rows (Holm), the verdict follows from that.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from avspeech.evaluation.comparison import line_counts
from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.error_rate import total
from avspeech.evaluation.paired_tests import LEVEL, holm, matched_pairs, paired_difference, verdict
from avspeech.evaluation.results import ALL_LANGUAGES, Results, ScoredHypothesis, need_same_samples, read_results
from avspeech.files import make_place, write_text
from avspeech.text.normalize import text_language

FORMAT, VERSION = "avspeech comparison", 1
REFUSED = 2  # exit status


@dataclass(frozen=True)
class Side:
    """One of the two systems: a model in its results, and the modality that was asked for."""

    label: str
    """``A`` or ``B``."""
    source: Path
    """Its results.json."""
    model: str
    modality: str | None
    """None takes every modality, each against the same one."""
    results: Results
    run: Mapping[str, Any]


@dataclass(frozen=True)
class ComparedRow:
    """A against B in one condition and language; rates are fractions, of the utterances that both scored."""

    modality_a: str
    modality_b: str
    noise: str
    snr_db: float | None
    video_stream_a: str
    video_stream_b: str
    language: str
    n_utterances: int
    n_only_a: int
    """Utterances that only A scored; left out."""
    n_only_b: int
    n_words: int
    wer_a: float
    wer_b: float
    difference: float
    """WER of A minus WER of B: below zero A is better."""
    difference_95: tuple[float, float]
    method: str
    """Of the interval; see ``paired_tests``."""
    units: int
    unit: str
    p_value: float
    """Paired bootstrap, two-sided."""
    p_holm: float
    """The same, corrected over all rows."""
    win_rate: float
    """Share of the draws in which A makes fewer errors."""
    matched_pairs_p: float
    """Matched-pairs test of Gillick and Cox, uncorrected."""
    verdict: str
    """``better`` (A is), ``worse`` or ``no clear difference``, by ``p_holm``."""

    @property
    def condition_a(self) -> Condition:
        return Condition(self.modality_a, self.noise, self.snr_db, self.video_stream_a)

    @property
    def condition_b(self) -> Condition:
        return Condition(self.modality_b, self.noise, self.snr_db, self.video_stream_b)


@dataclass(frozen=True)
class Comparison:
    """All rows, and whose they are."""

    a: Side
    b: Side
    seed: int
    rows: list[ComparedRow]


def read_side(label: str, path: Path, model: str | None = None, modality: str | None = None) -> Side:
    """Read one side.

    Args:
        label: ``A`` or ``B``, for messages.
        path: a results.json, or its folder.
        model: whose rows; None takes the only model there is.
        modality: whose rows; None takes all.

    Raises:
        ValueError: there are no results, no transcripts beside them, not one model, or nothing of that modality.
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
    if model is not None and model not in models:
        raise ValueError(f"--model_{label.lower()} {model} is not in {path}; it has {', '.join(models)}")
    chosen = model or models[0]
    modalities = list(dict.fromkeys(row.modality for row in results.conditions if row.model == chosen))
    if modality is not None and modality not in modalities:
        raise ValueError(
            f"--modality_{label.lower()} {modality} was not evaluated with model {chosen} in {path}; "
            f"it has {', '.join(modalities)}"
        )
    run = next(run for run in results.runs if run["model"] == chosen)
    return Side(label, folder / "results.json", chosen, modality, results, run)


def compare(a: Side, b: Side) -> Comparison:
    """Compare every condition and language that both have.

    Raises:
        ValueError: they were not measured on the same thing, are the same thing, or have nothing in common.
    """
    if (a.modality is None) != (b.modality is None):
        raise ValueError("only one of --modality_a and --modality_b was given; give both, or neither")
    facts = [(f"{side.label} ({side.model})", {"task": None, **side.run}) for side in (a, b)]
    facts = [(name, {**run, "task": run["task"] or "transcribe"}) for name, run in facts]  # a recogniser names none
    need_same_samples(facts, also=("task",))
    seed = a.run["seed"]
    lines_a, lines_b = _lines(a), _lines(b)
    conditions_b = {(_key(b, condition), language): condition for condition, language in _cells(b)}
    rows, done = [], set()
    for condition_a, language in _cells(a):
        condition_b = conditions_b.get((_key(a, condition_a), language))
        if condition_b is None:
            continue
        decoded = (condition_a.decoded_as, condition_b.decoded_as, language)
        if decoded in done:  # lips alone hear no noise: one test, however many rows repeat it
            continue
        done.add(decoded)
        same_file = a.source.resolve() == b.source.resolve()
        if same_file and (a.model, condition_a.decoded_as) == (b.model, condition_b.decoded_as):
            raise ValueError(
                f"A and B are the same transcripts ({a.model}, {condition_a.label}); name two results, two models "
                "(--model_a, --model_b) or two modalities (--modality_a, --modality_b)"
            )
        heard_a = _of_language(lines_a.get(condition_a.decoded_as, {}), language)
        heard_b = _of_language(lines_b.get(condition_b.decoded_as, {}), language)
        if common := [name for name in heard_a if name in heard_b]:
            _need_same_texts([(heard_a[name], heard_b[name]) for name in common], condition_a, condition_b)
            _need_same_pictures(a, b, condition_a, condition_b)
            rows.append(_row(a, b, condition_a, condition_b, language, heard_a, heard_b, common, seed))
    if not rows:
        raise ValueError(
            f"A has {_listed(a)} and B has {_listed(b)}: no condition, language and utterance is in both; "
            "evaluate both with the same conditions YAML"
        )
    corrected = holm([row.p_value for row in rows])
    rows = [
        replace(row, p_holm=p_value, verdict=verdict(row.difference, p_value))
        for row, p_value in zip(rows, corrected, strict=True)
    ]
    return Comparison(a, b, seed, rows)


def _row(
    a: Side,
    b: Side,
    condition_a: Condition,
    condition_b: Condition,
    language: str,
    heard_a: Mapping[str, ScoredHypothesis],
    heard_b: Mapping[str, ScoredHypothesis],
    common: Sequence[str],
    seed: int,
) -> ComparedRow:
    """The row, not yet corrected for the others."""
    counts_a, counts_b = (
        [
            line_counts(
                heard[name], text_language(heard[name].language, side.run.get("task")), side.run["normalization"]
            )
            for name in common
        ]
        for side, heard in ((a, heard_a), (b, heard_b))
    )
    speakers = [heard_a[name].speaker or heard_b[name].speaker for name in common]
    found = paired_difference(counts_a, counts_b, seed, speakers)
    return ComparedRow(
        modality_a=condition_a.modality,
        modality_b=condition_b.modality,
        noise=condition_a.noise,
        snr_db=condition_a.snr_db,
        video_stream_a=condition_a.video_stream,
        video_stream_b=condition_b.video_stream,
        language=language,
        n_utterances=len(common),
        n_only_a=len(heard_a) - len(common),
        n_only_b=len(heard_b) - len(common),
        n_words=total(counts_a).num_words,
        wer_a=total(counts_a).wer,
        wer_b=total(counts_b).wer,
        difference=found.diff,
        difference_95=(found.low, found.high),
        method=found.method,
        units=found.num_units,
        unit=found.unit,
        p_value=found.p_value,
        p_holm=found.p_value,
        win_rate=found.win_rate,
        matched_pairs_p=matched_pairs(counts_a, counts_b, speakers).p_value,
        verdict="",
    )


def _cells(side: Side) -> list[tuple[Condition, str]]:
    """Conditions and languages of a side, in the order of its rows."""
    return [
        (row.condition, row.language)
        for row in side.results.conditions
        if row.model == side.model and side.modality in (None, row.modality)
    ]


def _key(side: Side, condition: Condition) -> tuple:
    """What two conditions must share to be compared: all, or all but the modality where that was chosen."""
    key = (condition.noise, condition.snr_db, condition.video_stream)
    return key if side.modality is not None else (*key, condition.modality)


def _lines(side: Side) -> dict[Condition, dict[str, ScoredHypothesis]]:
    found: dict[Condition, dict[str, ScoredHypothesis]] = {}
    for line in side.results.hypotheses:
        if line.model == side.model:
            found.setdefault(line.condition, {})[line.id] = line
    return found


def _of_language(lines: Mapping[str, ScoredHypothesis], language: str) -> dict[str, ScoredHypothesis]:
    return {name: line for name, line in lines.items() if language in (line.language, ALL_LANGUAGES)}


def _need_same_texts(
    pairs: Sequence[tuple[ScoredHypothesis, ScoredHypothesis]], condition_a: Condition, condition_b: Condition
) -> None:
    for one, other in pairs:
        if one.reference != other.reference:
            raise ValueError(
                f"utterance {one.id!r} has the reference {one.reference!r} in A and {other.reference!r} in B; "
                "evaluate both on the same texts"
            )
        if condition_a.video_stream == condition_b.video_stream and one.video_of != other.video_of:
            raise ValueError(
                f"utterance {one.id!r}, {condition_a.label}, was shown {one.video_of!r} in A and {other.video_of!r} in "
                "B; evaluate both with the same seed"
            )


def _need_same_pictures(a: Side, b: Side, condition_a: Condition, condition_b: Condition) -> None:
    """A noise plan freezes what is heard; what is wrong with the picture comes from the seed of either run."""
    fault, seeds = condition_a.fault, (a.run["seed"], b.run["seed"])
    if fault is None or not fault.is_drawn or condition_b.fault != fault or seeds[0] == seeds[1]:
        return
    raise ValueError(
        f"{condition_a.label} was drawn with seed={seeds[0]} in A and {seeds[1]} in B, so other pictures were seen; "
        "evaluate both with the same seed in the conditions YAML"
    )


def _listed(side: Side, most: int = 6) -> str:
    names = list(dict.fromkeys(f"{condition.label} ({language})" for condition, language in _cells(side)))
    return "; ".join(names[:most]) + (f"; {len(names) - most} more" if len(names) > most else "")


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as a document: rates are fractions, intervals ``[low, high]``."""
    sides = {
        side.label.lower(): {
            "results": str(side.source),
            "model": side.model,
            "modality": side.modality,
            "manifest_sha256": side.run["manifest_sha256"],
            "noise_plan_sha256": side.run["noise_plan_sha256"],
        }
        for side in (comparison.a, comparison.b)
    }
    head = {
        "format": FORMAT,
        "version": VERSION,
        "level": LEVEL,
        "tests": len(comparison.rows),
        "seed": comparison.seed,
    }
    return {**head, **sides, "rows": [asdict(row) for row in comparison.rows]}


def main(args: Sequence[str] | None = None) -> None:
    """Parse the command line (or ``args``); an own parser because two results come without a flag."""
    from jsonargparse import ArgumentParser

    from avspeech.evaluation.compare_tables import to_markdown, to_terminal

    parser = ArgumentParser(description="Compare two evaluations condition by condition, with tests.")
    parser.add_argument("a", type=Path, help="results.json of the first system, or its folder")
    parser.add_argument("b", type=Path, help="results.json of the second system, or its folder")
    parser.add_argument("--model_a", type=str | None, help="whose rows of the first; needed where it has several")
    parser.add_argument("--model_b", type=str | None, help="whose rows of the second")
    parser.add_argument("--modality_a", type=str | None, help="compare only this one of the first with ...")
    parser.add_argument("--modality_b", type=str | None, help="... this one of the second; default: each with itself")
    parser.add_argument("--out", type=Path | None, help="JSON file of the comparison")
    parser.add_argument("--markdown", type=Path | None, help="Markdown file of the comparison")
    options = parser.parse_args(args)
    try:
        sides = (
            read_side("A", options.a, options.model_a, options.modality_a),
            read_side("B", options.b, options.model_b, options.modality_b),
        )
        comparison = compare(*sides)
        for option in ("out", "markdown"):
            if getattr(options, option) is not None:
                make_place(getattr(options, option), f"--{option}")
    except ValueError as error:
        parser.exit(REFUSED, f"not compared: {error}\n")
    if options.out is not None:
        write_text(options.out, json.dumps(to_json(comparison), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    if options.markdown is not None:
        write_text(options.markdown, to_markdown(comparison))
    print(to_terminal(comparison), end="")


if __name__ == "__main__":
    main()
