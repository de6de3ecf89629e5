"""The searches and CTC's sums again, as slowly and plainly as they can be written."""

import itertools
import math
from collections.abc import Callable

import torch

from avspeech.decoding.greedy import BEGIN, END, PAD
from avspeech.models.memory import Memory

VOCAB = 6
BLANK = 0

Text = tuple[int, ...]


def search(
    score_next: Callable[[Text], list[float]], beam_size: int, penalty: float, limit: int, min_length: int = 0
) -> list[tuple[Text, float]]:
    """Beam search by the rules of AV-HuBERT's decoder; ``score_next`` gives what each next token adds."""
    alive: list[tuple[Text, float]] = [((), 0.0)]
    ended: list[tuple[Text, float]] = []
    for length in range(limit + 1):
        candidates = []
        for text, total in alive:
            for token, added in enumerate(score_next(text)):
                too_soon, too_late = token == END and length < min_length, token != END and length == limit
                if token != PAD and not too_soon and not too_late and added > -math.inf:
                    candidates.append(((*text, token), total + added))
        candidates = sorted(candidates, key=lambda one: -one[1])[: 2 * beam_size]
        for text, total in candidates[:beam_size]:
            if text[-1] == END and len(ended) < beam_size:
                ended.append((text[:-1], total / len(text) ** penalty))
        alive = [one for one in candidates if one[0][-1] != END][:beam_size]
        if len(ended) == beam_size:
            break
    return sorted(ended, key=lambda one: -one[1])


@torch.no_grad()
def decoder_scores(decoder, memory_BTD, valid_BT, text: Text) -> list[float]:
    """Log-probabilities of the token after ``text``, from the whole text and without a cache."""
    return decoder(torch.tensor([[BEGIN, *text]]), Memory(memory_BTD, valid_BT))[0, -1].log_softmax(dim=-1).tolist()


class AllAlignments:
    """CTC's probabilities of one utterance by adding up every path through its frames."""

    def __init__(self, logits_TV: torch.Tensor) -> None:
        p_TV = logits_TV.double().softmax(dim=-1).tolist()
        self.p: dict[Text, float] = {}
        for path in itertools.product(range(len(p_TV[0])), repeat=len(p_TV)):
            text = tuple(label for label, _ in itertools.groupby(path) if label != BLANK)
            self.p[text] = self.p.get(text, 0) + math.prod(row[label] for row, label in zip(p_TV, path, strict=True))

    def whole(self, text: Text) -> float:
        """Log-probability of exactly this text."""
        return _log(self.p.get(text, 0))

    def prefix(self, text: Text) -> float:
        """Log-probability of all texts that begin so."""
        return _log(math.fsum(p for other, p in self.p.items() if other[: len(text)] == text))

    def scores(self, text: Text, vocab: int) -> list[float]:
        """What each next token changes, as ``CtcPrefixScorer.step``."""
        before = self.prefix(text)
        after = [self.whole(text) if token == END else self.prefix((*text, token)) for token in range(vocab)]
        return [-math.inf if token == BLANK or p == -math.inf else p - before for token, p in enumerate(after)]


def _log(p: float) -> float:
    return math.log(p) if p > 0 else -math.inf
