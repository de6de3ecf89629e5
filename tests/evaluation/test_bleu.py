"""BLEU against sacrebleu itself, and its interval."""

import random

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from avspeech.evaluation import bootstrap
from avspeech.evaluation.bleu import bleu_interval, bleu_signature, corpus_bleu, count_ngrams


def counted(references, hypotheses):
    return [count_ngrams(*pair) for pair in zip(references, hypotheses, strict=True)]


def test_it_is_sacrebleus_corpus_score():
    draw = random.Random(0)
    for _ in range(200):  # short texts of few words: orders without a match and without n-grams occur
        size = 2 * draw.randrange(1, 5)
        texts = [" ".join(draw.choice("abcdef") for _ in range(draw.randrange(9))) for _ in range(size)]
        references, hypotheses = texts[::2], texts[1::2]
        expected = BLEU().corpus_score(hypotheses, [references]).score
        assert corpus_bleu(counted(references, hypotheses)) == pytest.approx(expected, abs=1e-9)


def test_case_and_punctuation_count_and_nothing_heard_is_zero():
    reference = "The cat, they say, sat on the mat."
    exact = corpus_bleu(counted([reference], [reference]))
    assert exact == pytest.approx(100)
    assert corpus_bleu(counted([reference], [reference.lower()])) < exact
    assert corpus_bleu(counted([reference], ["The cat they say sat on the mat"])) < exact
    assert corpus_bleu(counted([reference], [""])) == corpus_bleu([]) == 0


@pytest.mark.slow
def test_the_interval_is_that_of_resampled_corpora(monkeypatch):
    rng = random.Random(1)
    references = [" ".join(rng.choice("abcdefgh") for _ in range(12)) for _ in range(30)]
    hypotheses = [" ".join(word if rng.random() < 0.8 else "x" for word in line.split()) for line in references]
    counts = counted(references, hypotheses)
    drawn = np.random.default_rng(3).integers(30, size=(400, 30))
    scores = [BLEU().corpus_score([hypotheses[i] for i in row], [[references[i] for i in row]]).score for row in drawn]
    expected = np.percentile(scores, [2.5, 97.5])
    assert bleu_interval(counts, seed=3, num_resamples=400) == pytest.approx(expected, abs=1e-9)
    monkeypatch.setattr(bootstrap, "_ENTRIES_AT_ONCE", 90)  # drawn in parts, nothing changes
    bootstrap._times_drawn.cache_clear()
    assert bleu_interval(counts, seed=3, num_resamples=400) == pytest.approx(expected, abs=1e-9)
    low, high = bleu_interval(counts)
    assert low < corpus_bleu(counts) < high
    with pytest.raises(ValueError, match="at least one scored utterance"):
        bleu_interval([])


def test_whole_speakers_are_drawn_where_two_are_known():
    rng, references, hypotheses = random.Random(2), [], []
    for right in [rng.random() for _ in range(12)]:
        for _ in range(10):
            words = [rng.choice("abcdefgh") for _ in range(12)]
            references.append(" ".join(words))
            hypotheses.append(" ".join(word if rng.random() < right else "x" for word in words))
    counts = counted(references, hypotheses)
    low, high = bleu_interval(counts)
    low_by_speaker, high_by_speaker = bleu_interval(counts, speakers=[f"s{i // 10}" for i in range(120)])
    assert high_by_speaker - low_by_speaker > 1.5 * (high - low)
    assert bleu_interval(counts, speakers=["x"] * len(counts)) == (low, high)


def test_the_signature_says_how_it_was_counted():
    assert bleu_signature().startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
