"""Lengths, validity masks and padding of batches.

Validity is ``valid_BT`` everywhere, True where a frame is real; it is converted to a library's convention at the call.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def lengths_to_valid(lengths_B: Tensor, max_length: int | None = None) -> Tensor:
    """Return ``valid_BT``, bool: True for the first ``lengths_B[b]`` of ``max_length`` (None: the most) positions."""
    if max_length is None:
        max_length = int(lengths_B.max()) if len(lengths_B) else 0
    return torch.arange(max_length, device=lengths_B.device)[None] < lengths_B[:, None]


def pad_stack(rows: Sequence[Tensor], value: float = 0) -> Tensor:
    """Stack at least one tensor of unequal lengths but equal dtype and trailing shape into (B, T, ...)."""
    stacked = rows[0].new_full((len(rows), max(map(len, rows)), *rows[0].shape[1:]), value)
    for target, row in zip(stacked, rows, strict=True):
        target[: len(row)] = row
    return stacked


def ctc_steps(tokens_BL: Tensor, lengths_B: Tensor) -> Tensor:
    """Return the fewest steps that CTC aligns each row of tokens to, (B,): one a token, and a blank between equals.

    Graves et al. 2006, "Connectionist temporal classification", section 3.1.
    """
    repeated_BL = tokens_BL[:, 1:] == tokens_BL[:, :-1]
    return lengths_B + (repeated_BL & lengths_to_valid(lengths_B - 1, repeated_BL.shape[1])).sum(dim=1)
