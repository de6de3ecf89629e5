"""The level while somebody speaks does not know how long the pauses are; the rms over the clip does."""

import numpy as np
import pytest

from avspeech.noise.mixing import rms
from avspeech.noise.speech_level import active_level


def spurt(pause_s: float, level: float = 0.1) -> np.ndarray:
    """Four seconds of a tone of that rms, then silence."""
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
