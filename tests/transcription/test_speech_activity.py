"""Where somebody speaks: no state stays, and only moving lips move."""

import os
import sys
import warnings
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch

from avspeech.media.audio import read_audio
from avspeech.timebase import SAMPLE_RATE, samples_to_frames
from avspeech.transcription import speech_activity as module
from avspeech.transcription.speech_activity import BLOCK, CHUNK, lip_activity, load_silero, speech_probability
from tests.refusals import raises


def voice(seconds: float, seed: int = 0) -> np.ndarray:
    """Return a voice-like sound: harmonics of a wandering pitch with moving formants, in syllables, and breath."""
    rng = np.random.default_rng(seed)
    time_S = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    phase_S = 2 * np.pi * np.cumsum(130 + 25 * np.sin(2 * np.pi * 0.7 * time_S)) / SAMPLE_RATE
    formant_S = 600 + 250 * np.sin(2 * np.pi * 1.3 * time_S)
    voice_S = np.zeros_like(time_S)
    for k in range(1, 30):
        voice_S += np.sin(k * phase_S) * (np.exp(-(((130 * k - formant_S) / 200) ** 2)) + 0.3 * np.exp(-k / 6))
    syllables_S = np.clip(np.sin(2 * np.pi * 2 * time_S), 0, 1) ** 0.5
    return (0.1 * syllables_S * voice_S + 0.002 * rng.standard_normal(len(time_S))).astype(np.float32)


@pytest.mark.parametrize("num_samples", [0, 1, 2, 511, 640, 641, 1281, BLOCK + 1])
def test_any_length_gives_a_probability_per_frame(num_samples):
    prob_T = speech_probability(np.full(num_samples, 0.01, np.float32))
    assert prob_T.shape == (samples_to_frames(num_samples),) and prob_T.dtype == np.float32
    assert ((prob_T >= 0) & (prob_T <= 1)).all()


@pytest.mark.parametrize("level", [0, 1e-5, 1e-3, 0.1])
def test_silence_and_hiss_hold_no_speech(level):
    noise_S = np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE)
    assert speech_probability((level * noise_S).astype(np.float32)).max() < 0.2


def test_speech_is_found_where_it_is():
    silence_S = np.zeros(2 * SAMPLE_RATE, np.float32)
    prob_T = speech_probability(np.concatenate([silence_S, voice(3), silence_S]))
    assert prob_T[55:120].max() > 0.9 > 0.2 > max(prob_T[:40].max(), prob_T[-30:].max())


def test_two_threads_do_not_hear_each_others_files():
    detector, other = load_silero(), []
    parts = [torch.from_numpy(voice(1.024, seed)) for seed in range(3)]
    alone = [detector(parts[:2]), detector(parts[2:])]
    thread = Thread(target=lambda: other.append(detector(parts[2:])))

    def disturbed():
        yield parts[0]
        thread.start()
        thread.join(0.2)
        yield parts[1]

    assert torch.equal(detector(disturbed()), alone[0])
    thread.join()
    assert torch.equal(other[0], alone[1])


