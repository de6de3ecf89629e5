"""A comparison as a table: aligned for the terminal, and in Markdown."""

from avspeech.evaluation.compare import ComparedRow, Comparison
from avspeech.evaluation.conditions import Condition, noise_label
from avspeech.evaluation.paired_tests import LEVEL

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
LEFT = (0, 1, 11)  # columns of words, the others are numbers
MINUS = "\N{MINUS SIGN}"


def to_terminal(comparison: Comparison) -> str:
    """Return the table with its notes: a block for each modality and video, in which noises and languages are rows."""
    lines = [HEAD, *((_noise(row), *_cells(row)[1:]) for row in comparison.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    head, *aligned = [
        "  ".join(
            cell.ljust(width) if column in LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    table, block = [head], ""
    for row, line in zip(comparison.rows, aligned, strict=True):
        if _block(row) != block:
            block = _block(row)
            table.append(f"-- {block}")
        table.append(line)
    return "\n".join([*_sides(comparison), "", *table, "", *_notes(comparison)]) + "\n"


def to_markdown(comparison: Comparison) -> str:
    """Return the table with its notes."""
    rows = [HEAD, ["---" if column in LEFT else "--:" for column in range(len(HEAD))]]
    rows += [[cell.replace("|", "\\|") for cell in _cells(row)] for row in comparison.rows]
    table = [f"| {' | '.join(cells)} |" for cells in rows]
    return (
        "\n\n".join(["\n".join(f"- {line}" for line in _sides(comparison)), "\n".join(table), *_notes(comparison)])
        + "\n"
    )


def _noise(row: ComparedRow) -> str:
    return noise_label(row.noise, row.snr_db)


def _block(row: ComparedRow) -> str:
    """What A and B were given, but for the noise: ``audio+video, blank video``, or ``audio+video : audio``."""
    sides = (row.modality_a, row.video_stream_a), (row.modality_b, row.video_stream_b)
    heard = [Condition(modality, video_stream=stream).label.replace(", clean", "") for modality, stream in sides]
    return heard[0] if heard[0] == heard[1] else " : ".join(heard)


def _cells(row: ComparedRow) -> tuple[str, ...]:
    low, high = row.difference_95
    return (
        f"{_block(row)}, {_noise(row)}",
        row.language,
        str(row.n_utterances),
        f"{100 * row.wer_a:.1f}",
        f"{100 * row.wer_b:.1f}",
        _points(row.difference),
        f"{_points(low)} to {_points(high)}",
        _p(row.p_value),
        _p(row.p_holm),
        f"{100 * row.win_rate:.0f} %",
        _p(row.matched_pairs_p),
        {"no clear difference": "not clear"}.get(row.verdict, row.verdict),
    )


def _sides(comparison: Comparison) -> list[str]:
    lines = []
    for side in (comparison.a, comparison.b):
        modality = "" if side.modality is None else f", {side.modality}"
        lines.append(f"{side.label}: {side.model}{modality} ({side.source})")
    plan = comparison.a.run["noise_plan_sha256"] or comparison.b.run["noise_plan_sha256"]
    return [*lines, f"noise plan: {plan}" if plan else "noise plan: none"]


def _notes(comparison: Comparison) -> list[str]:
    """What the columns mean, and what to be wary of; a line each, none long."""
    rows = comparison.rows
    notes = [
        "WER in %, over the utterances that both scored; A - B and its interval in points, below zero A is better.",
        "p: paired bootstrap; A wins: share of draws with fewer errors for A; p MP: matched pairs (Gillick and Cox).",
        f"A is: by p Holm, which holds for all {len(rows)} rows together at {LEVEL:.0%}.",
    ]
    for unit in dict.fromkeys(row.unit for row in rows):
        counts = [row.units for row in rows if row.unit == unit]
        span = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        methods = ", ".join(dict.fromkeys(row.method for row in rows if row.unit == unit))
        notes.append(f"Drawn: {span} {unit}s ({methods}).")
    if any(row.method == "too-few-units" for row in rows):
        notes.append(
            "Two or three speakers are too few: such intervals are wide and a difference is hardly ever clear."
        )
    only_a, only_b = max(row.n_only_a for row in rows), max(row.n_only_b for row in rows)
    if only_a or only_b:
        notes.append(
            f"Left out of a row: up to {only_a} utterances that only A scored, up to {only_b} that only B did."
        )
    return notes


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.1f}".replace("-", MINUS)


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
