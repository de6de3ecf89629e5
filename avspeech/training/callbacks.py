"""Callbacks: write the model file, show progress in steps."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar, WeightAveraging

from avspeech.models.files import save_model
from avspeech.training.modules import TrainingModule


class SaveModelFile(Callback):
    """Write the model file with each checkpoint and at the end of training, and ``model.best.safetensors`` beside it.

    The best is that of the validation with the lowest ``TrainingModule.judged_by``. A file keeps its former weights
    rather than take some that are not finite. Under a WeightAveraging callback it holds the averaged weights.

    Args:
        path: model file; null: ``model.safetensors`` in ``trainer.default_root_dir``.
        best: keep the best model too.
    """

    def __init__(self, path: str | None = None, best: bool = True) -> None:
        self.path, self.best = path, best
        self._lowest = math.inf

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        value = float(trainer.callback_metrics.get(getattr(pl_module, "judged_by", ""), math.inf))
        if self.best and not trainer.sanity_checking and value < self._lowest:
            self._lowest = value
            self._save(trainer, pl_module, ".best")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict) -> None:
        if isinstance(pl_module, TrainingModule):
            pl_module.check_losses()  # Lightning asks the module after its callbacks
        self._save(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer, pl_module)

    def _save(self, trainer: Trainer, pl_module: LightningModule, part: str = "") -> None:
        path = Path(self.path) if self.path else Path(trainer.default_root_dir) / "model.safetensors"
        with averaged(trainer, pl_module):
            save_model(path.with_suffix(part + path.suffix), pl_module.model, trainer.is_global_zero)  # type: ignore[arg-type]

    def state_dict(self) -> dict[str, float]:
        return {"lowest": self._lowest}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        self._lowest = state_dict["lowest"]


@contextmanager
def averaged(trainer: Trainer, pl_module: LightningModule) -> Iterator[None]:
    """Give the module the weights that a WeightAveraging callback has averaged so far, for as long as the block."""
    callbacks = [one for one in getattr(trainer, "callbacks", ()) if isinstance(one, WeightAveraging)]
    swap = callbacks[0]._swap_models if callbacks and callbacks[0]._average_model is not None else lambda _: None
    swap(pl_module)
    try:
        yield
    finally:
        swap(pl_module)


class StepProgressBar(TQDMProgressBar):
    """Progress towards ``trainer.max_steps``; there are no epochs to count."""

    @property
    def total_train_batches(self) -> int | float:
        return self.trainer.max_steps * self.trainer.accumulate_grad_batches
