"""``Guard``: an update whose gradient is not finite changes nothing; many in a row, or empty labels, end the run."""

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from avspeech.data.limits import LISTED

WATCHED = 20  # updates between two looks at their losses on a GPU, where a look waits for all work before it
EMPTY = 100  # batches without a target that end a run, if there was none with one before
HALVINGS = 16  # of the fp16 loss scale from 2**16 to 1, each of which skips an update

logger = logging.getLogger(__name__)


class BadBatch(ValueError):
    """Batches gave no usable loss or gradient; the message names their clips."""


class Guard:
    """Watch the losses and gradients of a training; ``limit`` updates in a row without a finite gradient are an error.

    Flags and counts stay on the device until a look at them. Every process skips the same updates: a loss that is not
    finite makes its gradient NaN, and the mean of the processes' gradients, which all of them hold, is NaN then.
    """

    def __init__(self, model: nn.Module, limit: int) -> None:
        self.limit = limit
        self.skipped = torch.zeros(())  # updates, on the device
        self._batches: list[tuple[Sequence[str], Tensor]] = []  # (loss, number of targets) of the update in the making
        self._updates: list[tuple[list[tuple[Sequence[str], Tensor]], Tensor]] = []  # and gradient norm, not looked at
        self._row: list[str] = []  # clips of the last updates, all skipped
        self._num_row = self._num_told = 0
        self._empty: list[str] | None = []  # clips of the batches without a target; None once there was one
        self._num_empty = 0
        norms = (part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm))
        self._statistics = [one for part in norms for one in (part.running_mean, part.running_var) if one is not None]
        self._sound: Tensor | None = None  # the statistics after the last update that was not skipped

    def start(self) -> None:
        """Keep BatchNorm's statistics, which the forward pass changes before an update is judged."""
        if self._statistics:
            self._sound = torch.cat([one.flatten() for one in self._statistics])

    def watch(self, ids: Sequence[str], loss: Tensor, num_targets: Tensor) -> Tensor:
        """Return a batch's loss; if it is not finite, so that every gradient becomes NaN."""
        self._batches.append((ids, torch.stack([loss.detach().float(), num_targets.detach().float()])))
        return loss * torch.where(torch.isfinite(loss.detach()), 1.0, math.nan)

    def judge(self, optimizer: Optimizer, norm: Tensor) -> None:
        """Have ``optimizer`` (a fused one) skip its update if the gradient's ``norm`` is not finite."""
        finite = torch.isfinite(norm)
        optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined] # weights, moments and steps stay
        if self._sound is not None:
            now = torch.cat([one.flatten() for one in self._statistics])
            self._sound = torch.where(finite, now, self._sound)
            pieces = self._sound.split([one.numel() for one in self._statistics])
            for one, piece in zip(self._statistics, pieces, strict=True):
                one.copy_(piece)
        self.skipped = self.skipped.to(norm.device) + ~finite
        self._updates.append((self._batches, norm))
        self._batches = []
        if norm.device.type == "cpu" or len(self._updates) >= WATCHED:
            self.look()

    def look(self) -> None:
        """Raise BadBatch if ``limit`` updates in a row were skipped, or if no batch has a target.

        Also called before a model or a checkpoint is written.
        """
        updates, self._updates = self._updates, []
        for batches, norm in updates:
            values = [(ids, *pair.tolist()) for ids, pair in batches]
            if math.isfinite(norm):
                self._row, self._num_row = [], 0
            else:
                self._add_skipped([(ids, loss) for ids, loss, _ in values], float(norm))
            for ids, _, num_targets in values:
                self._count_empty(ids, num_targets)

    def end(self) -> None:
        """Look for the last time; a run without any target is an error, skipped updates are told."""
        self.look()
        if self._empty:
            raise self._no_target()
        if count := int(self.skipped):
            logger.warning("%d updates were skipped, for their gradients were not finite", count)

    def _add_skipped(self, losses: Iterable[tuple[Sequence[str], float]], norm: float) -> None:
        found = [(ids, loss) for ids, loss in losses if not math.isfinite(loss)]
        what = f"the loss is {found[0][1]}" if found else f"the gradient's norm is {norm}"
        clips = [one for ids, _ in found or losses for one in ids]
        self._row, self._num_row = list(dict.fromkeys(self._row + clips)), self._num_row + 1
        if self._num_row >= self.limit:
            raise BadBatch(
                f"{what} in a batch of {_listed(clips)}, and {self._num_row} updates in a row were skipped; look at "
                f"their clips, {_listed(self._row)}, or lower model.init_args.optimizer.lr"
            )
        self._num_told += 1
        if self._num_told <= LISTED:
            logger.warning("an update is skipped: %s in a batch of %s", what, _listed(clips))

    def _count_empty(self, ids: Sequence[str], num_targets: float) -> None:
        if num_targets > 0:
            self._empty = None
        elif self._empty is not None:
            self._empty, self._num_empty = self._empty + list(ids), self._num_empty + 1
            if self._num_empty == EMPTY:
                raise self._no_target()

    def _no_target(self) -> BadBatch:
        return BadBatch(
            f"none of {self._num_empty} batches has a target to learn, so the loss teaches nothing: do the labels fit "
            f"the clips? They are of {_listed(list(dict.fromkeys(self._empty or ())))}"
        )


def _listed(clips: Sequence[str]) -> str:
    more = f" and {len(clips) - LISTED} more" if len(clips) > LISTED else ""
    return ", ".join(clips[:LISTED]) + more


def clip_gradients(optimizer: Optimizer, scaler: Any, most: float | None, by_value: bool) -> Tensor:
    """Clip the gradients to a norm (or to values) of ``most``, 0 or None: not at all; return the norm before it.

    ``scaler`` is fp16's GradScaler, or None.
    """
    if scaler is not None:
        scaler.unscale_(optimizer)
    weights = [one for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
    norm = nn.utils.get_total_norm([one.grad for one in weights])
    norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # type: ignore[operator] # of shards
    if most and by_value:
        nn.utils.clip_grad_value_(weights, most)
    elif most:
        nn.utils.clip_grads_with_norm_(weights, most, norm)
    return norm
