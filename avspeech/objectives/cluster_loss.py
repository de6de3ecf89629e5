"""Masked cluster prediction: cross-entropy of masked frames against their units.

AV-HuBERT (arXiv:2201.02184, section 3.3); its large models score visible frames too.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from avspeech.inputs import IGNORE


@dataclass(frozen=True)
class ClusterLoss:
    """Loss per scored frame in nats, with its parts and counts."""

    loss: Tensor
    masked_sum: Tensor  # over masked frames, unweighted
    unmasked_sum: Tensor  # over visible frames, unweighted
    num_masked: Tensor
    num_unmasked: Tensor
    masked_right: Tensor  # masked frames with the right unit on top
    unmasked_right: Tensor
    num_scored: Tensor  # frames with a weight above 0: the divisor of the loss

    @property
    def masked_accuracy(self) -> Tensor:
        """Share of masked frames with the right unit; 0 if none."""
        return self.masked_right / self.num_masked.clamp(min=1)

    @property
    def unmasked_accuracy(self) -> Tensor:
        """Share of visible frames with the right unit; 0 if none."""
        return self.unmasked_right / self.num_unmasked.clamp(min=1)


def masked_cluster_loss(
    logits_K: Tensor,
    units: Tensor,
    mask: Tensor,
    masked_weight: float = 1.0,
    unmasked_weight: float = 0.0,
    special_units: int = 0,
) -> ClusterLoss:
    """Return the weighted cross-entropy per scored frame, as in AV-HuBERT's trainer; 0 if no frame is scored.

    Args:
        logits_K: (B, T, K), or (M, K) of selected frames.
        units, mask: (B, T) or (M,): int64, ``IGNORE`` where none is known; bool, True for masked frames.
        unmasked_weight: 1 for AV-HuBERT Large, 0 for Base.
        special_units: classes before unit 0.
    """
    known = units != IGNORE
    classes = torch.where(known, units + special_units, IGNORE)
    masked, seen = mask & known, ~mask & known
    flat_MK = logits_K.float().flatten(0, -2)
    entropy = F.cross_entropy(flat_MK, classes.flatten(), ignore_index=IGNORE, reduction="none").view_as(units)
    masked_sum, unmasked_sum = torch.where(masked, entropy, 0).sum(), torch.where(seen, entropy, 0).sum()
    total = masked_weight * masked_sum
    count = masked.sum() * (masked_weight > 0)
    if unmasked_weight > 0:
        total = total + unmasked_weight * unmasked_sum
        count = count + seen.sum()
    right = logits_K.argmax(dim=-1) == classes
    counts = (masked.sum(), seen.sum(), (right & masked).sum(), (right & seen).sum())
    return ClusterLoss(total / count.clamp(min=1), masked_sum, unmasked_sum, *counts, count)
