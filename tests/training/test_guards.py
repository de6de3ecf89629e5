"""An update whose gradient is not finite changes nothing; a row of them ends the run; its file stays finite."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from avspeech.models.files import save_model
from avspeech.train import main
from avspeech.training.callbacks import SaveModelFile
from tests.training.spoil import Spoil
from tests.training.test_training import CHECKPOINT, ROOT, pretraining

FLAT = "--model.init_args.schedule.decay=constant"


def spoiled(corpus, folder, steps, first, last, *more, gradient=False):
    callbacks = [f"--trainer.callbacks+={Spoil.__module__}.Spoil", f"--trainer.callbacks.first={first}"]
    callbacks += [f"--trainer.callbacks.last={last}", f"--trainer.callbacks.gradient={str(gradient).lower()}"]
    return pretraining(corpus, folder, steps, "--trainer.limit_val_batches=0", *callbacks, *more)


def changed(before, after):
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


@pytest.mark.parametrize(
    ("gradient", "more"),
    [
        (False, ["--trainer.precision=bf16-mixed"]),
        pytest.param(True, ["--trainer.accumulate_grad_batches=2"], marks=pytest.mark.slow),
        pytest.param(False, ["--trainer.precision=16-mixed"], marks=pytest.mark.slow),
        pytest.param(True, ["--trainer.gradient_clip_val=null"], marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_spoiled_update_changes_neither_weights_nor_moments_nor_statistics(gradient, more, corpus, tmp_path):
    cli = main(spoiled(corpus, tmp_path, 4, 3, 3, *more, gradient=gradient))
    (spoil,) = (one for one in cli.trainer.callbacks if isinstance(one, Spoil))
    per_update = cli.trainer.accumulate_grad_batches
    first, second, third, fourth = spoil.states[per_update - 1 :: per_update]
    assert changed(second, third) == set()
    assert len(changed(first, second)) > len(second) / 2 < len(changed(third, fourth))
    assert cli.trainer.callback_metrics["skipped_updates"] == 1
    assert all(value.isfinite().all() for value in load_file(tmp_path / "model.safetensors").values())


@pytest.mark.slow
def test_ten_spoiled_updates_end_the_command_and_the_model_is_that_of_before(corpus, tmp_path):
    every = "--trainer.callbacks.init_args.every_n_train_steps=2"
    command = [sys.executable, "-m", "avspeech.train", *spoiled(corpus, tmp_path, 20, 3, 20, FLAT, *CHECKPOINT, every)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    reason = done.stderr.strip().splitlines()[-1]
    assert "the loss is nan in a batch of train" in reason and "10 updates in a row were skipped" in reason
    main(pretraining(corpus, tmp_path / "two", 2, FLAT, "--trainer.limit_val_batches=0"))
    for name, weight in load_file(tmp_path / "model.safetensors").items():
        if "num_batches" not in name:
            torch.testing.assert_close(weight, load_file(tmp_path / "two/model.safetensors")[name], rtol=0, atol=0)


@pytest.fixture
def module(corpus, tmp_path):
    return main(pretraining(corpus, tmp_path, 1)[1:], run=False).model


def test_a_model_file_takes_no_weight_that_is_not_finite(module, tmp_path):
    save_model(tmp_path / "model.safetensors", module.model)
    former = (tmp_path / "model.safetensors").read_bytes()
    next(module.model.encoder.parameters()).data[0] = torch.nan
    with pytest.raises(ValueError, match=r"model\.safetensors is not written: 1 of \d+ tensors hold NaN"):
        save_model(tmp_path / "model.safetensors", module.model)
    assert (tmp_path / "model.safetensors").read_bytes() == former


def test_the_best_model_is_kept_beside_the_last(module, tmp_path):
    def validated(saving, loss):
        module.model.unit_head.embedding.data.fill_(loss)
        trainer = SimpleNamespace(sanity_checking=False, is_global_zero=True, default_root_dir=tmp_path)
        trainer.callback_metrics = {"val/loss": torch.tensor(loss), "val/wer": torch.tensor(-loss)}
        saving.on_validation_end(trainer, module)
        saving.on_fit_end(trainer, module)
        names = "model.best.safetensors", "model.safetensors"
        return [float(load_file(tmp_path / name)["unit_head.embedding"].mean()) for name in names]

    saving, resumed = SaveModelFile(), SaveModelFile()
    assert [validated(saving, loss) for loss in (3.0, 1.0, 2.0)] == [[3, 3], [1, 1], [1, 2]]
    resumed.load_state_dict(saving.state_dict())
    assert [validated(resumed, loss) for loss in (1.5, 0.5)] == [[1, 1.5], [0.5, 0.5]]
