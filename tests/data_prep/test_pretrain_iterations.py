"""A recipe of iterations: what it stands for, what it refuses, and that killing it changes nothing."""

import copy
import functools
import itertools
import json
import operator
import random
import subprocess
import sys
import time
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from avspeech.files import file_sha256
from avspeech.manifest import read_manifest, read_units, write_manifest
from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.encoder import EncoderConfig
from avspeech.models.files import save_model
from avspeech.models.frontends import VideoConfig
from avspeech.units.kmeans import Codebook
from data_prep import pretrain_iterations
from data_prep.pipeline import RecipeError, StepError, read_recipe, run_steps, settings_of
from data_prep.pretrain_iterations import Recipe
from data_prep.restartable_training import read_curve
from tests.data_prep.killing import kill, wait_until
from tests.refusals import raises

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "data_prep/pretrain_iterations.py"
RECIPES = ROOT / "configs/iterations"
SIZES = {
    "width": 16,
    **{"depth": 1, "num_heads": 2, "ffn_width": 32, "position_kernel": 7, "position_groups": 4, "layer_drop": 0.2},
    "video": {"shrink": 4, "stem_kernel": 5, "stem_width": 8, "widths": [8, 16], "blocks": [1, 1]},
}
BABBLE = {"babble": {"kind": "babble", "num_voices": [2, 3]}}
NONE_DROPPED = {"p_both": 1.0, "p_audio_only": 0.0, "p_video_only": 0.0}
HIDE_FEATURES = {"model.init_args.masking.on": "features", "model.init_args.modality_dropout": NONE_DROPPED}


def tiny(corpus, layers=(1,), **more):
    """Return a recipe of MFCC units and then one iteration for each layer, which trains in a second each."""
    first = {"features": {"kind": "mfcc", "rate": 100}, "num_units": 6, "training": {"overrides": HIDE_FEATURES}}
    later = [{"features": {"kind": "encoder", "layer": one}, "num_units": 8, "percent": 0.8} for one in layers]
    overrides = {
        "model.init_args.encoder": SIZES,
        "data.init_args.noise": {"probability": 0.5, "snr_db": [0, 10], "noises": BABBLE},
        "trainer": {"max_steps": 18, "val_check_interval": 4, "log_every_n_steps": 3},
    }
    configs = [f"{ROOT}/configs/{name}.yaml" for name in ("pretrain/toy", "data/toy", "trainer/cpu")]
    recipe = {"train": f"{corpus}/train.jsonl", "val": f"{corpus}/val.jsonl", "checkpoint_every": 4}
    recipe |= {"training": {"configs": configs, "overrides": overrides}, "iterations": [first, *later]}
    return recipe | more


def written(tmp_path, recipe):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def read(name, monkeypatch):
    """Return a recipe of the repository, and a function from a setting to its value in each iteration."""
    monkeypatch.chdir(ROOT)
    recipe = read_recipe(Recipe, RECIPES / name)
    settings = [settings_of(recipe.training_command(number)) for number in range(5)]
    return recipe, lambda setting: [one.get(setting) for one in settings]


def test_the_papers_recipe_is_the_papers(monkeypatch):
    recipe, column = read("lrs3_base.yaml", monkeypatch)
    features = [(one.features.kind, one.features.rate, one.features.layer) for one in recipe.iterations]
    assert features == [("mfcc", 100, None), ("encoder", 25, 9), *3 * [("encoder", 25, 12)]]
    assert [one.num_units for one in recipe.iterations] == [100, 100, 500, 1000, 2000]
    model = "model.init_args"
    assert column(f"{model}.masking.on") == 4 * ["features"] + ["input"]
    assert column(f"{model}.masking.audio_fraction") == 5 * [0.8]
    assert column(f"{model}.masking.audio_span") == 5 * [10]
    assert [column(f"{model}.masking.video_{name}")[4] for name in ("fraction", "span")] == [0.3, 5]
    assert column(f"{model}.modality_dropout.p_both") == 4 * [1.0] + [0.5]
    assert column(f"{model}.optimizer.lr") == 5 * [5e-4]
    assert column(f"{model}.schedule.warmup_steps") == 5 * [32_000]
    assert column("trainer.max_steps") == 5 * [400_000]
    assert column("data.init_args.batches.longest") == 5 * [500]
    assert column("seed_everything") == 5 * [1337]
    assert {(one.percent, one.init_from) for one in recipe.iterations} == {(0.1, None)}


