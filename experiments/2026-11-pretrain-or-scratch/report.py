"""Compare the two arms: results.json, curves.png, and the README's table on the terminal.

    python experiments/2026-11-pretrain-or-scratch/report.py runs/pretrain_or_scratch

Reads   RUN/ARM_SEED/ of every seed that has both arms, written by run.py.
"""

import json
import statistics
import sys
from pathlib import Path

from jsonargparse import auto_cli
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avspeech.evaluation.bootstrap import wer_interval
from avspeech.evaluation.error_rate import ErrorCounts, count_normalized, total
from avspeech.evaluation.paired_tests import paired_difference
from avspeech.evaluation.results import Results, read_results
from experiments.demo.report import curve

HERE = Path(__file__).resolve().parent
ARMS = ("pretrained", "scratch")
COLOURS = {"pretrained": "#0072B2", "scratch": "#D55E00"}
T_975 = {2: 12.706, 3: 4.303}
"""Student's t, 97.5 %, by number of seeds."""
Cell = tuple[str, str, float | None]  # modality, noise, SNR
Counts = dict[Cell, dict[str, ErrorCounts]]  # by cell and utterance


def counts_of(results: Results) -> Counts:
    """Return the error counts of every transcript."""
    rule = results.runs[0]["normalization"]
    counts: Counts = {}
    for line in results.hypotheses:
        cell = counts.setdefault((line.modality, line.noise, line.snr_db), {})
        cell[line.id] = count_normalized(line.reference, line.hypothesis, line.language, rule)
    return counts


def compare(cells: list[Cell], noise: str, counts: dict[str, list[Counts]]) -> dict:
    """Return both arms' rates over some cells and pretrained minus scratch, in per cent.

    Args:
        cells: modality, noise, SNR of what is pooled; one modality.
        noise: name of the row.
        counts: for each arm, one entry a seed, seeds in the same order.
    """
    names = sorted(counts[ARMS[0]][0][cells[0]])
    by_seed = {arm: [[seed[cell][name] for cell in cells for name in names] for seed in counts[arm]] for arm in ARMS}
    pooled = {arm: [entry for entries in by_seed[arm] for entry in entries] for arm in ARMS}
    num_seeds = len(by_seed[ARMS[0]])
    # An utterance is drawn with all its seeds and cells: what is hard for one of them is hard for the others.
    ids = names * len(cells) * num_seeds
    row: dict = {"modality": cells[0][0], "noise": noise, "n_utterances": len(names)}
    for arm in ARMS:
        low, high = wer_interval(pooled[arm], speakers=ids)[:2]
        row[arm] = {
            "wer": percent(total(pooled[arm]).wer),  # the mean over seeds: every seed has the same words
            "wer_95_clips": [percent(low), percent(high)],
            "wer_seeds": [percent(total(entries).wer) for entries in by_seed[arm]],
        }
    difference = paired_difference(*pooled.values(), speakers=ids)
    each = [total(a).wer - total(b).wer for a, b in zip(*by_seed.values(), strict=True)]
    row["difference"] = {
        "wer": percent(difference.diff),
        "wer_95_clips": [percent(difference.low), percent(difference.high)],
        "wer_seeds": [percent(value) for value in each],
    }
    if num_seeds in T_975:
        half = T_975[num_seeds] * statistics.stdev(each) / num_seeds**0.5
        row["difference"]["wer_95_seeds"] = [percent(difference.diff - half), percent(difference.diff + half)]
    return row


def rows_of(counts: dict[str, list[Counts]]) -> list[dict]:
    """Return one row a cell; where a modality has several noises, one more over them all."""
    rows = []
    for modality in ("audio+video", "video", "audio"):
        cells = [cell for cell in counts[ARMS[0]][0] if cell[0] == modality]
        for cell in cells:
            rows.append(compare([cell], "clean" if cell[2] is None else f"{cell[1]} {cell[2]:g} dB", counts))
        if len(cells) > 1:
            rows.append(compare(cells, f"all {len(cells)}", counts))
    return rows


def percent(rate: float) -> float:
    """Return a fraction in per cent, to two places."""
    return round(100 * rate, 2)


def training_of(folder: Path) -> dict:
    """Return what one arm and seed cost, its validation curve over CPU time, and how pre-training went."""
    times = json.loads((folder / "times.json").read_text())
    cpu_s = {name: spent["cpu_s"] for name, spent in times.items() if name != "evaluate_av"}
    before = sum(seconds for name, seconds in cpu_s.items() if name != "av")
    clock = dict(curve(folder / "av", "val/cpu_s"))
    points = [[step, round(before + clock[step], 1), percent(wer)] for step, wer in curve(folder / "av", "val/wer")]
    summary = {"updates": points[-1][0], "cpu_s": cpu_s, "total_cpu_s": round(sum(cpu_s.values()), 1)}
    rounds = sorted(path.name for path in folder.glob("pretrain?"))
    if rounds:
        summary["masked_accuracy"] = {name: _last(folder / name, "val/masked_accuracy") for name in rounds}
        summary["majority_share"] = {name: _last(folder / name, "val/majority_share") for name in rounds}
    return summary | {"validation": points}


