"""Pre-train in iterations: features, k-means, units, training, repeated.

    python data_prep/pretrain_iterations.py configs/iterations/lrs3_base.yaml --run runs/lrs3
    python data_prep/pretrain_iterations.py configs/iterations/toy.yaml --run runs/toy --train a.jsonl --val b.jsonl

Reads   a recipe (``Recipe`` below) and its manifests.
Writes  RUN/iteration1/units/    codebook.safetensors, train.km, val.km and their descriptions;
        RUN/iteration1/training/ model.safetensors, curve.csv, checkpoints; and so on for each iteration;
        RUN/summary.json, RUN/steps.json, RUN/logs.
A restart skips finished steps and resumes training from a checkpoint, bit-exact on a CPU. Changed inputs are refused,
except ``device``, ``max_frames``, ``dump`` and ``checkpoint_every`` (last digits of encoder features may differ).

AV-HuBERT (Shi et al. 2022, arXiv:2201.02184) clusters MFCCs, trains on the units, clusters a layer of that encoder,
and trains a new one. ``configs/iterations/`` has the paper's recipe and a toy.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from jsonargparse import auto_cli

from avspeech.files import file_sha256, write_json
from data_prep.clip_vectors import Kind, Modality
from data_prep.pipeline import RecipeError, Step, StepError, flatten, read_recipe, read_records, run_steps, settings_of
from data_prep.restartable_training import read_curve


@dataclass(frozen=True)
class FeatureConfig:
    """Features to cluster."""

    kind: Kind
    """mfcc, or encoder for a layer of the previous iteration's model (``start`` in the first)."""
    rate: int = 25
    """Vectors per second: 100 or 25 for MFCCs, 25 for an encoder."""
    layer: int | None = None
    """Block whose output is taken, from 1; 0 is the fused input."""
    modality: Modality = "audio+video"
    """Input streams of the encoder."""


OWNED = (
    *(f"data.init_args.{name}" for name in ("train", "val", "train_units", "val_units", "units_rate")),
    *("model.init_args.num_units", "model.init_args.init_from", "ckpt_path", "config", "model_file"),
    *(f"trainer.{name}" for name in ("default_root_dir", "logger", "callbacks", "enable_checkpointing")),
)
"""Keys that this command sets: paths, checkpoints and curves."""


@dataclass(frozen=True)
class TrainingConfig:
    """Arguments of ``python -m avspeech.train fit``."""

    configs: tuple[Path, ...] = ()
    """Configuration files; later ones win."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Values by dotted names, such as ``model.init_args.masking.on``; they win over the files."""

    def __post_init__(self) -> None:
        for key in flatten(self.overrides):
            if any(key == owned or key.startswith(owned + ".") for owned in OWNED):
                raise ValueError(f"overrides.{key} is set by pretrain_iterations.py; leave it out")


SEEDS = ("seed_everything", "model.init_args.seed", "data.init_args.seed")


@dataclass(frozen=True)
class Iteration:
    """One iteration: features, units, training."""

    features: FeatureConfig
    num_units: int
    """K, the number of clusters."""
    percent: float = 1.0
    """Share of the training clips for k-means, above 0 and up to 1."""
    max_vectors: int | None = None
    """Most vectors for k-means, drawn uniformly; null takes all."""
    units_seed: int = 0
    """Seed of sampling and k-means."""
    training_seed: int | None = None
    """Seed of weights, order, masks and dropout; null keeps the configurations' own."""
    init_from: Literal["start", "previous"] | None = None
    """Initial encoder of the training; null is random, as in AV-HuBERT."""
    training: TrainingConfig = TrainingConfig()
    """Wins over the recipe's own ``training``."""

    def __post_init__(self) -> None:
        kind, layer = self.features.kind, self.features.layer
        if self.num_units < 1:
            raise ValueError(f"num_units={self.num_units} must be at least 1")
        if not 0 < self.percent <= 1:
            raise ValueError(f"percent={self.percent} must be a share above 0 and up to 1")
        if (kind == "encoder") != (layer is not None):
            raise ValueError(f"features.layer={layer} with kind {kind}: encoder features need a layer, mfcc have none")
        if self.features.rate not in ((25, 100) if kind == "mfcc" else (25,)):
            raise ValueError(f"features.rate={self.features.rate}: mfcc run at 100 or 25 Hz, encoder features at 25")


@dataclass(frozen=True)
class DumpConfig:
    """Write features to disk before clustering, in parallel; a restart keeps them, and the assigned units end them.

    40 hours of a 768-channel layer take 11 GB.
    """

    shards: int = 1
    """Number of processes and of manifest shards."""
    devices: tuple[str, ...] = ()
    """Device of each shard, in turn; empty takes the recipe's device."""


