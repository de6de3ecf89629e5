"""Whatever is heard and seen: no speech is left out, segments fit the model, and cuts fall where nobody speaks."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from avspeech.timebase import FRAME_RATE
from avspeech.transcription.cutting import CuttingConfig, cut_segments, find_speech
from tests.refusals import raises

SHORTEST = 10
CONFIGS = (
    CuttingConfig(), CuttingConfig(longest_s=28.0), CuttingConfig(longest_s=2.0, min_pause_s=0.2, padding_s=0.3),
    CuttingConfig(longest_s=5.0, min_pause_s=0.04, padding_s=0.0, whole_margin_s=0.0),
    CuttingConfig(longest_s=4.0, min_pause_s=1.0, padding_s=2.0, min_lips_s=0.2),
)  # fmt: skip


def cut(prob_T, openness_T, num_frames, config=CuttingConfig(), level_T=None) -> list[tuple[int, int]]:
    return cut_segments(find_speech(prob_T, openness_T, num_frames, config, level_T), config)


def draw(seed: int) -> tuple[np.ndarray | None, np.ndarray | None, int]:
    """Return a random file: stretches of speech, blips, noise, and lips that move, rest and are away."""
    rng = np.random.default_rng(seed)
    num_frames = int(rng.choice([rng.integers(1, 30), rng.integers(30, 300), rng.integers(300, 2500)]))
    prob_T, openness_T, at = np.zeros(num_frames), np.full(num_frames, 20.0), 0
    while at < num_frames:
        length = int(rng.exponential(rng.choice([3, 30, 200]))) + 1
        part = slice(at, at + length)
        kind = rng.integers(5)
        prob_T[part] = (0, 1, 0.9, 0, 0.1)[kind]
        if kind == 2:
            prob_T[part] = rng.random(len(prob_T[part]))
        opening = rng.integers(4)
        if opening == 0:
            openness_T[part] = np.nan
        elif opening == 1:
            openness_T[part] += rng.normal(0, 2, len(openness_T[part]))
        at += length
    streams = rng.integers(6)
    return prob_T if streams != 0 else None, openness_T if streams > 1 else None, num_frames


def speech(length: int, *heard: tuple[int, int]) -> np.ndarray:
    prob_T = np.zeros(length)
    for start, end in heard:
        prob_T[start:end] = 1
    return prob_T


@pytest.mark.parametrize("config", CONFIGS)
def test_every_promise_holds_on_random_files(config):
    longest, padding = int(config.longest_s * FRAME_RATE), round(config.padding_s * FRAME_RATE)
    for seed in range(250):
        prob_T, openness_T, num_frames = draw(seed)
        spans = cut(prob_T, openness_T, num_frames, config)
        assert spans and all(0 <= start < end <= num_frames for start, end in spans)
        assert all(one[1] <= other[0] for one, other in pairwise(spans)), "they overlap or are out of order"
        assert all(end - start <= longest for start, end in spans)
        if spans != [(0, num_frames)]:
            assert all(end - start >= SHORTEST for start, end in spans)
        speech_T = find_speech(prob_T, openness_T, num_frames, config).speech_T
        if prob_T is not None:
            assert speech_T[prob_T >= config.speech_threshold].all()
        if not speech_T.any():
            assert (spans[0][0], spans[-1][1]) == (0, num_frames)
            continue
        for start, end in spans:
            inside = np.flatnonzero(speech_T[start:end])
            assert len(inside), "a segment without speech"
            if (start, end) != (0, num_frames) and end - start > SHORTEST:
                most = max(padding, 12)  # a stretch that was cut holds pauses of its own, up to min_pause_s
                assert inside[0] <= most and end - start - 1 - inside[-1] <= most
        covered_T = np.zeros(num_frames, int)
        for start, end in spans:
            covered_T[start:end] += 1
        assert (covered_T[speech_T] == 1).all()


def test_without_sound_its_level_is_not_seen_and_lips_without_a_face_are_as_none():
    for seed in range(50):
        prob_T, openness_T, num_frames = draw(seed)
        assert cut(prob_T, np.full(num_frames, np.nan), num_frames) == cut(prob_T, None, num_frames)
        openness_T = np.zeros(num_frames) if openness_T is None else openness_T
        level_T = np.random.default_rng(seed).random(num_frames)
        assert cut(None, openness_T, num_frames) == cut(None, openness_T, num_frames, level_T=level_T)


def test_a_short_clip_is_one_segment_and_a_longer_one_loses_silence_but_for_the_padding_and_at_long_pauses():
    assert cut(speech(75, (20, 50)), None, 75) == [(0, 75)]
    assert cut(speech(300, (100, 150)), None, 300) == [(95, 155)]
    assert len(cut(speech(500, (100, 150), (162, 200)), None, 500)) == 1
    assert len(cut(speech(500, (100, 150), (163, 200)), None, 500)) == 2
    assert cut(speech(500, (100, 150), (166, 200)), None, 500, CuttingConfig(padding_s=0.5)) == [(88, 158), (158, 212)]


def test_a_blip_grows_to_the_shortest_segment():
    no_padding = CuttingConfig(padding_s=0.0)
    ((start, end),) = cut(speech(500, (200, 201)), None, 500, no_padding)
    assert end - start == SHORTEST and start <= 200 < end
    assert cut(speech(500, (0, 1), (499, 500)), None, 500, no_padding) == [(0, 10), (490, 500)]


def test_a_long_stretch_is_cut_at_its_pauses_and_equal_ones_give_equal_parts():
    prob_T = speech(800, (20, 780))
    prob_T[100:780:90] = 0.6  # shallow dips and a shorter pause are nearer to the middle
    prob_T[400:404] = 0
    prob_T[265:275] = prob_T[495:505] = 0
    assert [end for _, end in cut(prob_T, None, 800)] in ([270, 785], [500, 785], [270, 500, 785])
    prob_T = speech(800, (0, 800))
    for pause in range(50, 800, 50):
        prob_T[pause - 5 : pause + 5] = 0
    assert [end for _, end in cut(prob_T, None, 800)] == [400, 800]


def test_speech_without_any_pause_is_cut_where_it_is_quiet():
    prob_T = np.full(800, 0.99)
    level_T = np.full(800, 0.1)
    level_T[350:354] = 0.01
    assert cut(prob_T, None, 800, level_T=level_T) == [(0, 352), (352, 800)]
    assert cut(prob_T, None, 800) == [(0, 400), (400, 800)]


def test_a_stretch_that_is_too_long_with_its_padding_loses_padding_and_no_speech():
    ((start, end),) = cut(speech(900, (200, 695)), None, 900, CuttingConfig(longest_s=20.0, padding_s=0.5))
    assert start <= 200 and end >= 695 and end - start <= 500


def test_lips_that_speak_unheard_are_speech_and_a_jump_of_the_landmarks_is_none():
    openness_T = np.full(500, 20.0)
    openness_T[300:360] += 4 * np.sin(np.arange(60))
    prob_T = speech(500, (100, 150))
    assert cut(prob_T, None, 500) == [(95, 155)]
    first, second = cut(prob_T, openness_T, 500)
    assert first == (95, 155) and second[0] < 300 and second[1] > 360
    away_T = np.where(np.arange(500) >= 250, np.nan, openness_T)
    assert cut(prob_T, away_T, 500) == [(95, 155)]
    assert cut(prob_T, np.where(np.arange(500) < 250, 20.0, 40.0), 500) == [(95, 155)]


def test_the_mouth_that_opens_before_a_word_does_not_bridge_a_pause():
    openness_T = np.full(500, 20.0) + np.where(np.arange(500) % 2, 3, 0) * speech(500, (98, 156), (184, 240))
    assert len(cut(speech(500, (105, 150), (190, 235)), openness_T, 500)) == 2


@pytest.mark.parametrize(
    ("length", "ends"), [(0, []), (1, [1]), (500, [500]), (501, [250, 501]), (1200, [400, 800, 1200])]
)
def test_a_file_without_speech_comes_whole_or_in_windows(length, ends):
    for prob_T, openness_T in ((np.zeros(length), None), (None, np.full(length, np.nan)), (None, None)):
        assert [end for _, end in cut(prob_T, openness_T, length)] == ends
        assert not find_speech(prob_T, openness_T, length).speech_T.any()


def test_three_hours_of_noise_take_seconds():
    spans = cut(np.full(3 * 3600 * 25, 0.9), None, 3 * 3600 * 25, CuttingConfig(longest_s=28.0))
    assert len(spans) == pytest.approx(3 * 3600 / 28, abs=1)


def test_streams_of_other_lengths_are_named():
    raises(ValueError, r"openness_T of shape \(99,\) came, wanted \(100,\)", cut, np.zeros(100), np.zeros(99), 100)
    raises(ValueError, "outside 0", cut, np.full(100, np.nan), None, 100)


@pytest.mark.parametrize("bad", [{"longest_s": 1}, {"padding_s": -1}, {"speech_threshold": 0}, {"min_pause_s": np.nan}])
def test_a_configuration_that_cannot_be_is_refused(bad):
    raises(ValueError, next(iter(bad)), replace, CuttingConfig(), **bad)
