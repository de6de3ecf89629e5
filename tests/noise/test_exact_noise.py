"""Noise from whole numbers: the same everywhere, white or pink, and fair draws."""

import hashlib

import numpy as np
import pytest

from avspeech.noise.exact_noise import ExactDraws, exact_noise, stream_key
from tests.refusals import raises


def octave_levels_db(noise_S: np.ndarray) -> np.ndarray:
    power, frequency = np.abs(np.fft.rfft(noise_S)) ** 2, np.fft.rfftfreq(len(noise_S), 1 / 16_000)
    edges = 62.5 * 2.0 ** np.arange(7)
    return np.array([10 * np.log10(power[(frequency >= edge) & (frequency < 2 * edge)].mean()) for edge in edges])


@pytest.mark.parametrize(
    ("generator", "first", "digest"),
    [("white", [-627, 2864, -534, 2296], "1da9cf8a568e0a20"), ("pink", [1309, 2165, 1101, 856], "d4b6a02aa0b28772")],
)
def test_samples_are_the_same_everywhere(generator, first, digest):
    noise_S = exact_noise(generator, stream_key(0, "s1/a", "white", 5), 48_000)
    assert noise_S[:4].tolist() == first  # a change here changes every noisy test set that was ever made
    assert hashlib.sha256(noise_S.astype("<i2").tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize(("generator", "slope_db"), [("white", 0.0), ("pink", -3.01)])
def test_the_spectrum_falls_as_it_should(generator, slope_db):
    levels = octave_levels_db(exact_noise(generator, "key", 1 << 19))
    assert np.polyfit(np.arange(7), levels, 1)[0] == pytest.approx(slope_db, abs=0.15)
    assert np.ptp(levels - slope_db * np.arange(7)) < (0.5 if generator == "white" else 1.0)


def test_white_noise_is_nearly_gaussian_and_never_clips():
    noise_S = exact_noise("white", "key", 400_000).astype(float)
    assert noise_S.std() == pytest.approx(1024, rel=0.01) and abs(noise_S.mean()) < 5
    assert np.mean((noise_S / noise_S.std()) ** 4) - 3 == pytest.approx(-0.1, abs=0.03)
    assert np.abs(noise_S).max() <= 6 * 1024


def test_pink_noise_is_as_loud_and_has_no_two_keys_alike():
    one_S, other_S = (exact_noise("pink", key, 200_000).astype(float) for key in ("a", "b"))
    assert 500 < one_S.std() < 1000 and np.abs(one_S).max() < 32_767
    assert abs(np.corrcoef(one_S, other_S)[0, 1]) < 0.1


@pytest.mark.parametrize("num_samples", [1, 2, 127, 129])
def test_any_length_comes_out_as_long(num_samples):
    for generator in ("white", "pink"):
        assert len(exact_noise(generator, "key", num_samples)) == num_samples


def test_draws_are_the_same_everywhere():
    draws = ExactDraws("key")
    assert [draws.below(10) for _ in range(8)] == [5, 7, 2, 0, 5, 9, 4, 7]
    assert [draws.below(1000) for _ in range(3)] == [970, 647, 735]
    assert list(ExactDraws("key").shuffled(6)) == [1, 3, 2, 0, 5, 4]


def test_draws_favour_nobody():
    draws = ExactDraws("fair")
    counts = np.bincount([draws.below(7) for _ in range(14_000)], minlength=7)
    assert ((counts - 2000) ** 2 / 2000).sum() < 22.5  # chi square, 6 degrees of freedom, 0.1 %
    first = np.bincount([next(ExactDraws(f"{n}").shuffled(5)) for n in range(2000)], minlength=5)
    assert ((first - 400) ** 2 / 400).sum() < 18.5
    assert {ExactDraws(f"{n}").between(2, 4) for n in range(40)} == {2, 3, 4}


def test_a_shuffle_holds_everything_once_and_may_be_left_early():
    assert sorted(ExactDraws("key").shuffled(1000)) == list(range(1000))
    early = ExactDraws("key").shuffled(1000)
    assert [next(early) for _ in range(5)] == list(ExactDraws("key").shuffled(1000))[:5]


def test_an_unknown_generator_and_bounds_that_leave_nothing_are_named():
    raises(ValueError, "generator 'blue' came, wanted white or pink", exact_noise, "blue", "key", 10)
    raises(ValueError, "bound=0 came", ExactDraws("key").below, 0)


def test_a_key_tells_mixes_apart_and_not_spellings_of_a_number():
    assert stream_key(0, "a", "n", 5) == stream_key(0, "a", "n", 5.0)
    assert stream_key(0, "a", "n", 0.0) == stream_key(0, "a", "n", -0.0)
    other = [(1, "a", "n", 5), (0, "b", "n", 5), (0, "a", "m", 5), (0, "a", "n", -5), (0, "a", "n", None)]
    assert len({stream_key(*key) for key in [(0, "a", "n", 5), *other]}) == 6
