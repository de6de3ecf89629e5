"""Mixing: the asked ratio comes out, three laboratories' rules do what each does as a whole, pauses change no level."""

import numpy as np
import pytest
import torch

from avspeech.noise import mixing
from avspeech.noise.mixing import RULES, check_rule, lay_over, mix_at_snr, mix_sha256, rms, to_audio, to_steps
from avspeech.noise.speech_level import active_level
from tests.noise.plan_corpus import sound
from tests.refusals import raises


def audio(num_samples: int, seed: int = 0, level: float = 0.05) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


def test_a_mix_too_loud_is_scaled_as_a_whole():
    clean_S, noise_S = audio(4000, level=0.4), audio(4000, seed=1)
    mixed_S = mix_at_snr(clean_S, noise_S, -5)
    assert np.abs(mixed_S).max() == pytest.approx(1.0, abs=1e-4)
    assert np.corrcoef(mixed_S, clean_S + noise_S * rms(clean_S) / rms(noise_S) * 10**0.25)[0, 1] > 1 - 1e-6
    assert (np.abs(mixed_S) > 0.999).sum() == 1  # scaled, not clipped


@pytest.mark.parametrize(("clean_level", "noise_level"), [(0, 0.1), (0.1, 0), (0, 0)])
def test_where_there_is_no_ratio_nothing_is_added(clean_level, noise_level):
    clean_S = audio(100, level=clean_level)
    assert np.array_equal(mix_at_snr(clean_S, audio(100, seed=1, level=noise_level), 0), clean_S)


def test_noise_longer_and_shorter_than_the_speech():
    clean_S, noise_S = audio(1000), audio(300, seed=1)
    repeated_S = np.concatenate([noise_S] * 4)[:1000]
    assert np.array_equal(mix_at_snr(clean_S, noise_S, 3), mix_at_snr(clean_S, repeated_S, 3))
    longer_S = np.concatenate([repeated_S, audio(500, seed=2, level=5)])
    assert np.array_equal(mix_at_snr(clean_S, longer_S, 3), mix_at_snr(clean_S, repeated_S, 3))


def test_inputs_are_left_as_they_were_and_clean_is_the_very_same_audio():
    clean_S, noise_S = audio(100), audio(100, seed=1)
    mix_at_snr(clean_S, noise_S, 0)
    loud_S = audio(100, level=2.0)
    assert mix_at_snr(loud_S, noise_S, None) is loud_S
    assert np.array_equal(clean_S, audio(100)) and np.array_equal(noise_S, audio(100, seed=1))


@pytest.mark.parametrize("bad", [np.array([np.nan, 0.1]), np.array([np.inf, 0.1]), np.zeros((2, 100))])
def test_audio_that_is_none_and_empty_noise_are_named_in_the_error(bad):
    raises(ValueError, r"came, wanted \(S,\) finite samples", mix_at_snr, bad, audio(100), 0)
    raises(ValueError, "length 0 came", mix_at_snr, audio(100), audio(0), 0)


def mix(rule: str, speech: np.ndarray, noise_S: np.ndarray, snr_db: float, offset: int = 0) -> np.ndarray:
    speech_S, laid_S = to_audio(speech), lay_over(rule, [(noise_S, offset, 1.0)], len(speech), voices=False)
    scale = mixing.choose_scale(rule, mixing.speech_level(speech_S, "clip"), speech_S, laid_S, snr_db)
    return mixing.finish(rule, mixing.add_noise(rule, speech_S, laid_S, scale), in_steps=True)


@pytest.fixture(params=range(6))
def pair(request) -> tuple[np.ndarray, np.ndarray]:
    """Return speech and noise in int16 steps: quiet and full scale, noise shorter and longer."""
    n = request.param
    return to_steps(sound(n, 9000, (0.05, 0.9)[n % 2])), to_steps(sound(n + 50, (2000, 20_000, 9000)[n % 3], 0.3))


@pytest.mark.parametrize("snr_db", [10, 0, -10])
def test_training_mixes_as_a_plan_does(pair, snr_db):
    for rule in RULES:
        difference_S = mix(rule, *pair, snr_db) - mix_at_snr(*map(to_audio, pair), snr_db, rule)
        assert np.abs(difference_S).max() <= (0.51 / 32768 if rule == "avspeech" else 0)  # int16 is the plan's alone


@pytest.mark.parametrize("snr_db", [20, 0, -5])
def test_auto_avsr_is_an_energy_ratio_and_may_leave_the_range(pair, snr_db):
    """The formula of torchaudio's ``add_noise``, in torch's float32; 0 dB included."""
    speech_S, noise_S = pair
    clean_S, added_S = (torch.from_numpy(np.resize(part, 9000).astype(np.float32)) / 32768 for part in pair)
    original_db = 10 * (torch.log10((clean_S**2).sum()) - torch.log10((added_S**2).sum()))
    expected_S = clean_S + added_S * 10 ** ((original_db - snr_db) / 20)
    mixed_S = mix("auto_avsr", speech_S, noise_S, snr_db)
    assert mixed_S.dtype == np.float32
    np.testing.assert_allclose(mixed_S, expected_S.numpy(), rtol=1e-4, atol=2e-6)
    if np.abs(speech_S).max() > 30_000 and snr_db < 0:
        assert np.abs(mixed_S).max() > 1


