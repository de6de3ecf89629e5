"""A model that remembers its encoders gives the same texts, and runs them once on each input."""

import pytest
import torch
from torch import nn

from avspeech.evaluation.memo import Remembered, remember_streams
from avspeech.models.recognizer import Recognizer, RecognizerConfig
from tests.models.tiny_whisper import LIPS, make_flamingo, make_inputs


class Counting(nn.Module):
    """Doubles, and counts how often."""

    runs = 0

    def forward(self, x, valid=None):
        self.runs += 1
        return 2 * x


@torch.no_grad()
def test_the_same_input_runs_once_and_another_runs():
    counting, x = Counting(), torch.arange(6.0).reshape(2, 3)
    remembered = Remembered(counting, 1 << 20)
    for same in (x, x.clone()):
        assert torch.equal(remembered(same, None), 2 * x)
    assert counting.runs == remembered.num_runs == 1
    x[1, 2] += 1e-6
    assert torch.equal(remembered(x, None), 2 * x), "what was kept answered for another input"
    assert counting.runs == 2


@torch.no_grad()
@pytest.mark.parametrize("other", [torch.arange(6.0).reshape(3, 2), torch.arange(6).reshape(2, 3)])
def test_shape_and_type_and_the_other_arguments_count(other):
    counting, x = Counting(), torch.arange(6.0).reshape(2, 3)
    remembered = Remembered(counting, 1 << 20)
    for valid in (None, torch.ones(2, dtype=torch.bool), torch.zeros(2, dtype=torch.bool)):
        remembered(x, valid)
    assert remembered(other, None).shape == other.shape
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


@torch.no_grad()
def test_models_that_remember_give_the_same_and_encode_once():
    flamingo = make_flamingo()
    recognizer = Recognizer(RecognizerConfig(LIPS, decoder=None, ctc=True), vocab_size=9).eval()
    logmel_BAF, video_BTHW, _ = make_inputs(batch=2)
    fbank_BTF = torch.randn(2, 12, 104, generator=torch.Generator().manual_seed(0))
    valid_BT = torch.tensor([[True] * 12, [True] * 9 + [False] * 3])

    def asked(audio_scale):
        memory = flamingo.encode_streams(audio_scale * logmel_BAF, None, video_BTHW, valid_BT)
        return memory.memory_BTD, memory.video_BTD, recognizer(audio_scale * fbank_BTF, video_BTHW, valid_BT)

    expected = [asked(scale) for scale in (1.0, 2.0, 1.0)]
    remembered = [*remember_streams(flamingo), *remember_streams(recognizer)]
    for before, after in zip(expected, [asked(scale) for scale in (1.0, 2.0, 1.0)], strict=True):
        for one, other in zip(before, after, strict=True):
            assert torch.equal(one, other)
    # Whisper's audio encoder heard two sounds; lip encoder and lip front end saw one clip
    assert [one.num_runs for one in remembered] == [2, 1, 1]
