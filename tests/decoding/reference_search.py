"""The searches and CTC's sums again, as slowly and plainly as they can be written."""

import itertools
import math
from collections.abc import Callable

import torch

from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.ctc_prefix import CtcPrefixScorer
from avspeech.decoding.recognizer import length_limits, search_text
from avspeech.models.encoder import EncoderConfig
from avspeech.models.frontends import VideoConfig
from avspeech.models.memory import Memory
from avspeech.text.tokenizer import BLANK, EOS, PAD, START

VOCAB = 6
VIDEO = VideoConfig(input_size=24, widths=(4,), blocks=(1,), stem_width=4)
ENCODER = EncoderConfig(16, 1, 2, 16, position_kernel=8, position_groups=2, video=VIDEO)  # the least there is

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
                too_soon, too_late = token == EOS and length < min_length, token != EOS and length == limit
                if token != PAD and not too_soon and not too_late and added > -math.inf:
                    candidates.append(((*text, token), total + added))
        candidates = sorted(candidates, key=lambda one: -one[1])[: 2 * beam_size]
        for text, total in candidates[:beam_size]:
            if text[-1] == EOS and len(ended) < beam_size:
                ended.append((text[:-1], total / len(text) ** penalty))
        alive = [one for one in candidates if one[0][-1] != EOS][:beam_size]
        if len(ended) == beam_size:
            break
    return sorted(ended, key=lambda one: -one[1])


def beam_search(decoder, memory, beam_size, length_penalty=1.0, max_tokens=None, *, ctc_BTV=None, lm=None, **options):
    """Return what the package finds for each utterance, as (tokens, score, parts), best first."""
    config = DecodingConfig("joint", beam_size, length_penalty=length_penalty, max_tokens=max_tokens, **options)
    ctc = None
    if ctc_BTV is not None:
        steps_BT = memory.valid_BT.repeat_interleave(ctc_BTV.shape[1] // memory.valid_BT.shape[1], dim=1)
        ctc = CtcPrefixScorer(ctc_BTV, steps_BT)
    limit_B = length_limits(memory.valid_BT, config, has_audio=True)
    found, scores = search_text(decoder, memory, limit_B, config, ctc, lm)
    return [
        [(tuple(one.tokens), score, one.parts) for one, score in zip(*both, strict=True)]
        for both in zip(found, scores, strict=True)
    ]


def alone(memory: Memory, row: int) -> Memory:
    """Return one utterance without its padding."""
    length = int(memory.valid_BT[row].sum())
    return Memory(memory.memory_BTD[row : row + 1, :length], memory.valid_BT[row : row + 1, :length])


@torch.no_grad()
def decoder_scores(decoder, memory: Memory, text: Text) -> list[float]:
    """Log-probabilities of the token after ``text``, from the whole text and without a cache."""
    return decoder(torch.tensor([[START, *text]]), memory)[0, -1].log_softmax(dim=-1).tolist()


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
        after = [self.whole(text) if token == EOS else self.prefix((*text, token)) for token in range(vocab)]
        return [-math.inf if token == BLANK or p == -math.inf else p - before for token, p in enumerate(after)]


def _log(p: float) -> float:
    return math.log(p) if p > 0 else -math.inf
