"""A callback that spoils updates of a training, for the tests of its guards."""

import torch
from lightning import Callback


class Spoil(Callback):
    """Spoil the loss or, with ``gradient``, a gradient of updates ``first`` to ``last``, counted from 1."""

    def __init__(self, first: int, last: int, gradient: bool = False) -> None:
        self.updates, self.gradient = range(first, last + 1), gradient
        self.states = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.spoils = trainer.global_step + 1 in self.updates
        if self.spoils and not self.gradient:
            batch.audio_BTF[:] = torch.nan  # through the whole model, BatchNorm's statistics too

    def on_after_backward(self, trainer, pl_module):
        if self.spoils and self.gradient:
            next(pl_module.parameters()).grad.fill_(torch.inf)

    def on_train_batch_end(self, trainer, pl_module, *_):
        moments = [one for state in trainer.optimizers[0].state.values() for one in state.values()]
        state = [*pl_module.model.state_dict().items(), *enumerate(moments)]
        self.states.append({name: value.clone() for name, value in state if "num_batches" not in str(name)})
