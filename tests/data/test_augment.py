"""Clips as if they had been stored otherwise: nothing gets longer, nothing is invented, nothing comes late."""

import numpy as np
import pytest

from avspeech.data.augment import shifted, stored_at_other_rate


@pytest.mark.parametrize("seed", range(20))
def test_another_rate_shows_pictures_of_the_clip_in_order_and_at_most_their_own_length_off(seed):
    numbers_T = np.arange(100)
    clip_THW = np.broadcast_to(numbers_T[:, None, None], (100, 2, 2))
    shown_T = stored_at_other_rate(clip_THW, np.random.default_rng(seed))[:, 0, 0]
    assert len(shown_T) == 100
    assert (np.diff(shown_T) >= 0).all()
    assert np.abs(shown_T - numbers_T).max() <= 2  # at 20 a second each lasts 50 ms


def test_another_rate_changes_something():
    clip_THW = np.arange(100)[:, None, None]
    changed = [
        bool((stored_at_other_rate(clip_THW, np.random.default_rng(seed)) != clip_THW).any()) for seed in range(20)
    ]
    assert sum(changed) >= 5


@pytest.mark.parametrize("seed", range(20))
def test_shifted_sound_is_the_same_sound_elsewhere(seed):
    audio_S = np.arange(1, 1001, dtype=np.float32)
    moved_S = shifted(audio_S, 20, np.random.default_rng(seed))
    assert len(moved_S) == len(audio_S) and moved_S.dtype == np.float32
    kept_S = moved_S[moved_S > 0]
    assert len(kept_S) >= 1000 - 320
    assert (np.diff(kept_S) == 1).all()


def test_sound_shorter_than_the_shift_stays_as_long():
    for seed in range(10):
        assert len(shifted(np.ones(5, np.float32), 20, np.random.default_rng(seed))) == 5
