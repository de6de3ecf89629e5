"""Give a model the weights of a foreign state dict, say in one line what does not fit; write such files whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from avspeech.interop.restricted import CheckpointError


def check_keys(state: dict[str, Tensor], keys: dict[str, str], may_carry: Sequence[str], path: Path) -> list[str]:
    """Return the keys of ``state`` that are carried along, not read.

    Args:
        state: the foreign state dict.
        keys: their key -> our key, all that the model needs.
        may_carry: further keys that such files have.
        path: of the file, for the message.

    Raises:
        CheckpointError: keys are missing, or unknown.
    """
    missing, unknown = [key for key in keys if key not in state], [key for key in state if key not in keys]
    carried = [key for key in unknown if key in may_carry]
    unknown = [key for key in unknown if key not in may_carry]
    if missing or unknown:
        parts = [f"missing: {_some(missing)}"] if missing else []
        parts += [f"unknown: {_some(unknown)}"] if unknown else []
        raise CheckpointError(f"{path} has other keys than a model of its sizes; {'; '.join(parts)}")
    return carried


def _some(keys: list[str], most: int = 20) -> str:
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def fill(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Give a model on the meta device its weights by our names, floats as fp32.

    Raises:
        CheckpointError: a weight has another shape than the model's.
    """
    wrong = [
        f"{name} has {tuple(weights[name].shape)}, its configuration says {tuple(tensor.shape)}"
        for name, tensor in model.state_dict().items()
        if weights[name].shape != tensor.shape
    ]
    if wrong:
        raise CheckpointError(f"{path} has weights of another shape: {'; '.join(wrong[:5])}")
    # clone: the file is mapped into memory and must not be held open, or be written to by training
    weights = {k: v.float().clone() if v.is_floating_point() else v.clone() for k, v in weights.items()}
    model.load_state_dict(weights, assign=True)
    for name, tensor in model.named_parameters():
        assert not tensor.is_meta, name


def write_checkpoint(path: str | Path, content: dict[str, Any]) -> None:
    """Write a pickled checkpoint; it appears only when whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    torch.save(content, unfinished)
    unfinished.rename(path)
