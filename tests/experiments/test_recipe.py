"""The experiments are fair: both recognisers get the same, and test noise is not training noise where it can differ."""

from pathlib import Path

import pytest

from experiments.demo.recipe import ROOT, Recipe, plan
from experiments.demo.report import curve
from experiments.demo.run import keep_curve, last_step

RECIPES = [ROOT / "experiments/demo/recipe.yaml", *sorted(ROOT.glob("experiments/*/recipe.yaml"))]
MODALITY = {"--model.init_args.modality=audio", "--data.init_args.modality=audio"}


def steps(path):
    return {step.name: step for step in plan(Recipe.read(path), Path("run"), Path("data"))}


@pytest.mark.parametrize("path", sorted(set(RECIPES)), ids=lambda path: path.parent.name)
def test_both_recognisers_differ_in_modality_alone(path):
    trainings = steps(path)["train both recognisers"].commands
    av, audio = (
        {part.replace(f"run/{name}", "run/MODEL") for part in trainings[name] if not part.startswith("--config")}
        for name in ("av", "audio")
    )
    assert audio - av == MODALITY
    assert not av - audio


@pytest.mark.parametrize("path", sorted(set(RECIPES)), ids=lambda path: path.parent.name)
def test_only_training_clips_reach_training(path):
    for name, step in steps(path).items():
        if "train" in name or "units" in name or "tokenizer" in name:
            assert not [part for command in step.commands.values() for part in command if "test" in Path(part).name]


def test_the_demos_test_voices_are_not_its_training_voices():
    recipe = Recipe.read(ROOT / "experiments/demo/recipe.yaml")
    assert recipe.test_voices != recipe.train_voices
    assert "babble_test" in recipe.test_voices


def test_a_curve_goes_on_where_a_training_was_stopped(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,train/loss,val/wer\n499,,0.9\n999,,0.5\n")
    keep_curve(tmp_path)
    (tmp_path / "metrics.csv").write_text("step,train/loss,val/wer\n999,,0.4\n1499,,0.3\n1519,0.1,\n15")
    assert curve(tmp_path, "val/wer") == [(500, 0.9), (1000, 0.4), (1500, 0.3)]
    assert last_step(tmp_path) == 1520
