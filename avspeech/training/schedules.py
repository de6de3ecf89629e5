"""Learning-rate schedules and the weights' groups."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning-rate factor: warm-up from ``first`` to 1, hold, decay to ``last``.

    ``linear`` and ``cosine`` decay until ``total_steps``; ``exponential`` over ``decay_steps``, then constant
    (tri-stage of AV-HuBERT's fine-tuning).
    """

    decay: Literal["linear", "cosine", "exponential", "constant"] = "linear"
    """Shape of the decay."""
    warmup_steps: int = 0
    """Steps of warm-up."""
    hold_steps: int = 0
    """Steps at the peak rate."""
    decay_steps: int | None = None
    """Steps of decay; null: the rest of the run."""
    total_steps: int | None = None
    """Length of the run in steps; null: trainer.max_steps."""
    first: float = 0.0
    """Factor at step 0."""
    last: float = 0.0
    """Factor at the end of the decay."""

    def __post_init__(self) -> None:
        if self.decay == "exponential" and self.last <= 0:
            raise ValueError(f"schedule.last={self.last} must be above 0 for an exponential decay")
        if min(self.warmup_steps, self.hold_steps) < 0:
            raise ValueError(f"schedule.warmup_steps={self.warmup_steps} and hold_steps={self.hold_steps} must be >= 0")


def rate_factor(step: int, config: ScheduleConfig, total_steps: int) -> float:
    """Return the learning-rate factor at optimiser step ``step`` (0: first update) of a run of ``total_steps``."""
    if step < config.warmup_steps:
        return config.first + (1 - config.first) * step / config.warmup_steps
    step -= config.warmup_steps + config.hold_steps
    if step < 0 or config.decay == "constant":
        return 1.0
    length = config.decay_steps or total_steps - config.warmup_steps - config.hold_steps
    done = min(1.0, step / max(1, length))
    if config.decay == "linear":
        return 1 + (config.last - 1) * done
    if config.decay == "cosine":
        return config.last + (1 - config.last) * (1 + math.cos(math.pi * done)) / 2
    return config.last**done


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, equal to AV-HuBERT's Adam with decoupled weight decay."""

    lr: float = 5e-4
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay rates of the moments."""
    eps: float = 1e-6
    """Added to the denominator."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    decay_bias: bool = True
    """Decay biases too; Whisper-Flamingo's first stage does not."""
    max_skipped: int = 10
    """Updates in a row without a finite gradient that end the run; each is skipped. In fp16: 16 more."""


def group_weights(model: nn.Module, optimizer: OptimizerConfig, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return AdamW groups of the trainable weights, by rate and weight decay.

    ``rates`` maps a part of a weight's name to a learning-rate factor; the longest match counts. Raises ValueError if
    nothing is trainable or a key matches nothing.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    used = set()
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            part = max((key for key in rates if key in name), key=len, default="")
            used.add(part)
            decay = 0.0 if name.endswith("bias") and not optimizer.decay_bias else optimizer.weight_decay
            groups.setdefault((optimizer.lr * rates.get(part, 1.0), decay), []).append(weight)
    if unknown := sorted(set(rates) - used):
        raise ValueError(f"learning rates are given for {', '.join(unknown)}, but no weight of that name is trained")
    if not groups:
        raise ValueError("every weight is frozen, so there is nothing to train")
    return [{"params": weights, "lr": lr, "weight_decay": decay} for (lr, decay), weights in groups.items()]