@pytest.mark.parametrize("rule", RULES)
def test_the_snr_is_the_one_asked_for(rule, pair):
    speech_S, loudness = to_audio(pair[0]), mixing.speech_level(to_audio(pair[0]), "clip")
    laid_S = lay_over(rule, [(pair[1], 0, 1.0)], len(speech_S), voices=False)
    for snr_db in (10, 0, -10):
        scale = mixing.choose_scale(rule, loudness, speech_S, laid_S, snr_db)
        mixed_S = mixing.add_noise(rule, speech_S, laid_S, scale)
        assert mixing.measured_snr_db(loudness, speech_S, mixed_S) == pytest.approx(snr_db, abs=0.001)


def test_whole_rules_stay_in_int16_and_on_its_steps():
    speech_S, noise_S = to_steps(sound(0, 9000, 1.0)), to_steps(sound(1, 9000, 1.0))
    for rule in ("avspeech", "avhubert"):
        mixed_S = mix(rule, speech_S, noise_S, -5)
        assert np.array_equal(mixed_S * 32768, np.rint(mixed_S * 32768))
        assert mixed_S.min() >= -1 and mixed_S.max() <= 32767 / 32768
        assert max(mixed_S.max(), -mixed_S.min()) > 0.999


def test_noise_starts_at_its_offset_and_starts_over():
    noise_S = np.arange(1, 6, dtype=np.int16)
    assert (lay_over("avspeech", [(noise_S, 3, 2.0)], 8, voices=False) * 32768).tolist() == [8, 10, 2, 4, 6, 8, 10, 2]
    both = lay_over("avspeech", [(noise_S, 0, 1.0), (noise_S, 4, 10.0)], 3, voices=True) * 32768
    assert both.tolist() == [51, 12, 23]


@pytest.mark.parametrize(("voices", "mean"), [(True, [3, -3, 5, 3, -3]), (False, [3, -4, 5, 3, -4])])
def test_an_official_mean_is_cut_to_the_shortest_and_rounded_toward_zero_or_down(voices, mean):
    recordings = [np.array([3, -3, 5, 9], np.int16), np.array([4, -4, 6], np.int16)]
    assert (lay_over("avhubert", [(steps_S, 0, 1.0) for steps_S in recordings], 5, voices) * 32768).tolist() == mean


def test_the_hash_is_of_what_is_heard():
    heard_S = mix("avspeech", to_steps(sound(0)), to_steps(sound(1)), 0)
    other_S = heard_S.copy()
    other_S[7] += np.float32(1 / 32768)
    assert mix_sha256("avspeech", heard_S) != mix_sha256("avspeech", other_S)
    assert mix_sha256("avspeech", heard_S) != mix_sha256("auto_avsr", heard_S)


def test_rules_that_are_none_are_named():
    raises(ValueError, "rule='fairseq' must be one of avspeech, avhubert, auto_avsr", check_rule, "fairseq", "clip")
    raises(ValueError, "level='loud' must be one of clip, active", check_rule, "avspeech", "loud")
    raises(ValueError, "level='active' does not go with rule='avhubert'", check_rule, "avhubert", "active")


def spurt(pause_s: float, level: float = 0.1) -> np.ndarray:
    tone_S = level * np.sqrt(2) * np.sin(2 * np.pi * 300 * np.arange(64_000) / 16_000)
    return np.concatenate([tone_S, np.zeros(round(16_000 * pause_s))])


def test_a_tone_without_pauses_is_its_rms_all_the_time():
    level, activity = active_level(spurt(0))
    assert 20 * np.log10(level / 0.1) == pytest.approx(0, abs=0.1)
    assert activity == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("pause_s", [1.0, 4.0, 16.0])
def test_pauses_change_the_activity_and_not_the_level(pause_s):
    level, activity = active_level(spurt(pause_s))
    assert 20 * np.log10(level / active_level(spurt(0))[0]) == pytest.approx(-10 * np.log10(4.3 / 4), abs=0.15)
    assert activity == pytest.approx(4.3 / (4 + pause_s), rel=0.03)  # with the envelope's fall and the hangover
    assert 20 * np.log10(rms(spurt(pause_s)) / rms(spurt(0))) < -0.9


def test_noise_in_the_pauses_below_the_margin_is_no_speech():
    hiss_S = 0.1 / 100 * np.random.default_rng(0).standard_normal(16_000 * 12)
    level, activity = active_level(spurt(8) + hiss_S)
    assert 20 * np.log10(level / active_level(spurt(8))[0]) == pytest.approx(0, abs=0.1)
    assert activity == pytest.approx(4.3 / 12, rel=0.05)


@pytest.mark.parametrize("factor", [0.5, 0.1, 0.003])
def test_quieter_speech_is_as_active(factor):
    level, activity = active_level(spurt(2) * factor)
    full, full_activity = active_level(spurt(2))
    assert 20 * np.log10(level / full / factor) == pytest.approx(0, abs=0.1)
    assert activity == pytest.approx(full_activity, rel=0.02)


def test_silence_and_single_clicks_are_no_speech():
    assert active_level(np.zeros(16_000)) == (0.0, 0.0)
    click_S = np.zeros(160_000)
    click_S[8000] = 1 / 32768
    assert active_level(click_S) == (0.0, 0.0)
