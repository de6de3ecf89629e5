"""Is one system better than another on the same utterances: difference, interval, p-values, correction for many tests.

``paired_difference``: the paired bootstrap (Bisani and Ney, ICASSP 2004; Koehn 2004, W04-3250). Both systems are
scored on the same draws of speakers (``units_of``) or utterances, so that what is hard for both cancels. Its interval
holds both the percentiles of the drawn differences, taken further out for the number of units (Hesterberg 2015,
arXiv:1411.5279), and difference -+ Student's t * jackknife standard error; its p-value is the larger of the two that
belong to them. So p <= 0.05 exactly where the interval leaves 0 out. Below 20 units, and for p-values smaller than
draws can count, only the second half is used: 2,000 draws end at 0.001, which a correction for 100 tests would never
let pass. Each half alone cries wolf somewhere in our simulations: percentiles where the errors that differ are few and
lumped, the t interval where speakers have very unequal numbers of words. Where fewer than some 50 errors differ, the
test is conservative. Studentised draws, which serve the rate itself well, do not here: with skewed differences they
gave 10 % false alarms at 5 %.

``matched_pairs``: Gillick and Cox, "Some statistical issues in the comparison of speech recognition algorithms"
(ICASSP 1989), NIST's MAPSSWE. Where we differ: a segment is an utterance, or all of a speaker's, and not a stretch
between words that both have right; and Student's t takes the place of the normal, which is the same for many segments.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from avspeech.evaluation.bootstrap import (
    MANY_UNITS,
    SOME_UNITS,
    Units,
    checked_units,
    draw_ratio,
    poisson_interval,
    quantiles,
    unseen,
)
from avspeech.evaluation.bootstrap import WORDS_A_RUN as A_RUN
from avspeech.evaluation.error_rate import ErrorCounts

LEVEL = 0.05


class Difference(NamedTuple):
    """WER of a minus WER of b with its 95 % interval, negative where a is better, and what the draws say of it."""

    diff: float
    low: float
    high: float
    p_value: float
    """Two-sided; at most 0.05 exactly where the interval leaves 0 out."""
    win_rate: float
    """Share of the draws in which a makes fewer errors; a tie counts half."""
    method: str
    """``bootstrap``, ``jackknife-t`` (below 20 units), ``too-few-units`` (2 or 3), ``no-spread`` or ``one-unit``."""
    num_units: int
    unit: str
    """``speaker`` or ``utterance``."""


class MatchedPairs(NamedTuple):
    """The matched-pairs test on errors of a minus errors of b, segment by segment."""

    statistic: float
    """Mean over its standard error; infinite where all segments differ by the same."""
    p_value: float
    """Two-sided; of a sign test where all segments differ by the same, for two that do so are no proof."""
    num_segments: int
    segment: str
    """``speaker`` or ``utterance``."""


def paired_difference(
    counts_a: Sequence[ErrorCounts],
    counts_b: Sequence[ErrorCounts],
    seed: int = 0,
    speakers: Sequence[str | None] | None = None,
    num_resamples: int | None = None,
) -> Difference:
    """Return WER(a) - WER(b) and whether it is more than chance.

    What makes an utterance hard makes it hard for both, so this interval is narrower than the two systems' own
    intervals suggest; it says whether one is better, they say how good each is.

    Args:
        counts_a: one entry an utterance.
        counts_b: the same utterances in the same order.
        seed: of the draws.
        speakers: who speaks each utterance; None means that nobody knows.
        num_resamples: draws; None as in ``wer_interval``.

    Raises:
        ValueError: the two are not about the same references, or there is no utterance.
    """
    units, more_U, words_U = _differences(counts_a, counts_b, speakers)
    if units.count == 1:
        return _one_unit(sum(one.word_errors for one in counts_a), sum(one.word_errors for one in counts_b), words_U)
    draws = draw_ratio(more_U, words_U, seed, num_resamples)
    win_rate = float((draws.ratios_R < 0).mean() + (draws.ratios_R == 0).mean() / 2)
    if draws.standard_error == 0:
        reach = unseen(max(words_U.sum(), 1))
        low, high = draws.ratio - reach, draws.ratio + reach
        p_value = 1.0 if low <= 0 <= high else _sign_test(units.count)
        if p_value > LEVEL:
            low, high = min(low, 0.0), max(high, 0.0)
        return Difference(float(draws.ratio), low, high, p_value, win_rate, "no-spread", units.count, units.name)
    degrees = units.count - 1
    reach = float(stats.t.ppf(1 - LEVEL / 2, degrees)) * draws.standard_error
    low, high = draws.ratio - reach, draws.ratio + reach
    p_value = float(2 * stats.t.sf(abs(draws.ratio) / draws.standard_error, degrees))
    method = "jackknife-t" if units.count >= SOME_UNITS else "too-few-units"
    if units.count >= MANY_UNITS:
        stretch = float(np.sqrt(units.count / degrees))
        from_percentile, to_percentile = quantiles(draws.ratios_R, _normal_tail(LEVEL / 2, degrees, stretch))
        low, high = min(low, from_percentile), max(high, to_percentile)
        if beyond := min((draws.ratios_R <= 0).sum(), (draws.ratios_R >= 0).sum()):
            tail = min((1 + beyond) / (len(draws.ratios_R) + 1), 0.5)
            p_value = max(p_value, float(2 * stats.t.cdf(stats.norm.ppf(tail) / stretch, degrees)))
        method = "bootstrap"
    return Difference(float(draws.ratio), low, high, p_value, win_rate, method, units.count, units.name)


def matched_pairs(
    counts_a: Sequence[ErrorCounts], counts_b: Sequence[ErrorCounts], speakers: Sequence[str | None] | None = None
) -> MatchedPairs:
    """Return the matched-pairs test of the hypothesis that both make the same number of errors.

    Args:
        counts_a: one entry an utterance.
        counts_b: the same utterances in the same order.
        speakers: who speaks each utterance; None means that nobody knows.

    Raises:
        ValueError: the two are not about the same references, or there is no utterance.
    """
    units, more_U, _ = _differences(counts_a, counts_b, speakers)
    mean = float(more_U.mean())
    if units.count == 1 or mean == 0:
        return MatchedPairs(0.0, 1.0, units.count, units.name)
    error = float(more_U.std(ddof=1)) / np.sqrt(units.count)
    if not error:
        return MatchedPairs(float(np.copysign(np.inf, mean)), _sign_test(units.count), units.count, units.name)
    statistic = float(mean / error)
    return MatchedPairs(statistic, float(2 * stats.t.sf(abs(statistic), units.count - 1)), units.count, units.name)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for being a family (Holm 1979): all at most 0.05 wrong together in 5 % of families.

    Args:
        p_values: of every test that was made, in any order.
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def verdict(diff: float, p_value: float) -> str:
    """Return what a test at 5 % allows to say about a: ``better``, ``worse`` or ``no clear difference``."""
    if p_value > LEVEL:
        return "no clear difference"
    return "better" if diff < 0 else "worse"


def _differences(
    counts_a: Sequence[ErrorCounts], counts_b: Sequence[ErrorCounts], speakers: Sequence[str | None] | None
) -> tuple[Units, np.ndarray, np.ndarray]:
    """Units, errors of a minus errors of b in each, and reference words of each."""
    if [counts.num_words for counts in counts_a] != [counts.num_words for counts in counts_b]:
        raise ValueError(
            f"{len(counts_a)} and {len(counts_b)} utterances whose references differ in length cannot be paired; "
            "give both systems' counts for the same utterances, in the same order"
        )
    units = checked_units(len(counts_a), speakers)
    more = [a.word_errors - b.word_errors for a, b in zip(counts_a, counts_b, strict=True)]
    return units, units.sums(more), units.sums([counts.num_words for counts in counts_a])


def _one_unit(errors_a: int, errors_b: int, words_U: np.ndarray) -> Difference:
    """A lone utterance says how many errors there were, and of chance nothing: the interval always holds 0."""
    words = max(float(words_U[0]), 1.0)
    (low_a, high_a), (low_b, high_b) = poisson_interval(errors_a, A_RUN), poisson_interval(errors_b, A_RUN)
    low, high = min((low_a - high_b) / words, 0.0), max((high_a - low_b) / words, 0.0)
    wins = 0.5 if errors_a == errors_b else float(errors_a < errors_b)
    return Difference((errors_a - errors_b) / words, low, high, 1.0, wins, "one-unit", 1, "utterance")


def _sign_test(num_units: int) -> float:
    """The two-sided p-value where all units are on one side."""
    return 2 * 0.5**num_units


def _normal_tail(tail: float, degrees: int, stretch: float) -> float:
    """The share of the draws to leave out at either end for a tail of Student's t, after Hesterberg."""
    return float(stats.norm.cdf(stats.t.ppf(tail, degrees) * stretch))
