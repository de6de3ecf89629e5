"""Order and budget of batches; padding at collation."""

import itertools

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from avspeech.data.balance import Balance, BalanceConfig
from avspeech.data.batching import CHUNK, BatchConfig, Place, TrainingBatches, plan_batches
from avspeech.inputs import NothingReadable, Sample, collate

LENGTHS = np.random.default_rng(0).integers(10, 120, 57).tolist()


def take(count, **options):
    return list(itertools.islice(TrainingBatches(LENGTHS, BatchConfig(300, 5), seed=3, **options), count))


def plan_in_lists(lengths, max_frames, max_clips, generator):
    """Return what ``plan_batches`` gave before it kept arrays."""
    keys = np.asarray(lengths, dtype=float)
    if generator is not None:
        keys = keys * generator.uniform(0.95, 1.05, len(keys)) + generator.uniform(0, 1, len(keys))
    batches, longest = [], 0
    for index in np.argsort(-keys, kind="stable").tolist():
        longest = max(longest, lengths[index])
        if not batches or len(batches[-1]) == max_clips or longest * (len(batches[-1]) + 1) > max_frames:
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    if generator is not None:
        batches = [batches[i] for i in generator.permutation(len(batches))]
    return batches


@pytest.mark.parametrize("seed", [None, *range(4)])
@pytest.mark.parametrize("budget", [(300, 5), (2000, 9), (1, 1), (119, 1000), (10**6, 10**6)])
def test_the_plan_is_that_of_lists(seed, budget):
    draw = np.random.default_rng(1)
    for lengths in ([], [7], draw.integers(1, 4, 50).tolist(), draw.integers(10, 120, 999).tolist()):
        generators = [None if seed is None else np.random.default_rng(seed) for _ in range(2)]
        plan = plan_batches(lengths, *budget, generators[0])
        assert list(plan) == plan_in_lists(lengths, *budget, generators[1]) and len(plan) == len(list(plan))
        assert seed is None or generators[0].random() == generators[1].random()  # as much was drawn


def test_a_plan_goes_on_over_the_pieces_in_which_it_reads_lengths():
    lengths = np.random.default_rng(0).integers(10, 15, CHUNK + 100).astype(np.int32)
    plan = plan_batches(lengths, 90, 8, np.random.default_rng(0))
    assert list(plan) == plan_in_lists(lengths.tolist(), 90, 8, np.random.default_rng(0))


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_every_utterance_once_and_within_budget(seed):
    batches = plan_batches(LENGTHS, 300, 5, None if seed is None else np.random.default_rng(seed))
    assert sorted(itertools.chain(*batches)) == list(range(len(LENGTHS)))
    assert all(len(batch) <= 5 for batch in batches)
    assert all(len(batch) == 1 or max(LENGTHS[i] for i in batch) * len(batch) <= 300 for batch in batches)


def test_like_lengths_go_together_and_a_clip_over_budget_alone():
    assert [4] in plan_batches([10, 10, 10, 10, 999], 100, 5, np.random.default_rng(0))
    batches = plan_batches(LENGTHS, 300, 5, np.random.default_rng(0))
    assert sum(max(LENGTHS[i] for i in batch) * len(batch) for batch in batches) < 1.25 * sum(LENGTHS)


