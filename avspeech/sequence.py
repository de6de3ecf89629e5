"""Lengths, validity masks, padding and masked means: what every stage needs for batches of unequal length.

Validity is ``valid_BT`` everywhere, True = a real frame. Another library's convention is made from it
at the call, nowhere else.
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


def valid_to_lengths(valid_BT: Tensor) -> Tensor:
    """Return the number of valid positions of each row, (B,) int64."""
    return valid_BT.sum(dim=1)


def pad_stack(rows: Sequence[Tensor], value: float = 0, max_length: int | None = None) -> Tensor:
    """Stack tensors of unequal first axis into (B, T, ...), filling the rest with ``value``.

    Args:
        rows: at least one tensor, all of the same dtype and trailing shape.
        value: what padding holds.
        max_length: T; None takes the longest row.
    """
    length = max(len(row) for row in rows) if max_length is None else max_length
    stacked = rows[0].new_full((len(rows), length, *rows[0].shape[1:]), value)
    for target, row in zip(stacked, rows, strict=True):
        target[: len(row)] = row
    return stacked


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask`` is True; 0 where nothing is, so that an empty mask is no NaN."""
    return torch.where(mask, values, 0).sum() / mask.sum().clamp(min=1)
