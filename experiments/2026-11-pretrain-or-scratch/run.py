"""Train with and without masked-cluster pre-training at equal total CPU time, and evaluate both.

    nice python experiments/2026-11-pretrain-or-scratch/run.py path/to/grid_s1 runs/pretrain_or_scratch

Reads   the corpus, or lips that were cut before (--lips).
Writes  RUN/ARM_SEED/ for each arm (pretrained, scratch) and seed: models, curves, evaluate_av/, times.json.
Stop it and start it again: finished commands are skipped; a training that was stopped begins anew, so that its CPU time
is that of one whole training.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.demo.recipe import ROOT, SPLITS, Recipe, plan

PREPARING = 5
"""Steps of a plan that make manifests, lips and the tokenizer, which all arms and seeds share."""
TRAININGS = ("pretrain1", "pretrain2", "av")


def recipe_of(arm: str, seed: int, pretrain_steps: tuple[int, int], steps: int) -> Recipe:
    """Return an arm's recipe: the same but for the length, and for what the encoder starts from."""
    finetune = [f"--model.init_args.schedule.warmup_steps={steps // 20}"]
    if arm == "scratch":
        finetune.append("--model.init_args.pretrained=null")
    return Recipe(
        title=f"{arm}, seed {seed}",
        corpus=["python", "-m", "data_prep.corpora.grid", "{data}", "{run}/corpus"],
        train_voices="train.jsonl",
        test_voices="train.jsonl",
        pretrain_steps=pretrain_steps,
        finetune_steps=steps,
        seed=seed,
        rois=["--roi.every=2"],
        finetune=finetune,
    )


def commands_of(arm: str, recipe: Recipe, folder: Path) -> dict[str, list[str]]:
    """Return an arm's commands in order: units and pre-training where it has them, fine-tuning, evaluation."""
    commands = {}
    for step in plan(recipe, folder, None)[PREPARING:]:
        for name, command in step.commands.items():
            if "audio" in name or (arm == "scratch" and name not in ("av", "evaluate_av")):
                continue
            if name in TRAININGS:
                command = [*command, "--trainer.val_check_interval=100"]
            commands[name] = command
    return commands


def execute(command: list[str], log: Path) -> dict[str, float]:
    """Run a command on one thread; return the CPU and wall seconds it took."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    start, cpu = time.monotonic(), _cpu_seconds()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file:
        if subprocess.run(command, cwd=ROOT, env=environment, stdout=file, stderr=file).returncode:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            sys.exit(f"{tail}\n\n{log.stem} failed; see {log}")
    return {"cpu_s": round(_cpu_seconds() - cpu, 1), "wall_s": round(time.monotonic() - start, 1)}


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(
    data: Path,
    run: Path,
    lips: Path | None = None,
    seeds: list[int] = [0, 1, 2],  # noqa: B006 - jsonargparse shows it
    pretrain_steps: tuple[int, int] = (400, 400),
    finetune_steps: int = 1800,
    scratch_steps: int = 4400,
) -> None:
    """Run both arms for every seed, one command at a time.

    Args:
        data: the corpus, GRID s1.
        run: folder of everything it makes.
        lips: folder of manifests and lip clips; they are made where they are missing. By default RUN/lips.
        seeds: of k-means, pre-training and fine-tuning.
        pretrain_steps: updates of both rounds of pre-training.
        finetune_steps: updates of fine-tuning after pre-training.
        scratch_steps: updates from scratch; the default took as much CPU time as the other arm on our machine.
    """
    run = run.resolve()
    lips = (lips or run / "lips").resolve()
    for step in plan(recipe_of("scratch", 0, pretrain_steps, scratch_steps), lips, data.resolve())[:PREPARING]:
        for name, command in step.commands.items():
            if not all(path.exists() for path in step.makes):
                print(name, execute(command, lips / f"logs/{name}.log"), flush=True)
    for seed in seeds:
        for arm, steps in (("pretrained", finetune_steps), ("scratch", scratch_steps)):
            folder = run / f"{arm}_{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            for shared in ("roi", "tokenizer.json", *(f"{split}.jsonl" for split in SPLITS)):
                if not (folder / shared).exists():
                    (folder / shared).symlink_to(lips / shared)
            times_file = folder / "times.json"
            times = json.loads(times_file.read_text()) if times_file.exists() else {}
            for name, command in commands_of(arm, recipe_of(arm, seed, pretrain_steps, steps), folder).items():
                if name not in times:
                    if name in TRAININGS:
                        shutil.rmtree(folder / name, ignore_errors=True)
                    times[name] = execute(command, folder / f"logs/{name}.log")
                    times_file.write_text(json.dumps(times, indent=1))
                    print(f"{arm} {seed}: {name} {times[name]}", flush=True)


if __name__ == "__main__":
    auto_cli(main)
