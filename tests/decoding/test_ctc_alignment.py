"""The alignment is the best of all paths that spell the text, found by trying every one."""

from itertools import groupby, product

import numpy as np
import pytest

from avspeech.decoding.ctc import align_ctc


def spelled(path):
    return [label for label, _ in groupby(path) if label != 0]


def log_probs(steps, vocab, seed):
    logits_TV = np.random.default_rng(seed).normal(scale=2, size=(steps, vocab))
    return logits_TV - np.log(np.exp(logits_TV).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("tokens", [[1], [1, 2], [2, 2], [1, 2, 1], [1, 1, 2], [2, 2, 2]])
@pytest.mark.parametrize("seed", range(4))
def test_no_other_path_is_likelier(tokens, seed):
    log_TV = log_probs(5, 3, seed)
    paths = [path for path in product(range(3), repeat=5) if spelled(path) == tokens]
    best = max(paths, key=lambda path: sum(log_TV[t, label] for t, label in enumerate(path)))
    places = [[t for t, _ in group] for label, group in groupby(enumerate(best), lambda one: one[1]) if label != 0]
    assert align_ctc(log_TV, tokens) == [(place[0], place[-1] + 1) for place in places]


def test_a_text_longer_than_the_clip_has_no_alignment():
    assert align_ctc(log_probs(2, 3, 0), [1, 2, 1]) is None
    assert align_ctc(log_probs(3, 3, 0), [1, 1, 2]) is None  # equal tokens need a blank between
    assert align_ctc(np.zeros((0, 3)), [1]) is None
    assert align_ctc(log_probs(4, 3, 0), []) == []
