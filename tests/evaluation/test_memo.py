"""A model that remembers its encoders gives the same texts, and runs them once on each input."""

import pytest
import torch
from torch import nn

from avspeech.evaluation.memo import Remembered


class Counting(nn.Module):
    """Doubles, and counts how often."""

    def __init__(self):
        super().__init__()
        self.runs = 0

    def forward(self, x, valid=None):
        self.runs += 1
        return 2 * x


@torch.no_grad()
def test_the_same_input_runs_once_and_another_runs():
    counting = Counting()
    remembered = Remembered(counting, 1 << 20)
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(remembered(x, None), 2 * x)
    assert torch.equal(remembered(x.clone(), None), 2 * x)
    assert counting.runs == remembered.num_runs == 1
    x[1, 2] += 1e-6
    assert torch.equal(remembered(x, None), 2 * x), "what was kept answered for another input"
    assert counting.runs == 2


@torch.no_grad()
@pytest.mark.parametrize("other", [torch.arange(6.0).reshape(3, 2), torch.arange(6).reshape(2, 3)])
def test_shape_and_type_and_the_other_arguments_count(other):
    counting = Counting()
    remembered = Remembered(counting, 1 << 20)
    x = torch.arange(6.0).reshape(2, 3)
    remembered(x, None)
    assert remembered(other, None).shape == other.shape
    remembered(x, torch.ones(2, dtype=torch.bool))
    remembered(x, torch.zeros(2, dtype=torch.bool))
    assert counting.runs == 4


@torch.no_grad()
def test_a_full_memory_computes_anew_and_keeps_what_it_has():
    counting = Counting()
    remembered = Remembered(counting, 24)
    first, second = torch.zeros(6), torch.ones(6)
    for x in (first, second, first, second):
        assert torch.equal(remembered(x), 2 * x)
    assert counting.runs == 3


def test_gradients_are_refused():
    with pytest.raises(AssertionError, match="no gradient"):
        Remembered(Counting(), 100)(torch.zeros(1))
