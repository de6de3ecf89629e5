"""Balanced epochs: shares of languages and corpora by their exponents."""

import itertools

import numpy as np
import pytest

from avspeech.data.augment import AugmentConfig
from avspeech.data.balance import Balance, BalanceConfig
from avspeech.data.batching import BatchConfig, TrainingBatches
from avspeech.data.dataset import AVDataset, SampleKey
from avspeech.manifest import read_manifest

LANGUAGE = np.repeat([0, 1, 2], [700, 250, 50])
CORPUS = np.concatenate([np.repeat([0, 1], [650, 50]), np.repeat([0, 2], [200, 50]), np.full(50, 1)])
GROUP = LANGUAGE * 3 + CORPUS


def shares_in_words(language, corpus):
    """Return {group: expected clips an epoch}, mHuBERT-147's two formulas, one group at a time."""
    sizes = {one: int((one == LANGUAGE).sum()) for one in set(LANGUAGE.tolist())}
    p_language = {one: (size / 1000) ** language for one, size in sizes.items()}
    expected = {}
    for one, size in sizes.items():
        here = CORPUS[one == LANGUAGE]
        p_corpus = {name: ((here == name).sum() / size) ** corpus for name in set(here.tolist())}
        for name, p in p_corpus.items():
            expected[one * 3 + name] = 1000 * p_language[one] / sum(p_language.values()) * p / sum(p_corpus.values())
    return expected


@pytest.mark.parametrize("exponents", [(0.7, 0.9), (0.0, 0.0), (1.0, 0.5), (0.3, 1.0), (2.0, 1.0)])
def test_groups_get_the_shares_of_their_exponents(exponents):
    balance = Balance(BalanceConfig(*exponents), LANGUAGE, CORPUS)
    epochs = [balance.draw(np.random.default_rng(seed)) for seed in range(200)]
    assert all(times.sum() == 1000 for times in epochs)
    for group, expected in shares_in_words(*exponents).items():
        counts = np.array([times[group == GROUP].sum() for times in epochs])
        assert abs(counts - expected).max() < 1 + 1e-9
        assert counts.mean() == pytest.approx(expected, abs=0.15)  # five standard errors of a rounding


def test_clips_of_a_group_come_equally_often_and_without_replacement():
    balance = Balance(BalanceConfig(0.0, 0.0), LANGUAGE, CORPUS)
    epochs = np.stack([balance.draw(np.random.default_rng(seed)) for seed in range(300)])
    for group in set(GROUP.tolist()):
        times = epochs[:, group == GROUP]
        assert (np.ptp(times, axis=1) <= 1).all()
        mean = times.mean()
        part = mean % 1  # binomial interval of five standard errors for every clip
        assert abs(times.mean(axis=0) - mean).max() < 5 * np.sqrt(max(part * (1 - part), 0.003) / 300)
    assert len({epoch.tobytes() for epoch in epochs}) == 300


def test_exponents_of_one_take_every_clip_once():
    assert (Balance(BalanceConfig(), LANGUAGE, CORPUS).draw(np.random.default_rng(0)) == 1).all()


def test_a_rare_group_gets_its_share_over_many_epochs():
    balance = Balance(BalanceConfig(2.0, 1.0), np.repeat([0, 1], [990, 10]), np.zeros(1000, int))
    counts = [balance.draw(np.random.default_rng(seed))[990:].sum() for seed in range(1000)]
    assert set(counts) == {0, 1} and np.mean(counts) == pytest.approx(1000 / (99**2 + 1), rel=0.3)


def keys_of(seed, epoch, **balance):
    lengths = 20 + np.arange(1000) % 90
    order = TrainingBatches(lengths, BatchConfig(900, 20), seed, balance=Balance(**balance) if balance else None)
    batches = itertools.takewhile(lambda batch: batch[0].epoch <= epoch, order)
    return lengths, [batch for batch in batches if batch[0].epoch == epoch]


def test_a_balanced_epoch_is_batched_by_length_and_numbers_the_copies_of_a_clip():
    balance = {"config": BalanceConfig(0.2, 0.5), "language_N": LANGUAGE, "corpus_N": CORPUS}
    lengths, batches = keys_of(5, 1, **balance)
    taken = sorted((key.index, key.repeat) for batch in batches for key in batch)
    times = Balance(**balance).draw(np.random.default_rng((5, 1)))
    assert taken == [(index, repeat) for index, count in enumerate(times.tolist()) for repeat in range(count)]
    assert times.max() > 3
    for batch in batches:
        of = [lengths[key.index] for key in batch]
        assert max(of) * len(of) <= 900 and min(of) > 0.85 * max(of) - 1
    assert batches == keys_of(5, 1, **balance)[1] != keys_of(6, 1, **balance)[1]


def test_every_copy_of_a_clip_has_draws_of_its_own(corpus):
    utterances = read_manifest(corpus / "train.jsonl")
    dataset = AVDataset(utterances, augment=AugmentConfig(max_frames=5))
    first, again, other = (dataset[SampleKey(2, 1, 9, None, repeat)] for repeat in (0, 0, 1))
    assert (first.audio_TF == again.audio_TF).all() and not (first.audio_TF == other.audio_TF).all()


@pytest.mark.parametrize("name", ["language", "corpus"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_an_exponent_below_0_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"balance\.{name}={value}"):
        BalanceConfig(**{name: value})
