"""Batches of utterances of similar length, in an order that depends only on the seed.

Epochs repeat without end. Batch k is the same after a resume; process r of W takes batches r, r + W, ...
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from avspeech.data.dataset import SampleKey


@dataclass(frozen=True)
class BatchConfig:
    """Which training clips are used, and how they are batched."""

    max_frames: int = 1000
    """Budget of a batch in frames at 25 Hz, with padding; AV-HuBERT's 1000 is 40 s."""
    max_clips: int = 1000
    """Most utterances in a batch."""
    shortest: int = 1
    """Leave out shorter training clips, in frames."""
    longest: int | None = None
    """Leave out longer training clips, in frames; ``augment.max_frames`` cuts them instead."""
    longest_text: int | None = None
    """Leave out training clips with a longer text, in characters."""
    max_unalignable: float = 0.05
    """Largest share of clips whose text has more tokens than CTC can align to their frames; more is an error."""
    crop: bool = False
    """Cut a batch to its shortest clip at random places (AV-HuBERT on VoxCeleb2, Large); false: pad."""


def plan_batches(
    lengths: Sequence[int], max_frames: int, max_clips: int, generator: np.random.Generator | None = None
) -> list[list[int]]:
    """Return lists of indices, each index once, grouped by length.

    ``max_frames`` is at 25 Hz and counts padding; a longer utterance gets its own batch. ``generator`` shuffles; None
    sorts longest first, so that a lack of memory shows at once.
    """
    if max_frames < 1 or max_clips < 1:
        raise ValueError(f"data.max_frames={max_frames} and data.max_clips={max_clips} must be at least 1")
    keys = np.asarray(lengths, dtype=float)
    if generator is not None:  # lengths within 10 % of each other mix freely
        keys = keys * generator.uniform(0.95, 1.05, len(keys)) + generator.uniform(0, 1, len(keys))
    batches: list[list[int]] = []
    longest = 0
    for index in np.argsort(-keys, kind="stable").tolist():
        longest = max(longest, lengths[index])
        if not batches or len(batches[-1]) == max_clips or longest * (len(batches[-1]) + 1) > max_frames:
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    if generator is not None:
        batches = [batches[i] for i in generator.permutation(len(batches))]
    return batches


class TrainingBatches(Sampler[list[SampleKey]]):
    """Endless training batches for process ``rank`` of ``num_ranks``; it starts after its first ``start`` batches."""

    def __init__(
        self,
        lengths: Sequence[int],
        config: BatchConfig,
        seed: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
        start: int = 0,
    ) -> None:
        if not len(lengths):
            raise ValueError("there is no utterance to train on; see the manifest, and the log for what was left out")
        self.lengths, self.config = lengths, config
        self.seed, self.rank, self.num_ranks, self.start = seed, rank, num_ranks, start

    def __iter__(self) -> Iterator[list[SampleKey]]:
        step = 0  # counts the batches of all processes together
        for epoch in itertools.count():
            shuffle = np.random.default_rng((self.seed, epoch))
            for batch in plan_batches(self.lengths, self.config.max_frames, self.config.max_clips, shuffle):
                turn, rank = divmod(step, self.num_ranks)
                step += 1
                if rank == self.rank and turn >= self.start:
                    shortest = min(self.lengths[index] for index in batch) if self.config.crop else None
                    yield [SampleKey(index, epoch, turn, shortest) for index in batch]
