"""Gather the models of run.py: results.json, curves.png, wer.png, and the README's tables on the terminal.

    python experiments/2026-11-flamingo-grid/report.py runs/flamingo_grid

Reads   RUN/<model>/evaluate/ and RUN/<model>/metrics.csv of every model that is there.
"""

import csv
import json
from pathlib import Path

from jsonargparse import auto_cli
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from avspeech.evaluation.error_rate import ErrorCounts, count_normalized
from avspeech.evaluation.paired_tests import paired_difference
from avspeech.evaluation.results import Results, read_results

HERE = Path(__file__).resolve().parent
MODELS = ("zero_shot", "audio", "audio_longer", "av", "av_batch", "av_never", "av_pretrained", "av_random")
COLOURS = ("#999999", "#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#000000")
PAIRS = (
    ("av audio+video", "audio_longer audio"),
    ("av audio+video", "av audio"),
    ("av audio+video", "av_batch audio+video"),
    ("av audio+video", "av_never audio+video"),
    ("av video", "av_never video"),
    ("av video", "av_batch video"),
    ("av audio+video", "av_pretrained audio+video"),
    ("av audio+video", "av_random audio+video"),
    ("av audio+video", "av blank"),
    ("av audio+video", "av shuffled"),
)
"""Systems that are compared, as (model, modality or video that stands in)."""
Cell = tuple[str, float | None]  # system, SNR


def system_of(model: str, modality: str, video_stream: str) -> str:
    """Return the name of a system: model and modality, or model and what stands in for the video."""
    return f"{model} {modality if video_stream == 'own' else video_stream}"


def rows_of(results: Results) -> list[dict]:
    """Return the rates of one evaluation, in per cent."""
    rows = []
    for row in results.conditions:
        low, high = row.wer_95
        system = system_of(row.model, row.modality, row.video_stream)
        entry = {"system": system, "snr_db": row.snr_db, "wer": percent(row.wer)}
        rows.append(entry | {"wer_95": [percent(low), percent(high)], "words": row.n_words})
    return rows


def counts_of(results: Results) -> dict[Cell, dict[str, ErrorCounts]]:
    """Return the errors of every transcript."""
    rule, counts = results.runs[0]["normalization"], {}
    for line in results.hypotheses:
        cell = (system_of(line.model, line.modality, line.video_stream), line.snr_db)
        errors = count_normalized(line.reference, line.hypothesis, line.language, rule)
        counts.setdefault(cell, {})[line.id] = errors
    return counts


def differences_of(counts: dict[Cell, dict[str, ErrorCounts]]) -> list[dict]:
    """Return system a minus system b on the same clips, for the pairs that are there."""
    rows = []
    for a, b in PAIRS:
        for snr_db in (None, 10.0, 5.0, 0.0, -5.0, -10.0):
            # noise cannot touch the video alone, which is decoded once
            first, second = (counts.get((one, None if one.endswith(" video") else snr_db)) for one in (a, b))
            if first is None or second is None or (a.endswith(" video") and snr_db is not None):
                continue
            names = sorted(first)
            found = paired_difference([first[name] for name in names], [second[name] for name in names])
            entry = {"a": a, "b": b, "snr_db": snr_db, "difference": percent(found.diff)}
            rows.append(entry | {"difference_95": [percent(found.low), percent(found.high)]})
    return rows


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    """Return (step, value) of one column of metrics.csv; the first lines of a run that went on are kept."""
    with (folder / "metrics.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line.get(name)]
    return [(int(line["step"]) + 1, round(float(line[name]), 4)) for line in lines]


def draw_curves(curves: dict[str, dict[str, list]]) -> Figure:
    """Return the validation curves: word error rate in babble at 0 dB, and the loss of video alone."""
    figure = Figure(figsize=(8.4, 3.6), layout="constrained", facecolor="white")
    titles = {
        "val/wer": "validation WER, babble 0 dB, all streams",
        "val/loss_video": "loss, video alone",
    }
    for axis, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for model, colour in zip(MODELS, COLOURS, strict=True):
            points = curves.get(model, {}).get(name, [])
            if points:
                axis.plot(*zip(*points, strict=True), marker="o", markersize=3, color=colour, label=model)
        axis.set(title=title, xlabel="updates", ylim=(0, None))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    return figure


def draw_rates(rows: list[dict], systems: dict[str, str]) -> Figure:
    """Return word error rate over SNR with 95 % intervals; clean stands at the right end."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained", facecolor="white")
    axis = figure.subplots()
    places = {-10.0: 0, -5.0: 1, 0.0: 2, 5.0: 3, 10.0: 4, None: 5}
    for system, colour in systems.items():
        points = sorted((places[row["snr_db"]], row) for row in rows if row["system"] == system)
        if points:
            where, found = zip(*points, strict=True)
            axis.plot(where, [row["wer"] for row in found], marker="o", markersize=4, color=colour, label=system)
            low, high = zip(*(row["wer_95"] for row in found), strict=True)
            axis.fill_between(where, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.set_xticks(range(6), ["-10", "-5", "0", "5", "10", "clean"])
    axis.set(xlabel="babble, dB", ylabel="word error rate, %", ylim=(0, 105))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG; the same figure gives the same bytes."""
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def percent(rate: float) -> float:
    """Return a fraction in per cent, to two places."""
    return round(100 * rate, 2)


def table(rows: list[dict]) -> str:
    """Return the rates as Markdown."""
    snrs = [None, 10.0, 5.0, 0.0, -5.0, -10.0]
    cells = {(row["system"], row["snr_db"]): row for row in rows}
    lines = ["| WER, % | clean | 10 dB | 5 dB | 0 dB | -5 dB | -10 dB |", "|---|---:|---:|---:|---:|---:|---:|"]
    for system in dict.fromkeys(row["system"] for row in rows):
        texts = []
        for snr_db in snrs:
            row = cells.get((system, snr_db))
            texts.append(f"{row['wer']:.1f} ({row['wer_95'][0]:.1f} to {row['wer_95'][1]:.1f})" if row else "")
        lines.append(f"| {system} | {' | '.join(texts)} |")
    return "\n".join(lines)


def main(run: Path) -> None:
    """Write results.json and the pictures beside this file.

    Args:
        run: folder that run.py wrote.
    """
    rows, counts, summary = [], {}, {}
    for model in MODELS:
        if (run / model / "evaluate/results.json").exists():
            results = read_results(run / model / "evaluate")
            rows += rows_of(results)
            counts |= counts_of(results)
            summary[model] = {"wall_s": json.loads((run / model / "times.json").read_text())}
            if (run / model / "metrics.csv").exists():
                names = ("val/wer", "val/loss", "val/loss_audio", "val/loss_video", "train/loss")
                summary[model] |= {name: curve(run / model, name) for name in names}
    differences = differences_of(counts)
    document = {"wer": rows, "differences": differences, "models": summary}
    (HERE / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    save(draw_curves(summary), HERE / "curves.png")
    shown = {"audio_longer audio": COLOURS[1], "av video": COLOURS[4], "av audio+video": COLOURS[3]}
    save(draw_rates(rows, shown), HERE / "wer.png")
    print(table(rows))
    for one in differences:
        snr = "clean" if one["snr_db"] is None else f"{one['snr_db']:g} dB"
        low, high = one["difference_95"]
        print(f"{one['a']} minus {one['b']}, {snr}: {one['difference']:+.1f} ({low:+.1f} to {high:+.1f})")


if __name__ == "__main__":
    auto_cli(main)
