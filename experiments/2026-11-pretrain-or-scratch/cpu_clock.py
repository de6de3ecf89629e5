"""A callback that logs the CPU time of the process at every validation, so that curves can be drawn over compute."""

import time

from lightning import Callback, LightningModule, Trainer


class CpuClock(Callback):
    """Log ``val/cpu_s``: CPU seconds of this process, starting and reading included."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log("val/cpu_s", time.process_time())
