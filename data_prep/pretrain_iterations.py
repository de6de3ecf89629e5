"""Pre-train in iterations, from clips to the last model: features, k-means, units, training, and again.

    python data_prep/pretrain_iterations.py configs/iterations/lrs3_base.yaml --run runs/lrs3
    python data_prep/pretrain_iterations.py configs/iterations/toy.yaml --run runs/toy --train a.jsonl --val b.jsonl

Reads   a recipe (data_prep/iterations.py says what it may hold) and the manifests that it names.
Writes  RUN/iteration1/units/    codebook.safetensors, train.km, val.km and what is known about them;
        RUN/iteration1/training/ model.safetensors, curve.csv, checkpoints; and so on for each iteration;
        RUN/summary.json.
Stop it, by kill -9 too, and start it again: finished steps are skipped, a training goes on from a checkpoint, and what
comes out is the same to the bit, on a CPU at least. A step that was made from something else than the recipe and the
files say now is refused. ``device``, ``max_frames``, ``dump`` and ``checkpoint_every`` may change: they change nothing,
or the last digits of an encoder's features.
"""

import contextlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import torch
from jsonargparse import auto_cli

from avspeech.files import file_sha256, write_json
from data_prep import assign_units, fit_units
from data_prep.clip_vectors import describe
from data_prep.iterations import Recipe, RecipeError
from data_prep.restartable_training import on_leash, read_curve, run_training
from data_prep.steps import Step, StepError, claim, run_step


