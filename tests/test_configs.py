"""Every configuration is parsed and instantiated, large ones without memory; each trains one step at small sizes."""

from pathlib import Path

import pytest
import torch
import yaml

from avspeech.evaluation.conditions import read_conditions
from avspeech.text.tokenizer import Tokenizer
from avspeech.train import main
from avspeech.training.data import AVDataModule

CONFIGS = Path(__file__).parents[1] / "configs"
TASKS = sorted(CONFIGS.glob("pretrain/*.yaml")) + sorted(CONFIGS.glob("finetune/*.yaml"))
PAPER = [path for path in TASKS if path.stem not in ("toy", "small")]


def name(path):
    return f"{path.parent.name}/{path.stem}"


@pytest.fixture(scope="session")
def big_tokenizer(tmp_path_factory):
    """Return a tokenizer with as many numbers as the paper's."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    Tokenizer.fit([f"w{i}" for i in range(996)], "words").save(path)
    return path


def needed(path, tokenizer):
    """Return the arguments that name files of a user's own."""
    if path.parent.name == "pretrain":
        return []
    return [f"--model.init_args.tokenizer={tokenizer}", "--model.init_args.pretrained=null"]


@pytest.mark.parametrize("path", TASKS, ids=name)
def test_a_task_is_instantiated(path, big_tokenizer):
    arguments = [f"--config={path}", f"--config={CONFIGS}/data/lrs3.yaml", "--trainer.accelerator=cpu"]
    arguments += ["--trainer.precision=null", *needed(path, big_tokenizer)]
    with torch.device("meta"):
        cli = main(arguments, run=False)
    assert isinstance(cli.datamodule, AVDataModule)
    assert cli.trainer.max_steps == yaml.safe_load(path.read_text())["trainer"]["max_steps"]
    total = sum(parameter.numel() for parameter in cli.model.parameters())
    millions = {"base": (100, 170), "large": (320, 490)}.get(path.stem.split("_")[0], (0.05, 1.5))
    assert millions[0] < total / 1e6 < millions[1]


# Shi et al. 2022's own configurations: files, lr, warm-up, updates, units/s, masking, modality dropout, longest clip,
# cut to, cropped batches, weight of seen frames, noise
OFFICIAL = {
    "base_lrs3_iter1": ("base hide_features mfcc_units", 5e-4, 32, 400, 100, "features", 0, 500, None, False, 0, 0),
    "base_lrs3_iter2": ("base hide_features", 5e-4, 32, 400, 25, "features", 0, 500, None, False, 0, 0),
    "base_lrs3_iter5": ("base", 5e-4, 32, 400, 25, "input", 0.5, 500, None, False, 0, 0),
    "base_vox_iter1": ("base hide_features vox mfcc_units", 2e-3, 64, 800, 100, "features", 0, 2000, 400, True, 0, 0),
    "base_vox_iter2": (
        "base hide_features drop_streams vox",
        2e-3,
        64,
        800,
        25,
        "features",
        0.5,
        2000,
        400,
        True,
        0,
        0,
    ),
    "base_vox_iter5": ("base vox", 2e-3, 64, 800, 25, "input", 0.5, 2000, 400, True, 0, 0),
    "noise_base_vox_iter5": ("base vox noise", 2e-3, 64, 800, 25, "input", 0.5, 2000, 400, True, 0, 0.25),
    "large_lrs3_iter5": ("large", 2e-3, 32, 400, 25, "input", 0.5, 2000, 400, True, 1, 0),
    "large_vox_iter5": ("large vox_large", 2e-3, 48, 600, 25, "input", 0.5, 2000, 400, True, 1, 0),
    "noise_large_vox_iter5": ("large vox_large noise", 2e-3, 48, 600, 25, "input", 0.5, 2000, 400, True, 1, 0.25),
}
LISTED = (CONFIGS / "pretrain/variants/README.md").read_text()


def compose(files, *more):
    """Return trainer, model and data of a task and files of variants/ behind it; large ones without memory."""
    task, *variants = files.split()
    paths = [CONFIGS / f"pretrain/{task}.yaml", *(CONFIGS / f"pretrain/variants/{part}.yaml" for part in variants)]
    arguments = [f"--config={path}" for path in [*paths, CONFIGS / "data/lrs3.yaml"]]
    with torch.device("meta"):
        return main([*arguments, "--trainer.accelerator=cpu", "--trainer.precision=null", *more], run=False)