SEGMENTS = [(8, 5), (4, 7), (16, 3), (6, 4)]  # processes, and batches that each of them trains before it ends
EPOCHS = Balance(BalanceConfig(0.5, 0.8), np.arange(57) % 7 // 5, np.arange(57) % 2)


def resumed(segments, **options):
    """Return the batches of all segments in the order of their numbers."""
    place, batches = Place(), []
    for num_ranks, turns in segments:
        orders = [
            TrainingBatches(LENGTHS, BatchConfig(300, 5), rank=rank, num_ranks=num_ranks, start=place, **options)
            for rank in range(num_ranks)
        ]
        parts = [list(itertools.islice(order, turns + 2))[:turns] for order in orders]  # two were loaded in vain
        batches += itertools.chain(*zip(*parts, strict=True))
        place = orders[0].place(place.batch + num_ranks * turns)
    return batches


@pytest.mark.parametrize("balance", [None, EPOCHS], ids=["once", "balanced"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shift", range(3))
def test_any_number_of_processes_gives_one_order(seed, shift, balance):
    segments = [(ranks, turns + shift * (2 * shift - 1)) for ranks, turns in SEGMENTS]
    count = sum(ranks * turns for ranks, turns in segments)
    whole = list(itertools.islice(TrainingBatches(LENGTHS, BatchConfig(300, 5), seed, balance=balance), count))
    assert resumed(segments, seed=seed, balance=balance) == whole  # keys and all: none twice, none missing
    assert [batch[0].step for batch in whole] == list(range(count))
    assert len({key.epoch for batch in whole for key in batch}) > 5


def test_a_run_may_break_at_any_batch():
    whole = take(60)
    order = TrainingBatches(LENGTHS, BatchConfig(300, 5), seed=3)
    list(itertools.islice(order, 60))
    for batch in range(60):
        place = order.place(batch)
        assert place == TrainingBatches(LENGTHS, BatchConfig(300, 5), seed=3).find(batch)
        assert take(60 - batch, start=place) == whole[batch:]
        parts = [take(4, start=place, rank=rank, num_ranks=3) for rank in range(3)]
        assert [*itertools.chain(*zip(*parts, strict=True))][: 60 - batch] == whole[batch : batch + 12]


def test_an_epoch_of_fewer_batches_than_processes():
    ranks = [TrainingBatches([5, 6, 7], BatchConfig(14, 2), rank=rank, num_ranks=8) for rank in range(8)]
    parts = [list(itertools.islice(order, 3)) for order in ranks]
    whole = list(itertools.islice(TrainingBatches([5, 6, 7], BatchConfig(14, 2)), 24))
    assert [*itertools.chain(*zip(*parts, strict=True))] == whole
    place = ranks[0].place(24)  # beyond the epochs that this process planned
    assert list(itertools.islice(TrainingBatches([5, 6, 7], BatchConfig(14, 2), start=place), 2)) == list(
        itertools.islice(TrainingBatches([5, 6, 7], BatchConfig(14, 2)), 24, 26)
    )


def test_only_the_epoch_that_is_read_is_planned(monkeypatch):
    planned = []
    monkeypatch.setattr(TrainingBatches, "_plan", lambda self, epoch: planned.append(epoch) or plan(self, epoch))
    assert take(1, start=Place(2500, 100, 7))[0][0].epoch == 100
    assert planned == [100]


plan = TrainingBatches._plan


class Keys(Dataset):
    """Hands the keys of a batch back."""

    def __getitem__(self, key):
        return key


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_loader_processes_change_no_key(num_workers):
    order = TrainingBatches(LENGTHS, BatchConfig(300, 5), seed=3, rank=1, num_ranks=2, start=Place(3, 0, 3))
    loader = DataLoader(Keys(), batch_sampler=order, num_workers=num_workers, collate_fn=list)
    assert list(itertools.islice(loader, 25)) == take(53)[4::2][:25]
    assert order.place(40) == TrainingBatches(LENGTHS, BatchConfig(300, 5), seed=3).find(40)


def test_epochs_are_shuffled_anew_and_depend_on_the_seed():
    first, second = ([key.index for batch in take(60) for key in batch if key.epoch == epoch] for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(57)) and first != second


def test_processes_share_the_batches_out():
    whole = [[key.index for key in batch] for batch in take(40)]
    parts = [[[key.index for key in batch] for batch in take(20, rank=r, num_ranks=2)] for r in range(2)]
    assert [batch for pair in zip(*parts, strict=True) for batch in pair] == whole


def test_no_utterance_is_an_error():
    with pytest.raises(ValueError, match="no utterance"):
        TrainingBatches([], BatchConfig())


def test_collate_pads_and_leaves_out_what_could_not_be_read():
    def sample(name, frames, tokens):
        video_THW = torch.full((frames, 4, 4), 9, dtype=torch.uint8)
        units_TJ = torch.ones(frames, 1).long()
        return Sample(name, frames, torch.ones(frames, 3), video_THW, units_TJ, torch.tensor(tokens))

    batch = collate([sample("a", 2, [5, 6]), None, sample("b", 4, [7])])
    assert batch.ids == ("a", "b")
    assert batch.valid_BT.tolist() == [[True, True, False, False], [True] * 4]
    assert batch.audio_BTF[0, 2:].abs().sum() == 0
    assert batch.video_BTHW.dtype == torch.uint8
    assert batch.units_BTJ[0, :, 0].tolist() == [1, 1, -100, -100]
    assert batch.tokens_BL.tolist() == [[5, 6], [7, -100]]
    assert batch.token_lengths_B.tolist() == [2, 1]
    with pytest.raises(NothingReadable):
        collate([None, None])
