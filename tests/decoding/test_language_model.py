"""The language-model hook; ``BigramTable`` and ``RunningSum`` are examples of how to write one."""

from dataclasses import dataclass

import pytest
import torch
from reference_search import VOCAB, decoder_scores, search

from avspeech.decoding.beam import beam_search
from avspeech.decoding.greedy import BEGIN, END
from avspeech.decoding.language_model import TokenModel


class Nothing:
    """State of a model that needs no more than the last token."""

    def reorder(self, rows_R):
        pass


class BigramTable:
    """The least there is: ``log_VV[a, b]`` is the log-probability of b after a."""

    def __init__(self, log_VV):
        self.log_VV = log_VV

    def start(self, num_rows, device):
        return Nothing()

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
        fading_LL = torch.where(ages_LL >= 0, 0.5**ages_LL, 0)
        return self.out(fading_LL @ self.embedding(tokens_RL))


@dataclass
class Sum:
    sum_RD: torch.Tensor

    def reorder(self, rows_R):
        self.sum_RD = self.sum_RD[rows_R]


class RunningSum:
    """``Summing`` with a state, so that a step costs the same however long the text."""

    def __init__(self, module):
        self.module = module

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
    alone = beam_search(decoder, *memory, 3, max_length=6)
    assert beam_search(decoder, *memory, 3, max_length=6, lm=TokenModel(module), lm_weight=0.0) == alone
    assert beam_search(decoder, *memory, 3, max_length=6, lm=TokenModel(module), lm_weight=1.0) != alone


def test_a_strong_model_forces_its_text(decoder, memory):
    log_VV = torch.full((VOCAB, VOCAB), -torch.inf)
    for before, after in [(BEGIN, 4), (4, 3), (3, 5), (5, END)]:
        log_VV[before, after] = 0
    for hypotheses in beam_search(decoder, *memory, 3, lm=BigramTable(log_VV), lm_weight=0.1):
        assert [one.tokens for one in hypotheses] == [[4, 3, 5]]


def test_a_state_is_reordered_with_its_beams(decoder, memory, module):
    afresh = beam_search(decoder, *memory, 4, max_length=8, lm=TokenModel(module), lm_weight=2.0)
    with_state = beam_search(decoder, *memory, 4, max_length=8, lm=RunningSum(module), lm_weight=2.0)
    for one, other in zip(afresh, with_state, strict=True):
        assert [hypothesis.tokens for hypothesis in one] == [hypothesis.tokens for hypothesis in other]


@torch.no_grad()
def test_equals_the_plain_search(decoder, memory, module):
    beams = beam_search(decoder, *memory, 3, 1.0, 6, lm=TokenModel(module), lm_weight=0.5)
    for row in range(3):
        memory_BTD, valid_BT = memory[0][row : row + 1], memory[1][row : row + 1]

        def score_next(text, memory_BTD=memory_BTD, valid_BT=valid_BT):
            language = module(torch.tensor([[BEGIN, *text]]))[0, -1].log_softmax(dim=-1).tolist()
            pairs = zip(decoder_scores(decoder, memory_BTD, valid_BT, text), language, strict=True)
            return [attention + 0.5 * lm for attention, lm in pairs]

        expected = search(score_next, 3, 1.0, limit=6)
        assert [tuple(one.tokens) for one in beams[row]] == [text for text, _ in expected]
        assert [one.score for one in beams[row]] == pytest.approx([score for _, score in expected], abs=1e-4)


def test_a_model_of_other_tokens_is_refused(decoder, memory):
    with pytest.raises(ValueError, match=r"gave \(6, 9\) log-probabilities, wanted 6 hypotheses x 6 tokens"):
        beam_search(decoder, *memory, 2, lm=BigramTable(torch.zeros(9, 9)))
    with pytest.raises(ValueError, match=r"lm_weight=-1 must not be negative"):
        beam_search(decoder, *memory, 2, lm=BigramTable(torch.zeros(6, 6)), lm_weight=-1)
