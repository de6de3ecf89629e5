"""Speed, learning rate and gradient norm reach every logger; averages of weights become model files."""

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import loggers
from safetensors.torch import load_file

from avspeech.average import main as average
from avspeech.average import mean_weights
from avspeech.data.batching import BatchConfig
from avspeech.train import main
from avspeech.training.data import AVDataModule
from avspeech.training.dials import COUNTED, Dials, make_loggers
from tests.training.test_training import CHECKPOINT, ROOT, pretraining


class Recorder(loggers.CSVLogger):
    def log_metrics(self, metrics, step=None):
        self.seen = getattr(self, "seen", {}) | metrics


@pytest.fixture
def stand_ins(monkeypatch, tmp_path):
    """Loggers of packages that need not be installed."""
    for name in ("TensorBoardLogger", "WandbLogger", "MLFlowLogger"):
        monkeypatch.setattr(loggers, name, lambda *_, **settings: Recorder(tmp_path / "logs"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_every_logger_gets_the_dials(stand_ins, corpus, tmp_path):
    more = ["--log_to=[wandb, mlflow, tensorboard]", "--dials.peak_tflops=0.1", "--trainer.log_every_n_steps=4"]
    cli = main(
        pretraining(corpus, tmp_path, 4, "--trainer.limit_val_batches=1", "--trainer.val_check_interval=2", *more)
    )
    assert len(cli.trainer.loggers) == 3
    for logger in cli.trainer.loggers:
        values = {name: float(logger.seen[name]) for name in ("grad_norm", "frames_per_s", "data_wait", "mfu")}
        assert min(values.values()) > 0 and values["data_wait"] < 1 and values["mfu"] < 1
        assert logger.seen["skipped_updates"] == 0 and "lr-AdamW" in logger.seen and "val/loss" in logger.seen
    dials = next(one for one in cli.trainer.callbacks if isinstance(one, Dials))
    assert len(dials._counts) == COUNTED and len(torch.utils._python_dispatch._get_current_dispatch_mode_stack()) == 0


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_logger_that_is_not_installed_is_one_line(name, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=rf"^--log_to={name} needs.* pip install 'avspeech\[{name}\]'$"):
        make_loggers(name, tmp_path)
    assert len(make_loggers(["csv"], tmp_path)) == 1


def test_a_validation_that_would_take_long_is_thinned_evenly(corpus, monkeypatch, caplog):
    monkeypatch.setattr("avspeech.training.data.FEWEST", 1)

    def clips(share, **trainer):
        batches = BatchConfig(max_frames=40, max_clips=1)  # trains 18 frames a batch; validation has 12, 18, 24 and 12
        data = AVDataModule(f"{corpus}/train.jsonl", f"{corpus}/val.jsonl", batches=batches, val_share=share)
        data.setup("validate")
        cost = SimpleNamespace(val_cost=2.0)
        data.trainer = SimpleNamespace(world_size=1, global_rank=0, lightning_module=cost, **trainer)
        return [data._val.clips.utterance(one.index).id for (one,) in data.val_dataloader().batch_sampler]

    assert len(clips(0.05, val_check_interval=1.0)) == len(clips(0.05, val_check_interval=200)) == 4 and not caplog.text
    # 66 frames at twice the cost are 132 of training, where half of the time leaves 4 batches' 80 or so
    assert clips(0.5, val_check_interval=4) == ["val2", "val0"] and "every 2. batch" in caplog.text
    assert len(clips(1.0, val_check_interval=1)) == 4


def test_a_mean_of_weights_is_that_of_each_number():
    states = [{"a": torch.tensor([one]), "n": torch.tensor(int(one))} for one in (1.0, 2.0, 6.0)]
    assert {name: value.item() for name, value in mean_weights(states).items()} == {"a": 3.0, "n": 6}


@pytest.mark.slow
def test_the_last_checkpoints_become_one_model(corpus, tmp_path):
    every = ["--trainer.callbacks.init_args.every_n_train_steps=1", "--trainer.callbacks.init_args.save_last=true"]
    main(pretraining(corpus, tmp_path, 3, *CHECKPOINT, *every, "--trainer.limit_val_batches=0"))
    folder = next(tmp_path.rglob("last.ckpt")).parent
    average(tmp_path / "model.safetensors", folder, tmp_path / "mean.safetensors", last=2)
    states = [torch.load(path, weights_only=True) for path in folder.glob("*.ckpt")]
    weights = {one["global_step"]: one["state_dict"]["model.unit_head.embedding"] for one in states}
    got = load_file(tmp_path / "mean.safetensors")["unit_head.embedding"]
    torch.testing.assert_close(got, (weights[2] + weights[3]) / 2)
    command = [
        sys.executable,
        "-m",
        "avspeech.average",
        tmp_path / "model.safetensors",
        folder,
        tmp_path / "none",
        "--best=2",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "has no score; set monitor" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_model_files_hold_the_moving_average_of_the_weights(corpus, tmp_path):
    schedule = "--model.init_args.schedule.decay=constant"
    still = ["--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay=1.0"]  # for ever the first update's
    moving = ["--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay=0.5"]
    often = "--trainer.val_check_interval=3"
    for name, steps, more in (("one", 1, []), ("still", 3, still), ("moving", 3, moving), ("plain", 3, [])):
        main(pretraining(corpus, tmp_path / name, steps, schedule, often, *more))
    files = {name: load_file(tmp_path / name / "model.safetensors") for name in ("one", "still", "moving", "plain")}
    files["best"] = load_file(tmp_path / "still/model.best.safetensors")
    weight = {name: file["unit_head.embedding"] for name, file in files.items()}
    torch.testing.assert_close(weight["still"], weight["one"])
    torch.testing.assert_close(weight["best"], weight["one"])
    assert not torch.allclose(weight["moving"], weight["plain"]) and not torch.allclose(weight["moving"], weight["one"])
