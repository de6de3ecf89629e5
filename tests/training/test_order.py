"""A run that resumes, in the middle of what it may be, trains on the batches and with the draws of an unbroken one."""

from types import SimpleNamespace

import pytest
import torch
from lightning import Callback, Trainer
from torch import nn
from torch.utils.data import Dataset

from avspeech.data.balance import BalanceConfig
from avspeech.data.batching import BatchConfig
from avspeech.inputs import Sample
from avspeech.manifest import ManifestError
from avspeech.training.data import AVDataModule
from avspeech.training.modules import TrainingModule
from avspeech.training.progress import share_update
from avspeech.training.schedules import OptimizerConfig, ScheduleConfig


class Small(TrainingModule):
    """One layer with dropout and a target that is drawn; notes each batch's clips and draws."""

    def __init__(self):
        super().__init__(OptimizerConfig(lr=0.01), ScheduleConfig(), seed=5)
        torch.manual_seed(1)
        self.layer, self.seen = nn.Linear(6, 4), []

    def training_step(self, batch, batch_idx):
        generator = self.batch_generator(batch_idx)
        target_4 = torch.rand(4, generator=generator)
        self.seen.append((batch.ids, target_4.tolist()))
        return (nn.functional.dropout(self.layer(batch.audio_BTF)).mean((0, 1)) - target_4).square().sum()

    def on_train_start(self):
        """Set no guard, which wants a whole model."""

    def on_train_end(self):
        pass

    def configure_gradient_clipping(self, *_, **__):
        pass

    def configure_optimizers(self):
        return torch.optim.AdamW(self.layer.parameters(), 0.01)


class Drawn(Dataset):
    """Features drawn for each key, which is the id."""

    def __getitem__(self, key):
        generator = torch.Generator().manual_seed(key.index)
        return Sample(str(key), 9, torch.randn(9, 6, generator=generator))


class SaveAt(Callback):
    """Save a checkpoint after so many batches of this process."""

    def __init__(self, batches, path):
        self.batches, self.path = batches, path

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if len(module.seen) == self.batches:
            trainer.save_checkpoint(self.path)


QUIET = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")


def trainer_of(steps, accumulate=1, callbacks=(), **options):
    options |= dict.fromkeys(QUIET, False)
    return Trainer("cpu", max_epochs=-1, max_steps=steps, accumulate_grad_batches=accumulate,
                   callbacks=list(callbacks), use_distributed_sampler=False, **options)  # fmt: skip


def data_of(corpus, per_update=None, num_workers=0):
    batches = BatchConfig(max_frames=60, max_clips=3, per_update=per_update)
    data = AVDataModule(f"{corpus}/train.jsonl", modality="audio", batches=batches, num_workers=num_workers, seed=2)
    data._loader = lambda _, batches: AVDataModule._loader(data, Drawn(), batches)  # decodes nothing
    return data


def fit(corpus, steps, accumulate=1, callbacks=(), per_update=None, num_workers=0, ckpt_path=None, **options):
    module, trainer = Small(), trainer_of(steps, accumulate, callbacks, **options)
    trainer.fit(module, datamodule=data_of(corpus, per_update, num_workers), ckpt_path=ckpt_path)
    return module, trainer


@pytest.fixture(scope="module")
def whole(corpus):
    """Return the module of an unbroken run of 6 updates of 4 batches: more than an epoch."""
    return fit(corpus, 6, per_update=4)[0]


def same_end(module, whole, batches):
    """Assert that the module saw the batches of ``whole`` after the first ones, and came to its weights."""
    assert module.seen == whole.seen[batches:]
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), whole.parameters(), strict=True))


@pytest.mark.parametrize(("saved", "learnt", "num_workers"), [(8, 8, 0), (10, 8, 0), (11, 8, 1), (2, 0, 0)])
def test_a_resume_goes_on_after_the_last_update(corpus, whole, tmp_path, saved, learnt, num_workers):
    """Also in the middle of an accumulation, and though a loader process is ahead."""
    path = tmp_path / "one.ckpt"
    fit(corpus, 3, per_update=4, callbacks=[SaveAt(saved, path)], num_workers=num_workers)
    place = torch.load(path, weights_only=True)["AVDataModule"]
    assert (place["batch"], place["per_update"], place["ranks"]) == (learnt, 4, 1)
    module, trainer = fit(corpus, 6, ckpt_path=path)
    assert (trainer.global_step, trainer.accumulate_grad_batches) == (6, 4)  # which the checkpoint alone says
    assert trainer.fit_loop.epoch_loop._batches_that_stepped == 6  # the step of every logger
    same_end(module, whole, learnt)


