"""Intervals cover what they say they cover."""

from time import process_time

import numpy as np
import pytest

from avspeech.evaluation.bootstrap import paired_difference, wer_interval
from avspeech.evaluation.error_rate import ErrorCounts


def binomial_counts(rng: np.random.Generator, utterances: int, p: float, words: int = 6) -> list[ErrorCounts]:
    return [ErrorCounts(num_words=words, substitutions=int(errors)) for errors in rng.binomial(words, p, utterances)]


def test_interval_covers_a_known_rate_as_often_as_it_says():
    rng, covered, trials = np.random.default_rng(0), 0, 300
    for trial in range(trials):
        low, high = wer_interval(binomial_counts(rng, 100, 0.2), seed=trial, num_resamples=500)
        covered += low <= 0.2 <= high
    assert 0.91 <= covered / trials <= 0.98


def test_interval_width_is_that_of_the_binomial():
    low, high = wer_interval(binomial_counts(np.random.default_rng(1), 2000, 0.2))
    expected = 2 * 1.96 * np.sqrt(0.2 * 0.8 / (2000 * 6))
    assert high - low == pytest.approx(expected, rel=0.1)


def test_same_seed_same_interval():
    counts = binomial_counts(np.random.default_rng(2), 30, 0.3)
    assert wer_interval(counts, seed=5) == wer_interval(counts, seed=5)
    assert wer_interval(counts, seed=5) != wer_interval(counts, seed=6)


def test_a_system_does_not_differ_from_itself():
    counts = binomial_counts(np.random.default_rng(3), 40, 0.3)
    assert paired_difference(counts, counts) == (0, 0, 0)


def test_equally_good_systems_differ_by_an_interval_around_zero():
    rng, covered, trials = np.random.default_rng(4), 0, 200
    for trial in range(trials):
        a, b = binomial_counts(rng, 80, 0.3), binomial_counts(rng, 80, 0.3)
        difference = paired_difference(a, b, seed=trial, num_resamples=500)
        covered += difference.low <= 0 <= difference.high
    assert covered / trials >= 0.9


def test_pairing_narrows_the_interval_where_utterances_are_hard_for_both():
    rng = np.random.default_rng(5)
    hardness = rng.beta(0.5, 0.5, 200)
    a = [ErrorCounts(num_words=6, substitutions=int(e)) for e in rng.binomial(6, hardness)]
    b = [ErrorCounts(num_words=6, substitutions=int(e)) for e in rng.binomial(6, np.clip(hardness + 0.05, 0, 1))]
    paired = paired_difference(a, b)
    low, high = wer_interval(a)
    assert paired.high - paired.low < (high - low) * 0.8
    assert paired.low < paired.diff < paired.high


def test_pairs_of_other_references_are_refused():
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_difference([ErrorCounts(3)], [ErrorCounts(4)])
    with pytest.raises(ValueError, match="1 and 2 utterances"):
        paired_difference([ErrorCounts(3)], [ErrorCounts(3), ErrorCounts(3)])


def test_drawing_speakers_widens_the_interval_where_speakers_differ():
    rng = np.random.default_rng(6)
    counts, speakers = [], []
    for speaker, p in enumerate(rng.beta(1, 3, 20)):
        counts += binomial_counts(rng, 20, p)
        speakers += [f"s{speaker}"] * 20
    low, high = wer_interval(counts)
    low_by_speaker, high_by_speaker = wer_interval(counts, speakers=speakers)
    assert high_by_speaker - low_by_speaker > 1.5 * (high - low)
    each_alone = wer_interval(counts, speakers=[str(i) for i in range(len(counts))])
    assert each_alone == pytest.approx((low, high), abs=0.005)


def test_what_cannot_be_drawn_from_is_refused():
    with pytest.raises(ValueError, match="no utterance"):
        wer_interval([])
    with pytest.raises(ValueError, match="'s1' is the only one"):
        wer_interval([ErrorCounts(3), ErrorCounts(3)], speakers=["s1", "s1"])
    with pytest.raises(ValueError, match="1 speakers were given for 2"):
        wer_interval([ErrorCounts(3), ErrorCounts(3)], speakers=["s1"])


def test_references_without_words_give_no_nan():
    assert wer_interval([ErrorCounts(), ErrorCounts(insertions=1)]) == pytest.approx((0, 2))


def test_ten_thousand_resamples_of_a_large_test_set_are_quick():
    counts = binomial_counts(np.random.default_rng(7), 1321, 0.1)  # LRS3's test set
    start = process_time()
    wer_interval(counts)
    assert process_time() - start < 2
