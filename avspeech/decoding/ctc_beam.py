"""CTC with a beam of texts: what counts is a text's probability over all its alignments, not its best one.

Graves et al. 2006 (section 3.2, prefix search) and Hannun et al. 2014 (arXiv:1408.2873, algorithm 1, without a language
model). Greedy decoding loses a word whose probability is spread over several steps, each of which likes the blank more.
"""

import numpy as np
import torch
from torch import Tensor

from avspeech.decoding.greedy import TokenHypothesis
from avspeech.models.recognizer import Recognizer
from avspeech.objectives.text_loss import BLANK

CANDIDATES = 20
"""Labels that are tried at each step, the likeliest ones."""


@torch.no_grad()
def ctc_beam(model: Recognizer, memory_BTD: Tensor, valid_BT: Tensor, beam_size: int) -> list[list[TokenHypothesis]]:
    """Return up to ``beam_size`` texts of each utterance, best first, with the log-probability of each.

    Args:
        model: with a CTC head.
        memory_BTD: of its encoder.
        valid_BT: bool, True where a frame is real.
        beam_size: texts that are kept from step to step.
    """
    log_BTV = model.ctc_logits(memory_BTD).double().log_softmax(dim=-1).cpu().numpy()
    steps_B = (valid_BT.sum(dim=1) * model.config.ctc_upsample).tolist()
    return [
        [TokenHypothesis(list(text), score) for text, score in search_texts(log_TV[:steps], beam_size)]
        for log_TV, steps in zip(log_BTV, steps_B, strict=True)
    ]


def search_texts(log_TV: np.ndarray, beam_size: int) -> list[tuple[tuple[int, ...], float]]:
    """Return texts and their log-probabilities, best first.

    Args:
        log_TV: log-probabilities of the labels at each step; ``BLANK`` is one of them.
        beam_size: texts that are kept from step to step.
    """
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}
    """Text -> log-probabilities of its alignments that end in a blank, and of those that end in its last label."""
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
                # A label twice in a row is one label, unless a blank parts them.
                before = blank if text and text[-1] == label else total
                if before == -np.inf:
                    continue
                longer = grown.setdefault((*text, label), [-np.inf, -np.inf])
                longer[1] = np.logaddexp(longer[1], before + log_V[label])
        ranked = sorted(grown.items(), key=lambda entry: -float(np.logaddexp(entry[1][0], entry[1][1])))
        beam = {text: (parts[0], parts[1]) for text, parts in ranked[:beam_size]}
    return [(text, float(np.logaddexp(*parts))) for text, parts in beam.items()]
