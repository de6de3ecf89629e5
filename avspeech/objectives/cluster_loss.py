"""Masked cluster prediction: cross-entropy on the units of hidden frames.

AV-HuBERT (Shi et al. 2022, arXiv:2201.02184, equation 2 and configurations). Frames without a unit carry ``IGNORE``.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

IGNORE = -100


@dataclass(frozen=True)
class ClusterLoss:
    """Loss per scored frame, in nats, and how often the right unit came out on top."""

    loss: Tensor
    masked_accuracy: Tensor
    unmasked_accuracy: Tensor
    num_masked: Tensor


def masked_cluster_loss(
    logits_BTK: Tensor, units_BT: Tensor, mask_BT: Tensor, masked_weight: float = 1.0, unmasked_weight: float = 0.0
) -> ClusterLoss:
    """Return the loss over hidden (and, if weighted, seen) frames.

    Args:
        logits_BTK: a logit for each unit.
        units_BT: int64 targets, ``IGNORE`` where a frame is padding or has no unit.
        mask_BT: bool, True where a frame was hidden.
        masked_weight: weight of hidden frames.
        unmasked_weight: weight of the others; 1 for AV-HuBERT Large, 0 for Base.

    Returns:
        The weighted sum of cross-entropies over the number of frames that carry weight, as AV-HuBERT's
        trainer divides it; 0 where no frame does, so that a clip without masks is no error.
    """
    known_BT = units_BT != IGNORE
    masked_BT, seen_BT = mask_BT & known_BT, ~mask_BT & known_BT
    entropy_BT = F.cross_entropy(logits_BTK.float().transpose(1, 2), units_BT, ignore_index=IGNORE, reduction="none")
    total = masked_weight * (entropy_BT * masked_BT).sum()
    count = masked_BT.sum() * (masked_weight > 0)
    if unmasked_weight > 0:
        total = total + unmasked_weight * (entropy_BT * seen_BT).sum()
        count = count + seen_BT.sum()
    right_BT = logits_BTK.argmax(dim=-1) == units_BT

    def accuracy(frames_BT: Tensor) -> Tensor:
        return (right_BT & frames_BT).sum() / frames_BT.sum().clamp(min=1)

    return ClusterLoss(total / count.clamp(min=1), accuracy(masked_BT), accuracy(seen_BT), masked_BT.sum())
