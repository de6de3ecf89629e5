"""95 % intervals of a word error rate, and of the difference of two, by resampling utterances.

Percentile bootstrap after Bisani and Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation" (ICASSP 2004): utterances are drawn with replacement, the corpus-level rate of each draw is computed,
and the interval runs from the 2.5th to the 97.5th percentile. Utterances of one speaker are not independent;
with ``speakers`` whole speakers are drawn instead, each with all of its utterances (the cluster bootstrap; no second
draw inside a speaker, which would widen the interval twice). That wants some ten speakers or more: with fewer
the interval is too narrow, and with one speaker it has no width at all and is refused.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from avspeech.evaluation.error_rate import ErrorCounts

NUM_RESAMPLES = 10_000
_DRAWS_AT_ONCE = 4_000_000  # indices held in memory together: 32 MB


class Difference(NamedTuple):
    """WER of a minus WER of b, and its 95 % interval; negative where a is better."""

    diff: float
    low: float
    high: float


def wer_interval(
    counts: Sequence[ErrorCounts],
    seed: int = 0,
    speakers: Sequence[str] | None = None,
    num_resamples: int = NUM_RESAMPLES,
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the corpus-level word error rate, as fractions.

    Args:
        counts: one entry an utterance.
        seed: of the draws; the same utterances and seed give the same interval.
        speakers: who speaks each utterance; draws speakers instead of utterances. None draws utterances.
        num_resamples: draws.

    Raises:
        ValueError: there is no utterance, or no two speakers to draw from.
    """
    errors, words = _per_unit(counts, speakers)
    rates = _resampled_rates([errors], words, seed, num_resamples)[0]
    low, high = np.percentile(rates, [2.5, 97.5])
    return float(low), float(high)


def paired_difference(
    counts_a: Sequence[ErrorCounts],
    counts_b: Sequence[ErrorCounts],
    seed: int = 0,
    speakers: Sequence[str] | None = None,
    num_resamples: int = NUM_RESAMPLES,
) -> Difference:
    """Return WER(a) - WER(b) with its 95 % interval over draws that both systems share.

    What makes an utterance hard makes it hard for both, so this interval is narrower than the two systems' own
    intervals suggest; it says whether one is better, they say how good each is.

    Args:
        counts_a: one entry an utterance.
        counts_b: the same utterances in the same order.
        seed: of the draws.
        speakers: as in ``wer_interval``.
        num_resamples: draws.

    Raises:
        ValueError: the two are not about the same references.
    """
    if [counts.num_words for counts in counts_a] != [counts.num_words for counts in counts_b]:
        raise ValueError(
            f"{len(counts_a)} and {len(counts_b)} utterances whose references differ in length cannot be paired; "
            "give both systems' counts for the same utterances, in the same order"
        )
    errors_a, words = _per_unit(counts_a, speakers)
    errors_b, _ = _per_unit(counts_b, speakers)
    rates_a, rates_b = _resampled_rates([errors_a, errors_b], words, seed, num_resamples)
    low, high = np.percentile(rates_a - rates_b, [2.5, 97.5])
    diff = (errors_a.sum() - errors_b.sum()) / max(words.sum(), 1)
    return Difference(float(diff), float(low), float(high))


def _per_unit(counts: Sequence[ErrorCounts], speakers: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """Errors and reference words of each unit that is drawn: an utterance, or a speaker."""
    if not counts:
        raise ValueError("an interval was asked for of no utterance; score at least one")
    errors = np.array([entry.word_errors for entry in counts], dtype=np.float64)
    words = np.array([entry.num_words for entry in counts], dtype=np.float64)
    if speakers is None:
        return errors, words
    if len(speakers) != len(counts):
        raise ValueError(f"{len(speakers)} speakers were given for {len(counts)} utterances; give one for each")
    names, unit = np.unique(np.asarray(speakers), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"speaker {str(names[0])!r} is the only one; draw utterances instead (speakers=None)")
    return np.bincount(unit, errors), np.bincount(unit, words)


def _resampled_rates(systems: list[np.ndarray], words: np.ndarray, seed: int, num_resamples: int) -> list[np.ndarray]:
    """Corpus-level WER of every draw, one array a system; all systems see the same draws."""
    rng = np.random.default_rng(seed)
    size = len(words)
    chunk = max(1, _DRAWS_AT_ONCE // size)
    rates: list[list[np.ndarray]] = [[] for _ in systems]
    for start in range(0, num_resamples, chunk):
        drawn = rng.integers(size, size=(min(chunk, num_resamples - start), size))
        drawn_words = np.maximum(words[drawn].sum(axis=1), 1)
        for rate, errors in zip(rates, systems, strict=True):
            rate.append(errors[drawn].sum(axis=1) / drawn_words)
    return [np.concatenate(rate) for rate in rates]
