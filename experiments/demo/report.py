"""The report of an experiment: lip crops, curves, where the time went, and the noise grid."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avspeech.evaluation.report import ReportSection, write_report
from avspeech.manifest import read_manifest
from avspeech.media.video import read_grey_clip
from data_prep.restartable_training import read_curve
from experiments.demo.recipe import Recipe


def write_demo_report(recipe: Recipe, run: Path, records: dict[str, dict[str, Any]]) -> Path:
    """Write report.html, report.md and results.json into the run's folder; return the path of the report.

    The ``audio`` rows come from the dedicated audio-only model; those of the audio-visual model stay in its own
    folder, ``evaluate_av``.
    """
    sheet = run / "lips.png"
    cv2.imwrite(str(sheet), contact_sheet(run / "train.jsonl"))
    crops = "Crops of training clips, cut from the mp4 files: aligned to a mean face, 96 x 96 pixels, grey, 25 fps. "
    images = [(sheet, "lip crops of twelve clips")]
    sections = [
        ReportSection("Lips", crops + "Each row is one clip.", images=images, first=True),
        *[_pretraining_section(run, number) for number in (1, 2)],
        ReportSection(
            "Training the recognisers",
            "Word error rate on the validation clips, clean, greedy. Both models start from the second pre-training "
            "and get the same clips, updates, noise and settings.",
            curves={name: curve(run / name, "val/wer") for name in ("av", "audio")},
            y_label="word error rate",
        ),
        ReportSection("Where the time went", html=_times_table(records)),
    ]
    pick = {"audio": "audio", "video": "av", "audio+video": "av"}
    folders = [run / "evaluate_av", run / "evaluate_audio"]
    return write_report(folders, run, sections, pick=pick, title=recipe.title)


def _pretraining_section(run: Path, number: int) -> ReportSection:
    folder = run / f"pretrain{number}"
    accuracy, majority = curve(folder, "val/masked_accuracy"), curve(folder, "val/majority_share")
    source = "MFCCs" if number == 1 else "the first model's second block"
    return ReportSection(
        f"Pre-training, round {number}",
        f"Share of masked validation frames whose unit is named right; units: k-means of {source}. "
        "The dashed line is the share of the commonest unit.",
        curves={"masked accuracy": accuracy},
        levels={"commonest unit": majority[-1][1]},
        y_label="accuracy",
    )


def curve(folder: Path, name: str) -> list[tuple[float, float]]:
    """Return (update, value) of a metric that a training logged."""
    return [(update, values[name]) for update, values in read_curve(folder).items() if name in values]


def _times_table(records: dict[str, dict[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{name}</td><td>{spent['wall_s']:.0f}</td><td>{spent['cpu_s']:.0f}</td></tr>"
        for name, spent in records.items()
    )
    total = sum(spent["wall_s"] for spent in records.values())
    peak = max(spent["peak_gib"] for spent in records.values())
    return (
        f"<table><tr><th>step</th><th>wall, s</th><th>CPU, s</th></tr>{rows}</table>"
        f"<p>{total / 60:.1f} minutes in all; the largest process held {peak:.1f} GiB.</p>"
    )


def contact_sheet(manifest: Path, num_clips: int = 12, crops: int = 14) -> np.ndarray:
    """Return a picture of lip crops, one row a clip, clips spread over the manifest (and so over its speakers)."""
    utterances = read_manifest(manifest, require=["mouth"])
    rows = []
    for index in np.linspace(0, len(utterances) - 1, num_clips).astype(int):
        mouth_THW = read_grey_clip(utterances[index].mouth)
        frames = np.linspace(len(mouth_THW) // 4, len(mouth_THW) * 3 // 4, crops).astype(int)
        rows.append(np.hstack(mouth_THW[frames]))
    return np.vstack(rows)


def summary(run: Path) -> str:
    """Return the grid as lines of text, for the end of a run."""
    conditions = json.loads((run / "results.json").read_text())["conditions"]
    lines = []
    for row in conditions:
        if row["language"] in ("all", None) or len({other["language"] for other in conditions}) == 1:
            noise = "clean" if row["snr_db"] is None else f"{row['noise']} {row['snr_db']:g} dB"
            low, high = row["wer_95"]
            lines.append(f"{row['modality']:12} {noise:14} {row['wer']:6.1%}  ({low:.1%} to {high:.1%})")
    return "\n".join(lines)
