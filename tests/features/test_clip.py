"""Clips: padding is exactly zero, one offset per clip, parity with the official transforms."""

import pytest
import torch

from avspeech.features.clip import MEAN, STD, crop_clips, normalize_clips
from tests.refusals import raises


def clips(num_clips: int = 3, num_frames: int = 4, size: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (num_clips, num_frames, size, size), generator=generator, dtype=torch.uint8)


def test_padded_frames_are_zero_and_their_pixels_cannot_be_seen():
    video_BTHW, valid_BT = clips(), torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])
    other_BTHW = torch.where(valid_BT[..., None, None], video_BTHW, 255 - video_BTHW)
    prepared = normalize_clips(video_BTHW, valid_BT)
    assert not prepared[~valid_BT].any()
    assert torch.equal(prepared, normalize_clips(other_BTHW, valid_BT))
    assert prepared[valid_BT].abs().sum() > 0


def test_every_frame_of_a_clip_is_cut_at_the_clips_own_offset():
    video_BTHW, offsets_B2 = clips(), torch.tensor([[0, 4], [3, 1], [2, 2]])
    cropped = crop_clips(video_BTHW, 8, offsets_B2)
    for b, (top, left) in enumerate(offsets_B2.tolist()):
        for t in range(4):
            assert torch.equal(cropped[b, t], video_BTHW[b, t, top : top + 8, left : left + 8])


def test_grey_values_map_to_mean_and_deviation():
    values = normalize_clips(torch.tensor([[[[0, 255]]]], dtype=torch.uint8)).flatten()
    torch.testing.assert_close(values, torch.tensor([-MEAN / STD, (1 - MEAN) / STD]))


def test_clips_normalised_before_are_refused():
    raises(ValueError, r"float32 came, wanted uint8", normalize_clips, normalize_clips(clips()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"video_BTHW": clips(size=7), "size": 8}, "7x7 came, wanted at least 8x8"),
        ({"video_BTHW": clips()[0], "size": 8}, r"\(4, 12, 12\) came, wanted \(B, T, H, W\)"),
        ({"video_BTHW": clips(), "size": 8, "offsets_B2": torch.tensor([[5, 0]] * 3)}, r"up to \(4, 4\)"),
        ({"video_BTHW": clips(), "size": 8, "offsets_B2": torch.tensor([[0, -1]] * 3)}, r"up to \(4, 4\)"),
    ],
)
def test_crops_that_do_not_fit_are_named_in_the_error(arguments, message):
    raises(ValueError, message, crop_clips, **arguments)


def test_validity_of_another_shape_is_named_in_the_error():
    with pytest.raises(ValueError, match=r"valid_BT \(3, 5\) and video \(3, 4, 12, 12\)"):
        normalize_clips(clips(), torch.ones(3, 5, dtype=torch.bool))