def test_the_vox_recipe_drops_streams_from_its_second_iteration_on(monkeypatch):
    _, column = read("vox_base.yaml", monkeypatch)
    assert column("model.init_args.modality_dropout.p_both") == [1.0, 0.5, 0.5, 0.5, 0.5]
    assert column("model.init_args.masking.on") == 4 * ["features"] + ["input"]
    assert column("data.init_args.batches.crop") == 5 * [True]
    assert column("trainer.max_steps") == 5 * [800_000]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_command_line_comes_to_the_same_as_the_settings(path, monkeypatch):
    """What marks record is what jsonargparse makes of files and overrides, in the order that they are given."""
    from avspeech.train import main

    monkeypatch.chdir(ROOT)
    recipe = read_recipe(Recipe, path)
    for number in {0, len(recipe.iterations) - 1}:
        arguments = [*recipe.training_command(number)[3:], f"--model.init_args.num_units={7 + number}"]
        arguments += ["--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.strategy=auto"]
        with torch.device("meta"):
            cli = main([*arguments, "--trainer.precision=null", "--trainer.logger=false"], run=False)
        settings = settings_of(recipe.training_command(number))
        model, config = cli.model, cli.model.model.encoder.config
        assert model.masking.on == settings["model.init_args.masking.on"]
        assert model.modality_dropout.p_both == settings.get("model.init_args.modality_dropout.p_both", 0.5)
        sizes = [settings[f"model.init_args.encoder.{name}"] for name in ("width", "depth")]
        assert sizes == [config.width, config.depth]
        assert model.optimizer_config.lr == settings["model.init_args.optimizer.lr"]
        assert cli.trainer.max_steps == settings["trainer.max_steps"]
        assert cli.datamodule.batches.max_frames == settings["data.init_args.batches.max_frames"]
        assert model.model.num_units == (7 + number,)


def test_later_files_and_overrides_win(tmp_path):
    for name, lr in (("common", 1.0), ("own", 3.0)):
        values = {"model": {"init_args": {"optimizer": {"lr": lr}, name: True}}}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values))
    name = "model.init_args.optimizer.lr"
    common = {"configs": [f"{tmp_path}/common.yaml"], "overrides": {name: 2.0}}
    own = {"configs": [f"{tmp_path}/own.yaml"], "overrides": {"model": {"init_args": {"optimizer": {"lr": "4e-3"}}}}}
    parts = ({}, own, {"configs": own["configs"]})
    iterations = [{"features": {"kind": "mfcc"}, "num_units": 3, "training": part} for part in parts]
    iterations[0]["training_seed"] = 5
    read = read_recipe(Recipe, written(tmp_path, tiny("nowhere", training=common, iterations=iterations)))
    assert [settings_of(read.training_command(number))[name] for number in range(3)] == [2.0, "4e-3", 3.0]
    common, own = (f"--config={tmp_path}/{file}.yaml" for file in ("common", "own"))
    assert read.training_command(1)[3:] == [common, f"--{name}=2.0", own, f"--{name}=4e-3"]
    seeds = ["--seed_everything=5", "--model.init_args.seed=5", "--data.init_args.seed=5"]
    assert read.training_command(0)[3:][-3:] == seeds
    assert settings_of(read.training_command(2))["model.init_args.common"] is True