@pytest.mark.parametrize("official", OFFICIAL)
def test_official_pretraining_configurations_are_composed(official):
    files, lr, warmup, updates, rate, masks, drop, longest, cut, crop, seen, noise = OFFICIAL[official]
    cli = compose(files)
    model, data = cli.model, cli.datamodule
    assert (model.optimizer_config.lr, model.schedule.warmup_steps) == (lr, warmup * 1000)
    assert cli.trainer.max_steps == updates * 1000
    assert (data.units_rate, model.masking.on, model.p_drop, model.p_audio) == (rate, masks, drop, 0.5)
    assert (data.batches.longest, data.augment.max_frames, data.batches.crop) == (longest, cut, crop)
    assert (model.unmasked_weight, data.noise.probability) == (seen, noise)
    assert (model.optimizer_config.betas, model.optimizer_config.eps) == ((0.9, 0.98), 1e-6)
    assert (model.schedule.decay, cli.trainer.gradient_clip_val, data.batches.max_frames) == ("linear", 10.0, 1000)
    assert model.masking.audio_fraction == 0.8
    encoder = model.model.encoder.config
    rates = (encoder.dropout, encoder.attention_dropout, encoder.activation_dropout, encoder.input_dropout)
    assert rates == (0.1, 0.1, 0.0, 0.1)
    assert (encoder.layer_drop, encoder.frontend_grad_scale, encoder.pre_norm) == (0.05, 0.1, True)
    assert model.model.mask_embedding.shape == ((encoder.width if masks == "features" else 104),)
    task, *variants = files.split()
    assert official in LISTED.replace("iter2, 3, 4", "iter2")
    assert ", ".join([task, *(f"variants/{part}" for part in variants)]) in LISTED


@pytest.mark.parametrize(("task", "parameters"), [("base", 103_330_280), ("large", 325_398_504)])
def test_official_sizes_with_2000_units(task, parameters):
    assert sum(parameter.numel() for parameter in compose(task).model.parameters()) == parameters


def test_official_rules_and_shortcuts_go_behind_any_task():
    model = compose("base vox official_rules").model
    assert (model.masking.sampler, model.masking.audio_fraction, model.drop_per_batch) == ("official", 0.8, True)
    assert (model.model.encoder.config.official_padding, model.trim_to_units) == (True, True)
    assert compose("base faster").model.shortcuts.score_hidden_only


def test_every_variant_is_in_the_list():
    assert not [path.stem for path in CONFIGS.glob("pretrain/variants/*.yaml") if f"variants/{path.stem}" not in LISTED]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("data/*.yaml")) + sorted(CONFIGS.glob("trainer/*.yaml")), ids=name)
def test_data_and_trainer_compose_with_a_task(path, tmp_path):
    settings = yaml.safe_load(path.read_text())
    arguments = [f"--config={CONFIGS}/pretrain/toy.yaml"]
    arguments += [] if "data" in settings else [f"--config={CONFIGS}/data/toy.yaml"]
    arguments += [f"--config={path}", "--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.strategy=auto"]
    arguments += [f"--trainer.default_root_dir={tmp_path}"]
    cli = main(arguments, run=False)
    for key, value in settings.get("data", {}).get("init_args", {}).items():
        if key in ("train", "val"):
            assert getattr(cli.datamodule, f"{key}_path") == value
    if (interval := settings.get("trainer", {}).get("val_check_interval")) is not None:
        assert cli.trainer.val_check_interval == interval


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("evaluate/*.yaml")), ids=name)
def test_conditions_are_read(path):
    assert read_conditions(path).grid()


def test_a_wrong_key_or_value_is_refused_by_name(capsys):
    toy = [f"--config={CONFIGS}/pretrain/toy.yaml", f"--config={CONFIGS}/data/toy.yaml"]
    with pytest.raises(SystemExit):
        main([*toy, "--model.init_args.encoder.widht=3"], run=False)
    assert "widht" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"encoder\.width=30 is not a multiple of encoder\.num_heads=4"):
        main([*toy, "--model.init_args.encoder.width=30"], run=False)


@pytest.mark.slow
@pytest.mark.parametrize("path", PAPER, ids=name)
def test_a_paper_configuration_takes_a_training_step_with_only_sizes_overridden(path, corpus, tokenizer_file, tmp_path):
    prefix = "encoder" if path.parent.name == "pretrain" else "recognizer.encoder"
    sizes = {"width": 32, "depth": 1, "num_heads": 2, "ffn_width": 64}
    arguments = ["fit", f"--config={path}", *needed(path, tokenizer_file)]
    arguments += [f"--model.init_args.{prefix}.{key}={value}" for key, value in sizes.items()]
    if path.parent.name == "finetune":
        arguments += [f"--model.init_args.recognizer.decoder.{key}={value}" for key, value in sizes.items()]
    else:
        arguments += [f"--data.init_args.train_units={corpus}/train.km", "--trainer.limit_val_batches=0"]
    arguments += [f"--data.init_args.train={corpus}/train.jsonl", f"--data.init_args.val={corpus}/val.jsonl"]
    arguments += ["--trainer.max_steps=1", "--trainer.accelerator=cpu", "--trainer.precision=32-true"]
    arguments += ["--trainer.logger=false", f"--trainer.default_root_dir={tmp_path}", "--trainer.devices=1"]
    cli = main(arguments)
    assert cli.trainer.global_step == 1
    assert (tmp_path / "model.safetensors").exists()
