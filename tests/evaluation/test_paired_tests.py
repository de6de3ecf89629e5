"""Tests of two systems: how often they cry wolf, and whether they see one."""

import numpy as np
import pytest
from simulated_counts import simulate

from avspeech.evaluation.bootstrap import wer_interval
from avspeech.evaluation.error_rate import ErrorCounts
from avspeech.evaluation.paired_tests import holm, matched_pairs, paired_difference, verdict
from tests.refusals import raises


def counts_of(errors, words: int = 10) -> list[ErrorCounts]:
    return [ErrorCounts(num_words=words, substitutions=int(one)) for one in errors]


def worsened(counts: list[ErrorCounts], more) -> list[ErrorCounts]:
    """Add ``more()`` errors to each utterance, up to its words."""
    return [ErrorCounts(one.num_words, min(one.num_words, one.word_errors + int(more()))) for one in counts]


def false_alarms(trials: int, speakers: int, utterances: int, rate: float, **design) -> tuple[float, float]:
    """How often two systems of the same true rate differ at 5 %: by the bootstrap, and by matched pairs.

    A lone ``utterances`` of 1 stands for one voice: every utterance is then a unit.
    """
    rng, alarms = np.random.default_rng(0), np.zeros(2)
    for _ in range(trials):
        (a, b), names = simulate(rng, speakers, rate, utterances, systems=2, **design)
        names = names if utterances > 1 else ["x"] * len(names)
        p_values = (paired_difference(a, b, speakers=names, num_resamples=1999).p_value, matched_pairs(a, b, names))
        alarms += np.array(p_values) <= 0.05
    return tuple(alarms / trials)


@pytest.mark.slow
@pytest.mark.parametrize(("speakers", "utterances"), [(25, 15), (60, 1)])
def test_equal_systems_are_told_apart_about_as_often_as_the_level_says(speakers, utterances):
    assert all(0.02 <= share <= 0.09 for share in false_alarms(300, speakers, utterances, 0.3))


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.1, 0.3])
@pytest.mark.parametrize(
    ("speakers", "utterances", "uneven"),
    [(20, 15, False), (20, 15, True), (40, 15, False), (40, 15, True), (60, 1, False)],
)
def test_false_alarms_are_between_3_and_7_percent(speakers, utterances, uneven, rate):
    assert all(0.03 <= share <= 0.07 for share in false_alarms(2000, speakers, utterances, rate, uneven=uneven))


@pytest.mark.slow
@pytest.mark.parametrize("speakers", [4, 6, 10])
def test_with_few_speakers_false_alarms_stay_below_7_percent(speakers):
    assert all(share <= 0.07 for share in false_alarms(2000, speakers, 15, 0.3))


def test_a_real_difference_is_seen():
    rng, seen = np.random.default_rng(1), 0
    for _ in range(50):
        (a, _), names = simulate(rng, 30, 0.2, systems=2)
        found = paired_difference(a, worsened(a, lambda: rng.random() < 0.5), speakers=names)
        assert found.win_rate > 0.99
        seen += found.p_value <= 0.05 and found.high < 0
    assert seen == 50


def test_p_value_and_interval_agree():
    rng, significant = np.random.default_rng(2), 0
    for trial in range(200):
        (a, b), names = simulate(rng, int(rng.integers(2, 40)), 0.25, 6, systems=2, uneven=True)
        found = paired_difference(a, worsened(b, lambda: rng.random() < 0.5), trial, names, 999)
        assert (found.p_value <= 0.05) == (not found.low <= 0 <= found.high)
        assert found.low <= found.diff <= found.high
        significant += found.p_value <= 0.05
    assert 20 < significant < 180  # both sides were tried


def test_a_clear_difference_survives_the_correction_for_a_large_grid():
    (a, _), names = simulate(np.random.default_rng(3), 60, 0.2, systems=2)
    found = paired_difference(a, worsened(a, lambda: 2), speakers=names, num_resamples=2000)
    assert holm([found.p_value] * 300)[0] < 0.001


def test_swapping_the_systems_turns_the_sign():
    (a, b), names = simulate(np.random.default_rng(3), 25, 0.3, systems=2)
    one, other = paired_difference(a, b, speakers=names), paired_difference(b, a, speakers=names)
    assert (one.diff, one.low, one.high) == pytest.approx((-other.diff, -other.high, -other.low))
    assert one.p_value == other.p_value
    assert one.win_rate == pytest.approx(1 - other.win_rate)


