"""Learning-rate curves at their corners."""

import pytest

from avspeech.training.schedules import ScheduleConfig, rate_factor

# linear; AV-HuBERT base, 30 h: warm-up 10k from 0.01, decay 20k to 0.05; cosine with a hold
CURVES = [
    (ScheduleConfig("linear", 10), 110, {0: 0, 5: 0.5, 10: 1, 60: 0.5, 110: 0}),
    (
        ScheduleConfig("exponential", 10_000, 0, 20_000, first=0.01, last=0.05),
        30_000,
        {0: 0.01, 10_000: 1, 20_000: 0.05**0.5, 30_000: 0.05, 99_000: 0.05},
    ),
    (ScheduleConfig("cosine", 10, 10, last=0.02), 120, {19: 1, 70: 0.51, 120: 0.02}),
]


@pytest.mark.parametrize(("curve", "total_steps", "factors"), CURVES)
def test_curves_warm_up_hold_decay_and_stay(curve, total_steps, factors):
    assert {step: rate_factor(step, curve, total_steps) for step in factors} == pytest.approx(factors)


def test_a_decay_to_nothing_cannot_be_exponential():
    with pytest.raises(ValueError, match=r"schedule\.last=0"):
        ScheduleConfig(decay="exponential")
