"""95 % intervals of an error rate, by resampling the units that are independent: speakers, or utterances.

Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance evaluation" (ICASSP 2004), draw
utterances with replacement and take percentiles of the corpus-level rate. That is too narrow in two ways: utterances
of one speaker are not independent, and with few units a percentile interval forgets that the spread is estimated, too.
So whole speakers are drawn where two or more are known (``units_of``), and the draws are studentised (Hall 1992, The
Bootstrap and Edgeworth Expansion): (rate of the draw - rate) / standard error of the draw, whose 2.5th and 97.5th
percentiles take the place of -1.96 and 1.96 around the rate. The standard error is the delete-one-unit jackknife.
Where we differ: each draw's variance has one average unit added, without which a draw that misses all large errors
divides by nearly nothing.

``method`` of an interval says how it was made:

- ``bootstrap-t``: as above, from 20 units on.
- ``jackknife-t``: below 20 units, never narrower than rate -+ t * standard error with Student's t of units - 1.
- ``too-few-units``: the same from 2 or 3 units; it is wide, and still rests on a spread that 3 units hardly show.
- ``few-errors``: fewer than 10 errors, never narrower than the exact Poisson interval (Garwood 1936) with errors
  taken to come in pairs; a rate of 0 has the upper end 7.4 / words, not 0.
- ``no-spread``: all units have the same rate, so the interval reaches as far as for a rate of 0, both ways.
- ``one-unit``: nothing to resample, the Poisson interval alone.

``experiments/2026-11-noise-bench/interval_coverage.py`` measures how often each covers the truth.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import stats

from avspeech.evaluation.error_rate import ErrorCounts

NUM_RESAMPLES = 10_000
FEWEST_RESAMPLES = 2_000
MANY_UNITS = 20  # from here on the bootstrap stands alone
SOME_UNITS = 4  # below, an interval is flagged
FEW_RUNS = 5  # runs of errors; below, the Poisson interval joins in
WORDS_A_RUN = 2  # word errors come in pairs, more or less: one misheard word spoils its neighbour
CHARACTERS_A_RUN = 6  # and a misheard word of some three characters each time
_ENTRIES_AT_ONCE = 4_000_000  # entries of the resampling matrix held as float64: 32 MB
_ENTRIES = 20_000_000  # entries of the matrix kept: 20 MB, so that a large test set has fewer resamples


class Interval(NamedTuple):
    """Ends of a 95 % interval, how it was made, and from how many of what."""

    low: float
    high: float
    method: str
    num_units: int
    unit: str
    """``speaker`` or ``utterance``."""


class Units(NamedTuple):
    """Which entries are drawn together."""

    name: str
    """``speaker`` or ``utterance``."""
    of_entry: np.ndarray
    """Number of the unit of each entry."""
    count: int

    def sums(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Add up one value an entry to one a unit; rows of a matrix are entries."""
        values = np.asarray(values, dtype=np.float64)
        total = np.zeros((self.count, *values.shape[1:]))
        np.add.at(total, self.of_entry, values)
        return total


class RatioDraws(NamedTuple):
    """A ratio of two sums over units, and the same over resampled units."""

    ratio: float
    standard_error: float
    """Of the delete-one-unit jackknife; 0 where all units have the same ratio."""
    ratios_R: np.ndarray
    """Ratio of each draw."""
    studentised_R: np.ndarray
    """(ratio of the draw - ratio) / standard error of the draw."""


def units_of(speakers: Sequence[str | None]) -> Units:
    """Return what is resampled: speakers where two or more are known, otherwise utterances.

    An utterance whose speaker is unknown, among others that have one, is a unit of its own.

    Args:
        speakers: who speaks each utterance, None where nobody knows.
    """
    if len({name for name in speakers if name is not None}) < 2:
        return Units("utterance", np.arange(len(speakers)), len(speakers))
    numbers: dict[object, int] = {}
    keys = [place if name is None else name for place, name in enumerate(speakers)]
    return Units("speaker", np.array([numbers.setdefault(key, len(numbers)) for key in keys]), len(numbers))


def wer_interval(
    counts: Sequence[ErrorCounts],
    seed: int = 0,
    speakers: Sequence[str | None] | None = None,
    num_resamples: int | None = None,
) -> Interval:
    """Return the 95 % interval of the corpus-level word error rate, as fractions.

    Args:
        counts: one entry an utterance.
        seed: of the draws; the same utterances and seed give the same interval.
        speakers: who speaks each utterance; None means that nobody knows.
        num_resamples: draws; None takes 10,000, fewer where there are more than 2,000 units.

    Raises:
        ValueError: there is no utterance, or not one speaker for each.
    """
    errors, words = [one.word_errors for one in counts], [one.num_words for one in counts]
    return rate_interval(errors, words, checked_units(len(counts), speakers), seed, num_resamples, WORDS_A_RUN)


def cer_interval(
    counts: Sequence[ErrorCounts],
    seed: int = 0,
    speakers: Sequence[str | None] | None = None,
    num_resamples: int | None = None,
) -> Interval:
    """Return the 95 % interval of the corpus-level character error rate; see ``wer_interval``."""
    errors, characters = [one.character_errors for one in counts], [one.num_characters for one in counts]
    units = checked_units(len(counts), speakers)
    return rate_interval(errors, characters, units, seed, num_resamples, CHARACTERS_A_RUN)


