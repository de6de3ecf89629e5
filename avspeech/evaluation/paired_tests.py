"""Tests for a difference between two systems on the same utterances, corrected for multiple tests.

``paired_difference`` is the paired bootstrap (Bisani and Ney, ICASSP 2004; Koehn 2004, W04-3250) over units
(``bootstrap.units_of``). The interval joins widened percentiles (Hesterberg 2015, arXiv:1411.5279) and difference -+
Student's t * jackknife standard error. The p-value is the larger of the two, so p <= 0.05 exactly if the interval
excludes 0. Below 20 units only Student's t is used, as for p-values without a draw beyond 0 (2,000 draws end at 0.001).

Measured with 8 and 4 speakers (experiments/2026-11-noise-bench): a ratio of errors of 1.3 is found in 27.2 and 13.9 %
of simulations (``scipy.stats.permutation_test``: 23.8 and 0 %); false alarms at 5 % are 5.1 and 5.0 % (SciPy's BCa
interval: 12.1 and 18.7 %; studentised draws: 10 %).

``matched_pairs`` is MAPSSWE (Gillick and Cox, ICASSP 1989). Deviations: a segment is an utterance or all utterances of
a speaker, and Student's t replaces the normal distribution.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from avspeech.evaluation import bootstrap
from avspeech.evaluation.bootstrap import Speakers, Units, poisson_interval
from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.error_rate import ErrorCounts, total
from avspeech.evaluation.results import Noise, ScoredHypothesis, System

LEVEL = 0.05


class Difference(NamedTuple):
    """WER(a) - WER(b), negative if a is better, with its 95 % interval as fractions and two-sided p-value."""

    diff: float
    low: float
    high: float
    p_value: float
    win_rate: float
    """Share of draws with fewer errors for a; ties count half."""
    method: str
    """``bootstrap``, or another of ``Interval.method``."""
    num_units: int
    unit: str


def paired_difference(
    counts_a: Sequence[ErrorCounts],
    counts_b: Sequence[ErrorCounts],
    seed: int = 0,
    speakers: Speakers = None,
    num_resamples: int | None = None,
) -> Difference:
    """Return WER(a) - WER(b) on the same utterances in the same order; arguments as in ``wer_interval``."""
    units, more_U, words_U = _differences(counts_a, counts_b, speakers)
    if units.count == 1:
        return _one_unit(total(counts_a).word_errors, total(counts_b).word_errors, words_U)
    draws = bootstrap.draw_ratio(more_U, words_U, seed, num_resamples)
    diff, degrees = float(draws.ratio), units.count - 1
    win_rate = float((draws.ratios_R < 0).mean() + (draws.ratios_R == 0).mean() / 2)
    if draws.standard_error == 0:
        reach = poisson_interval(0)[1] / max(words_U.sum(), 1)
        low, high = diff - reach, diff + reach
        p_value = 1.0 if low <= 0 <= high else 2 * 0.5**units.count  # sign test
        if p_value > LEVEL:
            low, high = min(low, 0.0), max(high, 0.0)
        return Difference(diff, low, high, p_value, win_rate, "no-spread", units.count, units.name)
    reach = float(stats.t.ppf(1 - LEVEL / 2, degrees)) * draws.standard_error
    low, high = diff - reach, diff + reach
    p_value = float(2 * stats.t.sf(abs(diff) / draws.standard_error, degrees))
    method = "jackknife-t" if units.count >= bootstrap.SOME_UNITS else "too-few-units"
    if units.count >= bootstrap.MANY_UNITS:
        stretch = float(np.sqrt(units.count / degrees))
        tail = float(stats.norm.cdf(stats.t.ppf(LEVEL / 2, degrees) * stretch))  # Hesterberg's, of the draws
        from_percentile, to_percentile = bootstrap.quantiles(draws.ratios_R, tail)
        low, high = min(low, from_percentile), max(high, to_percentile)
        if beyond := min((draws.ratios_R <= 0).sum(), (draws.ratios_R >= 0).sum()):
            share = min((1 + beyond) / (len(draws.ratios_R) + 1), 0.5)
            p_value = max(p_value, float(2 * stats.t.cdf(stats.norm.ppf(share) / stretch, degrees)))
        method = "bootstrap"
    return Difference(diff, low, high, p_value, win_rate, method, units.count, units.name)


def matched_pairs(counts_a: Sequence[ErrorCounts], counts_b: Sequence[ErrorCounts], speakers: Speakers = None) -> float:
    """Return the two-sided p-value of the matched-pairs test; a sign test's if all segments differ equally."""
    units, more_U, _ = _differences(counts_a, counts_b, speakers)
    if units.count == 1 or not more_U.any():
        return 1.0
    if np.ptp(more_U) == 0:
        return 2 * 0.5**units.count
    found: Any = stats.ttest_1samp(more_U, 0.0)
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values with Holm's (1979) correction, which bounds the family-wise error rate."""
    p, places = np.asarray(p_values), np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p))
    corrected[places] = np.maximum.accumulate(np.minimum(1.0, (len(p) - np.arange(len(p))) * p[places]))
    return corrected.tolist()


