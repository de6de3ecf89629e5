"""Learning-rate curves at their corners."""

import pytest

from avspeech.training.schedules import ScheduleConfig, rate_factor


def test_linear_warms_up_and_reaches_zero_at_the_end():
    curve = ScheduleConfig(decay="linear", warmup_steps=10)
    assert [rate_factor(step, curve, 110) for step in (0, 5, 10, 60, 110)] == [0, 0.5, 1, 0.5, 0]


def test_tri_stage_holds_decays_exponentially_and_stays():
    """AV-HuBERT base, 30 h: warm-up 10k from 0.01, decay 20k to 0.05."""
    curve = ScheduleConfig(
        decay="exponential", warmup_steps=10_000, hold_steps=0, decay_steps=20_000, first=0.01, last=0.05
    )
    assert rate_factor(0, curve, 30_000) == 0.01
    assert rate_factor(10_000, curve, 30_000) == 1
    assert rate_factor(20_000, curve, 30_000) == pytest.approx(0.05**0.5)
    assert rate_factor(30_000, curve, 30_000) == rate_factor(99_000, curve, 30_000) == pytest.approx(0.05)


def test_cosine_and_hold():
    curve = ScheduleConfig(decay="cosine", warmup_steps=10, hold_steps=10, last=0.02)
    assert rate_factor(19, curve, 120) == 1
    assert rate_factor(70, curve, 120) == pytest.approx(0.51)
    assert rate_factor(120, curve, 120) == pytest.approx(0.02)


def test_a_decay_to_nothing_cannot_be_exponential():
    with pytest.raises(ValueError, match=r"schedule\.last=0"):
        ScheduleConfig(decay="exponential")
