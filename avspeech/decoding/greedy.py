"""Greedy decoding: the best label of each CTC step, or the best next token with a key-value cache."""

from dataclasses import dataclass

import torch
from torch import Tensor

from avspeech.models.decoder import TextDecoder
from avspeech.models.memory import Memory
from avspeech.models.recognizer import Recognizer
from avspeech.objectives.text_loss import BLANK

BEGIN = 2
"""Token that the decoder's input starts with; AV-HuBERT starts with the end of sentence."""
END = 2
PAD = 1


@dataclass(frozen=True)
class TokenHypothesis:
    """Tokens of one hypothesis without begin and end, and its score."""

    tokens: list[int]
    score: float
    """Log-probability; with a length penalty, divided by length ** penalty."""
    token_scores: tuple[float, ...] = ()
    """What each token added to the log-probability, the end token's last; empty from CTC, which has no such parts."""


@torch.no_grad()
def ctc_greedy(model: Recognizer, memory_BTD: Tensor, valid_BT: Tensor) -> list[TokenHypothesis]:
    """Return the best path of each utterance, repeats merged and blanks removed."""
    log_BTV = model.ctc_logits(memory_BTD).float().log_softmax(dim=-1)
    best_BT = log_BTV.max(dim=-1)
    valid_BT = valid_BT.repeat_interleave(model.config.ctc_upsample, dim=1)
    score_B = torch.where(valid_BT, best_BT.values, 0).sum(dim=1)
    labels_BT = torch.where(valid_BT, best_BT.indices, BLANK)
    hypotheses = []
    for labels_T, score in zip(labels_BT, score_B.tolist(), strict=True):
        merged = torch.unique_consecutive(labels_T).tolist()
        hypotheses.append(TokenHypothesis([label for label in merged if label != BLANK], score))
    return hypotheses


def longest_text(num_frames: int, max_length: int | None) -> int:
    """Return how many tokens a clip may have: ``max_length``, or one a frame but at least 10."""
    return max_length if max_length is not None else max(10, num_frames)


@torch.no_grad()
def attention_greedy(
    decoder: TextDecoder, memory_BTD: Tensor, valid_BT: Tensor, max_length: int | None = None, min_length: int = 0
) -> list[TokenHypothesis]:
    """Return the most likely next token, over and over, until the end token or ``max_length`` tokens.

    The end token may come after ``min_length`` tokens; a text cut off at ``max_length`` has none.
    """
    batch, device = len(memory_BTD), memory_BTD.device
    limit = longest_text(valid_BT.shape[1], max_length)
    state = decoder.start(Memory(memory_BTD, valid_BT), limit + 1)
    tokens_B = torch.full((batch,), BEGIN, device=device)
    done_B = torch.zeros(batch, dtype=torch.bool, device=device)
    score_B = torch.zeros(batch, device=device)
    steps, added = [], []
    for step in range(limit):
        log_BV = decoder.step(tokens_B[:, None], state).float().log_softmax(dim=-1)
        log_BV[:, PAD] = -torch.inf
        if step < min_length:
            log_BV[:, END] = -torch.inf
        best = log_BV.max(dim=-1)
        score_B += torch.where(done_B, 0, best.values)
        tokens_B = torch.where(done_B, END, best.indices)
        done_B |= tokens_B == END
        steps.append(tokens_B)
        added.append(best.values)
        if bool(done_B.all()):
            break
    hypotheses = []
    rows = zip(torch.stack(steps, dim=1).tolist(), score_B.tolist(), torch.stack(added, dim=1).tolist(), strict=True)
    for row, score, parts in rows:
        end = row.index(END) if END in row else len(row)
        hypotheses.append(TokenHypothesis(row[:end], score, tuple(parts[: end + 1])))
    return hypotheses
