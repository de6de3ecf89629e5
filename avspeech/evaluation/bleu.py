"""BLEU of translations, as sacrebleu counts it, with a bootstrap interval (Post 2018, arXiv:1804.08771).

BLEU is a figure of a corpus: n-grams are counted sentence by sentence and added up before they become a score from 0 to
100. Texts are taken as they are, with case and punctuation, and split into sacrebleu's ``13a`` tokens. ``13a`` splits
at spaces, so it does not suit Chinese or Japanese.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from avspeech.evaluation.bootstrap import resampled_sums, units_of

MAX_ORDER = 4


class BleuCounts(NamedTuple):
    """Counts of one sentence, which add up to those of a corpus."""

    num_tokens: int
    """Tokens of the hypothesis."""
    num_reference_tokens: int
    matches: tuple[int, ...]
    """n-grams that the reference also has, for n = 1 to 4."""
    ngrams: tuple[int, ...]
    """n-grams of the hypothesis."""


def count_ngrams(reference: str, hypothesis: str) -> BleuCounts:
    """Return the counts of one sentence."""
    score = BLEU(effective_order=True).sentence_score(hypothesis, [reference])  # only its counts are wanted
    return BleuCounts(score.sys_len, score.ref_len, tuple(score.counts), tuple(score.totals))


def corpus_bleu(counts: Sequence[BleuCounts]) -> float:
    """Return the BLEU of a corpus, 0 to 100; 0 if no word is right."""
    return float(_scores(_as_rows(counts).sum(axis=0)))


def bleu_interval(
    counts: Sequence[BleuCounts],
    seed: int = 0,
    speakers: Sequence[str | None] | None = None,
    num_resamples: int | None = None,
) -> tuple[float, float]:
    """Return the 95 % interval of ``corpus_bleu`` over what is drawn with replacement (Koehn 2004, W04-3250).

    Speakers are drawn if two or more are known, otherwise sentences. BLEU is no ratio of two sums, so these are
    percentiles: with fewer than 20 units the interval is too narrow.

    Args:
        counts: one entry a sentence.
        seed: seed of the draws.
        speakers: speaker of each sentence; None: unknown.
        num_resamples: draws; None as in ``bootstrap.wer_interval``.

    Raises:
        ValueError: there is no sentence, or not one speaker for each.
    """
    units = units_of(len(counts), speakers)
    scores_R = _scores(resampled_sums(units.sums(_as_rows(counts)), seed, num_resamples))
    low, high = np.percentile(scores_R, [2.5, 97.5])
    return float(low), float(high)


def bleu_signature() -> str:
    """Return sacrebleu's signature of the score."""
    metric = BLEU()
    metric.corpus_score(["a"], [["a"]])  # the number of references is known only after a score
    return str(metric.get_signature())


def _as_rows(counts: Sequence[BleuCounts]) -> np.ndarray:
    rows = [[one.num_tokens, one.num_reference_tokens, *one.matches, *one.ngrams] for one in counts]
    return np.array(rows, dtype=np.float64).reshape(len(rows), 2 + 2 * MAX_ORDER)


def _scores(totals: np.ndarray) -> np.ndarray:
    """BLEU of rows of added counts with sacrebleu's default smoothing (``exp``), all rows at once.

    Where an order has no match, its precision is 1 / (2 ** k * n-grams), k = 1 for the first such order.
    """
    length, reference_length = totals[..., 0], totals[..., 1]
    matches, ngrams = totals[..., 2 : 2 + MAX_ORDER], totals[..., 2 + MAX_ORDER :]
    missed = (matches == 0) & (ngrams > 0)
    smoothed = np.where(missed, 0.5 ** np.cumsum(missed, axis=-1), matches)
    defined = (matches[..., 0] > 0) & (ngrams > 0).all(axis=-1)  # as published: no 4-gram, no score
    precisions = smoothed / np.maximum(ngrams, 1)
    logs = np.log(np.where(defined[..., None], precisions, 1.0)).mean(axis=-1)
    brevity = np.minimum(0.0, 1 - reference_length / np.maximum(length, 1))
    return np.where(defined, 100 * np.exp(logs + brevity), 0.0)