class Run:
    """A recipe in a folder.

    Args:
        recipe: what to do.
        folder: where.
        lock: the folder's, held.
    """

    def __init__(self, recipe: Recipe, folder: Path, lock: TextIO) -> None:
        self.recipe, self.folder, self.lock = recipe, folder, lock
        self.manifests = {"train": recipe.train, "val": recipe.val}
        self.manifest_sums = {split: file_sha256(path) for split, path in self.manifests.items()}

    def units_folder(self, number: int) -> Path:
        """Return where the units of an iteration are, the first being number 0."""
        return self.folder / f"iteration{number + 1}" / "units"

    def training_folder(self, number: int) -> Path:
        """Return where the model of an iteration is."""
        return self.folder / f"iteration{number + 1}" / "training"

    def model(self, number: int) -> Path | None:
        """Return the model that iteration ``number`` left; that of -1 is where the recipe starts from."""
        if number >= 0:
            return self.training_folder(number) / "model.safetensors"
        if self.recipe.start is None or self.recipe.start.suffix == ".safetensors":
            return self.recipe.start
        return self.folder / "start" / "model.safetensors"

    def import_start(self) -> None:
        """Make a model file of an official checkpoint, which training can start from."""
        start, model = self.recipe.start, self.model(-1)
        if start is None or model is None or model == start:
            return

        def act() -> None:
            from avspeech.interop.avhubert import load_official
            from avspeech.models.files import save_model

            save_model(model, load_official(start))
            print(f"from {start.name}")

        made_from = {"checkpoint_sha256": file_sha256(start)}
        run_step(Step("import", model.with_name("import.json"), made_from, (model,), act))

    def make_units(self, number: int) -> None:
        """Fit the codebook of an iteration and assign both manifests."""
        iteration, recipe, folder = self.recipe.iterations[number], self.recipe, self.units_folder(number)
        wanted, name = iteration.features, f"iteration {number + 1}"
        model = self.model(number - 1) if wanted.kind == "encoder" else None
        what = {"rate": wanted.rate, "model": model, "layer": wanted.layer, "modality": wanted.modality}
        features = describe(wanted.kind, **what)
        book, dumped = folder / "codebook.safetensors", folder / "features"
        common = {name: getattr(recipe, name) for name in ("max_frames", "device", "max_failed")}

        def dump(split: str) -> Path | None:
            if recipe.dump is None:
                return None
            out = dumped / f"{split}_{self.manifest_sums[split][:12]}"  # another manifest may have the same ids
            return self.dump(out, split, features, model)

        chosen = {"percent": iteration.percent, "max_vectors": iteration.max_vectors, "seed": iteration.units_seed}

        def fit() -> None:
            made = {"dump": dump("train")} if recipe.dump is not None else {"features": wanted.kind, **what}
            fit_units.main(self.manifests["train"], book, num_units=iteration.num_units, **made, **chosen, **common)

        made_from = {"features": features, "num_units": iteration.num_units, "sample": chosen}
        made_from["train_sha256"] = self.manifest_sums["train"]
        run_step(Step(f"{name}, fit units", folder / "fit.json", made_from, (book,), fit))
        for split, manifest in self.manifests.items():
            out = folder / f"{split}.km"

            def assign(split: str = split, manifest: Path = manifest, out: Path = out) -> None:
                assign_units.main(manifest, book, out, model=model, dump=dump(split), **common)

            made_from = {"codebook_sha256": file_sha256(book), "manifest_sha256": self.manifest_sums[split]}
            made = (out, out.with_name(out.name + ".json"))
            run_step(Step(f"{name}, assign {split}", folder / f"assign_{split}.json", made_from, made, assign))
        if dumped.exists():
            shutil.rmtree(dumped)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # the training is another process

    def dump(self, out: Path, split: str, features: dict[str, Any], model: Path | None) -> Path:
        """Write the features of a split by several processes; what is there already is kept."""
        assert self.recipe.dump is not None
        complete = out / "complete"
        if complete.exists():
            return out
        count, devices = self.recipe.dump.shards, self.recipe.dump.devices or (self.recipe.device,)
        options = [f"--features={features['kind']}", f"--rate={features['rate']}"]
        options.append(f"--max_failed={self.recipe.max_failed}")
        if model is not None:
            options += [f"--model={model}", f"--layer={features['layer']}", f"--modality={features['modality']}"]
        if self.recipe.max_frames is not None:
            options.append(f"--max_frames={self.recipe.max_frames}")
        script = Path(__file__).with_name("dump_features.py")
        command = [sys.executable, str(script), str(self.manifests[split]), str(out), *options]
        out.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            log = stack.enter_context((out.parent / "log.txt").open("a"))
            running = []
            for shard in range(count):
                own = [f"--shard={shard}/{count}", f"--device={devices[shard % len(devices)]}"]
                running.append(stack.enter_context(on_leash([*command, *own], log, self.lock)))
            states = [process.wait() for process in running]
        if any(states):
            sys.exit(f"dumping features of {split} ended with status {states}; see {out.parent / 'log.txt'}")
        complete.touch()
        return out

    def train(self, number: int) -> None:
        """Train the model of an iteration on its units."""
        iteration, recipe = self.recipe.iterations[number], self.recipe
        units, folder, settings = self.units_folder(number), self.training_folder(number), recipe.settings(number)
        files = {f"{split}_units": units / f"{split}.km" for split in self.manifests}
        given: dict[str, Any] = {
            "model.init_args.num_units": iteration.num_units,
            "data.init_args.units_rate": iteration.features.rate,
        }
        origin = {"start": self.model(-1), "previous": self.model(number - 1), None: None}[iteration.init_from]
        paths = {f"data.init_args.{split}": path for split, path in self.manifests.items()}
        paths |= {f"data.init_args.{key}": path for key, path in files.items()}
        if origin is not None:
            paths["model.init_args.init_from"] = origin
        arguments = recipe.training_arguments(number)
        arguments += [f"--{key}={value}" for key, value in (given | paths).items()]

        def act() -> None:
            run_training(folder, arguments, settings, recipe.checkpoint_every, self.lock)

        sums = {key: file_sha256(path) for key, path in files.items()} | self.manifest_sums
        sums |= {} if origin is None else {"init_from": file_sha256(origin)}
        step = Step(
            f"iteration {number + 1}, train",
            folder / "train.json",
            {"settings": settings | given, "sha256": sums},
            (folder / "model.safetensors", folder / "curve.csv"),
            act,
            partial=folder / "checkpoints",
        )
        run_step(step)

    def summary(self) -> dict[str, Any]:
        """Return the figures of every iteration."""
        return {"iterations": [self._summary_of(number) for number in range(len(self.recipe.iterations))]}

    def _summary_of(self, number: int) -> dict[str, Any]:
        folder = self.units_folder(number)
        quality = {split: json.loads((folder / f"{split}.km.json").read_text()) for split in self.manifests}
        kept = ("clips", "frames", "used", "perplexity", "mean_squared_distance", "words")
        last: dict[str, float] = {}
        for values in read_curve(self.training_folder(number)).values():
            last |= values
        marks = [folder / f"{name}.json" for name in ("fit", "assign_train", "assign_val")]
        marks.append(self.training_folder(number) / "train.json")
        return {
            "features": quality["train"]["features"],
            "num_units": quality["train"]["num_units"],
            "units": {split: {name: facts[name] for name in kept} for split, facts in quality.items()},
            "training": last,
            "wall_s": {mark.stem: json.loads(mark.read_text())["wall_s"] for mark in marks},
        }


def main(recipe: Path, run: Path = Path("runs/iterations"), train: Path | None = None, val: Path | None = None) -> None:
    """Run all iterations.

    Args:
        recipe: YAML, see configs/iterations.
        run: folder of everything that is made.
        train: manifest of the training clips, instead of the recipe's.
        val: manifest of the validation clips, instead of the recipe's.
    """
    whole = Recipe.read(recipe)
    whole = replace(whole, train=(train or whole.train).resolve(), val=(val or whole.val).resolve())
    for split in ("train", "val"):
        if not (manifest := getattr(whole, split)).is_file():
            raise RecipeError(f"{split}: the manifest {manifest} does not exist; name another in {recipe} or --{split}")
    count = len(whole.iterations)
    for number in range(count):
        whole.settings(number)  # a configuration that is not there is better missed now than in a week
    with claim(run.resolve()) as lock:
        work = Run(whole, run.resolve(), lock)
        work.import_start()
        for number in range(count):
            work.make_units(number)
            work.train(number)
        write_json(work.folder / "summary.json", work.summary())
    print(f"{count} iterations in {run}; see {run / 'summary.json'}")


if __name__ == "__main__":
    try:
        auto_cli(main)
    except (RecipeError, StepError) as error:  # what a user can get wrong ends with its message alone
        sys.exit(str(error))
