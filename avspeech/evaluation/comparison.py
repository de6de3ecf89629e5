"""Rows that compare two systems on the same utterances, as terminal table, Markdown and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from avspeech.evaluation.conditions import Condition, noise_label
from avspeech.evaluation.error_rate import total
from avspeech.evaluation.paired_tests import LEVEL, Difference, holm, matched_pairs, paired_difference, verdict
from avspeech.evaluation.results import Noise, ScoredHypothesis, System

HEAD = (
    "condition",
    "lang",
    "utts",
    "WER A",
    "WER B",
    "A - B",
    "95 % interval",
    "p",
    "p Holm",
    "A wins",
    "p MP",
    "A is",
)
LEFT = (0, 1, 11)  # columns of text; the others are numbers


@dataclass(frozen=True)
class PairedRow:
    """System A against B in one condition and language, on the utterances of both."""

    condition_a: Condition
    condition_b: Condition
    model_a: str
    model_b: str
    language: str
    n_utterances: int
    n_only_a: int
    """Utterances that only A scored; omitted."""
    n_only_b: int
    n_words: int
    wer_a: float
    wer_b: float
    difference: Difference
    """Paired bootstrap of WER(A) - WER(B)."""
    matched_pairs_p: float
    """Matched-pairs test, uncorrected."""
    p_holm: float
    """``difference.p_value`` corrected over all rows."""

    @property
    def a(self) -> System:
        return self.condition_a.modality, self.model_a

    @property
    def b(self) -> System:
        return self.condition_b.modality, self.model_b

    @property
    def noise(self) -> Noise:
        return self.condition_a.noise, self.condition_a.snr_db

    @property
    def verdict(self) -> str:
        """``better`` (A is), ``worse`` or ``no clear difference``, by ``p_holm``."""
        return verdict(self.difference.diff, self.p_holm)


def pair_lines(
    conditions: tuple[Condition, Condition],
    language: str,
    lines_a: Mapping[str, ScoredHypothesis],
    lines_b: Mapping[str, ScoredHypothesis],
    seed: int,
) -> PairedRow | None:
    """Return the uncorrected row of two systems' transcripts by id; None if they share no utterance."""
    pairs = [(line, lines_b[name]) for name, line in lines_a.items() if name in lines_b]
    if not pairs:
        return None
    a, b = ([line.counts for line in lines] for lines in zip(*pairs, strict=True))
    speakers = [one.speaker or other.speaker for one, other in pairs]
    found = paired_difference(a, b, seed, speakers)
    sizes = len(pairs), len(lines_a) - len(pairs), len(lines_b) - len(pairs), total(a).num_words
    p_pairs = matched_pairs(a, b, speakers)
    models = pairs[0][0].model, pairs[0][1].model
    return PairedRow(*conditions, *models, language, *sizes, total(a).wer, total(b).wer, found, p_pairs, found.p_value)


def correct_rows(rows: Sequence[PairedRow]) -> list[PairedRow]:
    """Return the rows with p-values corrected over all of them."""
    corrected = holm([row.difference.p_value for row in rows])
    return [replace(row, p_holm=p_value) for row, p_value in zip(rows, corrected, strict=True)]


def to_json(row: PairedRow) -> dict[str, Any]:
    """Return the row as a record: rates are fractions, intervals ``[low, high]``."""
    a, b, found = row.condition_a, row.condition_b, row.difference
    sizes = ("language", "n_utterances", "n_only_a", "n_only_b", "n_words", "wer_a", "wer_b")
    return {
        "modality_a": a.modality,
        "modality_b": b.modality,
        "noise": a.noise,
        "snr_db": a.snr_db,
        "video_stream_a": a.video_stream,
        "video_stream_b": b.video_stream,
        **{name: getattr(row, name) for name in sizes},
        "difference": found.diff,
        "difference_95": [found.low, found.high],
        "method": found.method,
        "units": found.num_units,
        "unit": found.unit,
        "p_value": found.p_value,
        "p_holm": row.p_holm,
        "win_rate": found.win_rate,
        "matched_pairs_p": row.matched_pairs_p,
        "verdict": row.verdict,
    }


def to_terminal(rows: Sequence[PairedRow]) -> str:
    """Return an aligned table with one block per modality and video."""
    lines = [HEAD, *((noise_label(*row.noise), *_cells(row)[1:]) for row in rows)]
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
    """Return the rows as a Markdown table."""
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
    only_a, only_b = max(row.n_only_a for row in rows), max(row.n_only_b for row in rows)
    if only_a or only_b:
        notes.append(
            f"Left out of a row: up to {only_a} utterances that only A scored, up to {only_b} that only B did."
        )
    return notes


def _given(row: PairedRow) -> str:
    """Return the inputs without noise: ``audio+video, blank video``, or ``audio+video : audio``."""
    given = (Condition(one.modality, video_stream=one.video_stream) for one in (row.condition_a, row.condition_b))
    return " : ".join(dict.fromkeys(one.label.replace(", clean", "") for one in given))


def _cells(row: PairedRow) -> tuple[str, ...]:
    found = row.difference
    return (
        f"{_given(row)}, {noise_label(*row.noise)}",
        row.language,
        str(row.n_utterances),
        f"{100 * row.wer_a:.1f}",
        f"{100 * row.wer_b:.1f}",
        _points(found.diff),
        f"{_points(found.low)} to {_points(found.high)}",
        _p(found.p_value),
        _p(row.p_holm),
        f"{100 * found.win_rate:.0f} %",
        _p(row.matched_pairs_p),
        row.verdict.replace("no clear difference", "not clear"),
    )


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.1f}".replace("-", "\N{MINUS SIGN}")


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
