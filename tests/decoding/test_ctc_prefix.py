"""CTC prefix probabilities: against the sum over all alignments, and what must change nothing."""

import itertools

import numpy as np
import pytest
import torch
from reference_search import AllAlignments

from avspeech.decoding.ctc_prefix import CtcPrefixScorer
from avspeech.text.tokenizer import BLANK, EOS, START

LABELS = (1, 3, 4)  # EOS is a label of the head, too, but no text can hold it


def valid(*lengths: int) -> torch.Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def scorer(logits_BTV, valid_BT, times: int) -> CtcPrefixScorer:
    """Return a scorer of ``times`` texts per utterance."""
    return CtcPrefixScorer(logits_BTV.repeat_interleave(times, dim=0), valid_BT.repeat_interleave(times, dim=0))


def walk(scorer: CtcPrefixScorer, texts: list[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probability of each text as a beginning, by adding up the steps, and the last step."""
    total_R = torch.zeros(len(texts), dtype=torch.float64)
    step_RV = scorer.step(torch.full((len(texts),), START))
    for tokens in zip(*texts, strict=True):
        total_R += step_RV[range(len(texts)), tokens]
        step_RV = scorer.step(torch.tensor(tokens))
    return total_R, step_RV


@pytest.mark.parametrize("sharpness", [1, 5])
@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_equals_the_sum_over_all_alignments(sharpness, length):
    logits_BTV = sharpness * torch.randn(2, 5, 5)
    texts = list(itertools.product(LABELS, repeat=length))
    total_R, step_RV = walk(scorer(logits_BTV, valid(5, 4), len(texts)), texts * 2)
    for row, text in enumerate(texts * 2):
        every = AllAlignments(logits_BTV[row // len(texts)][: (5, 4)[row // len(texts)]])
        assert total_R[row].item() == pytest.approx(every.prefix(text), abs=1e-9)
        assert step_RV[row].tolist() == pytest.approx(every.scores(text, 5), abs=1e-9)


def test_padding_and_neighbours_change_nothing():
    logits_BTV = torch.randn(3, 8, 6)
    lengths, text = (8, 3, 5), (3, 3)
    logits_BTV[~valid(*lengths)] = torch.nan  # whatever stands there
    total_R, step_RV = walk(CtcPrefixScorer(logits_BTV, valid(*lengths)), [text] * 3)
    for row, length in enumerate(lengths):
        total_1, step_1V = walk(CtcPrefixScorer(logits_BTV[row : row + 1, :length], valid(length)), [text])
        torch.testing.assert_close(total_R[row], total_1[0], rtol=1e-12, atol=0)
        torch.testing.assert_close(step_RV[row], step_1V[0], rtol=1e-12, atol=0)


def test_reordered_hypotheses_take_their_past_along():
    logits_BTV = torch.randn(2, 6, 6)
    found = scorer(logits_BTV, valid(6, 5), 2)
    walk(found, [(3, 4), (4, 4), (5, 3), (3, 3)])
    found.reorder(torch.tensor([1, 1, 2, 3]))
    step_RV = found.step(torch.tensor([4, 5, 5, 3]))
    _, expected_RV = walk(scorer(logits_BTV, valid(6, 5), 2), [(4, 4, 4), (4, 4, 5), (5, 3, 5), (3, 3, 3)])
    torch.testing.assert_close(step_RV, expected_RV)


def test_long_and_unlikely_texts_equal_the_recursion_over_frames():
    frames, text = 200, tuple(torch.randint(3, 8, (60,)).tolist())
    logits_TV = 30 * torch.randn(frames, 20)
    log_TV = logits_TV.double().log_softmax(dim=-1).numpy()
    label_T, blank_T = np.full(frames + 1, -np.inf), np.pad(log_TV[:, BLANK].cumsum(), (1, 0))
    for previous, token in zip((None, *text), text, strict=False):
        before_T = blank_T if token == previous else np.logaddexp(label_T, blank_T)
        label_T, blank_T = np.full((2, frames + 1), -np.inf)
        starts_T = before_T[:-1] + log_TV[:, token]
        for t in range(frames):
            blank_T[t + 1] = log_TV[t, BLANK] + np.logaddexp(label_T[t], blank_T[t])
            label_T[t + 1] = np.logaddexp(log_TV[t, token] + label_T[t], starts_T[t])
    prefix = np.logaddexp.reduce(starts_T)
    assert prefix < -800, "less than the smallest double, or this tests nothing"
    total_R, step_RV = walk(CtcPrefixScorer(logits_TV[None], valid(frames)), [text])
    assert total_R[0].item() == pytest.approx(prefix, rel=1e-9)
    assert step_RV[0, EOS].item() == pytest.approx(np.logaddexp(label_T[-1], blank_T[-1]) - prefix, rel=1e-9)


def test_a_text_longer_than_the_clip_is_impossible_and_stays_so():
    scorer = CtcPrefixScorer(torch.randn(1, 2, 5), valid(2))
    total_R, step_RV = walk(scorer, [(3, 3)])  # two of a kind need a blank between them
    assert total_R.tolist() == [-torch.inf]
    assert (step_RV == -torch.inf).all()
    assert (scorer.step(torch.tensor([4])) == -torch.inf).all()
