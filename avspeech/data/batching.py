"""Batches of utterances of like length, in an order that depends on the seed alone; samples -> ``AVBatch``.

Training is counted in steps, so the training order has no end: epoch after epoch, each shuffled anew. Batch k is the
same whether the run came to it in one go or was stopped and started again; process r of W takes batches r, r + W, ...
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from avspeech.data.dataset import SampleKey


def plan_batches(
    lengths: Sequence[int], max_frames: int, max_clips: int, generator: np.random.Generator | None = None
) -> list[list[int]]:
    """Group utterances of like length under a budget.

    Args:
        lengths: frames of each utterance.
        max_frames: budget of a batch in frames at 25 Hz, padding included; a longer utterance goes alone.
        max_clips: most utterances in a batch.
        generator: shuffles; None keeps the order by length, longest first, so that memory runs out early or never.

    Returns:
        Lists of indices, each index once.
    """
    if max_frames < 1 or max_clips < 1:
        raise ValueError(f"data.max_frames={max_frames} and data.max_clips={max_clips} must be at least 1")
    keys = np.asarray(lengths, dtype=float)
    if generator is not None:  # lengths within 10 % of each other mix freely
        keys = keys * generator.uniform(0.95, 1.05, len(keys)) + generator.uniform(0, 1, len(keys))
    batches: list[list[int]] = []
    batch: list[int] = []
    longest = 0
    for index in np.argsort(-keys, kind="stable").tolist():
        longest_with = max(longest, lengths[index])
        if batch and (len(batch) == max_clips or longest_with * (len(batch) + 1) > max_frames):
            batches.append(batch)
            batch, longest_with = [], lengths[index]
        batch.append(index)
        longest = longest_with
    if batch:
        batches.append(batch)
    if generator is not None:
        batches = [batches[i] for i in generator.permutation(len(batches))]
    return batches


class TrainingBatches(Sampler[list[SampleKey]]):
    """Endless batches for training.

    Args:
        lengths: frames of each utterance.
        max_frames: budget of a batch, as in ``plan_batches``.
        max_clips: most utterances in a batch.
        seed: of the order.
        rank: this process.
        num_ranks: processes that share the work.
        start: batches that this process has had already; the next one is batch ``start``.
        crop: cut every clip of a batch to its shortest.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        max_frames: int,
        max_clips: int,
        seed: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
        start: int = 0,
        crop: bool = False,
    ) -> None:
        if not len(lengths):
            raise ValueError("no utterance to train on; see the log for what was left out, and the manifest")
        self.lengths, self.max_frames, self.max_clips = lengths, max_frames, max_clips
        self.seed, self.rank, self.num_ranks, self.start, self.crop = seed, rank, num_ranks, start, crop

    def __iter__(self) -> Iterator[list[SampleKey]]:
        step = 0  # counts the batches of all processes together
        for epoch in itertools.count():
            shuffle = np.random.default_rng((self.seed, epoch))
            batches = plan_batches(self.lengths, self.max_frames, self.max_clips, shuffle)
            for batch in batches:
                turn, rank = divmod(step, self.num_ranks)
                step += 1
                if rank == self.rank and turn >= self.start:
                    shortest = min(self.lengths[index] for index in batch) if self.crop else None
                    yield [SampleKey(index, epoch, turn, shortest) for index in batch]
