"""Gather what run.sh evaluated: results.json, and the README's tables on the terminal.

    python experiments/2026-11-flamingo-nine/report.py runs/nine

Transcripts are scored by the rule ``basic``, and by ``whisper``, which knows in English that 4 is four.
"""

import csv
import json
from pathlib import Path

from jsonargparse import auto_cli

from avspeech.evaluation.bootstrap import wer_interval
from avspeech.evaluation.error_rate import ErrorCounts, count_normalized, total
from avspeech.evaluation.results import ScoredHypothesis, read_results

HERE = Path(__file__).resolve().parent
MODELS = ("zero_shot", "audio", "av", "av_demo")
LANGUAGES = ("en", "ar", "de", "el", "es", "fr", "it", "pt", "ru", "all")


def system_of(line: ScoredHypothesis) -> str:
    """Return model and modality, or model and what stands in for the video."""
    return f"{line.model} {line.modality if line.video_stream == 'own' else line.video_stream}"


def rates_of(lines: list[ScoredHypothesis], rule: str) -> dict[str, dict]:
    """Return WER, its interval and CER by language, in per cent."""
    counts: dict[str, list[ErrorCounts]] = {language: [] for language in LANGUAGES}
    for line in lines:
        errors = count_normalized(line.reference, line.hypothesis, line.language, rule)
        counts[line.language].append(errors)
        counts["all"].append(errors)
    rates = {}
    for language, entries in counts.items():
        low, high = wer_interval(entries)[:2]
        summed = total(entries)
        rates[language] = {
            "wer": round(100 * summed.wer, 1),
            "wer_95": [round(100 * low, 1), round(100 * high, 1)],
            "cer": round(100 * summed.cer, 1),
            "utterances": len(entries),
        }
    return rates


def curve(path: Path, name: str) -> list[list[float]]:
    """Return (step, value) of a column of metrics.csv."""
    with path.open() as file:
        return [[int(line["step"]) + 1, round(float(line[name]), 4)] for line in csv.DictReader(file) if line.get(name)]


def main(run: Path) -> None:
    """Write results.json beside this file and print the tables.

    Args:
        run: folder of run.sh.
    """
    rows = []
    for model in MODELS:
        by_cell: dict[tuple[str, float | None], list[ScoredHypothesis]] = {}
        for line in read_results(run / model / "evaluate").hypotheses:
            by_cell.setdefault((system_of(line), line.snr_db), []).append(line)
        for (system, snr_db), lines in by_cell.items():
            for rule in ("basic", "whisper"):
                rows.append({"system": system, "snr_db": snr_db, "rule": rule, "rates": rates_of(lines, rule)})
    names = ("val/wer", "val/loss", "val/loss_audio", "val/loss_video")
    curves = {
        model: {name: points for name in names if (points := curve(run / model / "metrics.csv", name))}
        for model in ("lips", "audio", "av", "av_demo")
        if (run / model / "metrics.csv").exists()
    }
    (HERE / "results.json").write_text(json.dumps({"rows": rows, "curves": curves}, indent=1) + "\n")
    print("| WER, % |", " | ".join(LANGUAGES), "|\n|---|" + "---:|" * len(LANGUAGES))
    for row in rows:
        if row["rule"] == "basic":
            noise = "clean" if row["snr_db"] is None else f"{row['snr_db']:g} dB"
            cells = [f"{row['rates'][language]['wer']:.1f}" for language in LANGUAGES]
            low, high = row["rates"]["all"]["wer_95"]
            cells[-1] += f" ({low:.1f} to {high:.1f})"
            print(f"| {row['system']}, {noise} |", " | ".join(cells), "|")


if __name__ == "__main__":
    auto_cli(main)
