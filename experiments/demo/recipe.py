"""What an experiment of this kind runs: a recipe, and the steps that it stands for."""

from dataclasses import dataclass, field
from pathlib import Path

from data_prep.pipeline import ROOT, Step

LAYER = 2
"""Encoder block whose output is clustered for the second pre-training; AV-HuBERT takes block 9 of 12."""


@dataclass(frozen=True)
class Recipe:
    """An experiment: a corpus, two rounds of pre-training, an audio-visual and an audio-only model, a noise grid."""

    title: str
    corpus: list[str]
    """Arguments of Python that write {run}/corpus/train.jsonl, valid.jsonl and test.jsonl; {data} is the user's."""
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


SPLITS = ("train", "valid", "test")
CONFIGS = ROOT / "configs"


def plan(recipe: Recipe, run: Path, data: Path | None) -> list[Step]:
    """Return the steps of an experiment in order.

    Args:
        recipe: what to do.
        run: folder of everything that is made, absolute.
        data: the user's corpus, for recipes that name one.
    """
    corpus = [part.format(run=run, data=data) for part in recipe.corpus]
    steps = [Step("make the corpus", {"corpus": corpus}, [run / f"corpus/{split}.jsonl" for split in SPLITS])]
    for split in SPLITS:
        rois = ["-m", "data_prep.extract_rois", f"{run}/corpus/{split}.jsonl", f"{run}/roi", *recipe.rois]
        rois.append(f"--out_manifest={run}/{split}.jsonl")
        steps.append(Step(f"cut the lips: {split}", {f"roi_{split}": rois}, [run / f"{split}.jsonl"]))
    tokens = ["-m", "data_prep.train_tokenizer", f"{run}/train.jsonl", f"{run}/tokenizer.json", "--kind=words"]
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
    models = {name: run / f"{name}/model.safetensors" for name in tasks}
    steps.append(Step("train both recognisers", trainings, list(models.values())))
    evaluations = {
        f"evaluate_{name}": [
            *["-m", "avspeech.evaluate", f"--model={model}", f"--manifest={run}/test.jsonl", f"--name={name}"],
            *[f"--conditions={CONFIGS}/evaluate/noise_grid.yaml", f"--out_dir={run}/evaluate_{name}"],
            f"--noise_manifests={{babble: {run}/{recipe.test_voices}}}",
            *(["--modalities=[audio]"] if name == "audio" else []),
        ]
        for name, model in models.items()
    }
    return [*steps, Step("evaluate", evaluations, [run / f"{name}/results.json" for name in evaluations])]


def _pretraining(recipe: Recipe, run: Path, number: int) -> list[Step]:
    """Return the steps of one round: fit units, assign them, pre-train."""
    units, num_units, name = run / f"units{number}", recipe.num_units[number - 1], f"pretrain{number}"
    codebook = units / "codebook.safetensors"
    features, model = ["--features=mfcc"], []
    if number > 1:
        model = [f"--model={run}/pretrain{number - 1}/model.safetensors"]
        features = ["--features=encoder", f"--layer={LAYER}", *model]
    fit = ["-m", "data_prep.fit_units", f"{run}/train.jsonl", str(codebook), f"--num_units={num_units}", *features]
    files = {split: units / f"{split}.km" for split in ("train", "valid")}
    assign = {
        f"units{number}_{split}": [
            "-m",
            "data_prep.assign_units",
            f"{run}/{split}.jsonl",
            str(codebook),
            str(file),
            *model,
        ]
        for split, file in files.items()
    }
    training = [
        *_training(recipe, run, name, "pretrain", recipe.pretrain_steps[number - 1]),
        f"--model.init_args.num_units={num_units}",
        f"--data.init_args.train_units={files['train']}",
        f"--data.init_args.val_units={files['valid']}",
        "--trainer.val_check_interval=50",
    ]
    return [
        Step(f"fit units, round {number}", {f"units{number}": [*fit, f"--seed={recipe.seed}"]}, [codebook]),
        Step(f"assign units, round {number}", assign, list(files.values())),
        Step(f"pre-train, round {number}", {name: training}, [run / name / "model.safetensors"]),
    ]


def _training(recipe: Recipe, run: Path, name: str, task: str, steps: int) -> list[str]:
    """Return the arguments that every training has."""
    return [
        *["-m", "avspeech.train", "fit"],
        *[f"--config={CONFIGS}/{path}.yaml" for path in (f"{task}/small", "trainer/cpu")],
        *[f"--data.init_args.train={run}/train.jsonl", f"--data.init_args.val={run}/valid.jsonl"],
        *["--data.init_args.cache_gb=2", f"--seed_everything={recipe.seed}", f"--trainer.max_steps={steps}"],
        *[f"--model.init_args.seed={recipe.seed}", f"--data.init_args.seed={recipe.seed}"],
        f"--trainer.default_root_dir={run}/{name}",
    ]
