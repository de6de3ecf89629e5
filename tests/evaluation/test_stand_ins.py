"""Videos in place of an utterance's own."""

import numpy as np
import pytest

from avspeech.evaluation.loading import SIMILAR_LENGTH, blank_clip, fit_length, other_speakers, shuffle_clips
from avspeech.features.clip import MEAN
from avspeech.manifest import Utterance


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
    with pytest.raises(ValueError, match=r"1 utterances came for 'shuffled' videos, .*leave 'shuffled' out"):
        shuffle_clips([Utterance("a")], 0)


def corpus(size, speakers=5, seed=0):
    lengths = np.random.default_rng(seed).integers(40, 120, size).tolist()
    return [
        Utterance(f"u{number}", speaker=f"s{number % speakers}", num_frames=length)
        for number, length in enumerate(lengths)
    ]


@pytest.mark.parametrize("size", [6, 20, 200])
def test_a_wrong_speaker_is_another_one_of_nearly_the_same_length(size):
    utterances = corpus(size)
    for seed in range(5):
        others = other_speakers(utterances, seed)
        assert set(others) == {one.id for one in utterances}
        for one in utterances:
            other = others[one.id]
            assert other.speaker != one.speaker
            foreign = [abs(u.num_frames - one.num_frames) for u in utterances if u.speaker != one.speaker]
            allowed = max(min(foreign), SIMILAR_LENGTH * one.num_frames)
            assert abs(other.num_frames - one.num_frames) <= allowed


def test_wrong_speakers_depend_on_seed_and_ids_alone_and_are_spread():
    utterances = corpus(200)
    others = other_speakers(utterances, 1)
    assert others == other_speakers(utterances[::-1], 1)
    assert sum(others[name].id != other.id for name, other in other_speakers(utterances, 2).items()) > 150
    assert len({other.id for other in others.values()}) > 80


def test_an_added_utterance_changes_only_the_choices_that_fall_on_it():
    utterances = corpus(201)
    before, after = other_speakers(utterances[:-1], 0), other_speakers(utterances, 0)
    changed = [name for name in before if after[name] != before[name]]
    assert all(after[name] == utterances[-1] for name in changed)
    assert len(changed) < 20


def test_one_speaker_gets_another_utterance_and_unknown_lengths_and_speakers_do():
    alone = [Utterance(f"u{number}", speaker="s1", num_frames=75) for number in range(10)]
    assert all(other.id != name and other.speaker == "s1" for name, other in other_speakers(alone, 0).items())
    unknown = [Utterance(f"u{number}") for number in range(10)]
    assert all(other.id != name for name, other in other_speakers(unknown, 0).items())
    with pytest.raises(ValueError, match=r"1 utterances came for 'wrong_speaker' videos"):
        other_speakers(alone[:1], 0)


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
