"""Batches of utterances of like length, in an order that depends on the seed alone; samples -> ``AVBatch``.

Training is counted in steps, so the training order has no end: epoch after epoch, each shuffled anew. Batch k is the
same whether the run came to it in one go or was stopped and started again; process r of W takes batches r, r + W, ...
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from avspeech.data.dataset import NothingReadable, Sample, SampleKey
from avspeech.sequence import lengths_to_valid, pad_stack

IGNORE_UNIT = -100


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


@dataclass(frozen=True)
class AVBatch:
    """Utterances padded to one length. Streams, units or tokens that the data do not have are None."""

    ids: tuple[str, ...]
    valid_BT: Tensor
    """bool, True where a frame is real."""
    audio_BTF: Tensor | None
    """float32 stacked filterbanks, normalised per frame; zero where padded."""
    video_BTHW: Tensor | None
    """uint8 grey lip clips; zero where padded."""
    units_BTJ: Tensor | None
    """int64 unit of each frame in each of J unit sets, -100 where padded or unknown."""
    tokens_BL: Tensor | None
    """int64 tokens of the text, without begin and end, -100 where padded."""
    texts: tuple[str | None, ...]
    logmel_BAF: Tensor | None = None
    """float32 log-mel of Whisper at 100 Hz, zero where padded; in place of ``audio_BTF``."""
    valid_BA: Tensor | None = None
    """bool, True where a frame of ``logmel_BAF`` is real."""
    languages: tuple[str | None, ...] = ()
    """Of the texts."""

    @property
    def token_lengths_B(self) -> Tensor:
        """Tokens of each utterance."""
        assert self.tokens_BL is not None
        return (self.tokens_BL != IGNORE_UNIT).sum(dim=1)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "AVBatch":
        """Return a copy on ``device``."""

        return self._map(lambda x: x.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "AVBatch":
        """Return a copy in pinned memory; DataLoader calls this."""

        return self._map(lambda x: x.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> "AVBatch":
        tensors = {
            name: change(value)
            for name in ("valid_BT", "audio_BTF", "video_BTHW", "units_BTJ", "tokens_BL", "logmel_BAF", "valid_BA")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **tensors)


def collate(loaded: Sequence[Sample | None]) -> AVBatch:
    """Pad samples to the longest and stack them; None, a clip that could not be read, is left out.

    Raises:
        NothingReadable: nothing is left.
    """
    samples = [sample for sample in loaded if sample is not None]
    if not samples:
        raise NothingReadable("no clip of a batch can be read; the log says why for each")
    lengths_B = torch.tensor([sample.num_frames for sample in samples])

    def stack(name: str, value: int = 0) -> Tensor | None:
        rows = [getattr(sample, name) for sample in samples]
        return None if any(row is None for row in rows) else pad_stack(rows, value)

    logmel_BAF, valid_BA = stack("logmel_AF"), None
    if logmel_BAF is not None:
        valid_BA = lengths_to_valid(torch.tensor([len(sample.logmel_AF) for sample in samples]))  # type: ignore[arg-type]
    return AVBatch(
        ids=tuple(sample.id for sample in samples),
        valid_BT=lengths_to_valid(lengths_B),
        audio_BTF=stack("audio_TF"),
        video_BTHW=stack("video_THW"),
        units_BTJ=stack("units_TJ", IGNORE_UNIT),
        tokens_BL=stack("tokens_L", IGNORE_UNIT),
        texts=tuple(sample.text for sample in samples),
        logmel_BAF=logmel_BAF,
        valid_BA=valid_BA,
        languages=tuple(sample.language for sample in samples),
    )
