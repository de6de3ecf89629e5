"""The table of a comparison: every recorded tensor with its error, or the reason why it has no counterpart."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

TOLERANCE = 1e-5
"""Largest error allowed, relative to the largest value of the recorded tensor, in fp32."""


@dataclass
class Comparison:
    """Compares our tensors with the recorded ones of one fixture."""

    name: str
    recorded: dict[str, Tensor]
    errors: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    """Recorded tensors that are not compared, or only in part, and why."""

    def check(self, name: str, ours: Tensor, where: Tensor | None = None, reason: str = "") -> None:
        """Note the error of a tensor; if ``where`` (bool over the leading axes), of these places only, for a reason."""
        theirs = self.recorded[name]
        assert ours.shape == theirs.shape, f"{self.name}: {name} is {tuple(theirs.shape)}, ours {tuple(ours.shape)}"
        if where is not None:
            assert reason
            ours, theirs = ours[where], theirs[where]
            self.reasons[name] = reason
        self.errors[name] = relative_error(ours, theirs)

    def check_recorded(self, name: str, ours: Tensor) -> None:
        """Note the error of a tensor that only some fixtures have."""
        if name in self.recorded:
            self.check(name, ours)

    def note(self, name: str, ours: float, theirs: float) -> None:
        """Note the relative error of a number that a fixture's config.json has."""
        self.errors[name] = abs(ours - theirs) / max(abs(theirs), 1e-30)

    def skip(self, prefix: str, reason: str) -> None:
        """Say why all tensors that start with ``prefix`` have no counterpart."""
        for name in self.recorded:
            if name.startswith(prefix) and name not in self.errors:
                self.reasons[name] = reason

    @property
    def unvisited(self) -> list[str]:
        """Recorded tensors that were neither compared nor explained."""
        return [name for name in self.recorded if name not in self.errors and name not in self.reasons]

    @property
    def wrong(self) -> dict[str, float]:
        """Tensors whose error is too large."""
        return {name: error for name, error in self.errors.items() if not error <= TOLERANCE}

    @property
    def summary(self) -> str:
        """One line about the whole table."""
        compared = len(self.recorded.keys() & self.errors.keys())
        worst = max(self.errors.values(), default=0.0)
        inputs = sum(reason == "input" and name not in self.errors for name, reason in self.reasons.items())
        return (
            f"{self.name}: {compared} of {len(self.recorded)} recorded tensors compared, {inputs} are inputs, "
            f"{len(self.errors) - compared} numbers and hypotheses compared; worst error {worst:.1e}"
        )

    def lines(self) -> list[str]:
        """Return the table."""
        names = [*sorted(self.recorded), *(name for name in self.errors if name not in self.recorded)]
        return [f"  {name:44} {self._cell(name)}" for name in names]

    def _cell(self, name: str) -> str:
        error, reason = self.errors.get(name), self.reasons.get(name, "")
        return f"{error:8.1e}  {reason}".rstrip() if error is not None else f"      --  {reason}"


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference over the largest recorded value; whole numbers and bools must be equal."""
    if not theirs.is_floating_point():
        return 0.0 if torch.equal(ours.to(theirs.dtype), theirs) else float("inf")
    if not theirs.numel():
        return 0.0
    difference, largest = (ours.double() - theirs.double()).abs().max().item(), theirs.abs().max().item()
    return difference / largest if largest else difference