def changed(recipe, *path, value):
    """Return the recipe with one value set, ``path`` being keys and positions."""
    recipe = copy.deepcopy(recipe)
    functools.reduce(operator.getitem, path[:-1], recipe)[path[-1]] = value
    return recipe


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["iteratoins"], 3, r"recipe\.yaml: Option 'iteratoins' is not accepted"),
        (["iterations", 1, "features", "layr"], 3, r"\"iterations\": .*'features' does not accept option 'layr'"),
        (["iterations", 1, "num_units"], "many", r"\"num_units\": Expected a .*int.* Got value: many"),
        (["iterations", 0, "percent"], True, r"\"percent\": Expected a .*float.* Got value: True"),
        (["iterations", 0, "percent"], 10, r"percent=10\.0 must be a share"),
        (["iterations", 0, "features"], {"kind": "fbank"}, r"\"features\.kind\": Expected .*'mfcc', 'encoder'.* fbank"),
        (["iterations", 0, "features"], {"rate": 25}, r"arguments are required: features\.kind"),
        (["iterations", 0, "features", "rate"], 50, r"features\.rate=50"),
        (["iterations", 1, "features", "layer"], None, r"features\.layer=None with kind encoder"),
        (["iterations", 0, "features"], {"kind": "encoder", "layer": 1}, r"features\.kind is encoder, and there is no"),
        (["iterations", 1, "init_from"], "start", r"iterations\[1\]\.init_from is start, and the recipe has no"),
        (["iterations", 0, "init_from"], "previous", r"iterations\[0\]\.init_from is previous, and there is no model"),
        (["iterations"], [], r"iterations is empty"),
        (["iterations", 0], 5, r"\"iterations\": .* Got value: 5"),
        (["training", "configs"], "a.yaml", r"\"training\.configs\": Expected .*tuple.* Got value: a\.yaml"),
        (["training", "overrides", "data.init_args.train"], "x", r"overrides\.data\.init_args\.train is set"),
        (["training", "overrides", "trainer", "logger"], False, r"overrides\.trainer\.logger is set by"),
        (["checkpoint_every"], 0, r"checkpoint_every=0 must be at least 1"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, path, value, message):
    raises(RecipeError, message, read_recipe, Recipe, written(tmp_path, changed(tiny("nowhere"), *path, value=value)))


@pytest.mark.slow
def test_a_manifest_that_is_not_there_ends_the_command_with_one_line(corpus, tmp_path):
    recipe = written(tmp_path, tiny(corpus))
    command = [sys.executable, SCRIPT, recipe, f"--run={tmp_path}/run", f"--train={tmp_path}/none.jsonl"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "none.jsonl does not exist" in done.stderr
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "list.yaml").write_text("[1, 2]")
    for name, message in (("missing", r"missing\.yaml cannot be read"), ("list", r"list\.yaml holds no mapping")):
        raises(RecipeError, message, read_recipe, Recipe, tmp_path / f"{name}.yaml")
    gone = written(tmp_path, changed(tiny("nowhere"), "training", "configs", 1, value="gone.yaml"))
    raises(RecipeError, r"gone\.yaml cannot be read", settings_of, read_recipe(Recipe, gone).training_command(0))


@pytest.fixture
def untrained(in_process, monkeypatch):
    """Let a training leave a random model; return the arguments that each was given."""
    given = []

    def training(arguments):
        given.append(arguments)
        (place,) = (Path(one.split("=")[1]) for one in arguments if "default_root_dir" in one)
        save(place, crc32(place.parent.name.encode()))

    monkeypatch.setattr("avspeech.train.main", training)
    return given


def save(folder, seed):
    torch.manual_seed(seed)
    sizes = SIZES | {"video": VideoConfig(**SIZES["video"]), "depth": 2}
    save_model(folder / "model.safetensors", ClusterPredictor(EncoderConfig(**sizes), num_units=4))
    return folder / "model.safetensors"


