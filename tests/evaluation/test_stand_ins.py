"""Videos in place of an utterance's own."""

import numpy as np
import pytest

from avspeech.data.manifest import Utterance
from avspeech.evaluation.stand_ins import blank_clip, fit_length, shuffle_clips
from avspeech.features.clip import MEAN


@pytest.mark.parametrize("size", [2, 3, 10, 60])
def test_every_clip_stands_in_once_and_never_for_itself(size):
    utterances = [Utterance(f"u{number}") for number in range(size)]
    for seed in range(30):
        others = shuffle_clips(utterances, seed)
        assert all(other.id != name for name, other in others.items())
        assert set(others) == {other.id for other in others.values()} == {one.id for one in utterances}


def test_seed_and_ids_decide_the_order_of_the_manifest_does_not():
    utterances = [Utterance(f"u{number}") for number in range(20)]
    assert shuffle_clips(utterances, 1) == shuffle_clips(utterances[::-1], 1)
    assert shuffle_clips(utterances, 1) != shuffle_clips(utterances, 2)
    partners = {shuffle_clips(utterances, seed)["u0"].id for seed in range(300)}
    assert partners == {one.id for one in utterances[1:]}


def test_a_lone_utterance_has_no_other():
    with pytest.raises(ValueError, match=r"1 utterances came for shuffled videos, wanted two or more.*'shuffled' out"):
        shuffle_clips([Utterance("a")], 0)


def test_a_clip_is_cut_or_played_to_and_fro():
    clip_THW = np.arange(4, dtype=np.uint8)[:, None, None]
    assert fit_length(clip_THW, 3).ravel().tolist() == [0, 1, 2]
    assert fit_length(clip_THW, 4).ravel().tolist() == [0, 1, 2, 3]
    assert fit_length(clip_THW, 12).ravel().tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1]
    assert fit_length(clip_THW[:1], 3).ravel().tolist() == [0, 0, 0]
    assert fit_length(clip_THW[:2], 5).ravel().tolist() == [0, 1, 0, 1, 0]


def test_a_blank_clip_is_grey_and_as_large():
    clip_THW = np.zeros((5, 4, 3), dtype=np.uint8)
    blank_THW = blank_clip(clip_THW)
    assert blank_THW.shape == clip_THW.shape
    assert blank_THW.dtype == np.uint8
    assert abs(blank_THW.mean() / 255 - MEAN) < 1 / 255
    assert not clip_THW.any()
