"""Balanced epochs: how often each clip comes, by the sizes of its language and its corpus.

As in mHuBERT-147 (Boito et al. 2024, arXiv:2406.06371, and its training code): a language has the share of its clips to
the power ``language``, a corpus the share of its clips in its language to the power ``corpus``, each scaled to a sum of
1. There a group's clips are counted by drawing; here the shares are rounded, so that few clips repeat by chance.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avspeech.data.clips import Clips
from avspeech.manifest import ManifestError


@dataclass(frozen=True)
class BalanceConfig:
    """Exponents over the shares of clips; 1 and 1 take every clip once an epoch, 0 gives every group the same."""

    language: float = 1.0
    """Exponent over a language's share of the clips; mHuBERT-147 has 0.7."""
    corpus: float = 1.0
    """Exponent over a corpus's share of its language's clips; mHuBERT-147 has 0.9."""

    def __post_init__(self) -> None:
        for name in ("language", "corpus"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"data.batches.balance.{name}={getattr(self, name)} must be a number from 0 on")


class Balance:
    """Draws an epoch of as many clips as there are.

    Each group, the clips of one language and corpus, gets its share of the epoch, rounded up or down at random. A group
    that has more clips than that is drawn from without replacement; of one that has fewer, all clips come as often as
    they fit whole, and the rest is drawn without replacement. So a clip of a rare language comes several times an
    epoch, and one of a common language may wait for a later epoch. Shares count clips, not hours.

    Args:
        config: the exponents.
        language_N: number of each clip's language, whole numbers from 0; clips without one are a language of their own.
        corpus_N: the same of the corpus.
    """

    def __init__(self, config: BalanceConfig, language_N: np.ndarray, corpus_N: np.ndarray) -> None:
        num_corpora = int(corpus_N.max()) + 1
        group_N = language_N * np.int64(num_corpora) + corpus_N
        sizes = np.bincount(group_N)
        group_G = np.flatnonzero(sizes)
        language_G, sizes_G = group_G // num_corpora, sizes[group_G]
        of_language_G = np.bincount(language_G, sizes_G)[language_G]
        share_G = (sizes_G / of_language_G) ** config.corpus
        share_G *= of_language_G**config.language / np.bincount(language_G, share_G)[language_G]
        self.ends_G = np.cumsum(share_G / share_G.sum()) * len(group_N)
        place_N = np.searchsorted(group_G, group_N).astype(np.min_scalar_type(len(group_G)))  # small ones sort faster
        clip_N = np.argsort(place_N, kind="stable").astype(np.int32)
        self.members = np.split(clip_N, np.cumsum(sizes_G)[:-1])

    def draw(self, generator: np.random.Generator) -> np.ndarray:
        """Return how often each clip comes, (N,) int32, with a sum of N."""
        times_N = np.zeros(sum(map(len, self.members)), np.int32)
        ends_G = np.floor(self.ends_G + generator.random()).astype(np.int64)  # each count is off by less than 1
        ends_G[-1] = len(times_N)
        for members, count in zip(self.members, np.diff(ends_G, prepend=0).tolist(), strict=True):
            whole, rest = divmod(count, len(members))
            times_N[members] = whole
            times_N[generator.choice(members, rest, replace=False, shuffle=False)] += 1
        return times_N


def balance_of(clips: Clips, config: BalanceConfig, manifest: str | Path) -> Balance | None:
    """Return what balances the clips; None for exponents of 1, where every clip comes once an epoch.

    Raises ManifestError if no clip names what an exponent is over.
    """
    if config == BalanceConfig():
        return None
    codes = []
    for name in ("language", "corpus"):
        codes_N, values = clips.codes(name)
        if getattr(config, name) != 1 and not any(values[code] for code in np.unique(codes_N).tolist()):
            raise ManifestError(
                f"{manifest}: no utterance has a {name!r}, which data.init_args.batches.balance.{name}="
                f"{getattr(config, name)} needs; add it to the manifest, or leave the exponent at 1"
            )
        codes.append(codes_N)
    return Balance(config, *codes)