@dataclass(frozen=True)
class Recipe:
    """A whole pre-training. Paths are relative to the working directory."""

    train: Path
    """Manifest of the training clips."""
    val: Path
    """Manifest of the validation clips."""
    iterations: tuple[Iteration, ...]
    training: TrainingConfig = TrainingConfig()
    """Settings of all iterations."""
    start: Path | None = None
    """Model file or official checkpoint (.pt), the first iteration's "previous model"."""
    device: str = "cpu"
    """torch device of features and k-means; a training has trainer.accelerator."""
    max_frames: int | None = None
    """Frames at 25 Hz of a batch through the encoder, for a GPU; null takes single clips."""
    dump: DumpConfig | None = None
    """Null computes features when needed: once for k-means, again for all units."""
    checkpoint_every: int = 500
    """Updates between checkpoints; a kill loses up to 2 intervals, or 3 with a large trainer.log_every_n_steps."""
    max_failed: float = 0.02
    """Share of clips without features beyond which the run ends."""

    def __post_init__(self) -> None:
        if not self.iterations:
            raise ValueError("iterations is empty; wanted at least one")
        if self.checkpoint_every < 1:
            raise ValueError(f"checkpoint_every={self.checkpoint_every} must be at least 1")
        for number, iteration in enumerate(self.iterations if self.start is None else ()):
            where, no_model = f"iterations[{number}]", "and there is no model yet; give 'start', or"
            if iteration.init_from == "start":
                raise ValueError(f"{where}.init_from is start, and the recipe has no 'start'")
            if number == 0 and iteration.features.kind == "encoder":
                raise ValueError(f"{where}.features.kind is encoder, {no_model} mfcc")
            if number == 0 and iteration.init_from == "previous":
                raise ValueError(f"{where}.init_from is previous, {no_model} null")

    def training_command(self, number: int) -> list[str]:
        """Return the recipe's part of a training command, iteration from 0; later arguments win."""
        iteration = self.iterations[number]
        command = ["-m", "avspeech.train", "fit"]
        for training in (self.training, iteration.training):
            command += [f"--config={path}" for path in training.configs]
            if training is iteration.training and iteration.training_seed is not None:
                command += [f"--{key}={iteration.training_seed}" for key in SEEDS]
            for key, value in flatten(training.overrides).items():
                command.append(f"--{key}={value if isinstance(value, str) else json.dumps(value)}")
        return command


MANNER = ("device", "max_frames", "max_failed", "dump")
"""Options of the unit commands that do not change the result."""


def steps_of(recipe: Recipe, run: Path) -> Iterator[Step]:
    """Yield the steps of all iterations in order."""
    start = model = recipe.start
    if start is not None and start.suffix != ".safetensors":
        start = model = run / "start/model.safetensors"
        command = ["-m", "avspeech.interop", str(recipe.start), str(model)]
        yield Step("import the start", {"import": command}, [model])
    for number in range(len(recipe.iterations)):
        yield from units_steps(recipe, number, model, run)
        training = training_step(recipe, number, {"start": start, "previous": model}, run)
        yield training
        model = training.makes[0]


def units_steps(recipe: Recipe, number: int, model: Path | None, run: Path) -> Iterator[Step]:
    """Yield the steps that fit a codebook and assign both manifests; ``model`` is the previous iteration's."""
    iteration, wanted = recipe.iterations[number], recipe.iterations[number].features
    name, folder = f"iteration{number + 1}", run / f"iteration{number + 1}/units"
    book, dumped = folder / "codebook.safetensors", folder / "features"
    source = options(model=model if wanted.kind == "encoder" else None)
    features = [*options(features=wanted.kind, rate=wanted.rate), *source]
    if wanted.kind == "encoder":
        features += options(layer=wanted.layer, modality=wanted.modality)
    common, device = options(max_failed=recipe.max_failed, max_frames=recipe.max_frames), f"--device={recipe.device}"
    manifests = {"train": recipe.train, "val": recipe.val}
    shards: dict[str, dict[str, list[str]]] = {split: {} for split in manifests}
    dump: dict[str, list[str]] = {split: [] for split in manifests}
    if recipe.dump is not None:
        devices = recipe.dump.devices or (recipe.device,)
        for split, manifest in manifests.items():
            out = dumped / f"{split}_{file_sha256(manifest)[:12]}"  # another manifest may have the same ids
            dump[split] = options(dump=out)
            for shard in range(recipe.dump.shards):
                own = options(shard=f"{shard}/{recipe.dump.shards}", device=devices[shard % len(devices)])
                command = ["-m", "data_prep.dump_features", str(manifest), str(out), *features, *common, *own]
                shards[split][f"{name}_features_{split}_{shard}"] = command
    sample = options(num_units=iteration.num_units, percent=iteration.percent, seed=iteration.units_seed)
    sample += options(max_vectors=iteration.max_vectors)
    fit = ["-m", "data_prep.fit_units", str(recipe.train), str(book), *features, *sample]
    fits = {f"{name}_fit": [*fit, *dump["train"], *common, device]}
    yield Step(f"iteration {number + 1}, fit units", fits, [book], shards["train"], MANNER)
    makes, commands = [], {}
    for split, manifest in manifests.items():
        units = folder / f"{split}.km"
        command = ["-m", "data_prep.assign_units", str(manifest), str(book), str(units), *source, *dump[split]]
        commands[f"{name}_assign_{split}"] = [*command, *common, device]
        makes += [units, units.with_name(units.name + ".json")]
    both = shards["train"] | shards["val"]
    yield Step(f"iteration {number + 1}, assign units", commands, makes, both, MANNER, temporary=dumped)


