"""CTC: probabilities of a beam are sums over all alignments, an alignment is the best of all paths."""

from itertools import groupby, product

import numpy as np
import pytest
import torch
from reference_search import AllAlignments

from avspeech.decoding.ctc import align_ctc, search_texts
from avspeech.text.tokenizer import BLANK

SEEDS = [*range(3), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 8))]


def random_log_TV(seed: int, steps: int = 5, labels: int = 4, sharpness: float = 1.0) -> np.ndarray:
    logits = sharpness * np.random.default_rng(seed).standard_normal((steps, labels))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_beam_without_limit_is_exact(seed):
    log_TV = random_log_TV(seed)
    truth = AllAlignments(torch.from_numpy(log_TV)).p
    found = search_texts(log_TV, beam_size=10_000)
    assert len(found) == len(truth)
    for text, score in found:
        assert np.exp(score) == pytest.approx(truth[text], rel=1e-9)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_are_torchs_ctc_loss(seed):
    log_TV = random_log_TV(seed, steps=8, labels=6, sharpness=3.0)
    text, score = search_texts(log_TV, beam_size=10_000)[0]
    if not text:
        pytest.skip("the empty text has no target for torch")
    given = (torch.from_numpy(log_TV)[:, None], *map(torch.tensor, ([text], [8], [len(text)])))
    assert score == pytest.approx(-float(torch.nn.functional.ctc_loss(*given, blank=BLANK, reduction="sum")), rel=1e-6)


def test_a_word_that_greedy_decoding_loses_is_found():
    """Three steps each prefer the blank a little; that one of them says the word is likelier than that none does."""
    assert search_texts(np.log(np.array([[0.55, 0.45]] * 3)), 8)[0][0] == (1,)


def test_no_steps_give_the_empty_text():
    assert search_texts(np.zeros((0, 4)), 4) == [((), 0.0)]


@pytest.mark.parametrize("tokens", [[1], [1, 2], [2, 2], [1, 2, 1], [1, 1, 2], [2, 2, 2]])
@pytest.mark.parametrize("seed", range(4))
def test_no_other_path_is_likelier(tokens, seed):
    log_TV = random_log_TV(seed, 5, 3, sharpness=2.0)
    paths = [path for path in product(range(3), repeat=5) if [k for k, _ in groupby(path) if k != BLANK] == tokens]
    best = max(paths, key=lambda path: sum(log_TV[t, label] for t, label in enumerate(path)))
    places = [[t for t, _ in group] for label, group in groupby(enumerate(best), lambda one: one[1]) if label != 0]
    assert align_ctc(log_TV, tokens) == [(place[0], place[-1] + 1) for place in places]


def test_a_text_longer_than_the_clip_has_no_alignment():
    assert align_ctc(random_log_TV(0, 2, 3), [1, 2, 1]) is None
    assert align_ctc(random_log_TV(0, 3, 3), [1, 1, 2]) is None  # equal tokens need a blank between
    assert align_ctc(np.zeros((0, 3)), [1]) is None
    assert align_ctc(random_log_TV(0, 4, 3), []) == []