class KeepSeen(Callback):
    """Write what a process saw, since its module ends with it."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_end(self, trainer, module):
        torch.save(module.seen, self.folder / f"{trainer.global_rank}.pt")


@pytest.mark.slow  # two processes
@pytest.mark.parametrize("first", [2, 1])
@pytest.mark.parametrize("saved", [8, 12])
def test_a_run_goes_on_with_another_number_of_processes(corpus, whole, tmp_path, first, saved):
    """Begun by two processes of gloo and continued by one, or the other way round: an update has four batches."""
    path = tmp_path / "one.ckpt"
    strategy = {2: {"strategy": "ddp_fork", "devices": 2}, 1: {"devices": 1}}
    seen = []
    for processes, ckpt_path in ((first, None), (3 - first, path)):
        steps, callbacks = (6, []) if ckpt_path else (saved // 4, [SaveAt(saved // processes, path)])
        callbacks.append(KeepSeen(tmp_path))
        per_update = None if ckpt_path else 4
        options = {"callbacks": callbacks, "per_update": per_update, "ckpt_path": ckpt_path, **strategy[processes]}
        module, trainer = fit(corpus, steps, **options)
        assert processes == 2 or trainer.global_step == steps  # forks keep their counts to themselves
        parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(processes)]
        seen += [batch for turn in zip(*parts, strict=True) for batch in turn]
    assert seen == whole.seen
    for one, other in zip(module.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pending", [0, 1])
def test_a_checkpoint_of_two_processes_resumes_on_one(corpus, whole, tmp_path, pending):
    path = tmp_path / "one.ckpt"
    fit(corpus, 3, per_update=4, callbacks=[SaveAt(8, path)])
    saved = torch.load(path, weights_only=True)
    saved["AVDataModule"]["ranks"] = 2  # each of which trained 2 batches an update
    for counts in ("total", "current"):
        values = saved["loops"]["fit_loop"]["epoch_loop.batch_progress"][counts]
        values.update({name: value - 4 + pending for name, value in values.items()})
    torch.save(saved, path)
    same_end(fit(corpus, 6, ckpt_path=path)[0], whole, 8)


def test_a_checkpoint_of_an_older_version_resumes(corpus, whole, tmp_path):
    path = tmp_path / "one.ckpt"
    fit(corpus, 3, accumulate=4, callbacks=[SaveAt(12, path)])
    saved = torch.load(path, weights_only=True)
    saved["AVDataModule"] = {"batches_done": 12}
    torch.save(saved, path)
    same_end(fit(corpus, 6, accumulate=4, ckpt_path=path)[0], whole, 12)


def test_the_order_goes_on_over_epochs_of_lightning_and_a_second_fit(corpus, whole):
    module, trainer = fit(corpus, 4, accumulate=2, limit_train_batches=5)  # 3 updates of 2, 2 and 1 batches
    assert module.seen == whole.seen[:7]
    trainer.fit_loop.max_epochs, trainer.fit_loop.epoch_loop.max_steps = -1, 6
    trainer.fit(module, datamodule=trainer.datamodule)
    assert module.seen == whole.seen[: len(module.seen)] and len(module.seen) > 7


def test_a_second_trainer_starts_anew(corpus, whole):
    data = data_of(corpus, per_update=4)
    for _ in range(2):
        module = Small()
        trainer_of(2).fit(module, datamodule=data)
        assert module.seen == whole.seen[:8]


def test_a_checkpoint_of_a_last_batch_of_an_epoch_has_all_of_its_batches(corpus, whole, tmp_path):
    path = tmp_path / "one.ckpt"
    fit(corpus, 4, accumulate=2, limit_train_batches=5, callbacks=[SaveAt(5, path)])
    assert torch.load(path, weights_only=True)["AVDataModule"]["batch"] == 5
    module, _ = fit(corpus, 4, accumulate=2, limit_train_batches=5, ckpt_path=path)
    assert module.seen == whole.seen[5:7]


@pytest.mark.parametrize(
    ("ranks", "given", "wanted", "kept", "hint"),
    [
        (4, 1, 6, None, "take 1, 2, 3, 6 processes, or set .*per_update to another multiple of 4"),
        (6, 1, None, 8, "an update of 8 batches, by the checkpoint.*take 1, 2, 4, 8 processes"),
        (2, 4, 4, None, "makes 8 batches an update, and data.init_args.batches.per_update says 4; leave"),
        (2, 2, None, 2, "the checkpoint says 2; leave accumulate_grad_batches at 1, .* to a multiple of 2"),
    ],
)
def test_batches_that_cannot_be_shared_are_refused(ranks, given, wanted, kept, hint):
    trainer = SimpleNamespace(world_size=ranks, accumulate_grad_batches=given)
    with pytest.raises(ValueError, match=hint):
        share_update(trainer, wanted, {"per_update": kept} if kept else {})


@pytest.mark.parametrize(
    ("ranks", "given", "wanted", "number", "accumulated"),
    [(1, 1, None, 1, 1), (8, 1, None, 8, 1), (8, 4, None, 32, 4), (8, 1, 32, 32, 4), (2, 4, 8, 8, 4)],
)
def test_accumulation_follows_for_the_number_of_processes(ranks, given, wanted, number, accumulated):
    trainer = SimpleNamespace(world_size=ranks, accumulate_grad_batches=given)
    assert share_update(trainer, wanted, {}) == number
    assert trainer.accumulate_grad_batches == accumulated


def test_no_batches_an_update_are_refused():
    with pytest.raises(ValueError, match="per_update=0 must be at least 1"):
        BatchConfig(per_update=0)


def test_balance_needs_its_column(corpus):
    data = AVDataModule(f"{corpus}/train.jsonl", batches=BatchConfig(balance=BalanceConfig(0.7, 0.9)))
    data.setup("fit")
    with pytest.raises(ManifestError, match=r"no utterance has a 'corpus'.*balance\.corpus=0\.9"):
        data.train_dataloader()
    data.batches = BatchConfig(balance=BalanceConfig(0.7))  # one language: as many clips as there are, in its order
    assert data.train_dataloader().batch_sampler.balance is not None
