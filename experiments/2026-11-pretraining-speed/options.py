"""What each option of pre-training does on a toy run: masked accuracy on held-out clips, and updates a second.

    python experiments/2026-11-pretraining-speed/options.py data/grid_train.jsonl data/grid_valid.jsonl \
        runs/options --units 100 --more_units 300

Reads   two manifests with mouth clips and sound.
Writes  RUN/results.json; each arm's training lies in RUN/<arm>_<seed>.
Stop it and start it again: arms that are done are not trained again.

Every arm gets the same clips, units, updates, seeds and schedule of configs/pretrain/small.yaml; only its own options
differ. Accuracy is that of the masked frames of the validation clips, clean, both streams given, with the same masks
for all arms that mask alike; noisy arms are also validated in noise.
"""

import csv
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from jsonargparse import auto_cli

ROOT = Path(__file__).parents[2]
NOISE = "{probability: 0.5, snr_db: [-5, 10], num_voices: [2, 6]}"
FEATURES = ["--model.init_args.masking.on=features"]
ARMS: dict[str, list[str]] = {
    "baseline": [],
    "hidden frames scored only": ["--model.init_args.unmasked_weight=0"],
    "same, without computing the rest": [
        "--model.init_args.unmasked_weight=0",
        "--model.init_args.shortcuts.score_hidden_only=true",
    ],
    "plain logits": ["--model.init_args.head.similarity=plain"],
    "block 2 supervised too": ["--model.init_args.head.supervised_blocks=[2]"],
    "two unit sets": ["--model.init_args.num_units=UNIT_COUNTS"],
    "a modality dropped per batch": ["--model.init_args.drop_per_batch=true"],
    "official masks": ["--model.init_args.masking.sampler=official"],
    "feature masking": FEATURES,
    "feature masking, hidden lips not computed": [
        *FEATURES,
        "--model.init_args.shortcuts.skip_hidden_lips=true",
    ],
    "noisy validation": [f"--data.init_args.val_noise={NOISE}"],
    "noisy input, clean units; noisy validation": [
        f"--data.init_args.noise={NOISE}",
        f"--data.init_args.val_noise={NOISE}",
    ],
}


def run(command: list[str], log: Path) -> float:
    """Run a command on one thread and return its CPU seconds; its output goes to a log."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    log.parent.mkdir(parents=True, exist_ok=True)
    before = os.times()
    with log.open("w") as file:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=file, stderr=file, check=False)
    after = os.times()
    if done.returncode:
        sys.exit(f"{' '.join(command[:5])} ... failed; see {log}")
    return after.children_user + after.children_system - before.children_user - before.children_system


def make_units(manifests: dict[str, Path], folder: Path, num_units: int) -> dict[str, Path]:
    """Return unit files of k-means over MFCCs, made where they are not there."""
    book = folder / f"mfcc{num_units}.safetensors"
    if not book.exists():
        fit = ["data_prep/fit_units.py", str(manifests["train"]), str(book), f"--num_units={num_units}"]
        run([sys.executable, *fit], folder / f"fit{num_units}.log")
    units = {split: folder / f"{split}{num_units}.km" for split in manifests}
    for split, path in units.items():
        if not path.exists():
            assign = ["data_prep/assign_units.py", str(manifests[split]), str(book), str(path)]
            run([sys.executable, *assign], folder / f"assign_{split}{num_units}.log")
    return units


def train(options: list[str], seed: int, updates: int, manifests: dict[str, Path], files: dict, out: Path) -> dict:
    """Train one arm; return its last validation figures and its CPU seconds."""
    done = out / "figures.json"
    if done.exists():
        return json.loads(done.read_text())
    command = [
        *[sys.executable, "-m", "avspeech.train", "fit"],
        *["--config=configs/pretrain/small.yaml", "--config=configs/trainer/cpu.yaml"],
        *[f"--data.init_args.train={manifests['train']}", f"--data.init_args.val={manifests['valid']}"],
        *[f"--data.init_args.{split}_units={files[key]}" for split, key in (("train", "train"), ("val", "valid"))],
        *["--data.init_args.cache_gb=2", f"--trainer.max_steps={updates}", f"--trainer.val_check_interval={updates}"],
        *[f"--seed_everything={seed}", f"--model.init_args.seed={seed}", f"--data.init_args.seed={seed}"],
        *[f"--trainer.default_root_dir={out}", f"--trainer.logger.init_args.save_dir={out}"],
        *["--trainer.enable_progress_bar=false", *options],
    ]
    cpu_s = run(command, out / "log.txt")
    with (out / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("val/masked_accuracy")]
    names = ("masked_accuracy", "majority_share")
    figures = {name: float(rows[-1][f"val/{name}"]) for name in names} | {"cpu_s": round(cpu_s, 1)}
    done.write_text(json.dumps(figures))
    return figures


def main(
    train_manifest: Path,
    valid_manifest: Path,
    run_dir: Path,
    units: int = 100,
    more_units: int = 300,
    updates: int = 300,
    seeds: list[int] = [0, 1],  # noqa: B006 - jsonargparse shows it as the default
) -> None:
    """Train every arm with every seed.

    Args:
        train_manifest: clips to train on.
        valid_manifest: clips to measure on.
        run_dir: folder of everything it makes.
        units: clusters of the MFCCs that all arms predict.
        more_units: clusters of the second set of the arm that predicts two.
        updates: of each arm.
        seeds: of order, augmentation, masks, dropout and initial weights.
    """
    run_dir = run_dir.resolve()
    manifests = {"train": train_manifest.resolve(), "valid": valid_manifest.resolve()}
    sets = {count: make_units(manifests, run_dir / "units", count) for count in (units, more_units)}
    one = {split: str(sets[units][split]) for split in manifests}
    two = {split: f"[{sets[units][split]},{sets[more_units][split]}]" for split in manifests}
    figures: dict[str, list[dict]] = {}
    start = [train([], seed, 10, manifests, one, run_dir / f"start_{seed}") for seed in seeds]
    for seed in seeds:
        for arm, options in ARMS.items():
            options = [option.replace("UNIT_COUNTS", f"[{units},{more_units}]") for option in options]
            folder = run_dir / f"{arm.replace(' ', '_').replace(',', '').replace(';', '')}_{seed}"
            got = train(options, seed, updates, manifests, two if arm == "two unit sets" else one, folder)
            figures.setdefault(arm, []).append(got)
            print(f"{arm}, seed {seed}: {got}", flush=True)
    start_s = statistics.mean(entry["cpu_s"] for entry in start)
    arms = {
        arm: {
            "masked_accuracy": [round(entry["masked_accuracy"], 4) for entry in entries],
            "mean": round(statistics.mean(entry["masked_accuracy"] for entry in entries), 4),
            "updates_per_cpu_s": [round((updates - 10) / (entry["cpu_s"] - start_s), 2) for entry in entries],
        }
        for arm, entries in figures.items()
    }
    settings = {"units": units, "more_units": more_units, "updates": updates, "seeds": seeds}
    majority = figures["baseline"][0]["majority_share"]
    result = {**settings, "start_cpu_s": round(start_s, 1), "majority_share": round(majority, 4), "arms": arms}
    (run_dir / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    auto_cli(main)