def test_a_frame_has_the_highest_probability_of_all_chunks_it_touches(monkeypatch):
    calls = []

    def detector(blocks):
        heard = torch.arange(sum(len(block) for block in blocks) // CHUNK) / 1000
        calls.append(len(heard))
        return heard if len(calls) == 1 else torch.zeros_like(heard)  # then it hears backwards

    monkeypatch.setattr(module, "load_silero", lambda: detector)
    for frame, prob in enumerate(speech_probability(np.zeros(50 * 640, np.float32))):
        touched = [chunk for chunk in range(63) if chunk * 32 < (frame + 1) * 40 and (chunk + 1) * 32 > frame * 40]
        assert prob == pytest.approx(max(touched) / 1000)


def test_a_file_is_heard_backwards_too_so_that_a_mirrored_sound_gives_mirrored_probabilities():
    audio_S = voice(CHUNK * 5 * 20 / SAMPLE_RATE)  # a whole number of chunks and of frames
    np.testing.assert_allclose(speech_probability(audio_S[::-1])[::-1], speech_probability(audio_S), atol=1e-4)


def test_a_quiet_file_is_amplified_and_nothing_stays_from_file_to_file():
    loud_S = voice(3) * np.float32(0.2)
    first = speech_probability(loud_S)
    np.testing.assert_allclose(speech_probability(loud_S * np.float32(0.05)), first, atol=1e-3)
    speech_probability(voice(3, seed=1))
    assert np.array_equal(first, speech_probability(loud_S))


def test_neither_threads_nor_input_change_and_nothing_warns():
    audio_S = voice(1)
    audio_S.setflags(write=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    load_silero.cache_clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            speech_probability(audio_S)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("bad", "reason"), [([0, np.nan, 0], "not finite"), ([np.inf], "not finite"), ([[0] * 100] * 2, r"\(2, 100\)")]
)
def test_sound_that_cannot_be_heard_is_refused(bad, reason):
    raises(ValueError, reason, speech_probability, np.array(bad, np.float32))


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    load_silero.cache_clear()
    raises(module.VoiceDetectorError, "uv sync", load_silero)
    load_silero.cache_clear()


def test_the_level_is_each_frames_root_mean_square():
    audio_S = np.random.default_rng(0).standard_normal(BLOCK + 700).astype(np.float32)
    level_T = module.frame_level(audio_S)
    assert len(level_T) == samples_to_frames(len(audio_S))
    assert level_T[3] == pytest.approx(np.sqrt((audio_S[1920:2560] ** 2).mean()), rel=1e-5)
    assert level_T[-1] == pytest.approx(np.sqrt((audio_S[-60:] ** 2).sum() / 640), rel=1e-4)


def test_lips_that_open_and_close_move_and_still_ones_do_not():
    still_T = 20 + 0.05 * np.random.default_rng(0).standard_normal(50)
    speaking_T = 24 + 4 * np.sin(2 * np.pi * 3 * np.arange(50) / 25)
    moving_T = lip_activity(np.concatenate([still_T, speaking_T, still_T]).astype(np.float32))
    assert moving_T[52:98].all() and not moving_T[:46].any() and not moving_T[104:].any()


def test_movement_is_the_deviation_in_a_window_and_the_opening_itself_says_nothing():
    openness_T, half = np.random.default_rng(0).normal(0, 2, 40), module.MOVEMENT_FRAMES // 2
    movement_T = module.lip_movement(openness_T)
    expected = [openness_T[t - half : t + half + 1].std() for t in range(half, 40 - half)]
    np.testing.assert_allclose(movement_T[half:-half], expected, rtol=1e-5)
    np.testing.assert_allclose(module.lip_movement(openness_T + 1e4), movement_T, rtol=1e-5)


def test_no_face_no_movement():
    openness_T = 20 + 5 * np.sin(np.arange(60)).astype(np.float32)
    openness_T[20:40] = np.nan
    moving_T = lip_activity(openness_T)
    assert moving_T[:20].all() and moving_T[40:].all() and not moving_T[20:40].any()
    assert not lip_activity(np.full(30, np.nan)).any() and lip_activity(np.zeros(0)).shape == (0,)


@pytest.mark.skipif("AVSPEECH_SHARED" not in os.environ, reason="AVSPEECH_SHARED names no folder with GRID clips")
def test_soft_onsets_of_real_speech_are_found():
    video = Path(os.environ["AVSPEECH_SHARED"]) / "data" / "grid_s1" / "video" / "lwiy6n.mp4"
    heard_T = np.flatnonzero(speech_probability(read_audio(video)) >= 0.3) / 25
    assert heard_T[0] == pytest.approx(0.48, abs=0.05)  # "lay" starts at 0.38 s; heard forwards alone at 0.74 s
    assert heard_T[-1] == pytest.approx(2.05, abs=0.1)
