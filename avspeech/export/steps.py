"""What both kinds of decoder need to become a graph: keys that come in and go out, and their names."""

import torch
from torch import Tensor


class GrownKeys:
    """Stands for a ``KeyValueCache`` where nothing can be written in place: it grows by making longer tensors."""

    def __init__(self, key_BNOE: Tensor, value_BNOE: Tensor) -> None:
        self.key_BNQE, self.value_BNQE = key_BNOE, value_BNOE

    def append(self, key_BNLE: Tensor, value_BNLE: Tensor) -> tuple[Tensor, Tensor]:
        """Remember new keys and values; return all of them so far."""
        self.key_BNQE = torch.cat([self.key_BNQE, key_BNLE], dim=2)
        self.value_BNQE = torch.cat([self.value_BNQE, value_BNLE], dim=2)
        return self.key_BNQE, self.value_BNQE


def key_names(kind: str, depth: int, axes: str) -> tuple[str, ...]:
    """Return the names of the keys and values of every block, such as ``past_key_0_BNOE, past_value_0_BNOE, ...``."""
    return tuple(f"{kind}_{part}_{block}_{axes}" for block in range(depth) for part in ("key", "value"))


def pair(keys: dict[str, Tensor], kind: str, block: int, axes: str) -> tuple[Tensor, Tensor]:
    """Return one block's key and value by the names of ``key_names``."""
    return keys[f"{kind}_key_{block}_{axes}"], keys[f"{kind}_value_{block}_{axes}"]


def may_look(length: int, before: int, device: torch.device) -> Tensor:
    """Return bool (L, O + L), True where a token may look: at itself and at what came before."""
    own_L = torch.arange(length, device=device) + before
    return torch.arange(before + length, device=device)[None] <= own_L[:, None]
