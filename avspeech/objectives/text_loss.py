"""Recognition losses: next token (per sentence or per token) and CTC."""

import torch
import torch.nn.functional as F
from torch import Tensor

from avspeech.inputs import IGNORE
from avspeech.sequence import lengths_to_valid
from avspeech.text.tokenizer import BLANK


def next_token_loss(logits_BLV: Tensor, targets_BL: Tensor, smoothing: float = 0.1) -> Tensor:
    """Return label-smoothed cross-entropy per sentence, in nats; targets may be ``IGNORE``.

    ``smoothing`` is spread over the V - 1 wrong tokens, as in fairseq (AV-HuBERT); torch spreads it over all V.
    """
    log_BLV = F.log_softmax(logits_BLV.float(), dim=-1)
    scored_BL = targets_BL != IGNORE
    right_BL = log_BLV.gather(-1, targets_BL.clamp(min=0)[..., None])[..., 0]
    others = smoothing / (log_BLV.shape[-1] - 1)
    loss_BL = -(1 - smoothing - others) * right_BL - others * log_BLV.sum(dim=-1)
    return torch.where(scored_BL, loss_BL, 0).sum() / len(logits_BLV)


def token_loss(logits_BLV: Tensor, targets_BL: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return label-smoothed cross-entropy per scored token, in nats, as in Whisper-Flamingo."""
    logits_MV, targets_M = logits_BLV.flatten(0, 1).float(), targets_BL.flatten()
    return F.cross_entropy(logits_MV, targets_M, ignore_index=IGNORE, label_smoothing=smoothing)


def token_accuracy(logits_BLV: Tensor, targets_BL: Tensor) -> Tensor:
    """Return the share of scored tokens that are predicted right."""
    scored_BL = targets_BL != IGNORE
    right_BL = (logits_BLV.argmax(dim=-1) == targets_BL) & scored_BL
    return right_BL.sum() / scored_BL.sum().clamp(min=1)


def ctc_loss(logits_BTV: Tensor, lengths_B: Tensor, targets_BL: Tensor, target_lengths_B: Tensor) -> Tensor:
    """Return the CTC loss per target token of the batch, in nats; utterances with too many tokens count 0."""
    log_TBV = F.log_softmax(logits_BTV.float(), dim=-1).transpose(0, 1)
    targets_BL = torch.where(lengths_to_valid(target_lengths_B, targets_BL.shape[1]), targets_BL, BLANK)
    lengths = (lengths_B, target_lengths_B)
    loss_B = F.ctc_loss(log_TBV, targets_BL, *lengths, blank=BLANK, reduction="none", zero_infinity=True)
    return loss_B.sum() / target_lengths_B.sum().clamp(min=1)


def teacher_tokens(prompt_BL: Tensor, tokens_BL: Tensor, end: int, pad: int) -> tuple[Tensor, Tensor]:
    """Return decoder inputs (prompt + text, padded with ``pad``) and targets (shifted by one, with ``end``).

    Prompt tokens after the first are targets too, so that Whisper keeps its language identification.
    """
    padded_BL = tokens_BL == IGNORE
    inputs_BL = torch.cat([prompt_BL, tokens_BL.masked_fill(padded_BL, pad)], dim=1)
    after_BL = torch.cat([tokens_BL, tokens_BL.new_full((len(tokens_BL), 1), IGNORE)], dim=1)
    after_BL = after_BL.scatter(1, (~padded_BL).sum(dim=1, keepdim=True), end)
    return inputs_BL, torch.cat([prompt_BL[:, 1:], after_BL], dim=1)
