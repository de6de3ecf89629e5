"""Batches of all processes: how many were trained, and how many make an update, from Lightning's counts of one process.

A run may resume on another number of processes: an update then has the batches that it would have had.
"""

from collections.abc import Mapping

from lightning import Trainer


class BatchCount:
    """Counts the training batches of all processes; ``before`` were trained before ``trainer`` goes on."""

    def __init__(self, trainer: Trainer, before: int) -> None:
        self._loop, self._trainer = trainer.fit_loop.epoch_loop, trainer
        self._before = before - trainer.world_size * self._total()

    def trained(self) -> int:
        """Return the number of batches trained, not those that are only loaded."""
        return self._before + self._trainer.world_size * self._total()

    def updated(self) -> int:
        """Return the number of batches whose update was made: what a checkpoint's weights have learnt from."""
        return self.trained() - self._trainer.world_size * self._pending()

    def _total(self) -> int:
        return getattr(self._loop.batch_progress.total, "processed")  # noqa: B009 - its declared type is too narrow

    def _pending(self) -> int:
        """Return the batches of this process whose gradients wait for their update."""
        return _processed(self._trainer) - _updated(self._trainer, self._trainer.accumulate_grad_batches)


def share_update(trainer: Trainer, wanted: int | None, state: Mapping[str, int]) -> int:
    """Set ``trainer.accumulate_grad_batches`` so that an update keeps its batches; return their number.

    It is ``wanted``, else that of a checkpoint's ``state``, else as the trainer is set. Lightning's counts are moved to
    the last update of ``state``. Raises ValueError if the processes cannot share the batches equally, or the trainer is
    set to another number.
    """
    ranks, given = trainer.world_size, trainer.accumulate_grad_batches
    number = wanted or state.get("per_update") or ranks * given
    source = "data.init_args.batches.per_update" if wanted else "the checkpoint"
    fix = f"set data.init_args.batches.per_update to {'another' if wanted else 'a'} multiple of {ranks}"
    if number % ranks:
        shares = ", ".join(str(count) for count in range(1, number + 1) if number % count == 0)
        raise ValueError(
            f"an update of {number} batches, by {source}, came for {ranks} processes, which cannot share them equally; "
            f"take {shares} processes, or {fix}"
        )
    if given not in (1, number // ranks):
        raise ValueError(
            f"trainer.accumulate_grad_batches={given} on {ranks} processes makes {given * ranks} batches an update, "
            f"and {source} says {number}; leave accumulate_grad_batches at 1, which follows, or {fix}"
        )
    trainer.accumulate_grad_batches = number // ranks
    if state:
        _move_to_update(trainer, state.get("per_update", number) // state.get("ranks", ranks))
    return number


def _move_to_update(trainer: Trainer, accumulated: int) -> None:
    """Set Lightning's counts of batches to those of its updates, of which each had ``accumulated`` before."""
    progress = trainer.fit_loop.epoch_loop.batch_progress
    pending = _processed(trainer) - _updated(trainer, accumulated)
    change = _updated(trainer, trainer.accumulate_grad_batches) - _processed(trainer)
    for counts in (progress.total, progress.current):
        moved = {name: value + change for name, value in counts.state_dict().items()}
        counts.load_state_dict(dict.fromkeys(moved, moved["processed"]) if pending else moved)


def _processed(trainer: Trainer) -> int:
    """Return this process's batches in Lightning's current epoch."""
    return getattr(trainer.fit_loop.epoch_loop.batch_progress.current, "processed")  # noqa: B009


def _updated(trainer: Trainer, accumulated: int) -> int:
    """Return those of them whose update was made, for so many batches an update; the epoch's last may have fewer."""
    loop = trainer.fit_loop.epoch_loop
    if loop.batch_progress.is_last_batch:
        return _processed(trainer)
    return loop.automatic_optimization.optim_progress.optimizer.step.current.completed * accumulated
