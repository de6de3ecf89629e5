"""A callback for tests: the loss of every batch, one line each, a file for each process."""

from pathlib import Path

from lightning import Callback


class RecordLosses(Callback):
    """Write ``losses.<rank>.txt`` into ``trainer.default_root_dir``."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        path = Path(trainer.default_root_dir) / f"losses.{trainer.global_rank}.txt"
        with path.open("a") as file:
            loss = float(outputs["loss"]) * trainer.accumulate_grad_batches  # Lightning hands it over divided
            print(f"{loss:.9g} {'+'.join(sorted(batch.ids))}", file=file)
