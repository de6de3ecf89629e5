"""How often the intervals cover the truth, and how often the paired tests see a difference that is not there.

    python experiments/2026-11-noise-bench/interval_coverage.py --simulations 2000

Writes  interval_coverage.json beside this file: every design; prints the tables of its README in Markdown.

Error counts are drawn with a known rate: speakers differ in it (beta, standard deviation ``spread`` * rate), so do the
utterances of one speaker (beta-binomial), sentences have 3 to 14 words, speakers the same or a geometric number of
utterances. ``percentile`` is the plain bootstrap over the same units. Two systems share the speakers and part of the
transcripts, and have the same true rate.
"""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

from avspeech.evaluation.bootstrap import Units, draw_ratio, rate_interval
from avspeech.evaluation.error_rate import ErrorCounts
from avspeech.evaluation.paired_tests import matched_pairs, paired_difference

SPEAKERS = (4, 6, 10, 15, 20, 30, 60, 200)
RATES = (0.1, 0.2, 0.4, 0.8)
SPREADS = (0.15, 0.6)
SIZES = ("equal", "uneven")
UTTERANCES = (20, 60, 200)  # of one speaker: every utterance is a unit
RARE = (0.0003, 0.001, 0.003, 0.01)
TALK = 15  # utterances of a speaker, on average


def beta(rng: np.random.Generator, mean: np.ndarray, weight: float) -> np.ndarray:
    """Draw rates around ``mean``; the larger the weight, the nearer."""
    return rng.beta(np.maximum(mean * weight, 1e-9), np.maximum((1 - mean) * weight, 1e-9))


