"""``Dials``: how fast a training runs; ``make_loggers``: where its curves go."""

import importlib.util
import sys
import time
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch import loggers
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from avspeech.inputs import AVBatch

COUNTED = 4  # batches whose operations are counted, at the start


class Dials(Callback):
    """Log the speed since the last report (``trainer.log_every_n_steps``), validations apart.

    ``frames_per_s``: real frames at 25 Hz that all processes trained, each taken to train as many. ``data_wait``: share
    of the time spent waiting for a batch. ``mfu``: floating-point operations of the model, counted by torch over the
    first batches, against the device's peak.

    Args:
        peak_tflops: the device's peak in TFLOP/s at the training's precision, such as 989 for an H100 in bf16 (dense);
            null: ``mfu`` is not logged.
    """

    def __init__(self, peak_tflops: float | None = None) -> None:
        self.peak_tflops = peak_tflops
        self._counter: FlopCounterMode | None = None
        self._counts: list[tuple[int, Tensor]] = []  # operations and frames of the first batches

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step, self._every = trainer.global_step, getattr(trainer, "log_every_n_steps")  # noqa: B009 - untyped
        self._restart(time.perf_counter())

    def _restart(self, now_s: float) -> None:
        self._start_s = self._free_s = now_s
        self._wait_s, self._frames = 0.0, 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: AVBatch, batch_idx: int
    ) -> None:
        self._wait_s += time.perf_counter() - self._free_s
        self._newest = batch.valid_BT.sum()  # on the device
        self._frames = self._frames + self._newest
        if self.peak_tflops is not None and len(self._counts) < COUNTED:
            torch.compiler.set_stance("force_eager")  # what is compiled cannot be counted
            self._counter = FlopCounterMode(display=False)
            self._counter.__enter__()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop_counting()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop_counting()

    def _stop_counting(self) -> None:
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            torch.compiler.set_stance("default")
            self._counts.append((self._counter.get_total_flops(), self._newest))
            self._counter = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: AVBatch, batch_idx: int
    ) -> None:
        now_s = self._free_s = time.perf_counter()
        if trainer.global_step != self._step and trainer.global_step % self._every == 0:
            pl_module.log_dict(self._read(now_s - self._start_s, trainer.world_size))
            self._restart(now_s)
        self._step = trainer.global_step

    def _read(self, elapsed_s: float, num_processes: int) -> dict[str, float]:
        speed = float(self._frames) / elapsed_s
        values = {"frames_per_s": speed * num_processes, "data_wait": self._wait_s / elapsed_s}
        if self.peak_tflops is not None and len(self._counts) == COUNTED:
            per_frame = sum(count for count, _ in self._counts) / max(1, sum(int(frames) for _, frames in self._counts))
            values["mfu"] = speed * per_frame / (self.peak_tflops * 1e12)
        return values

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._paused_s = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking and trainer.training:
            now_s = self._free_s = time.perf_counter()
            self._start_s += now_s - self._paused_s


Target = Literal["csv", "tensorboard", "wandb", "mlflow"]


def make_loggers(targets: Target | list[Target], folder: Path) -> list[loggers.Logger]:
    """Return the loggers of a run in ``folder``. A package that is not installed ends the program with one line."""
    made: list[loggers.Logger] = []
    for name in [targets] if isinstance(targets, str) else targets:
        if name != "csv" and importlib.util.find_spec(name) is None:
            sys.exit(f"--log_to={name} needs the package {name}: pip install 'avspeech[{name}]'")
        if name == "csv":
            made.append(loggers.CSVLogger(folder, name="", version=""))
        elif name == "tensorboard":
            made.append(loggers.TensorBoardLogger(folder, name="", version="", default_hp_metric=False))
        elif name == "wandb":
            made.append(loggers.WandbLogger(save_dir=folder, project="avspeech", name=folder.name))
        else:
            made.append(loggers.MLFlowLogger("avspeech", run_name=folder.name, save_dir=str(folder / "mlruns")))
    return made
