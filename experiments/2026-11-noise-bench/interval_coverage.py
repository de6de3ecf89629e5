"""Coverage of our 95 % intervals and of SciPy's, false alarms and power of our paired test and of SciPy's.

    python experiments/2026-11-noise-bench/interval_coverage.py --simulations 1000

Writes  interval_coverage.json beside this file: one record a design; prints the tables of its README in Markdown.

Error counts are drawn with a known rate: speakers differ in it (beta, standard deviation ``spread`` * rate), so do the
utterances of one speaker (beta-binomial); sentences have 3 to 14 words, speakers the same or a geometric number of
utterances. Two systems share the speakers and have the same true rate, or the second makes ``gain`` times the errors.
Methods, all over speakers: ``ours``; ``bca``, ``scipy.stats.bootstrap`` with its default BCa; ``bca_poisson``, the same
with our Poisson interval where errors are few; ``percentile``, plain percentiles; ``permutation``,
``scipy.stats.permutation_test`` that flips the sign of a speaker's difference; ``matched_pairs``.
"""

import warnings
from itertools import product
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli
from scipy import stats

from avspeech.evaluation.bootstrap import WORDS_A_RUN, Units, draw_ratio, poisson_interval, rate_interval
from avspeech.evaluation.error_rate import ErrorCounts
from avspeech.evaluation.paired_tests import matched_pairs, paired_difference
from avspeech.files import write_json

SPEAKERS = (4, 8, 30)
RATES = (0.003, 0.2)
SPREADS = (0.15, 0.6)
SIZES = ("equal", "uneven")
TALK = 15  # utterances of a speaker, on average
DRAWS = 1999


def beta(rng: np.random.Generator, mean: np.ndarray, weight: float) -> np.ndarray:
    """Draw rates around ``mean``; the larger the weight, the nearer."""
    return rng.beta(np.maximum(mean * weight, 1e-9), np.maximum((1 - mean) * weight, 1e-9))


