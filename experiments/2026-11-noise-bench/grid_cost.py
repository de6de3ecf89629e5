"""What a grid of 30 conditions costs in one command, and in 30 commands of one condition each.

    python experiments/2026-11-noise-bench/grid_cost.py MODEL MANIFEST VOICES.jsonl OUT_DIR --method ctc

Three modalities, clean and in three noises at three levels. Both ways use the command line as a user would, with the
same frozen noise plan, model and batches; every command starts a process, loads the model and writes its report. The
transcripts of both are compared. Prints JSON; run it on an idle machine.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml
from jsonargparse import auto_cli

from avspeech.evaluation.conditions import CLEAN, Condition, EvaluationConfig
from avspeech.evaluation.conditions_file import read_conditions

NOISES = ("babble", "white", "pink")
SNRS_DB = [5, 0, -5]


def evaluate(model: Path, manifest: Path, conditions: Path, out_dir: Path, *more: str) -> float:
    """Run one evaluation and return its seconds."""
    command = [sys.executable, "-m", "avspeech.evaluate", f"--model={model}", f"--manifest={manifest}"]
    command += [f"--conditions={conditions}", f"--out_dir={out_dir}", *more]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def write_grid(path: Path, voices: Path, method: str, only: Condition | None = None) -> EvaluationConfig:
    """Write the conditions: all of them, or one."""
    noises: dict = {"babble": {"kind": "babble", "manifest": str(voices), "num_voices": 6, "test_speakers": "allow"}}
    noises |= {name: {"kind": name} for name in NOISES[1:]}
    grid: dict = {"noises": noises, "snrs_db": SNRS_DB, "method": method}
    if only is not None:
        grid["modalities"] = [only.modality]
        grid["include_clean"] = only.noise == CLEAN
        grid["noises"] = {name: noise for name, noise in noises.items() if name == only.noise}
        grid["snrs_db"] = [] if only.snr_db is None else [only.snr_db]
    path.write_text(yaml.safe_dump(grid))
    return read_conditions(path)


def texts_of(out_dir: Path) -> dict:
    """Return every transcript by condition and utterance."""
    lines = [json.loads(line) for line in (out_dir / "hypotheses.jsonl").read_text().splitlines()]
    return {(line["modality"], line["noise"], line["snr_db"], line["id"]): line["hypothesis"] for line in lines}


def main(model: Path, manifest: Path, voices: Path, out_dir: Path, method: str = "attention") -> None:
    """Measure both ways.

    Args:
        model: model file.
        manifest: of the test set.
        voices: manifest of the babble.
        out_dir: emptied first.
        method: of decoding.
    """
    shutil.rmtree(out_dir, ignore_errors=True)
    out_dir.mkdir(parents=True)
    config = write_grid(out_dir / "all.yaml", voices, method)
    together = evaluate(model, manifest, out_dir / "all.yaml", out_dir / "all")
    plan = f"--noise_plan={out_dir}/all/noise_plan.jsonl"
    expected, seconds, different = texts_of(out_dir / "all"), [], 0
    for number, condition in enumerate(config.grid()):
        folder, grid = out_dir / f"one{number}", out_dir / f"one{number}.yaml"
        write_grid(grid, voices, method, condition)
        more = [plan] if condition.noise != CLEAN and condition.keeps_audio else []
        seconds.append(evaluate(model, manifest, grid, folder, *more))
        # the video row of a noise is the clean one, which the single run decodes, too
        found = texts_of(folder)
        different += sum(text != expected[key] for key, text in found.items())
    figures = {
        "conditions": len(config.grid()),
        "together_s": round(together, 1),
        "separately_s": round(sum(seconds), 1),
        "ratio": round(together / sum(seconds), 3),
        "texts_that_differ": different,
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    auto_cli(main)
