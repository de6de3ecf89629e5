"""A sample of frames is uniform, bounded, and the same whatever order the clips come in."""

import numpy as np
import pytest

from avspeech.units.sampling import FrameSample
from tests.refusals import raises


def clips(count=40, longest=30, width=3):
    ends = np.cumsum(np.random.default_rng(0).integers(1, longest, count))
    numbers_MF = np.arange(ends[-1], dtype=np.float32)[:, None].repeat(width, axis=1)  # every vector is its own number
    return np.split(numbers_MF, ends[:-1])


def sampled(rows, size, order=None, seed=0):
    sample = FrameSample(size, seed)
    for clip in range(len(rows)) if order is None else order:
        sample.add(int(clip), rows[clip])
    return sample


@pytest.mark.parametrize("size", [1, 7, 100, 400])
def test_the_order_of_the_clips_changes_nothing(size):
    rows = clips()
    forwards, backwards = sampled(rows, size).vectors_MF(), sampled(rows, size, range(len(rows))[::-1]).vectors_MF()
    assert np.array_equal(forwards, backwards)
    assert (forwards.shape, forwards.dtype) == ((size, 3), np.float32)
    assert (np.diff(forwards[:, 0]) > 0).all()  # in the order of the manifest, none twice
    assert not np.array_equal(forwards, sampled(rows, size, seed=1).vectors_MF())


@pytest.mark.parametrize("size", [None, 10_000])
def test_a_limit_that_is_not_reached_keeps_everything_in_order(size):
    rows = clips()
    sample = sampled(rows, size, np.random.default_rng(1).permutation(len(rows)))
    assert np.array_equal(sample.vectors_MF(), np.concatenate(rows))
    assert sample.num_seen == sum(map(len, rows))


def test_every_frame_has_the_same_chance():
    rows = clips(count=10, longest=20)
    total, draws, size = sum(map(len, rows)), 500, 20
    counts = np.zeros(total)
    for seed in range(draws):
        counts[sampled(rows, size, seed=seed).vectors_MF()[:, 0].astype(int)] += 1
    expected = draws * size / total
    deviation = np.sqrt(expected * (1 - size / total))
    assert np.abs(counts - expected).max() < 4.5 * deviation
    assert np.square((counts - expected) / deviation).mean() == pytest.approx(1, abs=0.5)


def test_memory_stays_within_a_quarter_more_than_the_sample():
    sample = FrameSample(100)
    for clip in range(200):
        sample.add(clip, np.zeros((50, 4), np.float32))
        assert sample._vectors_MF.shape[0] <= 125
    assert sample.num_seen == 10_000
    few = FrameSample(10**9)
    few.add(0, np.zeros((50, 4), np.float32))
    assert few._vectors_MF.shape[0] == 50


def test_what_makes_no_sense_is_refused():
    raises(ValueError, "--max_vectors 0 came", FrameSample, 0)
    for size in (None, 5):
        raises(ValueError, "no clip gave any vector", FrameSample(size).vectors_MF)
