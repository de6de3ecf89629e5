"""Edges of words: ordered and within the clip whatever comes, and with the speech where it is known."""

from itertools import pairwise

import numpy as np
import pytest

from avspeech.decoding.word_edges import Moments, fit_to_speech, speech_intervals, spread, words_around


def moment(start, end, letters=1):
    return Moments((start, end), (start, end), letters, letters)


def test_stretches_leave_pauses_within_words_out():
    prob_T = np.array([0, 0, 0.9, 0.9, 0.2, 0.1, 0.8, 0, 0, 0, 0.5, 0.6], dtype=np.float32)
    assert speech_intervals(prob_T) == [(0.08, 0.28), (0.4, 0.48)]  # two frames of silence are a plosive, three are not
    assert speech_intervals(np.zeros(4)) == speech_intervals(np.zeros(0)) == []
    assert speech_intervals(np.ones(5)) == [(0.0, 0.2)]


@pytest.mark.parametrize("seed", range(60))
def test_words_are_ordered_and_within_the_clip(seed):
    draw = np.random.default_rng(seed)
    frames = int(draw.integers(1, 60))
    edges = np.sort(draw.choice(np.arange(frames + 1), size=min(frames + 1, int(draw.integers(2, 9))), replace=False))
    words = [moment(a / 25, b / 25, int(draw.integers(1, 9))) for a, b in pairwise(edges.tolist())]
    times = words_around(words, frames / 25, speech_intervals(draw.random(frames)) if seed % 3 else [])
    assert len(times) == len(words)
    assert all(0 <= start < end <= frames / 25 + 1e-9 for start, end in times)
    assert all(one[1] <= other[0] + 1e-9 for one, other in pairwise(times))
    for (start, end), word in zip(times, words, strict=True):
        assert start <= word.first[0] + 1e-9 and end >= word.last[1] - 1e-9


def test_neighbours_meet_between_their_tokens_nearer_to_the_shorter():
    (_, end), (start, _) = words_around([moment(0.4, 0.44, 4), moment(0.8, 0.84, 4)], 2.0)
    assert end == start == pytest.approx(0.62)
    (_, end), (start, _) = words_around([moment(0.4, 0.44, 9), moment(0.8, 0.84, 1)], 2.0)
    assert end == start == pytest.approx(0.42 + 0.4 * 0.75)


def test_words_begin_and_end_with_the_speech_and_leave_pauses_out():
    words = [moment(0.6, 0.64), moment(1.0, 1.04), moment(1.6, 1.64), moment(2.0, 2.04)]
    times = words_around(words, 4.0, [(0.4, 1.2), (1.5, 2.16)])
    np.testing.assert_allclose(times, [(0.4, 0.82), (0.82, 1.2), (1.5, 1.82), (1.82, 2.16)], atol=1e-6)


def test_speech_far_from_the_text_does_not_stretch_its_words():
    (first, _), (_, last) = words_around([moment(2.0, 2.04), moment(2.4, 2.44)], 9.0, [(0.0, 8.0)])
    assert 2.02 - first == pytest.approx(0.6)
    assert last - 2.42 == pytest.approx(0.6)
    (_, end), (start, _) = words_around([moment(1.0, 1.04), moment(6.0, 6.04)], 9.0)
    assert end == pytest.approx(1.62)
    assert start == pytest.approx(5.42)


def test_a_detector_that_wakes_late_does_not_cut_the_first_word():
    ((start, end),) = words_around([moment(0.6, 0.64)], 2.0, [(0.7, 1.2)])
    assert start <= 0.6
    assert end > 0.64


def test_words_of_attention_are_cut_to_the_speech():
    speech = [(0.6, 1.4), (1.8, 2.4)]
    fitted = fit_to_speech([(0.0, 0.9), (0.9, 1.6), (1.6, 2.2)], speech)
    np.testing.assert_allclose(fitted, [(0.6, 0.9), (0.9, 1.4), (1.8, 2.4)])
    unheard = [(0.0, 0.2), (3.0, 3.4)]
    assert fit_to_speech(unheard, speech) == unheard  # the detector may be wrong
    assert fit_to_speech([(0.0, 1.0)], []) == [(0.0, 1.0)]
    assert fit_to_speech([(0.6, 1.0)], [(0.5, 2.0)]) == [(0.6, 1.0)]  # more was said than was recognised
    assert fit_to_speech([], speech) == []


def test_unknown_words_share_the_time_by_their_letters():
    np.testing.assert_allclose(spread([1, 3], 0.5, 2.5), [(0.5, 1.0), (1.0, 2.5)])
    assert spread([], 0.0, 1.0) == []
