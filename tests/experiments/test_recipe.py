"""The experiments are fair: both recognisers get the same, and test noise is not training noise where it can differ."""

from pathlib import Path

import pytest

from data_prep.pipeline import ROOT, read_recipe
from experiments.demo.recipe import Recipe, plan

EACH = pytest.mark.parametrize(
    "path", sorted(ROOT.glob("experiments/*/recipe.yaml")), ids=lambda path: path.parent.name
)
assert (ROOT / "experiments/demo/recipe.yaml").exists()
MODALITY = {"--model.init_args.modality=audio", "--data.init_args.modality=audio"}


def steps(path):
    return {step.name: step for step in plan(read_recipe(Recipe, path), Path("run"), Path("data"))}


@EACH
def test_both_recognisers_differ_in_modality_alone(path):
    trainings = steps(path)["train both recognisers"].commands
    av, audio = (
        {part.replace(f"run/{name}", "run/MODEL") for part in trainings[name] if not part.startswith("--config")}
        for name in ("av", "audio")
    )
    assert audio - av == MODALITY
    assert not av - audio


@EACH
def test_only_training_clips_reach_training(path):
    for name, step in steps(path).items():
        if "train" in name or "units" in name or "tokenizer" in name:
            assert not [part for command in step.commands.values() for part in command if "test" in Path(part).name]


def test_the_demos_test_voices_are_not_its_training_voices():
    recipe = read_recipe(Recipe, ROOT / "experiments/demo/recipe.yaml")
    assert recipe.test_voices != recipe.train_voices
    assert "babble_test" in recipe.test_voices
