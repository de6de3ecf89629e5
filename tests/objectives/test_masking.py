"""Masks cover what they should, and only real frames."""

import math

import pytest
import torch

from avspeech.objectives.masking import MaskingConfig, TorchDraws, draw_donors, draw_masks, runs
from avspeech.sequence import lengths_to_valid


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_masks_depend_on_the_generator_alone():
    valid_BT = lengths_to_valid(torch.tensor([60, 40]))
    one, other = (draw_masks(valid_BT, MaskingConfig(), generator(5)) for _ in range(2))
    assert torch.equal(one.audio_BT, other.audio_BT)
    assert torch.equal(one.video_source_BT, other.video_source_BT)
    assert not torch.equal(one.audio_BT, draw_masks(valid_BT, MaskingConfig(), generator(6)).audio_BT)


def test_padding_is_never_masked_and_never_shown():
    lengths_B = torch.tensor([50, 31, 12, 3])
    valid_BT = lengths_to_valid(lengths_B)
    for seed in range(50):
        masks = draw_masks(valid_BT, MaskingConfig(), generator(seed))
        assert not (masks.either_BT & ~valid_BT).any()
        shown = masks.video_source_BT[masks.video_BT]
        rows = torch.arange(4)[:, None].expand_as(masks.video_BT)[masks.video_BT]
        assert (shown < lengths_B[rows]).all()


def test_the_masked_share_is_what_spans_of_that_fraction_cover():
    """A frame away from the ends is hidden unless none of its ``span`` starts is among those drawn."""
    frames = 400
    valid_BT = torch.ones(400, frames, dtype=torch.bool)
    masks = draw_masks(valid_BT, MaskingConfig(audio_fraction=0.8, audio_span=10, video_fraction=0.3), generator())
    for mask_BT, fraction, span in [(masks.audio_BT, 0.8, 10), (masks.video_BT, 0.3, 5)]:
        starts, count = frames - span + 1, int(fraction * frames / span)
        hidden = 1 - math.comb(starts - span, count) / math.comb(starts, count)
        assert mask_BT[:, 20:-20].float().mean().item() == pytest.approx(hidden, abs=0.01)


def test_spans_have_their_length_and_every_frame_can_be_masked():
    valid_BT = torch.ones(200, 20, dtype=torch.bool)
    config = MaskingConfig(on="features", audio_fraction=0.01, audio_span=5, min_spans=1)
    mask_BT = draw_masks(valid_BT, config, generator()).feature_BT
    assert {end - start for row in mask_BT for start, end in runs(row)} == {5}
    assert mask_BT.any(dim=0).all()


def test_a_donor_never_shows_the_run_it_hides():
    mask_BT = torch.zeros(1, 30, dtype=torch.bool)
    mask_BT[0, 10:15] = True
    for seed in range(100):
        source_T = draw_donors(mask_BT, [30], TorchDraws(generator(seed)))[0]
        shown = source_T[10:15]
        assert not ((shown >= 10) & (shown < 15)).any()
        assert torch.equal(source_T[~mask_BT[0]], torch.arange(30)[~mask_BT[0]])


def test_a_clip_that_is_all_mask_turns_grey():
    assert draw_donors(torch.ones(1, 4, dtype=torch.bool), [4], TorchDraws(generator())).tolist() == [[-1, -1, -1, -1]]


def test_a_fraction_outside_0_and_1_is_named():
    with pytest.raises(ValueError, match=r"masking\.audio_fraction=1\.5"):
        MaskingConfig(audio_fraction=1.5)
