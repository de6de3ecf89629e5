"""Corpus BLEU of translations by sacrebleu, 0 to 100, with a bootstrap interval (Post 2018, arXiv:1804.08771).

Texts keep case and punctuation and are split into ``13a`` tokens; ``13a`` does not suit Chinese or Japanese.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from avspeech.evaluation.bootstrap import Speakers, resampled_sums, units_of

MAX_ORDER = 4


class BleuCounts(NamedTuple):
    """Counts of one sentence; their sums are the counts of a corpus."""

    num_tokens: int
    num_reference_tokens: int
    matches: tuple[int, ...]
    """n-grams of the hypothesis that the reference also has, for n = 1 to 4."""
    ngrams: tuple[int, ...]
    """n-grams of the hypothesis."""


def count_ngrams(reference: str, hypothesis: str) -> BleuCounts:
    score = BLEU(effective_order=True).sentence_score(hypothesis, [reference])  # only its counts are wanted
    return BleuCounts(score.sys_len, score.ref_len, tuple(score.counts), tuple(score.totals))


def corpus_bleu(counts: Sequence[BleuCounts]) -> float:
    """Return the BLEU of a corpus, 0 to 100; 0 if no word is right."""
    return float(_scores(_as_rows(counts).sum(axis=0)))


def bleu_interval(
    counts: Sequence[BleuCounts], seed: int = 0, speakers: Speakers = None, num_resamples: int | None = None
) -> tuple[float, float]:
    """Return the 95 % percentile interval (Koehn 2004, W04-3250), too narrow below 20 units."""
    sums = units_of(len(counts), speakers).sums(_as_rows(counts))
    scores_R = _scores(resampled_sums(sums, seed, num_resamples))
    low, high = np.percentile(scores_R, [2.5, 97.5])
    return float(low), float(high)


def bleu_signature() -> str:
    metric = BLEU()
    metric.corpus_score(["a"], [["a"]])  # the number of references is known only after a score
    return str(metric.get_signature())


def _as_rows(counts: Sequence[BleuCounts]) -> np.ndarray:
    rows = [[one.num_tokens, one.num_reference_tokens, *one.matches, *one.ngrams] for one in counts]
    return np.array(rows, dtype=np.float64).reshape(len(rows), 2 + 2 * MAX_ORDER)


def _scores(totals: np.ndarray) -> np.ndarray:
    """BLEU of each row of summed counts; the k-th order without a match has the precision 1 / (2 ** k * n-grams)."""
    length, reference_length = totals[..., 0], totals[..., 1]
    matches, ngrams = totals[..., 2 : 2 + MAX_ORDER], totals[..., 2 + MAX_ORDER :]
    missed = (matches == 0) & (ngrams > 0)
    smoothed = np.where(missed, 0.5 ** np.cumsum(missed, axis=-1), matches)
    defined = (matches[..., 0] > 0) & (ngrams > 0).all(axis=-1)  # as published: no 4-gram, no score
    precisions = smoothed / np.maximum(ngrams, 1)
    logs = np.log(np.where(defined[..., None], precisions, 1.0)).mean(axis=-1)
    brevity = np.minimum(0.0, 1 - reference_length / np.maximum(length, 1))
    return np.where(defined, 100 * np.exp(logs + brevity), 0.0)
