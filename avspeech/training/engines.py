"""Training on several processes: weights that a batch does not use, and signals that end a job."""

import signal
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from avspeech.models.blocks import EncoderBlock
from avspeech.models.decoder import DecoderBlock

STOPPED = 75  # exit status of a training that a signal stopped and that goes on from its checkpoint; EX_TEMPFAIL


class _Tied(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor, *weights: Tensor) -> Tensor:
        ctx.count = len(weights)
        return loss.view_as(loss)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], *([None] * ctx.count)


def tie(loss: Tensor, weights: Iterable[Tensor]) -> Tensor:
    """Return ``loss`` with every weight in its graph, at no cost: what the batch does not use gets no gradient.

    DistributedDataParallel waits for every weight of its first graph. So tied, it takes zero for those that this
    process did not use, and needs no search for them; plain ``ddp`` trains, and ``DDPStrategy(static_graph=True)``.
    """
    return _Tied.apply(loss, *(one for one in weights if one.requires_grad))  # type: ignore[return-value]


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Share a model's weights, gradients and moments out over processes (FSDP2), block by block.

    Scalars become vectors of one number, for a scalar has no parts; model files with either are loaded.
    """
    for part in model.modules():
        for name, weight in part.named_parameters(recurse=False):
            if weight.dim() == 0:
                setattr(part, name, nn.Parameter(weight.detach()[None], weight.requires_grad))
    for part in model.modules():
        if isinstance(part, (EncoderBlock, DecoderBlock)):
            fully_shard(part, mesh=mesh)
            if isinstance(part, DecoderBlock):
                register_fsdp_forward_method(part, "project")
    fully_shard(model, mesh=mesh)
    register_fsdp_forward_method(model, "encode")


class Preemption(Callback):
    """At SIGTERM or SIGUSR1 finish the update, write ``last.ckpt`` and end with status 75 (``STOPPED``).

    All processes stop after the same update, whichever of them was told. ``--ckpt_path=last`` goes on from there. A
    validation is finished first. Lightning's own handlers, which are replaced, talk to the other processes from within
    a signal handler.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._told, self._step = False, trainer.global_step
        if threading.current_thread() is threading.main_thread():  # Lightning puts the former handlers back
            for number in (signal.SIGTERM, signal.SIGUSR1):
                signal.signal(number, self._tell)

    def _tell(self, *_: Any) -> None:
        self._told = True

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self._step:  # amid an accumulation
            return
        self._step = trainer.global_step
        if trainer.strategy.reduce_boolean_decision(self._told, all=False):
            folder = getattr(trainer.checkpoint_callback, "dirpath", None) or trainer.default_root_dir
            trainer.save_checkpoint(Path(folder) / "last.ckpt")
            rank_zero_info(f"stopped by a signal after update {self._step}; go on with --ckpt_path={folder}/last.ckpt")
            raise SystemExit(STOPPED)
