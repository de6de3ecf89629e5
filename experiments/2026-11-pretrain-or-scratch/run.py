"""Train with and without masked-cluster pre-training at equal total CPU time, and evaluate both.

    nice python experiments/2026-11-pretrain-or-scratch/run.py path/to/grid_s1 runs/pretrain_or_scratch

Reads   the corpus, or lips that were cut before (--lips).
Writes  RUN/ARM_SEED/ for each arm (pretrained, scratch) and seed: models, curves, evaluate_av/, steps.json.
Stop it and start it again: finished steps are skipped. For CPU times of whole trainings let it run through.
"""

import sys
from dataclasses import replace
from pathlib import Path

from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from data_prep.pipeline import Step, run_steps
from experiments.demo.recipe import SPLITS, Recipe, plan

PREPARING = 5
"""Steps of a plan that make manifests, lips and the tokenizer, which all arms and seeds share."""
TRAININGS = {"pretrain1", "pretrain2", "av"}


def recipe_of(arm: str, seed: int, pretrain_steps: tuple[int, int], steps: int) -> Recipe:
    """Return an arm's recipe: the same but for the length, and for what the encoder starts from."""
    finetune = [f"--model.init_args.schedule.warmup_steps={steps // 20}"]
    if arm == "scratch":
        finetune.append("--model.init_args.pretrained=null")
    return Recipe(
        title=f"{arm}, seed {seed}",
        corpus=["-m", "data_prep.corpora.grid", "{data}", "{run}/corpus"],
        train_voices="train.jsonl",
        test_voices="train.jsonl",
        pretrain_steps=pretrain_steps,
        finetune_steps=steps,
        seed=seed,
        rois=["--roi.every=2"],
        finetune=finetune,
    )


def steps_of(arm: str, recipe: Recipe, folder: Path) -> list[Step]:
    """Return an arm's steps: units and pre-training where it has them, fine-tuning, evaluation; no audio-only model."""
    steps = []
    for step in plan(recipe, folder, None)[-2 if arm == "scratch" else PREPARING :]:
        commands = {name: [*command] for name, command in step.commands.items() if "audio" not in name}
        for name in TRAININGS & commands.keys():
            commands[name].append("--trainer.val_check_interval=100")
        makes = [path for path in step.makes if "audio" not in path.parent.name]
        steps.append(replace(step, commands=commands, makes=makes))
    return steps


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
    preparing = plan(recipe_of("scratch", 0, pretrain_steps, scratch_steps), lips, data.resolve())[:PREPARING]
    if not all(path.exists() for step in preparing for path in step.makes):
        run_steps(lips, preparing, threads=1)
    for seed in seeds:
        for arm, steps in (("pretrained", finetune_steps), ("scratch", scratch_steps)):
            folder = run / f"{arm}_{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            for shared in ("roi", "tokenizer.json", *(f"{split}.jsonl" for split in SPLITS)):
                if not (folder / shared).exists():
                    (folder / shared).symlink_to(lips / shared)
            records = run_steps(folder, steps_of(arm, recipe_of(arm, seed, pretrain_steps, steps), folder), threads=1)
            print(f"{arm} {seed}: {sum(record['cpu_s'] for record in records.values()):.1f} CPU seconds", flush=True)


if __name__ == "__main__":
    auto_cli(main)
