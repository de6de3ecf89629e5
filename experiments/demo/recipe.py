"""What an experiment of this kind runs: a recipe, and the commands that it stands for."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
LAYER = 2
"""Encoder block whose output is clustered for the second pre-training; AV-HuBERT takes block 9 of 12."""


@dataclass(frozen=True)
class Recipe:
    """An experiment: a corpus, two rounds of pre-training, an audio-visual and an audio-only model, a noise grid."""

    title: str
    corpus: list[str]
    """Command that writes train.jsonl, valid.jsonl and test.jsonl into {run}/corpus; {data} is the user's folder."""
    train_voices: str
    """Manifest of the clips that training babble is made of, relative to the run's folder."""
    test_voices: str
    """Manifest of the clips that test babble is made of."""
    num_units: tuple[int, int] = (100, 100)
    """Units of both rounds of pre-training."""
    pretrain_steps: tuple[int, int] = (500, 500)
    """Updates of both rounds."""
    finetune_steps: int = 4000
    """Updates of each recogniser."""
    seed: int = 0
    rois: list[str] = field(default_factory=list)
    """More arguments for cutting the lips."""
    finetune: list[str] = field(default_factory=list)
    """More arguments for both recognisers."""

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """Read a recipe from YAML."""
        return cls(**yaml.safe_load(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Step:
    """Commands that run side by side, and the files that say they are done."""

    name: str
    commands: dict[str, list[str]]
    """By name of their log; two run at once, one thread each."""
    makes: list[Path]
    training_steps: int | None = None
    """Length of the trainings in this step, for the progress bars."""


def plan(recipe: Recipe, run: Path, data: Path | None) -> list[Step]:
    """Return the steps of an experiment in order."""
    python = sys.executable
    corpus = [part.format(run=run, data=data) for part in recipe.corpus]
    corpus[0] = python if corpus[0] == "python" else corpus[0]
    steps = [Step("make the corpus", {"corpus": corpus}, [run / f"corpus/{split}.jsonl" for split in SPLITS])]
    for split in SPLITS:
        rois = [python, "data_prep/extract_rois.py", f"{run}/corpus/{split}.jsonl", f"{run}/roi", *recipe.rois]
        steps.append(
            Step(
                f"cut the lips: {split}",
                {f"roi_{split}": [*rois, f"--out_manifest={run}/{split}.jsonl"]},
                [run / f"{split}.jsonl"],
            )
        )
    tokens = [python, "data_prep/train_tokenizer.py", f"{run}/train.jsonl", f"{run}/tokenizer.json", "--kind=words"]
    steps.append(Step("fit the tokenizer", {"tokenizer": tokens}, [run / "tokenizer.json"]))
    for number in (1, 2):
        steps += _pretraining(recipe, run, number)
    tasks = {"av": [], "audio": ["--model.init_args.modality=audio", "--data.init_args.modality=audio"]}
    trainings = {
        name: [
            *_training(recipe, run, name, "finetune", recipe.finetune_steps),
            f"--model.init_args.tokenizer={run}/tokenizer.json",
            f"--model.init_args.pretrained={run}/pretrain2/model.safetensors",
            f"--data.init_args.noise_manifest={run}/{recipe.train_voices}",
            f"--data.init_args.spans.steps={recipe.finetune_steps}",
            *recipe.finetune,
            *more,
        ]
        for name, more in tasks.items()
    }
    models = [run / f"{name}/model.safetensors" for name in tasks]
    steps.append(Step("train both recognisers", trainings, models, recipe.finetune_steps))
    evaluations = {
        f"evaluate_{name}": [
            *[python, "-m", "avspeech.evaluate", "--model", str(model), "--manifest", f"{run}/test.jsonl"],
            *["--conditions=configs/evaluate/noise_grid.yaml", f"--out_dir={run}/evaluate_{name}", f"--name={name}"],
            *["--noise_manifests", f"{{babble: {run}/{recipe.test_voices}}}"],
            *(["--modalities=[audio]"] if name == "audio" else []),
        ]
        for name, model in zip(tasks, models, strict=True)
    }
    return [*steps, Step("evaluate", evaluations, [run / f"{name}/results.json" for name in evaluations])]


SPLITS = ("train", "valid", "test")


def _pretraining(recipe: Recipe, run: Path, number: int) -> list[Step]:
    """Return the steps of one round: fit units, assign them, pre-train."""
    python, units = sys.executable, run / f"units{number}"
    codebook, steps = f"{units}/codebook.safetensors", recipe.pretrain_steps[number - 1]
    features, model = ["--features=mfcc"], []
    if number > 1:
        model = [f"--model={run}/pretrain{number - 1}/model.safetensors"]
        features = ["--features=encoder", f"--layer={LAYER}", *model]
    fit = [
        python,
        "data_prep/fit_units.py",
        f"{run}/train.jsonl",
        codebook,
        f"--num_units={recipe.num_units[number - 1]}",
    ]
    assign = {
        f"units{number}_{split}": [
            *[python, "data_prep/assign_units.py", f"{run}/{split}.jsonl", codebook, f"{units}/{split}.km", *model]
        ]
        for split in ("train", "valid")
    }
    training = [
        *_training(recipe, run, f"pretrain{number}", "pretrain", steps),
        f"--model.init_args.num_units={recipe.num_units[number - 1]}",
        f"--data.init_args.train_units={units}/train.km",
        f"--data.init_args.val_units={units}/valid.km",
        "--trainer.val_check_interval=50",
    ]
    return [
        Step(
            f"fit units, round {number}",
            {f"units{number}": [*fit, *features, f"--seed={recipe.seed}"]},
            [Path(codebook)],
        ),
        Step(f"assign units, round {number}", assign, [units / f"{split}.km" for split in ("train", "valid")]),
        Step(
            f"pre-train, round {number}",
            {f"pretrain{number}": training},
            [run / f"pretrain{number}/model.safetensors"],
            steps,
        ),
    ]


def _training(recipe: Recipe, run: Path, name: str, task: str, steps: int) -> list[str]:
    """Return the arguments that every training has."""
    return [
        *[sys.executable, "-m", "avspeech.train", "fit"],
        *[f"--config=configs/{task}/small.yaml", "--config=configs/trainer/cpu.yaml"],
        *[f"--data.init_args.train={run}/train.jsonl", f"--data.init_args.val={run}/valid.jsonl"],
        *["--data.init_args.cache_gb=2", f"--seed_everything={recipe.seed}", f"--trainer.max_steps={steps}"],
        *[f"--model.init_args.seed={recipe.seed}", f"--data.init_args.seed={recipe.seed}"],
        *[f"--trainer.default_root_dir={run}/{name}", f"--trainer.logger.init_args.save_dir={run}/{name}"],
        *["--trainer.enable_progress_bar=false"],
    ]
