"""CTC decoding: greedy, or a beam of texts.

The beam sums over all alignments of a text (prefix search: Graves et al. 2006, section 3.2; Hannun et al. 2014,
arXiv:1408.2873, algorithm 1, without a language model). Greedy decoding loses words whose probability is spread over
several steps.
"""

import numpy as np
import torch
from torch import Tensor

from avspeech.decoding.search import Found
from avspeech.text.tokenizer import BLANK

CANDIDATES = 20
"""Likeliest labels that are tried at each step."""


@torch.no_grad()
def ctc_greedy(logits_BTV: Tensor, valid_BT: Tensor) -> list[Found]:
    """Return the best path of each utterance, repeats merged and blanks removed; arguments as for ``ctc_beam``."""
    best_BT = logits_BTV.float().log_softmax(dim=-1).max(dim=-1)
    score_B = torch.where(valid_BT, best_BT.values, 0).sum(dim=1)
    labels_BT = torch.where(valid_BT, best_BT.indices, BLANK)
    found = []
    for labels_T, score in zip(labels_BT, score_B.tolist(), strict=True):
        merged = torch.unique_consecutive(labels_T).tolist()
        found.append(Found([label for label in merged if label != BLANK], score))
    return found


@torch.no_grad()
def ctc_beam(logits_BTV: Tensor, valid_BT: Tensor, beam_size: int) -> list[list[Found]]:
    """Return up to ``beam_size`` texts of each utterance with their log-probabilities, best first.

    Args:
        logits_BTV: ``Recognizer.ctc_logits``; T are CTC steps.
        valid_BT: bool, True where a step is real.
    """
    log_BTV = logits_BTV.double().log_softmax(dim=-1).cpu().numpy()
    lengths = valid_BT.sum(dim=1).tolist()
    return [
        [Found(list(text), score) for text, score in search_texts(log_TV[:length], beam_size)]
        for log_TV, length in zip(log_BTV, lengths, strict=True)
    ]


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
                if before == -np.inf:
                    continue
                longer = grown.setdefault((*text, label), [-np.inf, -np.inf])
                longer[1] = np.logaddexp(longer[1], before + log_V[label])
        ranked = sorted(grown.items(), key=lambda entry: -float(np.logaddexp(entry[1][0], entry[1][1])))
        beam = {text: (parts[0], parts[1]) for text, parts in ranked[:beam_size]}
    return [(text, float(np.logaddexp(*parts))) for text, parts in beam.items()]
