"""CTC with a beam: its probabilities are sums over all alignments, and a wide beam finds the likeliest text."""

import itertools

import numpy as np
import pytest
import torch

from avspeech.decoding.ctc import search_texts
from avspeech.text.tokenizer import BLANK


def random_log_TV(seed: int, steps: int = 5, labels: int = 4, sharpness: float = 1.0) -> np.ndarray:
    logits = sharpness * np.random.default_rng(seed).standard_normal((steps, labels))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def all_texts(log_TV: np.ndarray) -> dict[tuple[int, ...], float]:
    """Return the probability of every text, by adding up every path there is."""
    texts: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(log_TV.shape[1]), repeat=len(log_TV)):
        text = tuple(label for label, _ in itertools.groupby(path) if label != BLANK)
        texts[text] = texts.get(text, 0.0) + float(np.exp(sum(log_TV[t, label] for t, label in enumerate(path))))
    return texts


@pytest.mark.parametrize("seed", range(8))
def test_a_beam_without_limit_is_exact(seed):
    log_TV = random_log_TV(seed)
    truth = all_texts(log_TV)
    found = search_texts(log_TV, beam_size=10_000)
    assert len(found) == len(truth)
    for text, score in found:
        assert np.exp(score) == pytest.approx(truth[text], rel=1e-9)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


@pytest.mark.parametrize("seed", range(8))
def test_scores_are_torchs_ctc_loss(seed):
    log_TV = random_log_TV(seed, steps=8, labels=6, sharpness=3.0)
    text, score = search_texts(log_TV, beam_size=10_000)[0]
    if not text:
        pytest.skip("the empty text has no target for torch")
    loss = torch.nn.functional.ctc_loss(
        torch.from_numpy(log_TV)[:, None], torch.tensor([text]), torch.tensor([8]), torch.tensor([len(text)]),
        blank=BLANK, reduction="sum",
    )  # fmt: skip
    assert score == pytest.approx(-float(loss), rel=1e-6)


def test_a_word_that_greedy_decoding_loses_is_found():
    """Three steps each prefer the blank a little; that one of them says the word is likelier than that none does."""
    log_TV = np.log(np.array([[0.55, 0.45]] * 3))
    assert search_texts(log_TV, 8)[0][0] == (1,)


def test_repeats_need_a_blank_between():
    assert search_texts(np.log(np.array([[0.01, 0.99]] * 3)), 8)[0][0] == (1,)
    parted = np.log(np.array([[0.01, 0.99], [0.99, 0.01], [0.01, 0.99]]))
    assert search_texts(parted, 8)[0][0] == (1, 1)


def test_no_steps_give_the_empty_text():
    assert search_texts(np.zeros((0, 4)), 4) == [((), 0.0)]
