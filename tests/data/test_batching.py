"""Order and budget of batches; padding at collation."""

import itertools

import numpy as np
import pytest
import torch

from avspeech.data.batching import BatchConfig, TrainingBatches, plan_batches
from avspeech.inputs import NothingReadable, Sample, collate

LENGTHS = np.random.default_rng(0).integers(10, 120, 57).tolist()


def take(count, **options):
    return list(itertools.islice(TrainingBatches(LENGTHS, BatchConfig(300, 5), seed=3, **options), count))


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


def test_a_resumed_order_is_the_uninterrupted_one():
    whole = take(60)
    assert take(20, start=40) == whole[40:]
    assert len({key.epoch for batch in whole for key in batch}) > 2
    assert [batch[0].step for batch in whole] == list(range(60))


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
