"""Mixing: the ratio is what was asked for, nothing leaves the range, and the official rule's numbers come out."""

import numpy as np
import pytest

from avspeech.noise.mixing import mix_at_snr, repeat_to_length, rms


def audio(num_samples: int, seed: int = 0, level: float = 0.05) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


@pytest.mark.parametrize("snr_db", [-10, -2.5, 0, 5, 20])
def test_the_ratio_of_the_rms_is_the_one_asked_for(snr_db):
    clean_S, noise_S = audio(4000), audio(4000, seed=1, level=0.3)
    clean_S[1000:3000] = 0  # silences count: the rms is of the whole clip
    mixed_S = mix_at_snr(clean_S, noise_S, snr_db).astype(np.float64)
    basis = np.stack([clean_S, noise_S]).astype(np.float64)
    of_clean, of_noise = np.linalg.lstsq(basis.T, mixed_S, rcond=None)[0]
    ratio = of_clean * rms(clean_S) / (of_noise * rms(noise_S))
    assert 20 * np.log10(ratio) == pytest.approx(snr_db, abs=1e-3)


def test_a_mix_too_loud_is_scaled_as_a_whole():
    clean_S, noise_S = audio(4000, level=0.4), audio(4000, seed=1)
    mixed_S = mix_at_snr(clean_S, noise_S, -5)
    assert np.abs(mixed_S).max() == pytest.approx(1.0, abs=1e-4)
    assert np.corrcoef(mixed_S, clean_S + noise_S * rms(clean_S) / rms(noise_S) * 10**0.25)[0, 1] > 1 - 1e-6
    assert (np.abs(mixed_S) > 0.999).sum() == 1  # scaled, not clipped


def test_clean_is_the_very_same_audio():
    clean_S = audio(100, level=2.0)
    assert mix_at_snr(clean_S, audio(100), None) is clean_S


@pytest.mark.parametrize(("clean_level", "noise_level"), [(0, 0.1), (0.1, 0), (0, 0)])
def test_where_there_is_no_ratio_nothing_is_added(clean_level, noise_level):
    clean_S = audio(100, level=clean_level)
    mixed_S = mix_at_snr(clean_S, audio(100, seed=1, level=noise_level), 0)
    assert np.array_equal(mixed_S, clean_S)


def test_noise_longer_and_shorter_than_the_speech():
    clean_S, noise_S = audio(1000), audio(300, seed=1)
    repeated_S = np.concatenate([noise_S] * 4)[:1000]
    assert np.array_equal(mix_at_snr(clean_S, noise_S, 3), mix_at_snr(clean_S, repeated_S, 3))
    longer_S = np.concatenate([repeated_S, audio(500, seed=2, level=5)])
    assert np.array_equal(mix_at_snr(clean_S, longer_S, 3), mix_at_snr(clean_S, repeated_S, 3))


def test_inputs_are_left_as_they_were():
    clean_S, noise_S = audio(100), audio(100, seed=1)
    before = clean_S.copy(), noise_S.copy()
    mix_at_snr(clean_S, noise_S, 0)
    assert np.array_equal(clean_S, before[0])
    assert np.array_equal(noise_S, before[1])


@pytest.mark.parametrize("bad", [np.array([np.nan, 0.1]), np.array([np.inf, 0.1]), np.zeros((2, 100))])
def test_audio_that_is_none_is_named_in_the_error(bad):
    with pytest.raises(ValueError, match=r"came, wanted \(S,\) finite samples"):
        mix_at_snr(bad, audio(100), 0)


def test_empty_noise_is_named_in_the_error():
    with pytest.raises(ValueError, match="length 0 came"):
        mix_at_snr(audio(100), audio(0), 0)


def test_repeating_starts_at_the_offset_and_wraps():
    assert repeat_to_length(np.arange(4), 7, offset=3).tolist() == [3, 0, 1, 2, 3, 0, 1]
    assert repeat_to_length(np.arange(4), 2).tolist() == [0, 1]
