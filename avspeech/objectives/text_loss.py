"""Losses of recognition: next token, label-smoothed per sentence or per token, and CTC."""

import torch
import torch.nn.functional as F
from torch import Tensor

from avspeech.inputs import IGNORE
from avspeech.sequence import lengths_to_valid
from avspeech.text.tokenizer import BLANK


def next_token_loss(logits_BLV: Tensor, targets_BL: Tensor, smoothing: float = 0.1) -> Tensor:
    """Return the label-smoothed cross-entropy, summed over tokens and divided by the number of sentences.

    The smoothing mass is spread over the V - 1 other tokens and the right one keeps ``1 - smoothing``, as in
    AV-HuBERT's fine-tuning (fairseq's rule; torch's own spreads over all V).

    Args:
        logits_BLV: logits of the next token.
        targets_BL: int64, ``IGNORE`` where there is none.
        smoothing: mass given to wrong tokens.
    """
    log_BLV = F.log_softmax(logits_BLV.float(), dim=-1)
    scored_BL = targets_BL != IGNORE
    right_BL = log_BLV.gather(-1, targets_BL.clamp(min=0)[..., None])[..., 0]
    others = smoothing / (log_BLV.shape[-1] - 1)
    loss_BL = -(1 - smoothing - others) * right_BL - others * log_BLV.sum(dim=-1)
    return torch.where(scored_BL, loss_BL, 0).sum() / len(logits_BLV)


def token_loss(logits_BLV: Tensor, targets_BL: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy per scored token, in nats, with torch's label smoothing: the loss of Whisper-Flamingo.

    Args:
        logits_BLV: logits of the next token.
        targets_BL: int64, ``IGNORE`` where there is none.
        smoothing: mass spread over all tokens.
    """
    return F.cross_entropy(
        logits_BLV.flatten(0, 1).float(), targets_BL.flatten(), ignore_index=IGNORE, label_smoothing=smoothing
    )


def token_accuracy(logits_BLV: Tensor, targets_BL: Tensor) -> Tensor:
    """Return the share of scored tokens whose logit is the largest."""
    scored_BL = targets_BL != IGNORE
    right_BL = (logits_BLV.argmax(dim=-1) == targets_BL) & scored_BL
    return right_BL.sum() / scored_BL.sum().clamp(min=1)


def ctc_loss(logits_BTV: Tensor, lengths_B: Tensor, targets_BL: Tensor, target_lengths_B: Tensor) -> Tensor:
    """Return the CTC loss per target token, averaged over the batch's tokens, in nats.

    An utterance with more tokens (and repeats) than steps cannot be aligned; it contributes nothing.

    Args:
        logits_BTV: CTC logits; id 0 is the blank.
        lengths_B: real steps of each row.
        targets_BL: int64 token ids without blanks, padded with anything.
        target_lengths_B: real tokens of each row.
    """
    log_TBV = F.log_softmax(logits_BTV.float(), dim=-1).transpose(0, 1)
    targets_BL = torch.where(lengths_to_valid(target_lengths_B, targets_BL.shape[1]), targets_BL, BLANK)
    loss_B = F.ctc_loss(
        log_TBV, targets_BL, lengths_B, target_lengths_B, blank=BLANK, reduction="none", zero_infinity=True
    )
    return loss_B.sum() / target_lengths_B.sum().clamp(min=1)


def teacher_tokens(prompt_BL: Tensor, tokens_BL: Tensor, end: int, pad: int) -> tuple[Tensor, Tensor]:
    """Return the decoder's inputs, prompt + text, and its targets, the same one step on with the end.

    The prompt's tokens after the first are targets too, so that a Whisper goes on knowing languages.

    Args:
        prompt_BL: int64, the prompts, all of one length.
        tokens_BL: int64 tokens of the text, ``IGNORE`` where padded.
        end: token of the text's end.
        pad: token that pads the inputs.
    """
    padded_BL = tokens_BL == IGNORE
    inputs_BL = torch.cat([prompt_BL, tokens_BL.masked_fill(padded_BL, pad)], dim=1)
    after_BL = torch.cat([tokens_BL, tokens_BL.new_full((len(tokens_BL), 1), IGNORE)], dim=1)
    after_BL = after_BL.scatter(1, (~padded_BL).sum(dim=1, keepdim=True), end)
    return inputs_BL, torch.cat([prompt_BL[:, 1:], after_BL], dim=1)