def test_set(
    rng: np.random.Generator, speakers: int, rate: float, spread: float, sizes: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the speaker, the words and the expected rate of each utterance."""
    talk = np.full(speakers, TALK) if sizes == "equal" else rng.geometric(1 / TALK, speakers)
    of_entry = np.repeat(np.arange(speakers), talk)
    variance = min((spread * rate) ** 2, rate * (1 - rate) / 2)
    skill = beta(rng, np.full(speakers, rate), rate * (1 - rate) / variance - 1)
    return of_entry, rng.integers(3, 15, len(of_entry)), skill[of_entry]


def bca(errors_U: np.ndarray, words_U: np.ndarray) -> tuple[float, float]:
    """Return SciPy's interval of errors over words; not a number where no draw differs from another."""

    def ratio(errors: np.ndarray, words: np.ndarray, axis: int = -1) -> np.ndarray:
        return errors.sum(axis) / words.sum(axis)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a degenerate distribution
        found = stats.bootstrap((errors_U, words_U), ratio, paired=True, n_resamples=DRAWS, rng=0).confidence_interval
    return found.low, found.high


def coverage(simulations: int, speakers: int, rate: float, spread: float, sizes: str) -> dict:
    """Return how often each interval covers the rate, in per cent, and its median width over the rate."""
    rng, found = np.random.default_rng(0), {name: [] for name in ("ours", "bca", "bca_poisson", "percentile")}
    for _ in range(simulations):
        of_entry, words, expected = test_set(rng, speakers, rate, spread, sizes)
        errors = rng.binomial(words, beta(rng, expected, 4.0))
        units = Units("speaker", of_entry, speakers)
        errors_U, words_U = units.sums(errors), units.sums(words)
        found["ours"].append(rate_interval(errors, words, units, num_resamples=DRAWS)[:2])
        found["bca"].append(bca(errors_U, words_U))
        exact = [end / words.sum() for end in poisson_interval(errors.sum(), WORDS_A_RUN)]
        few = errors.sum() < 5 * WORDS_A_RUN
        joined = np.nanmin([found["bca"][-1][0], exact[0]]), np.nanmax([found["bca"][-1][1], exact[1]])
        found["bca_poisson"].append(joined if few else found["bca"][-1])
        found["percentile"].append(np.percentile(draw_ratio(errors_U, words_U, 0, DRAWS).ratios_R, [2.5, 97.5]))
    row: dict = {"speakers": speakers, "rate": rate, "spread": spread, "sizes": sizes}
    for name, ends in found.items():
        low, high = np.array(ends).T
        row[name] = round(100 * float(np.mean((low <= rate) & (rate <= high))), 1)
        row[f"{name}_width"] = round(float(np.nanmedian(high - low)) / rate, 2)
    return row


def alarms(simulations: int, speakers: int, rate: float, gain: float, sizes: str) -> dict:
    """Return how often each test tells two systems apart at 5 %, in per cent."""
    rng, seen = np.random.default_rng(0), dict.fromkeys(("ours", "permutation", "bca", "matched_pairs"), 0)
    for _ in range(simulations):
        of_entry, words, expected = test_set(rng, speakers, rate, 0.4, sizes)
        skills = [beta(rng, np.full(speakers, 0.5), 50.0)[of_entry] * 2 * times * expected for times in (1.0, gain)]
        a, b = (rng.binomial(words, beta(rng, np.minimum(skill, 1 - 1e-9), 4.0)) for skill in skills)
        counts_a, counts_b = (
            [ErrorCounts(int(w), int(e)) for w, e in zip(words, many, strict=True)] for many in (a, b)
        )
        names, units = [str(one) for one in of_entry], Units("speaker", of_entry, speakers)
        more_U = units.sums(a - b)
        seen["ours"] += paired_difference(counts_a, counts_b, 0, names, DRAWS).p_value <= 0.05
        seen["matched_pairs"] += matched_pairs(counts_a, counts_b, names) <= 0.05
        low, high = bca(more_U, units.sums(words))
        seen["bca"] += bool(low > 0 or high < 0)
        how = {"permutation_type": "samples", "vectorized": True, "n_resamples": DRAWS, "rng": 0}
        flips = stats.permutation_test((more_U,), np.mean, **how)
        seen["permutation"] += bool(flips.pvalue <= 0.05)
    row = {"speakers": speakers, "rate": rate, "gain": gain, "sizes": sizes}
    return row | {name: round(100 * int(count) / simulations, 1) for name, count in seen.items()}


def table(rows: list[dict], keys: tuple[str, ...]) -> str:
    """Return lowest, mean and highest of each key over the designs of each number of speakers, in Markdown."""
    lines = [f"| speakers | {' | '.join(keys)} |", "| --: " * (1 + len(keys)) + "|"]
    for value in dict.fromkeys(row["speakers"] for row in rows):
        found = [[row[key] for row in rows if row["speakers"] == value] for key in keys]
        cells = [f"{min(cell):.1f} / {np.mean(cell):.1f} / {max(cell):.1f}" for cell in found]
        lines.append(f"| {value} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(simulations: int = 1000) -> None:
    """Simulate every design.

    Args:
        simulations: of each design; 1,000 have a standard error of 0.7 points at 95 %.
    """
    covered = [coverage(simulations, *design) for design in product(SPEAKERS, RATES, SPREADS, SIZES)]
    told = [alarms(simulations, *design) for design in product(SPEAKERS, (0.1, 0.3), (1.0, 1.3), SIZES)]
    path = Path(__file__).with_suffix(".json")
    write_json(path, {"simulations": simulations, "seed": 0, "coverage": covered, "tests": told})
    for rate in RATES:
        chosen = [row for row in covered if row["rate"] == rate]
        intervals = ("ours", "bca", "bca_poisson", "percentile")
        print(f"Coverage at WER {rate:.1%}\n\n{table(chosen, intervals)}\n")
        print(f"Width over the rate\n\n{table(chosen, tuple(f'{name}_width' for name in intervals))}\n")
    for gain in (1.0, 1.3):
        chosen = [row for row in told if row["gain"] == gain]
        tests = ("ours", "permutation", "bca", "matched_pairs")
        print(f"Told apart at 5 %, errors of the second times {gain}\n\n{table(chosen, tests)}\n")


if __name__ == "__main__":
    auto_cli(main)
