"""CTC: greedy decoding, a beam of texts, and the steps of a known text.

The beam sums over all alignments of a text (prefix search: Graves et al. 2006, section 3.2; Hannun et al. 2014,
arXiv:1408.2873, algorithm 1, without a language model). Greedy decoding loses words whose probability is spread over
several steps.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from avspeech.decoding.search import Found
from avspeech.text.tokenizer import BLANK

CANDIDATES = 20  # likeliest labels that are tried at each step


@torch.no_grad()
def ctc_greedy(logits_BTV: Tensor, valid_BT: Tensor) -> list[list[Found]]:
    """Return the best path of each utterance, repeats merged and blanks removed; arguments of ``ctc_beam``."""
    best_BT = logits_BTV.float().log_softmax(dim=-1).max(dim=-1)
    score_B = torch.where(valid_BT, best_BT.values, 0).sum(dim=1)
    labels_BT = torch.where(valid_BT, best_BT.indices, BLANK)
    merged = (torch.unique_consecutive(labels_T).tolist() for labels_T in labels_BT)
    texts = [[label for label in labels if label != BLANK] for labels in merged]
    return [[Found(text, score)] for text, score in zip(texts, score_B.tolist(), strict=True)]


@torch.no_grad()
def ctc_beam(logits_BTV: Tensor, valid_BT: Tensor, beam_size: int) -> list[list[Found]]:
    """Return up to ``beam_size`` texts of each utterance with their log-probabilities, best first.

    T are CTC steps; ``valid_BT`` is bool, True where a step is real.
    """
    log_BTV = logits_BTV.double().log_softmax(dim=-1).cpu().numpy()
    parts = [log_TV[:length] for log_TV, length in zip(log_BTV, valid_BT.sum(dim=1).tolist(), strict=True)]
    return [[Found(list(text), score) for text, score in search_texts(log_TV, beam_size)] for log_TV in parts]


def search_texts(log_TV: np.ndarray, beam_size: int) -> list[tuple[tuple[int, ...], float]]:
    """Return up to ``beam_size`` texts and their log-probabilities, best first, for one utterance."""
    # Text -> log-probabilities of its alignments that end in a blank, and of those that end in its last label.
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}
    for log_V in log_TV:
        labels = [label for label in np.argsort(-log_V, kind="stable")[:CANDIDATES].tolist() if label != BLANK]
        grown: dict[tuple[int, ...], list[float]] = {}
        for text, (blank, label_last) in beam.items():
            total = np.logaddexp(blank, label_last)
            same = grown.setdefault(text, [-np.inf, -np.inf])
            same[0] = np.logaddexp(same[0], total + log_V[BLANK])
            if text:
                same[1] = np.logaddexp(same[1], label_last + log_V[text[-1]])
            for label in labels:
                # A repeated label counts once, unless a blank is between.
                before = blank if text and text[-1] == label else total
                if before > -np.inf:
                    longer = grown.setdefault((*text, label), [-np.inf, -np.inf])
                    longer[1] = np.logaddexp(longer[1], before + log_V[label])
        ranked = sorted(grown.items(), key=lambda entry: -float(np.logaddexp(entry[1][0], entry[1][1])))
        beam = {text: (parts[0], parts[1]) for text, parts in ranked[:beam_size]}
    return [(text, float(np.logaddexp(*parts))) for text, parts in beam.items()]


def align_ctc(log_TV: np.ndarray, tokens: Sequence[int]) -> list[tuple[int, int]] | None:
    """Return (first step, end step) of each token, end excluded; None if the steps are too few for the text.

    Viterbi alignment (Graves et al. 2006, section 4.1, maximum in place of the sum) of valid steps.
    """
    if not tokens:
        return []
    if not len(log_TV):
        return None
    states = np.full(2 * len(tokens) + 1, BLANK)
    states[1::2] = tokens
    num_steps, num_states = len(log_TV), len(states)
    skips = np.zeros(num_states, dtype=bool)  # the blank between two tokens may be left out, unless they are equal
    skips[3::2] = states[3::2] != states[1:-2:2]
    emitted_TK = log_TV[:, states].astype(np.float64)
    best_K = np.full(num_states, -np.inf)
    best_K[:2] = emitted_TK[0, :2]
    came_TK = np.zeros((num_steps, num_states), dtype=np.int8)
    for step in range(1, num_steps):
        before_3K = np.full((3, num_states), -np.inf)
        before_3K[0] = best_K
        before_3K[1, 1:] = best_K[:-1]
        before_3K[2, 2:] = np.where(skips[2:], best_K[:-2], -np.inf)
        came_TK[step] = before_3K.argmax(axis=0)
        best_K = before_3K.max(axis=0) + emitted_TK[step]
    state = num_states - 1 if best_K[-1] >= best_K[-2] else num_states - 2
    if best_K[state] == -np.inf:
        return None
    path_T = np.empty(num_steps, dtype=int)
    for step in range(num_steps - 1, -1, -1):
        path_T[step] = state
        state -= came_TK[step, state]
    states = 2 * np.arange(len(tokens)) + 1
    first, end = np.searchsorted(path_T, states, side="left"), np.searchsorted(path_T, states, side="right")
    return list(zip(first.tolist(), end.tolist(), strict=True))
