"""The language-model hook; ``BigramTable`` and ``RunningSum`` are examples of how to write one."""

from dataclasses import dataclass

import pytest
import torch
from reference_search import VOCAB, alone, beam_search, decoder_scores, search

from avspeech.decoding.language_model import TokenModel
from avspeech.text.tokenizer import EOS, START


@dataclass
class BigramTable:
    """The least there is, its own state: ``log_VV[a, b]`` is the log-probability of b after a."""

    log_VV: torch.Tensor

    def start(self, num_rows, device):
        return self

    def reorder(self, rows_R):
        pass

    def step(self, tokens_R, state):
        return self.log_VV[tokens_R]


class Summing(torch.nn.Module):
    """A module that reads the whole text: the sum of its embeddings, each half as heavy as the next, to logits."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCAB, 8)
        self.out = torch.nn.Linear(8, VOCAB)

    def forward(self, tokens_RL):
        length = tokens_RL.shape[1]
        ages_LL = torch.arange(length)[:, None] - torch.arange(length)
        return self.out(torch.where(ages_LL >= 0, 0.5**ages_LL, 0) @ self.embedding(tokens_RL))


@dataclass
class Sum:
    sum_RD: torch.Tensor

    def reorder(self, rows_R):
        self.sum_RD = self.sum_RD[rows_R]


@dataclass
class RunningSum:
    """``Summing`` with a state, so that a step costs the same however long the text."""

    module: Summing

    def start(self, num_rows, device):
        return Sum(torch.zeros(num_rows, 8, device=device))

    def step(self, tokens_R, state):
        state.sum_RD = state.sum_RD / 2 + self.module.embedding(tokens_R)
        return self.module.out(state.sum_RD).log_softmax(dim=-1)


@pytest.fixture
def module():
    torch.manual_seed(5)
    return Summing().eval()


def test_a_weight_of_zero_changes_nothing(decoder, memory, module):
    given, lm = (decoder, memory, 3, 1.0, 6), TokenModel(module)
    assert beam_search(*given, lm=lm, lm_weight=0.0) == beam_search(*given) != beam_search(*given, lm=lm, lm_weight=1.0)


def test_a_strong_model_forces_its_text(decoder, memory):
    log_VV = torch.full((VOCAB, VOCAB), -torch.inf)
    for before, after in [(START, 4), (4, 3), (3, 5), (5, EOS)]:
        log_VV[before, after] = 0
    for hypotheses in beam_search(decoder, memory, 3, lm=BigramTable(log_VV), lm_weight=0.1):
        assert [tokens for tokens, *_ in hypotheses] == [(4, 3, 5)]


def test_a_state_is_reordered_with_its_beams(decoder, memory, module):
    afresh = beam_search(decoder, memory, 4, 1.0, 8, lm=TokenModel(module), lm_weight=2.0)
    with_state = beam_search(decoder, memory, 4, 1.0, 8, lm=RunningSum(module), lm_weight=2.0)
    for one, other in zip(afresh, with_state, strict=True):
        assert [tokens for tokens, *_ in one] == [tokens for tokens, *_ in other]


@torch.no_grad()
def test_equals_the_plain_search(decoder, memory, module):
    beams = beam_search(decoder, memory, 3, 1.0, 6, lm=TokenModel(module), lm_weight=0.5)
    for row in range(3):

        def score_next(text, part=alone(memory, row)):
            language = module(torch.tensor([[START, *text]]))[0, -1].log_softmax(dim=-1).tolist()
            pairs = zip(decoder_scores(decoder, part, text), language, strict=True)
            return [attention + 0.5 * lm for attention, lm in pairs]

        expected = search(score_next, 3, 1.0, limit=6)
        assert [tokens for tokens, *_ in beams[row]] == [text for text, _ in expected]
        assert [score for _, score, _ in beams[row]] == pytest.approx([score for _, score in expected], abs=1e-4)


def test_a_model_of_other_tokens_is_refused(decoder, memory):
    with pytest.raises(ValueError, match=r"shape \(3, 9\), wanted \(3, 6\)"):
        beam_search(decoder, memory, 2, lm=BigramTable(torch.zeros(9, 9)))