def options(**values: Any) -> list[str]:
    """Return command-line options, without those that are None."""
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def training_step(recipe: Recipe, number: int, origins: dict[str, Path | None], run: Path) -> Step:
    """Return the step that trains an iteration's model on its units."""
    iteration, folder = recipe.iterations[number], run / f"iteration{number + 1}"
    given: dict[str, Any] = {"model.init_args.num_units": iteration.num_units}
    given |= {"data.init_args.units_rate": iteration.features.rate}
    for split, manifest in (("train", recipe.train), ("val", recipe.val)):
        given |= {f"data.init_args.{split}": manifest, f"data.init_args.{split}_units": folder / f"units/{split}.km"}
    if iteration.init_from is not None:
        given["model.init_args.init_from"] = origins[iteration.init_from]
    given["trainer.default_root_dir"] = folder / "training"
    command = [*recipe.training_command(number), *options(**given)]
    makes = [folder / "training/model.safetensors", folder / "training/curve.csv"]
    return Step(f"iteration {number + 1}, train", {f"iteration{number + 1}_train": command}, makes)


def summary(recipe: Recipe, run: Path) -> dict[str, Any]:
    """Return the figures of every iteration: units, training, time."""
    records, found = read_records(run), []
    kept = ("clips", "frames", "used", "perplexity", "mean_squared_distance", "words")
    steps = {"fit": "fit units", "assign": "assign units", "train": "train"}
    for number in range(1, len(recipe.iterations) + 1):
        folder = run / f"iteration{number}"
        quality = {split: json.loads((folder / f"units/{split}.km.json").read_text()) for split in ("train", "val")}
        last: dict[str, float] = {}
        for values in read_curve(folder / "training").values():
            last |= values
        facts = {"features": quality["train"]["features"], "num_units": quality["train"]["num_units"]}
        facts["units"] = {split: {name: one[name] for name in kept} for split, one in quality.items()}
        facts["training"] = last
        facts["wall_s"] = {key: records[f"iteration {number}, {name}"]["wall_s"] for key, name in steps.items()}
        found.append(facts)
    return {"iterations": found}


def main(recipe: Path, run: Path = Path("runs/iterations"), train: Path | None = None, val: Path | None = None) -> None:
    """Run all iterations.

    Args:
        recipe: YAML, see configs/iterations.
        run: output folder.
        train: manifest of the training clips, instead of the recipe's.
        val: manifest of the validation clips, instead of the recipe's.
    """
    whole, run = read_recipe(Recipe, recipe), run.resolve()
    whole = replace(whole, train=(train or whole.train).resolve(), val=(val or whole.val).resolve())
    for split, manifest in (("train", whole.train), ("val", whole.val)):
        if not manifest.is_file():
            raise RecipeError(f"{split}: the manifest {manifest} does not exist; name another in {recipe} or --{split}")
    for number in range(len(whole.iterations)):
        settings_of(whole.training_command(number))  # a missing configuration is better reported now than in a week
    run_steps(run, steps_of(whole, run), checkpoint_every=whole.checkpoint_every)
    write_json(run / "summary.json", summary(whole, run))
    print(f"{len(whole.iterations)} iterations in {run}; see {run / 'summary.json'}")


if __name__ == "__main__":
    try:
        auto_cli(main)
    except (RecipeError, StepError) as error:  # a user's mistake ends with its message alone
        sys.exit(str(error))
