"""Lengths, validity masks and padding of batches.

Validity is ``valid_BT`` everywhere, True where a frame is real. It is converted to a library's own convention at the
call, nowhere else.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def lengths_to_valid(lengths_B: Tensor, max_length: int | None = None) -> Tensor:
    """Return ``valid_BT``, bool: True for the first ``lengths_B[b]`` positions of row b.

    Args:
        lengths_B: integer lengths, (B,).
        max_length: T; None takes the longest row.
    """
    if max_length is None:
        max_length = int(lengths_B.max()) if len(lengths_B) else 0
    return torch.arange(max_length, device=lengths_B.device)[None] < lengths_B[:, None]


def pad_stack(rows: Sequence[Tensor], value: float = 0, max_length: int | None = None) -> Tensor:
    """Stack tensors of unequal length into (B, T, ...).

    Args:
        rows: at least one tensor, all of the same dtype and trailing shape.
        value: padding.
        max_length: T; None takes the longest row.
    """
    length = max(len(row) for row in rows) if max_length is None else max_length
    stacked = rows[0].new_full((len(rows), length, *rows[0].shape[1:]), value)
    for target, row in zip(stacked, rows, strict=True):
        target[: len(row)] = row
    return stacked
