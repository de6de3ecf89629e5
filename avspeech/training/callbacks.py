"""Callbacks: write the model file, show progress in steps."""

from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from avspeech.models.files import save_model
from avspeech.training.modules import TrainingModule


class SaveModelFile(Callback):
    """Write the model file with each checkpoint and at the end of training.

    Args:
        path: model file; null: ``model.safetensors`` in ``trainer.default_root_dir``.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict) -> None:
        if isinstance(pl_module, TrainingModule):
            pl_module.check_losses()  # Lightning asks the module after its callbacks
        self.on_fit_end(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            path = Path(self.path) if self.path else Path(trainer.default_root_dir) / "model.safetensors"
            save_model(path, pl_module.model)  # type: ignore[arg-type]


class StepProgressBar(TQDMProgressBar):
    """Progress towards ``trainer.max_steps``; there are no epochs to count."""

    @property
    def total_train_batches(self) -> int | float:
        return self.trainer.max_steps * self.trainer.accumulate_grad_batches
