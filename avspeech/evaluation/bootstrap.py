"""95 % intervals of an error rate from resampled speakers, or utterances if no speakers are known.

The method is the studentised bootstrap (Hall 1992, The Bootstrap and Edgeworth Expansion) with the jackknife standard
error. Deviation: each draw's variance has one average unit added, to keep it away from zero. Percentiles over
utterances (Bisani and Ney, ICASSP 2004) are too narrow, because utterances of a speaker are dependent.

Coverage with 8 and 30 speakers: 94.1 and 95.2 %; BCa of ``scipy.stats.bootstrap``: 87.2 and 92.8 % (rate of 20 %, 600
simulations, experiments/2026-11-noise-bench). ``Interval.method`` is one of

- ``bootstrap-t``: the studentised bootstrap, from 20 units on;
- ``jackknife-t``: below 20 units, at least as wide as rate -+ Student's t (units - 1) * standard error;
- ``too-few-units``: as ``jackknife-t``, with 2 or 3 units;
- ``few-errors``: fewer than 10 word errors, at least as wide as the exact Poisson interval (Garwood 1936) of errors in
  pairs; the upper end for a rate of 0 is 7.4 / words;
- ``no-spread``: all units have the same rate; the half-width is the upper end for a rate of 0;
- ``one-unit``: the Poisson interval alone.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import stats

from avspeech.evaluation.error_rate import ErrorCounts

NUM_RESAMPLES = 10_000
FEWEST_RESAMPLES = 2_000
MANY_UNITS = 20  # from here on the bootstrap alone covers
SOME_UNITS = 4  # below, the interval is marked as too-few-units
FEW_RUNS = 5  # below this number of error runs the Poisson interval is joined
WORDS_A_RUN = 2  # a misheard word often spoils its neighbour
CHARACTERS_A_RUN = 6  # the same in characters, three a word
_ENTRIES_AT_ONCE = 4_000_000  # of the resampling matrix as float64: 32 MB
_ENTRIES = 20_000_000  # of the matrix kept as uint8: 20 MB; above 2,000 units there are fewer resamples
Speakers = Sequence[str | None] | None


class Interval(NamedTuple):
    """A 95 % interval and its method; ``unit`` is ``speaker`` or ``utterance``."""

    low: float
    high: float
    method: str
    num_units: int
    unit: str


class Units(NamedTuple):
    """Groups of entries that are drawn together; ``of_entry`` is each entry's index of its group."""

    name: str
    of_entry: np.ndarray
    count: int

    def sums(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return float64 sums over each unit's entries; a matrix has one row per entry."""
        values = np.asarray(values, dtype=np.float64)
        total = np.zeros((self.count, *values.shape[1:]))
        np.add.at(total, self.of_entry, values)
        return total


class RatioDraws(NamedTuple):
    """A ratio of two sums over units, its jackknife standard error (0 if all have it), and its resampled values."""

    ratio: float
    standard_error: float
    ratios_R: np.ndarray
    studentised_R: np.ndarray
    """(ratio of the draw - ratio) / standard error of the draw."""


def units_of(num_entries: int, speakers: Speakers = None) -> Units:
    """Return the known speakers as units if there are two or more, otherwise (or if None) the utterances."""
    if not num_entries:
        raise ValueError("an interval needs at least one scored utterance, 0 came")
    if speakers is not None and len(speakers) != num_entries:
        raise ValueError(f"{len(speakers)} speakers came for {num_entries} utterances; give one for each")
    if speakers is None or len(set(speakers) - {None}) < 2:
        return Units("utterance", np.arange(num_entries), num_entries)
    numbers: dict[object, int] = {}
    keys = [place if name is None else name for place, name in enumerate(speakers)]
    return Units("speaker", np.array([numbers.setdefault(key, len(numbers)) for key in keys]), len(numbers))


def wer_interval(
    counts: Sequence[ErrorCounts], seed: int = 0, speakers: Speakers = None, num_resamples: int | None = None
) -> Interval:
    """Return the 95 % interval of the word error rate; by default 10,000 resamples, fewer above 2,000 units."""
    errors, words = [one.word_errors for one in counts], [one.num_words for one in counts]
    return rate_interval(errors, words, units_of(len(counts), speakers), seed, num_resamples)


def cer_interval(counts: Sequence[ErrorCounts], seed: int = 0, speakers: Speakers = None) -> Interval:
    """Return the 95 % interval of the corpus-level character error rate, as fractions."""
    errors, characters = [one.character_errors for one in counts], [one.num_characters for one in counts]
    units = units_of(len(counts), speakers)
    return rate_interval(errors, characters, units, seed, errors_a_run=CHARACTERS_A_RUN)


def rate_interval(
    errors: Sequence[float] | np.ndarray,
    tokens: Sequence[float] | np.ndarray,
    units: Units,
    seed: int = 0,
    num_resamples: int | None = None,
    errors_a_run: int = WORDS_A_RUN,
) -> Interval:
    """Return the 95 % interval of sum(errors) / sum(tokens); the Poisson interval has runs of ``errors_a_run``."""
    errors_U, tokens_U = units.sums(errors), units.sums(tokens)
    num_errors, num_tokens = float(errors_U.sum()), max(float(tokens_U.sum()), 1.0)
    least, most = (end / num_tokens for end in poisson_interval(num_errors, errors_a_run))
    if units.count == 1:
        return Interval(least, most, "one-unit", 1, units.name)
    draws = draw_ratio(errors_U, tokens_U, seed, num_resamples)
    below, above = quantiles(draws.studentised_R, 0.025)
    method = "bootstrap-t"
    if units.count < MANY_UNITS:
        student = float(stats.t.ppf(0.975, units.count - 1))
        below, above = min(below, -student), max(above, student)
        method = "jackknife-t" if units.count >= SOME_UNITS else "too-few-units"
    low = draws.ratio - max(above, 0.0) * draws.standard_error
    high = draws.ratio - min(below, 0.0) * draws.standard_error
    if num_errors < FEW_RUNS * errors_a_run:
        low, high, method = min(low, least), max(high, most), "few-errors"
    elif draws.standard_error == 0:
        reach = poisson_interval(0, errors_a_run)[1] / num_tokens
        low, high, method = low - reach, high + reach, "no-spread"
    return Interval(max(low, 0.0), high, method, units.count, units.name)


def poisson_interval(num_errors: float, errors_a_run: int = WORDS_A_RUN) -> tuple[float, float]:
    """Return the exact 95 % interval (Garwood 1936) of the expected number of errors in runs."""
    runs = num_errors / errors_a_run
    low = float(stats.chi2.ppf(0.025, 2 * runs)) / 2 if runs else 0.0
    return low * errors_a_run, float(stats.chi2.ppf(0.975, 2 * runs + 2)) / 2 * errors_a_run


def draw_ratio(over_U: np.ndarray, under_U: np.ndarray, seed: int, num_resamples: int | None) -> RatioDraws:
    """Return sum(over) / sum(under) and its draws; needs two or more units."""
    size = len(over_U)
    over, under = over_U.sum(), max(under_U.sum(), 1)
    ratio = over / under
    without_one_U = (over - over_U) / np.maximum(under - under_U, 1)
    error = float(np.sqrt((size - 1) / size * ((without_one_U - ratio) ** 2).sum()))
    columns = np.stack([over_U, under_U, over_U**2, over_U * under_U, under_U**2], axis=1)
    sums = resampled_sums(columns, seed, num_resamples)
    drawn_under_R = np.maximum(sums[:, 1], 1)
    ratios_R = sums[:, 0] / drawn_under_R
    one_unit = ((over_U - ratio * under_U) ** 2).mean()
    # Equal rates up to rounding. If one unit has all the words, only the second test finds this.
    if error < 1e-12 or one_unit < 1e-20:
        return RatioDraws(ratio, 0.0, ratios_R, np.zeros_like(ratios_R))
    # Sum over the drawn units of (over - drawn ratio * under) ** 2, multiplied out.
    spread_R = sums[:, 2] - 2 * ratios_R * sums[:, 3] + ratios_R**2 * sums[:, 4]
    variance_R = (np.maximum(spread_R, 0) + one_unit) * size / (size + 1) * size / (size - 1)
    return RatioDraws(ratio, error, ratios_R, (ratios_R - ratio) * drawn_under_R / np.sqrt(variance_R))


def quantiles(draws_R: np.ndarray, tail: float) -> tuple[float, float]:
    """Return the draws with a share ``tail`` beyond them at either end, not interpolated."""
    outside = max(int(tail * (len(draws_R) + 1)), 1)
    ordered = np.partition(draws_R, [outside - 1, len(draws_R) - outside])
    return float(ordered[outside - 1]), float(ordered[len(draws_R) - outside])


def resampled_sums(columns: np.ndarray, seed: int, num_resamples: int | None) -> np.ndarray:
    """Return column sums (draws, columns) of ``columns`` (units, columns) over rows drawn with replacement."""
    size = len(columns)
    if num_resamples is None:
        num_resamples = max(FEWEST_RESAMPLES, min(NUM_RESAMPLES, _ENTRIES // size))
    # Counts are whole numbers below 2 ** 53, so the products add up exactly in any order.
    return np.concatenate([part @ columns for part in _pieces(_times_drawn(size, seed, num_resamples))])


@lru_cache(maxsize=12)  # the conditions of a grid share their draws: one matrix a language
def _times_drawn(size: int, seed: int, num_resamples: int) -> np.ndarray:
    """Return how often each draw contains each unit, uint8 (draws, units)."""
    rng, times = np.random.default_rng(seed), np.empty((num_resamples, size), np.uint8)
    for part in _pieces(times):
        drawn = rng.integers(size, size=part.shape) + size * np.arange(len(part))[:, None]
        part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
    times.flags.writeable = False
    return times


def _pieces(times: np.ndarray) -> list[np.ndarray]:
    return np.array_split(times, -(-times.size // _ENTRIES_AT_ONCE))
