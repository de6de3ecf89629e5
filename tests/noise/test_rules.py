"""The rules of three laboratories, taken apart, do what each does as a whole."""

import numpy as np
import pytest
import torch

from avspeech.noise.mixing import (
    RULES,
    add_noise,
    check_rule,
    choose_scale,
    finish,
    lay_over,
    measured_snr_db,
    mix_at_snr,
    mix_sha256,
    speech_level,
    to_audio,
    to_steps,
)
from tests.noise.plan_corpus import sound


def mix(rule: str, speech: np.ndarray, noise_S: np.ndarray, snr_db: float, offset: int = 0) -> np.ndarray:
    speech_S, laid_S = to_audio(speech), lay_over(rule, [(noise_S, offset, 1.0)], len(speech), voices=False)
    scale = choose_scale(rule, speech_level(speech_S, "clip"), speech_S, laid_S, snr_db)
    return finish(rule, add_noise(rule, speech_S, laid_S, scale), in_steps=True)


@pytest.fixture(params=range(6))
def pair(request) -> tuple[np.ndarray, np.ndarray]:
    """Return speech and noise in int16 steps: quiet and full scale, noise shorter and longer."""
    seed = request.param
    loud = (0.05, 0.9)[seed % 2]
    return to_steps(sound(seed, 9000, loud)), to_steps(sound(seed + 50, (2000, 20_000, 9000)[seed % 3], 0.3))


@pytest.mark.parametrize("snr_db", [10, 0, -10])
def test_training_mixes_as_a_plan_does(pair, snr_db):
    """To the bit but by our rule, whose int16 steps are the plan's alone."""
    for rule in RULES:
        whole_S = mix_at_snr(*map(to_audio, pair), snr_db, rule)
        difference = np.abs(mix(rule, *pair, snr_db) - whole_S).max()
        assert difference <= (0.51 / 32768 if rule == "avspeech" else 0)


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
    speech_S, noise_S = to_audio(pair[0]), pair[1]
    for snr_db in (10, 0, -10):
        laid_S = lay_over(rule, [(noise_S, 0, 1.0)], len(speech_S), voices=False)
        loudness = speech_level(speech_S, "clip")
        mixed_S = add_noise(rule, speech_S, laid_S, choose_scale(rule, loudness, speech_S, laid_S, snr_db))
        assert measured_snr_db(loudness, speech_S, mixed_S) == pytest.approx(snr_db, abs=0.001)


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
    noise_S = lay_over("avhubert", [(steps_S, 0, 1.0) for steps_S in recordings], 5, voices)
    assert (noise_S * 32768).tolist() == mean


def test_the_hash_is_of_what_is_heard():
    heard_S = mix("avspeech", to_steps(sound(0)), to_steps(sound(1)), 0)
    other_S = heard_S.copy()
    other_S[7] += np.float32(1 / 32768)
    assert mix_sha256("avspeech", heard_S) != mix_sha256("avspeech", other_S)
    assert mix_sha256("avspeech", heard_S) != mix_sha256("auto_avsr", heard_S)


def test_rules_that_are_none_are_named():
    with pytest.raises(ValueError, match="rule='fairseq' must be one of avspeech, avhubert, auto_avsr"):
        check_rule("fairseq", "clip")
    with pytest.raises(ValueError, match="level='loud' must be one of clip, active"):
        check_rule("avspeech", "loud")
    with pytest.raises(ValueError, match="level='active' does not go with rule='avhubert'"):
        check_rule("avhubert", "active")