def _last(folder: Path, name: str) -> float:
    return round(curve(folder, name)[-1][1], 4)


def draw(trainings: dict[str, dict[int, dict]]) -> Figure:
    """Return validation word error rate over CPU minutes: thin lines are seeds, thick ones their mean."""
    figure = Figure(figsize=(7.6, 4.3), layout="constrained", facecolor="white")
    axis = figure.subplots()
    for arm, by_seed in trainings.items():
        lines = [entry["validation"] for entry in by_seed.values()]
        for points in lines:
            axis.plot([p[1] / 60 for p in points], [p[2] for p in points], color=COLOURS[arm], linewidth=0.8, alpha=0.5)
        means = [[statistics.fmean(values) for values in zip(*at, strict=True)] for at in zip(*lines, strict=True)]
        axis.plot([p[1] / 60 for p in means], [p[2] for p in means], color=COLOURS[arm], linewidth=2.2, label=arm)
    start = statistics.fmean(entry["total_cpu_s"] - entry["cpu_s"]["av"] for entry in trainings["pretrained"].values())
    axis.axvspan(0, start / 60, color=COLOURS["pretrained"], alpha=0.08)
    axis.text(start / 120, 4, "units and\npre-training", ha="center", fontsize=9, color=COLOURS["pretrained"])
    axis.set(xlim=0, ylim=(0, 105), xlabel="CPU minutes, all steps", ylabel="validation word error rate, %")
    axis.grid(color="#E3E3E3")
    axis.legend(frameon=False, loc="upper right")
    return figure


def table(rows: list[dict]) -> str:
    """Return the README's table."""
    lines = [
        "| input | noise | pre-trained | from scratch | difference | 95 %, clips | 95 %, seeds | by seed |",
        "|---|---|---:|---:|---:|---|---|---|",
    ]
    for row in rows:
        difference = row["difference"]
        arms = [
            f"{row[arm]['wer']:.1f} ({row[arm]['wer_95_clips'][0]:.1f} to {row[arm]['wer_95_clips'][1]:.1f})"
            for arm in ARMS
        ]
        clips, seeds = (
            "{:+.1f} to {:+.1f}".format(*difference[key]) if key in difference else "-"
            for key in ("wer_95_clips", "wer_95_seeds")
        )
        each = ", ".join(f"{value:+.1f}" for value in difference["wer_seeds"])
        cells = [row["modality"], row["noise"], *arms, f"{difference['wer']:+.1f}", clips, seeds, each]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(run: Path, out: Path = HERE) -> None:
    """Compare the arms of every complete seed.

    Args:
        run: folder that run.py made.
        out: folder for results.json and curves.png.
    """
    seeds = [
        seed
        for seed in range(len(list(run.glob("scratch_*"))))
        if all((run / f"{arm}_{seed}/evaluate_av/results.json").exists() for arm in ARMS)
    ]
    trainings = {arm: {seed: training_of(run / f"{arm}_{seed}") for seed in seeds} for arm in ARMS}
    counts = {arm: [counts_of(read_results(run / f"{arm}_{seed}/evaluate_av")) for seed in seeds] for arm in ARMS}
    spent = {arm: [trainings[arm][seed]["total_cpu_s"] for seed in seeds] for arm in ARMS}
    ratios = [scratch / pretrained for pretrained, scratch in zip(*spent.values(), strict=True)]
    same = trainings["pretrained"][seeds[0]]["updates"]
    results = {
        "seeds": seeds,
        "cpu_ratio_scratch_to_pretrained": [round(ratio, 4) for ratio in ratios],
        "cpu_ratio_over_all_seeds": round(sum(spent["scratch"]) / sum(spent["pretrained"]), 4),
        "validation_wer_at_the_updates_of_pretrained": {
            arm: [next(p[2] for p in trainings[arm][seed]["validation"] if p[0] == same) for seed in seeds]
            for arm in ARMS
        },
        "test": rows_of(counts),
        "trainings": trainings,
    }
    (out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    figure = draw(trainings)
    FigureCanvasAgg(figure).print_png(out / "curves.png")
    print(table(results["test"]))
    print(f"CPU seconds of seeds {seeds}: {spent}; scratch / pretrained {results['cpu_ratio_scratch_to_pretrained']}")


if __name__ == "__main__":
    auto_cli(main)
