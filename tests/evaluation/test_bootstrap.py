"""Intervals cover what they say they cover."""

from time import process_time

import numpy as np
import pytest
from scipy import stats
from simulated_counts import simulate

from avspeech.evaluation import bootstrap
from avspeech.evaluation.bootstrap import cer_interval, draw_ratio, resampled_sums, units_of, wer_interval
from avspeech.evaluation.error_rate import ErrorCounts, total
from tests.refusals import raises


def binomial_counts(rng: np.random.Generator, utterances: int, p: float, words: int = 6) -> list[ErrorCounts]:
    return [ErrorCounts(num_words=words, substitutions=int(errors)) for errors in rng.binomial(words, p, utterances)]


def sums_of(counts: list[ErrorCounts], names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Errors and words of each speaker."""
    units = units_of(len(names), names)
    return units.sums([one.word_errors for one in counts]), units.sums([one.num_words for one in counts])


def coverage(trials: int, speakers: int, rate: float, seed: int = 0, **design) -> float:
    rng, covered = np.random.default_rng(seed), 0
    for _ in range(trials):
        (counts,), names = simulate(rng, speakers, rate, **design)
        interval = wer_interval(counts, speakers=names, num_resamples=999)
        covered += interval.low <= rate <= interval.high
    return covered / trials


@pytest.mark.parametrize("speakers", [5, 10, 20, 40])
def test_the_interval_covers_a_known_rate_as_often_as_it_says(speakers):
    assert 0.91 <= coverage(300, speakers, 0.2) <= 0.985


@pytest.mark.slow
@pytest.mark.parametrize("uneven", [False, True])
@pytest.mark.parametrize("spread", [0.15, 0.6])
@pytest.mark.parametrize("rate", [0.1, 0.4])
@pytest.mark.parametrize("speakers", [20, 30, 60])
def test_from_twenty_speakers_on_coverage_is_between_93_and_97_percent(speakers, rate, spread, uneven):
    found = coverage(2000, speakers, rate, spread=spread, uneven=uneven)
    assert 0.925 <= found <= 0.975  # 93 to 97 %, and one standard error of 2,000 simulations


@pytest.mark.slow
@pytest.mark.parametrize("speakers", [4, 6, 10, 15])
def test_below_twenty_speakers_the_small_sample_method_covers(speakers):
    assert 0.92 <= coverage(2000, speakers, 0.2) <= 0.98


def test_a_percentile_interval_does_not_cover_with_few_speakers():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(300):
        (counts,), names = simulate(rng, 4, 0.2)
        low, high = np.percentile(draw_ratio(*sums_of(counts, names), 0, 999).ratios_R, [2.5, 97.5])
        covered += low <= 0.2 <= high
    assert covered / 300 < 0.85


def test_rare_errors_are_covered_and_no_error_leaves_an_upper_end():
    assert coverage(300, 20, 0.001, seed=1) >= 0.93
    none = wer_interval([ErrorCounts(num_words=6)] * 100)
    assert (none.low, none.method) == (0, "few-errors")
    assert none.high == pytest.approx(2 * -np.log(0.025) / 600)


def test_few_errors_have_the_exact_poisson_interval_at_least():
    interval = wer_interval([ErrorCounts(num_words=10, substitutions=int(place < 4)) for place in range(50)])
    assert interval.method == "few-errors"
    assert interval.high >= 2 * stats.poisson(2).ppf(0.975) / 500
    assert stats.poisson(interval.high * 500 / 2).cdf(2) <= 0.025 + 1e-9


def test_units_that_all_have_the_same_rate_leave_a_doubt():
    interval = wer_interval([ErrorCounts(num_words=5, deletions=5)] * 30)
    assert interval.method == "no-spread"
    assert 0.9 < interval.low < 1 < interval.high


@pytest.mark.parametrize(
    ("speakers", "method"), [(2, "too-few-units"), (3, "too-few-units"), (4, "jackknife-t"), (20, "bootstrap-t")]
)
def test_the_method_follows_from_the_number_of_speakers(speakers, method):
    (counts,), names = simulate(np.random.default_rng(2), speakers, 0.3)
    interval = wer_interval(counts, speakers=names)
    assert (interval.method, interval.num_units, interval.unit) == (method, speakers, "speaker")


def test_below_twenty_units_it_is_never_narrower_than_the_jackknife():
    rng = np.random.default_rng(3)
    for speakers in (2, 3, 5, 8, 15, 19):
        (counts,), names = simulate(rng, speakers, 0.3, uneven=True)
        errors, words = sums_of(counts, names)
        left_out, rate = (errors.sum() - errors) / (words.sum() - words), errors.sum() / words.sum()
        reach = stats.t.ppf(0.975, speakers - 1) * np.sqrt((speakers - 1) / speakers * ((left_out - rate) ** 2).sum())
        interval = wer_interval(counts, speakers=names)
        assert interval.low <= max(rate - reach, 0) + 1e-12
        assert interval.high >= rate + reach - 1e-12


def test_the_order_of_utterances_changes_nothing_but_the_draws():
    (counts,), names = simulate(np.random.default_rng(5), 30, 0.3)
    order = np.random.default_rng(6).permutation(len(counts))
    one = wer_interval(counts, speakers=names)
    other = wer_interval([counts[i] for i in order], speakers=[names[i] for i in order])
    assert one[:2] == pytest.approx(other[:2], rel=0.03)
    assert one == wer_interval(counts, speakers=names) != wer_interval(counts, seed=6, speakers=names)


def test_what_is_drawn_in_parts_is_what_is_drawn_at_once(monkeypatch):
    columns = np.random.default_rng(0).integers(0, 9, (30, 3)).astype(float)
    drawn = np.random.default_rng(3).integers(30, size=(400, 30))
    np.testing.assert_array_equal(resampled_sums(columns, 3, 400), columns[drawn].sum(axis=1))
    monkeypatch.setattr(bootstrap, "_ENTRIES_AT_ONCE", 90)
    bootstrap._times_drawn.cache_clear()
    np.testing.assert_array_equal(resampled_sums(columns, 3, 400), columns[drawn].sum(axis=1))


def test_drawing_speakers_widens_the_interval_where_speakers_differ():
    rng = np.random.default_rng(6)
    counts, speakers = [], []
    for speaker, p in enumerate(rng.beta(1, 3, 20)):
        counts += binomial_counts(rng, 20, p)
        speakers += [f"s{speaker}"] * 20
    low, high, *_ = wer_interval(counts)
    low_by_speaker, high_by_speaker, *_ = wer_interval(counts, speakers=speakers)
    assert high_by_speaker - low_by_speaker > 1.5 * (high - low)
    each_alone = wer_interval(counts, speakers=[str(i) for i in range(len(counts))])
    assert each_alone[:2] == pytest.approx((low, high), abs=0.005)
    assert each_alone.unit == "speaker"


def test_units_are_speakers_only_where_two_are_known():
    assert units_of(3, ["a", "a", "a"])[::2] == ("utterance", 3)
    assert units_of(2, [None, None])[::2] == ("utterance", 2)
    assert units_of(3, ["a", None, "a"])[::2] == ("utterance", 3)
    mixed = units_of(5, ["a", None, "b", "a", None])
    assert mixed[::2] == ("speaker", 4)
    assert mixed.of_entry.tolist() == [0, 1, 2, 0, 3]
    assert mixed.sums([1, 2, 3, 4, 5]).tolist() == [5, 2, 3, 5]


def test_one_speaker_falls_back_on_utterances_and_one_utterance_on_its_words():
    counts = binomial_counts(np.random.default_rng(7), 40, 0.3)
    assert wer_interval(counts, speakers=["x"] * 40) == wer_interval(counts)
    alone = wer_interval([ErrorCounts(num_words=8, substitutions=4)])
    assert (alone.method, alone.num_units) == ("one-unit", 1)
    assert alone.low < 0.2 and alone.high > 1


def test_what_cannot_be_drawn_from_is_refused():
    raises(ValueError, "at least one scored utterance", wer_interval, [])
    raises(ValueError, "1 speakers came for 2", wer_interval, [ErrorCounts(3), ErrorCounts(3)], speakers=["s1"])


def test_character_errors_have_an_interval_of_their_own():
    rng = np.random.default_rng(8)
    counts = [ErrorCounts(num_words=6, num_characters=30, character_errors=int(e)) for e in rng.binomial(30, 0.2, 60)]
    low, high, *_ = cer_interval(counts)
    rate = sum(one.character_errors for one in counts) / 1800
    assert rate - 0.03 < low < rate < high < rate + 0.03


def test_the_intervals_of_a_large_grid_are_quick():
    counts = binomial_counts(np.random.default_rng(7), 1321, 0.1)  # LRS3's test set
    wer_interval(counts)
    start = process_time()
    for _ in range(5):
        wer_interval(counts)
    assert process_time() - start < 2


@pytest.mark.filterwarnings("error")
def test_references_without_words_have_a_finite_interval():
    rng = np.random.default_rng(0)
    silent = ErrorCounts()  # nothing said, nothing heard
    sets = [[silent, ErrorCounts(4, 3, 1)], [silent, silent], [ErrorCounts(0, insertions=2), silent, ErrorCounts(3)]]
    for _ in range(300):
        size = int(rng.integers(1, 6))
        sets.append([ErrorCounts(int(rng.integers(3)), insertions=int(rng.integers(4))) for _ in range(size)])
    for counts in sets:
        for speakers in (None, ["a", "b", "c", "a", "b"][: len(counts)]):
            found = wer_interval(counts, speakers=speakers, num_resamples=200)
            assert 0 <= found.low <= total(counts).wer <= found.high < np.inf, (counts, found)