def verdict(diff: float, p_value: float) -> str:
    """Return the result for a at the 5 % level: ``better``, ``worse`` or ``no clear difference``."""
    if p_value > LEVEL:
        return "no clear difference"
    return "better" if diff < 0 else "worse"


def _differences(
    counts_a: Sequence[ErrorCounts], counts_b: Sequence[ErrorCounts], speakers: Speakers
) -> tuple[Units, np.ndarray, np.ndarray]:
    """Return the units and, for each, errors of a minus errors of b, and reference words."""
    words = [one.num_words for one in counts_a]
    if words != [one.num_words for one in counts_b]:
        sizes = f"{len(counts_a)} and {len(counts_b)} utterances"
        raise ValueError(f"{sizes} whose references differ in length cannot be paired; give the same, in one order")
    units = bootstrap.units_of(len(counts_a), speakers)
    more = [a.word_errors - b.word_errors for a, b in zip(counts_a, counts_b, strict=True)]
    return units, units.sums(more), units.sums(words)


def _one_unit(errors_a: int, errors_b: int, words_U: np.ndarray) -> Difference:
    """Return the difference of one unit; its interval always contains 0."""
    words = max(float(words_U[0]), 1.0)
    (low_a, high_a), (low_b, high_b) = poisson_interval(errors_a), poisson_interval(errors_b)
    low, high = min((low_a - high_b) / words, 0.0), max((high_a - low_b) / words, 0.0)
    wins = 0.5 if errors_a == errors_b else float(errors_a < errors_b)
    return Difference((errors_a - errors_b) / words, low, high, 1.0, wins, "one-unit", 1, "utterance")


@dataclass(frozen=True)
class PairedRow:
    """System A against B in one condition and language, on the utterances of both."""

    condition_a: Condition
    condition_b: Condition
    a: System
    b: System
    language: str
    n_utterances: int
    n_only_a: int
    """Utterances that only A scored; omitted."""
    n_only_b: int
    n_words: int
    wer_a: float
    wer_b: float
    difference: Difference
    matched_pairs_p: float
    """Uncorrected."""
    p_holm: float
    """``difference.p_value`` corrected over all rows."""

    @property
    def noise(self) -> Noise:
        return self.condition_a.noise, self.condition_a.snr_db

    @property
    def verdict(self) -> str:
        return verdict(self.difference.diff, self.p_holm)


def pair_lines(
    conditions: tuple[Condition, Condition],
    language: str,
    lines_a: Mapping[str, ScoredHypothesis],
    lines_b: Mapping[str, ScoredHypothesis],
    seed: int,
) -> PairedRow | None:
    """Return the uncorrected row of two systems' transcripts by id; None if they share no utterance."""
    pairs = [(line, lines_b[name]) for name, line in lines_a.items() if name in lines_b]
    if not pairs:
        return None
    a, b = ([line.counts for line in lines] for lines in zip(*pairs, strict=True))
    speakers = [one.speaker or other.speaker for one, other in pairs]
    found = paired_difference(a, b, seed, speakers)
    sizes = len(pairs), len(lines_a) - len(pairs), len(lines_b) - len(pairs), total(a).num_words
    (condition_a, condition_b), (line_a, line_b) = conditions, pairs[0]
    systems = (condition_a.modality, line_a.model), (condition_b.modality, line_b.model)
    tested = found, matched_pairs(a, b, speakers), found.p_value
    return PairedRow(*conditions, *systems, language, *sizes, total(a).wer, total(b).wer, *tested)


def correct_rows(rows: Sequence[PairedRow]) -> list[PairedRow]:
    """Return the rows with p-values corrected over all of them."""
    corrected = holm([row.difference.p_value for row in rows])
    return [replace(row, p_holm=p_value) for row, p_value in zip(rows, corrected, strict=True)]