def checked_units(num_entries: int, speakers: Sequence[str | None] | None) -> Units:
    """Return ``units_of`` the speakers, or utterances for None.

    Raises:
        ValueError: there is no entry, or not one speaker for each.
    """
    if not num_entries:
        raise ValueError("an interval was asked for of no utterance; score at least one")
    if speakers is not None and len(speakers) != num_entries:
        raise ValueError(f"{len(speakers)} speakers were given for {num_entries} utterances; give one for each")
    return units_of([None] * num_entries if speakers is None else speakers)


def rate_interval(
    errors: Sequence[float],
    tokens: Sequence[float],
    units: Units,
    seed: int = 0,
    num_resamples: int | None = None,
    errors_a_run: int = WORDS_A_RUN,
) -> Interval:
    """Return the 95 % interval of errors over tokens.

    Args:
        errors: one number an entry.
        tokens: words or characters of the reference, one number an entry.
        units: which entries are drawn together.
        seed: of the draws.
        num_resamples: draws; None as in ``wer_interval``.
        errors_a_run: how many errors are taken to come together where there are few.
    """
    errors_U, tokens_U = units.sums(errors), units.sums(tokens)
    num_errors, num_tokens = float(errors_U.sum()), max(float(tokens_U.sum()), 1.0)
    if units.count == 1:
        low, high = poisson_interval(num_errors, errors_a_run)
        return Interval(low / num_tokens, high / num_tokens, "one-unit", 1, units.name)
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
        exact = poisson_interval(num_errors, errors_a_run)
        low, high, method = min(low, exact[0] / num_tokens), max(high, exact[1] / num_tokens), "few-errors"
    elif draws.standard_error == 0:
        reach = unseen(num_tokens, errors_a_run)
        low, high, method = low - reach, high + reach, "no-spread"
    return Interval(max(low, 0.0), high, method, units.count, units.name)


def poisson_interval(num_errors: float, errors_a_run: int) -> tuple[float, float]:
    """Return the exact 95 % interval (Garwood 1936) of the expected number of errors that come in runs."""
    runs = num_errors / errors_a_run
    low = float(stats.chi2.ppf(0.025, 2 * runs)) / 2 if runs else 0.0
    return low * errors_a_run, float(stats.chi2.ppf(0.975, 2 * runs + 2)) / 2 * errors_a_run


def unseen(num_tokens: float, errors_a_run: int = WORDS_A_RUN) -> float:
    """Return the highest rate at which no error at all is still no surprise: 7.4 / words."""
    return poisson_interval(0, errors_a_run)[1] / num_tokens


def draw_ratio(over_U: np.ndarray, under_U: np.ndarray, seed: int, num_resamples: int | None) -> RatioDraws:
    """Return sum(over) / sum(under) and its draws over two or more resampled units."""
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
    # Equal up to rounding. Without the unit that has all the words, the jackknife alone would see a spread.
    if error < 1e-12 or one_unit < 1e-20:
        return RatioDraws(ratio, 0.0, ratios_R, np.zeros_like(ratios_R))
    # Sum over the drawn units of (over - drawn ratio * under) ** 2, multiplied out: sums of squares are all it takes.
    spread_R = sums[:, 2] - 2 * ratios_R * sums[:, 3] + ratios_R**2 * sums[:, 4]
    variance_R = (np.maximum(spread_R, 0) + one_unit) * size / (size + 1) * size / (size - 1)
    return RatioDraws(ratio, error, ratios_R, (ratios_R - ratio) * drawn_under_R / np.sqrt(variance_R))


def quantiles(draws_R: np.ndarray, tail: float) -> tuple[float, float]:
    """Return the draws that leave a share ``tail`` of all outside, at either end, by rank: no interpolation.

    By rank, a test that counts draws beyond a value and an interval that ends at a draw agree to the last draw.
    """
    outside = max(int(tail * (len(draws_R) + 1)), 1)
    ordered = np.partition(draws_R, [outside - 1, len(draws_R) - outside])
    return float(ordered[outside - 1]), float(ordered[len(draws_R) - outside])


def resampled_sums(columns: np.ndarray, seed: int, num_resamples: int | None) -> np.ndarray:
    """Return the sums of the columns over each draw of as many rows, with replacement.

    Args:
        columns: one row a unit.
        seed: of the draws.
        num_resamples: draws; None takes 10,000, fewer where there are more than 2,000 units.
    """
    size = len(columns)
    if num_resamples is None:
        num_resamples = max(FEWEST_RESAMPLES, min(NUM_RESAMPLES, _ENTRIES // size))
    times = _times_drawn(size, seed, num_resamples)
    chunk = max(1, _ENTRIES_AT_ONCE // size)
    # Counts are whole numbers below 2 ** 53, so the products add up exactly in any order.
    return np.concatenate([times[row : row + chunk] @ columns for row in range(0, num_resamples, chunk)])


@lru_cache(maxsize=12)  # the conditions of a grid share their draws: one matrix a language
def _times_drawn(size: int, seed: int, num_resamples: int) -> np.ndarray:
    """How often each draw has each unit, (draws, units)."""
    rng = np.random.default_rng(seed)
    chunk = max(1, _ENTRIES_AT_ONCE // size)
    parts = []
    for start in range(0, num_resamples, chunk):
        draws = min(chunk, num_resamples - start)
        drawn = rng.integers(size, size=(draws, size)) + size * np.arange(draws)[:, None]
        parts.append(np.bincount(drawn.ravel(), minlength=draws * size).reshape(draws, size).astype(np.uint8))
    times = np.concatenate(parts)
    times.flags.writeable = False
    return times
