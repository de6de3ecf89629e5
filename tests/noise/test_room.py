"""Speech in a room: exact whole numbers, no delay, as loud as before."""

import numpy as np
import pytest

from avspeech.noise.mixing import rms
from avspeech.noise.room import choose_gain, reverberate
from tests.noise.plan_corpus import sound


def steps(audio_S: np.ndarray) -> np.ndarray:
    return np.rint(audio_S * 32767).astype(np.int16)


@pytest.fixture
def room_S() -> np.ndarray:
    tail_S = np.exp(-np.arange(8000) / 1500) * np.random.default_rng(0).standard_normal(8000) * 0.2
    tail_S[0] = 1
    return steps(np.concatenate([np.zeros(200), tail_S]).clip(-1, 1))


def test_the_convolution_is_exact_whole_numbers_on_any_machine(room_S):
    speech_S = steps(sound(0, 6000, 0.9).clip(-1, 1))
    exact_S = np.convolve(speech_S.astype(np.int64), room_S.astype(np.int64))[200 : 200 + len(speech_S)]
    gain = choose_gain(speech_S, room_S)
    assert np.array_equal(reverberate(speech_S, room_S, gain), np.rint(exact_S * gain).astype(np.int16))


def test_a_room_without_walls_changes_nothing_and_silence_stays_silent(room_S):
    silent_S = np.zeros(1000, np.int16)
    assert not reverberate(silent_S, room_S, choose_gain(silent_S, room_S)).any()
    speech_S = steps(sound(1))
    response_S = np.zeros(500, np.int16)
    response_S[77] = 12_345
    assert np.array_equal(reverberate(speech_S, response_S, choose_gain(speech_S, response_S)), speech_S)


def test_speech_stays_as_loud_and_in_time(room_S):
    speech_S = np.zeros(16_000, np.int16)
    speech_S[4000:9000] = steps(sound(2, 5000))
    wet_S = reverberate(speech_S, room_S, choose_gain(speech_S, room_S))
    assert rms(wet_S.astype(float)) == pytest.approx(rms(speech_S.astype(float)), rel=1e-3)
    assert not wet_S[:4000].any() and wet_S[4000:4010].any() and wet_S[9500:10_000].any()


def test_a_mix_of_reflections_beyond_int16_is_turned_down():
    speech_S = np.zeros(1000, np.int16)
    speech_S[[100, 300]] = 32_767
    response_S = np.zeros(300, np.int16)
    response_S[[0, 200]] = 20_000, 19_999  # both arrive at sample 300
    assert np.abs(reverberate(speech_S, response_S, choose_gain(speech_S, response_S)).astype(int)).max() == 32_767