def test_set(
    rng: np.random.Generator, speakers: int, rate: float, spread: float, sizes: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the speaker, the words and the expected rate of each utterance; ``one`` means one each."""
    talk = {"one": np.ones(speakers, int), "equal": np.full(speakers, TALK)}.get(sizes)
    of_entry = np.repeat(np.arange(speakers), rng.geometric(1 / TALK, speakers) if talk is None else talk)
    variance = min((spread * rate) ** 2, rate * (1 - rate) / 2)
    skill = beta(rng, np.full(speakers, rate), rate * (1 - rate) / variance - 1)
    return of_entry, rng.integers(3, 15, len(of_entry)), skill[of_entry]


def coverage(simulations: int, speakers: int, rate: float, spread: float, sizes: str) -> dict:
    """Return how often the interval and the plain percentiles cover the rate, in percent, and their median widths."""
    rng = np.random.default_rng(0)
    inside, plain_inside, below, widths, methods = 0, 0, 0, [], set()
    for _ in range(simulations):
        of_entry, words, expected = test_set(rng, speakers, rate, spread, sizes)
        errors = rng.binomial(words, beta(rng, expected, 4.0))
        units = Units("speaker", of_entry, speakers)
        interval = rate_interval(errors, words, units, num_resamples=1999)
        inside += interval.low <= rate <= interval.high
        below += interval.high < rate
        widths.append((interval.high - interval.low) / rate)
        methods.add(interval.method)
        ratios_R = draw_ratio(units.sums(errors), units.sums(words), 0, 1999).ratios_R
        low, high = np.percentile(ratios_R, [2.5, 97.5])
        plain_inside += low <= rate <= high
    return {
        "units": speakers,
        "rate": rate,
        "spread": spread,
        "sizes": sizes,
        "covered": round(100 * inside / simulations, 1),
        "percentile": round(100 * plain_inside / simulations, 1),
        "too_low": round(100 * below / simulations, 1),
        "width_over_rate": round(float(np.median(widths)), 2),
        "methods": sorted(methods),
    }


def false_alarms(simulations: int, speakers: int, rate: float, shared: float, sizes: str) -> dict:
    """Return how often equal systems differ at 5 %, in percent: by the paired bootstrap and by matched pairs."""
    rng, alarms, alarms_pairs, uncovered = np.random.default_rng(0), 0, 0, 0
    for _ in range(simulations):
        of_entry, words, expected = test_set(rng, speakers, rate, 0.4, sizes)
        skills = [beta(rng, np.full(speakers, 0.5), 50.0)[of_entry] * 2 * expected for _ in range(2)]
        a, b = (rng.binomial(words, beta(rng, np.minimum(skill, 1 - 1e-9), 4.0)) for skill in skills)
        b = np.where(rng.random(len(a)) < shared, a, b)
        names = ["x" if sizes == "one" else str(one) for one in of_entry]
        counts = [[ErrorCounts(int(w), int(e)) for w, e in zip(words, errors, strict=True)] for errors in (a, b)]
        found = paired_difference(*counts, speakers=names, num_resamples=1999)
        alarms += found.p_value <= 0.05
        uncovered += not found.low <= 0 <= found.high
        alarms_pairs += matched_pairs(*counts, names).p_value <= 0.05
    assert uncovered == alarms, "interval and p-value disagree"
    return {
        "units": speakers,
        "rate": rate,
        "shared": shared,
        "sizes": sizes,
        "bootstrap": round(100 * alarms / simulations, 1),
        "matched_pairs": round(100 * alarms_pairs / simulations, 1),
    }


def table(rows: list[dict], by: str, keys: tuple[str, ...], where: Callable[[dict], bool] = lambda row: True) -> str:
    """Return lowest, mean and highest of each key over all designs of each ``by``, in Markdown."""
    lines = [f"| {by} | designs | " + " | ".join(keys) + " |", "| --: " * (2 + len(keys)) + "|"]
    for value in dict.fromkeys(row[by] for row in rows if where(row)):
        chosen = [row for row in rows if row[by] == value and where(row)]
        cells = []
        for key in keys:
            found = [row[key] for row in chosen]
            cells.append(f"{min(found):.1f} / {np.mean(found):.1f} / {max(found):.1f}")
        lines.append(f"| {value} | {len(chosen)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(simulations: int = 2000) -> None:
    """Simulate every design.

    Args:
        simulations: of each design; 2,000 have a standard error of 0.5 points at 95 %.
    """
    speakers = [coverage(simulations, *design) for design in product(SPEAKERS, RATES, SPREADS, SIZES)]
    utterances = [coverage(simulations, n, rate, s, "one") for n, rate, s in product(UTTERANCES, RATES, SPREADS)]
    rare = [coverage(simulations, n, rate, 0.6, size) for n, rate, size in product((5, 20, 60), RARE, SIZES)]
    alarms = [
        false_alarms(simulations, n, rate, shared, size)
        for n, rate, shared, size in product((4, 6, 10, 20, 40, 100), (0.1, 0.3), (0.0, 0.5), SIZES)
    ]
    alarms += [false_alarms(simulations, n, rate, 0.0, "one") for n, rate in product((60, 200), (0.1, 0.3))]
    found = {"simulations": simulations, "speakers": speakers, "utterances": utterances, "rare": rare, "alarms": alarms}
    path = Path(__file__).with_suffix(".json")
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(found, indent=1) + "\n")
    unfinished.rename(path)
    kinds = ("covered", "percentile")
    print(f"Lowest / mean / highest over the designs, in percent, {simulations} simulations each.\n")
    print(f"WER 10 to 80 %, units are speakers\n\n{table(speakers, 'units', kinds)}\n")
    print(f"WER 10 to 80 %, units are utterances\n\n{table(utterances, 'units', kinds)}\n")
    print(f"WER 0.03 to 1 %, 5, 20 and 60 speakers\n\n{table(rare, 'rate', kinds)}\n")
    tests = ("bootstrap", "matched_pairs")
    by_speaker = table(alarms, "units", tests, lambda row: row["sizes"] != "one")
    by_utterance = table(alarms, "units", tests, lambda row: row["sizes"] == "one")
    print(f"False alarms at 5 %, units are speakers\n\n{by_speaker}\n\nUnits are utterances\n\n{by_utterance}")


if __name__ == "__main__":
    auto_cli(main)
