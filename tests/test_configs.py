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