def test_features_come_from_the_previous_model_or_the_start(corpus, tmp_path, untrained):
    origin = save(tmp_path / "start", seed=7)
    recipe = tiny(corpus, layers=(1, 2), start=str(origin))
    recipe["iterations"][0] = {"features": {"kind": "encoder", "layer": 2}, "num_units": 5, "init_from": "start"}
    recipe["iterations"][2]["init_from"] = "previous"
    run = tmp_path / "run"
    pretrain_iterations.main(written(tmp_path, recipe), run)
    models = [origin, *(run / f"iteration{number}/training/model.safetensors" for number in (1, 2, 3))]
    for number, layer in enumerate((2, 1, 2)):
        features = Codebook.load(run / f"iteration{number + 1}/units/codebook.safetensors").features
        assert (features["layer"], features["model_sha256"]) == (layer, file_sha256(models[number]))
    begun = [[one.split("=", 1)[1] for one in given if "init_from" in one] for given in untrained]
    assert begun == [[str(origin)], [], [str(models[2])]]
    units = [[one.rsplit("=", 1)[1] for one in given if "num_units" in one] for given in untrained]
    assert units == [["5"], ["8"], ["8"]]

    def refused(message, recipe, train=None):
        raises(StepError, message, pretrain_iterations.main, written(tmp_path, recipe), run, train)

    again = changed(recipe, "iterations", 2, "num_units", value=9)
    refused(r"'iteration 3, fit units' in .*: num_units was 8, is now 9", again)
    fewer = tmp_path / "fewer.jsonl"
    write_manifest(fewer, read_manifest(corpus / "train.jsonl")[:-1])
    refused(r"'iteration 1, fit units' .* was \"train.jsonl, .* now \"fewer.jsonl", recipe, fewer)
    save(tmp_path / "start", seed=8)
    refused(r"model was \"model.safetensors, SHA-256", recipe)
    assert len(untrained) == 3


def test_units_are_the_same_through_a_dump_in_shards(corpus, tmp_path, untrained, in_process):
    recipe = tiny(corpus, layers=(), start=str(save(tmp_path / "start", seed=7)), max_frames=60)
    recipe["iterations"][0] = {"features": {"kind": "encoder", "layer": 2}, "num_units": 5}
    for name, more in (("spot", {}), ("dumped", {"dump": {"shards": 3, "devices": ["cpu"]}})):
        pretrain_iterations.main(written(tmp_path, recipe | more), tmp_path / name)
    for name in ("train.km", "val.km", "codebook.safetensors"):
        spot, dumped = (tmp_path / run / "iteration1/units" / name for run in ("spot", "dumped"))
        assert spot.read_bytes() == dumped.read_bytes()
    assert not (tmp_path / "dumped/iteration1/units/features").exists()


def test_an_official_checkpoint_is_made_a_model_file_first(corpus, tmp_path, untrained, monkeypatch):
    origin = save(tmp_path / "theirs", seed=7)

    def convert(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True)
        target.write_bytes(origin.read_bytes())

    monkeypatch.setattr("avspeech.interop.__main__.main", convert)
    (tmp_path / "official.pt").write_bytes(b"a checkpoint")
    recipe = tiny(corpus, layers=(), start=f"{tmp_path}/official.pt")
    recipe["iterations"] = [{"features": {"kind": "encoder", "layer": 1}, "num_units": 5, "init_from": "start"}]
    pretrain_iterations.main(written(tmp_path, recipe), tmp_path / "run")
    model = tmp_path / "run/start/model.safetensors"
    assert f"--model.init_args.init_from={model}" in untrained[0]
    features = Codebook.load(tmp_path / "run/iteration1/units/codebook.safetensors").features
    assert features["model_sha256"] == file_sha256(model)


def start(recipe, run):
    log = (run.parent / f"{run.name}.log").open("a")
    return subprocess.Popen([sys.executable, SCRIPT, recipe, f"--run={run}"], cwd=ROOT, stdout=log, stderr=log)


SPEEDS = {"frames_per_s", "data_wait"}  # of the machine, not of the training