def test_a_system_does_not_differ_from_itself():
    (counts,), _ = simulate(np.random.default_rng(3), 40, 0.3)
    found = paired_difference(counts, counts)
    assert (found.diff, found.p_value, found.win_rate, found.method) == (0, 1, 0.5, "no-spread")
    assert found.low == -found.high < 0, "one that made the same errors here need not always"
    assert matched_pairs(counts, counts) == 1


def test_pairing_narrows_the_interval_where_utterances_are_hard_for_both():
    rng = np.random.default_rng(5)
    hardness = rng.beta(0.5, 0.5, 200)
    a, b = counts_of(rng.binomial(10, hardness)), counts_of(rng.binomial(10, np.clip(hardness + 0.05, 0, 1)))
    paired, alone = paired_difference(a, b), wer_interval(a)
    assert paired.high - paired.low < (alone.high - alone.low) * 0.8


def test_speakers_are_the_units_where_two_are_known():
    (a, b), names = simulate(np.random.default_rng(6), 12, 0.3, systems=2)
    by_speaker, by_utterance = paired_difference(a, b, speakers=names), paired_difference(a, b)
    assert (by_speaker.method, by_speaker.num_units, by_speaker.unit) == ("jackknife-t", 12, "speaker")
    assert (by_utterance.method, by_utterance.num_units, by_utterance.unit) == ("bootstrap", 180, "utterance")
    assert paired_difference(a, b, speakers=["x"] * 180) == by_utterance
    assert paired_difference(a[:45], b[:45], speakers=names[:45]).method == "too-few-units"


def test_one_utterance_decides_nothing():
    found = paired_difference(counts_of([0]), counts_of([10]))
    assert (found.diff, found.p_value, found.win_rate, found.method) == (-1, 1, 1, "one-unit")
    assert found.low < found.diff < 0 <= found.high


def test_systems_that_differ_by_the_same_everywhere():
    found = paired_difference(counts_of([1] * 40), counts_of([4] * 40))
    assert found.method == "no-spread" and found.p_value < 0.01 and found.high < 0
    assert matched_pairs(counts_of([1] * 40), counts_of([4] * 40)) == 2 * 0.5**40
    few = paired_difference(counts_of([1] * 4), counts_of([9] * 4))
    assert (few.p_value, few.high) == (0.125, 0), "four of four is no proof"
    assert matched_pairs(counts_of([1] * 2), counts_of([9] * 2)) == 0.5, "nor two of two"


def test_matched_pairs_by_hand():
    # Differences 1, 0, -1, 2, 3: mean 1, standard deviation sqrt(10 / 4), t = 1 / sqrt(2.5 / 5) = sqrt(2).
    found = matched_pairs(counts_of([3, 2, 0, 4, 5]), counts_of([2, 2, 1, 2, 2]))
    assert found == pytest.approx(0.2302, abs=1e-4)  # two-sided, 4 degrees of freedom


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert (holm([0.9, 0.6]), holm([0.02]), holm([])) == ([1.0, 1.0], [0.02], [])


def test_verdicts():
    assert [verdict(-0.1, 0.05), verdict(0.1, 0.01), verdict(-0.1, 0.051)] == ["better", "worse", "no clear difference"]


def test_pairs_of_other_references_are_refused():
    three, four = [ErrorCounts(3)], [ErrorCounts(4)]
    raises(ValueError, "cannot be paired", paired_difference, three, four)
    raises(ValueError, "1 and 2 utterances", matched_pairs, three, three * 2)
    raises(ValueError, "at least one scored utterance", paired_difference, [], [])


@pytest.mark.filterwarnings("error")
def test_references_without_words_can_be_compared():
    silent, wrong, right = ErrorCounts(), ErrorCounts(4, 3, 1), ErrorCounts(4)
    found = paired_difference([silent, wrong], [silent, right], speakers=["a", "b"], num_resamples=200)
    assert found.diff == 1 and found.low <= 0 < found.high < np.inf and found.p_value > 0.05
    assert paired_difference([silent, silent], [silent, silent], num_resamples=200).p_value == 1
