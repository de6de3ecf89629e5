"""Masked cluster prediction: cross-entropy of hidden frames against their units.

AV-HuBERT (Shi et al. 2022, arXiv:2201.02184, section 3.3) scores hidden frames and, in its large models, visible frames
too, and divides the weighted sum by the number of scored frames.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from avspeech.inputs import IGNORE


@dataclass(frozen=True)
class ClusterLoss:
    """Loss per scored frame in nats, its parts, and the counts behind the accuracies."""

    loss: Tensor
    masked_sum: Tensor
    """Cross-entropy summed over hidden frames, unweighted."""
    unmasked_sum: Tensor
    """Cross-entropy summed over visible frames, unweighted."""
    num_masked: Tensor
    num_unmasked: Tensor
    masked_right: Tensor
    """Hidden frames whose unit had the largest logit."""
    unmasked_right: Tensor
    num_scored: Tensor
    """Frames with a weight above 0, by which the loss is divided."""

    @property
    def masked_accuracy(self) -> Tensor:
        """Share of hidden frames with the right unit; 0 if none is hidden."""
        return self.masked_right / self.num_masked.clamp(min=1)

    @property
    def unmasked_accuracy(self) -> Tensor:
        """Share of visible frames with the right unit; 0 if none was scored."""
        return self.unmasked_right / self.num_unmasked.clamp(min=1)


def masked_cluster_loss(
    logits_K: Tensor,
    units: Tensor,
    mask: Tensor,
    masked_weight: float = 1.0,
    unmasked_weight: float = 0.0,
    special_units: int = 0,
) -> ClusterLoss:
    """Return the loss over hidden (and, if weighted, seen) frames.

    Args:
        logits_K: a logit for each class: (B, T, K), or (M, K) of chosen frames.
        units: int64 targets, (B, T) or (M,), ``IGNORE`` where a frame is padding or has no unit.
        mask: bool, like ``units``: True where a frame was hidden.
        masked_weight: weight of hidden frames.
        unmasked_weight: weight of the others; 1 for AV-HuBERT Large, 0 for Base.
        special_units: classes that come before unit 0.

    Returns:
        The weighted sum of cross-entropies over the number of frames that carry weight, as AV-HuBERT's
        trainer divides it; 0 where no frame does, so that a clip without masks is no error.
    """
    known = units != IGNORE
    classes = torch.where(known, units + special_units, IGNORE)
    masked, seen = mask & known, ~mask & known
    entropy = F.cross_entropy(
        logits_K.float().flatten(0, -2), classes.flatten(), ignore_index=IGNORE, reduction="none"
    ).view_as(units)
    masked_sum, unmasked_sum = torch.where(masked, entropy, 0).sum(), torch.where(seen, entropy, 0).sum()
    total = masked_weight * masked_sum
    count = masked.sum() * (masked_weight > 0)
    if unmasked_weight > 0:
        total = total + unmasked_weight * unmasked_sum
        count = count + seen.sum()
    right = logits_K.argmax(dim=-1) == classes
    return ClusterLoss(
        loss=total / count.clamp(min=1),
        masked_sum=masked_sum,
        unmasked_sum=unmasked_sum,
        num_masked=masked.sum(),
        num_unmasked=seen.sum(),
        masked_right=(right & masked).sum(),
        unmasked_right=(right & seen).sum(),
        num_scored=count,
    )