def assert_same(killed, whole, count):
    for number in range(1, count + 1):
        one, other = killed / f"iteration{number}", whole / f"iteration{number}"
        for name in ("units/train.km", "units/val.km"):
            assert (one / name).read_bytes() == (other / name).read_bytes(), f"{name} of iteration {number}"
        curves = [read_curve(folder / "training") for folder in (one, other)]
        for row in (row for curve in curves for row in curve.values()):
            for name in SPEEDS & row.keys():
                del row[name]
        assert curves[0] == curves[1]
        books = [Codebook.load(folder / "units/codebook.safetensors") for folder in (one, other)]
        assert torch.equal(books[0].centroids_KF, books[1].centroids_KF)
        assert books[0].fitting == books[1].fitting
        weights = [load_file(folder / "training/model.safetensors") for folder in (one, other)]
        assert weights[0].keys() == weights[1].keys()
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_a_run_that_was_killed_ends_as_if_it_had_not(corpus, tmp_path, in_process):
    recipe = written(tmp_path, tiny(corpus))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    units = itertools.islice(pretrain_iterations.steps_of(read_recipe(Recipe, recipe), killed), 2)
    run_steps(killed, units)  # here, so that no process has to import everything for it
    process, training = start(recipe, killed), killed / "iteration1/training"
    wait_until(lambda: max(read_curve(training), default=0) >= 9, process)
    assert len(kill(process)) >= 2
    assert max(read_curve(training)) < 18
    in_process.clear()
    pretrain_iterations.main(recipe, killed)
    assert any("step=" in argument for argument in in_process[0] if "--ckpt_path=" in argument)  # it did not start over
    pretrain_iterations.main(recipe, whole)
    assert_same(killed, whole, 2)

    rows = read_curve(whole / "iteration2/training")
    assert [update for update in rows if "val/loss" in rows[update]] == [4, 8, 12, 16]
    assert [update for update in rows if "train/loss" in rows[update]] == [3, 6, 9, 12, 15, 18]
    configs = [yaml.safe_load((whole / f"iteration{number}/training/config.yaml").read_text()) for number in (1, 2)]
    assert [one["data"]["init_args"]["units_rate"] for one in configs] == [100, 25]
    assert [one["model"]["init_args"]["masking"]["on"] for one in configs] == ["features", "input"]
    units = list(read_units(whole / "iteration1/units/train.km"))
    frames = [utterance.num_frames for utterance in read_manifest(corpus / "train.jsonl")]
    assert np.abs(np.array([len(row) / 4 for row in units]) - frames).max() < 1
    summary = json.loads((whole / "summary.json").read_text())["iterations"]
    assert [one["num_units"] for one in summary] == [6, 8]
    for one in summary:
        assert one["units"]["val"]["words"]["pnmi"] > 0
        assert {"val/masked_accuracy", "val/majority_share", "val/loss", "train/loss"} <= set(one["training"])
        assert one["wall_s"].keys() == {"fit", "assign", "train"}
    again = changed(tiny(corpus), "training", "overrides", "model.init_args.optimizer.lr", value=0.002)
    with pytest.raises(StepError, match=r"'iteration 1, train' in .*lr was 0\.001, is now 0\.002"):
        pretrain_iterations.main(written(tmp_path, again), whole)


@pytest.mark.slow
def test_five_iterations_killed_three_times_end_as_if_they_had_not_been(corpus, tmp_path):
    recipe = written(tmp_path, tiny(corpus, layers=(1, 1, 1, 1)))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    begin = time.monotonic()
    pretrain_iterations.main(recipe, whole)
    lasted_s = time.monotonic() - begin
    moments = random.Random(0)
    for _ in range(3):
        process = start(recipe, killed)
        time.sleep(moments.uniform(0.1, 0.4) * lasted_s)
        if process.poll() is None:
            kill(process)
    assert start(recipe, killed).wait() == 0
    assert_same(killed, whole, 5)
