"""Batches of utterances of similar length, in an order that depends only on the seed.

Epochs repeat without end, and their batches are numbered through: batch k is the same for any number of processes, and
after a resume. Process r of W takes batches r, r + W, ... after the place where the run begins.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from avspeech.data.balance import Balance, BalanceConfig
from avspeech.data.dataset import SampleKey

CHUNK = 1 << 16  # clips whose lengths are Python numbers at a time


@dataclass(frozen=True)
class BatchConfig:
    """Which training clips are used, and how they are batched."""

    max_frames: int = 1000
    """Budget of a batch in frames at 25 Hz, with padding; AV-HuBERT's 1000 is 40 s."""
    max_clips: int = 1000
    """Most utterances in a batch."""
    per_update: int | None = None
    """Batches of an update, of all processes together; null: those of the checkpoint, else as the trainer is set."""
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
    balance: BalanceConfig = BalanceConfig()
    """How much more often clips of rare languages and corpora come."""

    def __post_init__(self) -> None:
        if self.per_update is not None and self.per_update < 1:
            raise ValueError(f"data.batches.per_update={self.per_update} must be at least 1")


class BatchPlan:
    """The batches of one epoch, as arrays: ``len(plan)``, ``plan[k]`` and iteration give lists of indices."""

    def __init__(self, order_N: np.ndarray, starts_K: np.ndarray, ends_K: np.ndarray) -> None:
        self.order_N, self.starts_K, self.ends_K = order_N, starts_K, ends_K

    def __len__(self) -> int:
        return len(self.starts_K)

    def __getitem__(self, number: int) -> list[int]:
        return self.order_N[self.starts_K[number] : self.ends_K[number]].tolist()

    def __iter__(self) -> Iterator[list[int]]:
        return map(self.__getitem__, range(len(self)))


def plan_batches(
    lengths: Sequence[int] | np.ndarray,
    max_frames: int,
    max_clips: int,
    generator: np.random.Generator | None = None,
) -> BatchPlan:
    """Return batches of indices, each index once, grouped by length.

    ``max_frames`` is at 25 Hz and counts padding; a longer utterance gets its own batch. ``generator`` shuffles; None
    sorts longest first, so that a lack of memory shows at once.
    """
    if max_frames < 1 or max_clips < 1:
        raise ValueError(f"data.max_frames={max_frames} and data.max_clips={max_clips} must be at least 1")
    lengths_N = np.asarray(lengths)
    keys_N = lengths_N.astype(float)
    if generator is not None:  # lengths within 10 % of each other mix freely
        keys_N *= generator.uniform(0.95, 1.05, len(keys_N))
        keys_N += generator.uniform(0, 1, len(keys_N))
    order_N = np.argsort(np.negative(keys_N, out=keys_N), kind="stable").astype(np.int32)
    starts_K = _starts(lengths_N[order_N], max_frames, max_clips)
    ends_K = np.append(starts_K[1:], len(order_N))[: len(starts_K)]
    if generator is not None:
        shuffled_K = generator.permutation(len(starts_K))
        starts_K, ends_K = starts_K[shuffled_K], ends_K[shuffled_K]
    return BatchPlan(order_N, starts_K, ends_K)


def _starts(lengths_N: np.ndarray, max_frames: int, max_clips: int) -> np.ndarray:
    """Return the place of each batch's first clip in the sorted lengths."""
    starts = array("q")
    count, longest = max_clips, 0
    for first in range(0, len(lengths_N), CHUNK):
        for place, length in enumerate(lengths_N[first : first + CHUNK].tolist(), first):
            count += 1
            longest = max(longest, length)
            if count > max_clips or longest * count > max_frames:
                starts.append(place)
                count, longest = 1, length
    return np.array(starts)


@dataclass(frozen=True)
class Place:
    """A place in the endless order: before batch ``batch``, which is number ``position`` of its epoch."""

    batch: int = 0
    epoch: int = 0
    position: int = 0


class TrainingBatches(Sampler[list[SampleKey]]):
    """Endless training batches for process ``rank`` of ``num_ranks``, from ``start`` on.

    Only the epochs that are read are planned. ``done`` tells how many batches were trained by all processes, where an
    iterator begins; None: those before ``start``. With ``balance``, an epoch holds as many clips as there are, some of
    them more than once: see ``Balance``. Without, each once.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        config: BatchConfig,
        seed: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
        balance: Balance | None = None,
        start: Place = Place(),
        done: Callable[[], int] | None = None,
    ) -> None:
        if not len(lengths):
            raise ValueError("there is no utterance to train on; see the manifest, and the log for what was left out")
        self.lengths_N, self.config, self.balance = np.asarray(lengths), config, balance
        self.seed, self.rank, self.num_ranks = seed, rank, num_ranks
        self.done = done or (lambda: start.batch)
        self._first_of = {start.epoch: start.batch - start.position}  # epoch -> number of its first batch

    def place(self, batch: int) -> Place:
        """Return the place before a batch: one from the start up to the last that was given out, or the next."""
        epoch = max(epoch for epoch, first in self._first_of.items() if first <= batch)
        return Place(batch, epoch, batch - self._first_of[epoch])

    def find(self, batch: int) -> Place:
        """Return the place before any batch; plans all epochs up to it."""
        while (place := self.place(batch)).position and place.epoch == max(self._first_of):
            if place.position < len(self._plan(place.epoch)[0]):
                break
        return place

    def __iter__(self) -> Iterator[list[SampleKey]]:
        begin = self.done()
        number, epoch = begin + self.rank, self.place(begin).epoch
        while True:
            plan, clip_N = self._plan(epoch)
            first = self._first_of[epoch]
            while number - first < len(plan):
                yield self._keys(plan[number - first], clip_N, epoch, number)
                number += self.num_ranks
            epoch += 1

    def _plan(self, epoch: int) -> tuple[BatchPlan, np.ndarray | None]:
        """Return an epoch's batches, and of a balanced epoch the clip at each of their indices."""
        generator = np.random.default_rng((self.seed, epoch))
        clip_N, lengths_N = None, self.lengths_N
        if self.balance is not None:
            clip_N = np.repeat(np.arange(len(lengths_N), dtype=np.int32), self.balance.draw(generator))
            lengths_N = lengths_N[clip_N]
        plan = plan_batches(lengths_N, self.config.max_frames, self.config.max_clips, generator)
        self._first_of[epoch + 1] = self._first_of[epoch] + len(plan)
        return plan, clip_N

    def _keys(self, batch: list[int], clip_N: np.ndarray | None, epoch: int, number: int) -> list[SampleKey]:
        clips, repeats = batch, [0] * len(batch)
        if clip_N is not None:  # copies of a clip stand side by side
            clips = clip_N[batch].tolist()
            repeats = (np.array(batch) - np.searchsorted(clip_N, clips)).tolist()
        shortest = int(self.lengths_N[clips].min()) if self.config.crop else None
        return [SampleKey(clip, epoch, number, shortest, repeat) for clip, repeat in zip(clips, repeats, strict=True)]
