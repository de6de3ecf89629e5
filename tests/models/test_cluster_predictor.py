"""What is masked cannot be seen; units are compared by angle."""

import pytest
import torch

from avspeech.models.cluster_predictor import ClusterPredictor, MaskedInput, substitute_frames


@torch.no_grad()
def test_masked_input_frames_cannot_be_seen(tiny, inputs):
    model = ClusterPredictor(tiny, num_units=5).eval()
    audio_BTF, video_BTHW, valid_BT = inputs(8)
    source_BT = torch.tensor([0, 1, 5, 6, 7, 5, 6, 7]).repeat(2, 1)
    mask_BT = source_BT != torch.arange(8)
    masks = MaskedInput(audio_BT=mask_BT, video_BT=mask_BT, video_source_BT=source_BT)
    before = model(audio_BTF, video_BTHW, valid_BT, masks).logits_BTK
    audio_BTF[:, 2:5], video_BTHW[:, 2:5] = 9.0, 200
    torch.testing.assert_close(model(audio_BTF, video_BTHW, valid_BT, masks).logits_BTK, before, rtol=0, atol=0)
    assert not torch.allclose(model(audio_BTF, video_BTHW, valid_BT).logits_BTK, before)


@torch.no_grad()
def test_masked_features_cannot_be_seen(tiny, inputs):
    model = ClusterPredictor(tiny, num_units=5, mask_features=True).eval()
    audio_BTF, _, valid_BT = inputs(8)
    masks = MaskedInput(feature_BT=(torch.arange(8) == 3).repeat(2, 1))
    before = model(audio_BTF, None, valid_BT, masks).logits_BTK
    audio_BTF[:, 3] = 9.0
    torch.testing.assert_close(model(audio_BTF, None, valid_BT, masks).logits_BTK, before, rtol=0, atol=0)


@torch.no_grad()
def test_logits_are_cosines_over_the_temperature(tiny):
    model = ClusterPredictor(tiny, num_units=5)
    model.unit_head.embedding[2] = 7 * model.unit_head.project(torch.ones(32))
    logits_K = model.unit_head(torch.ones(1, 1, 32))[0][0, 0]
    assert logits_K[2].item() == pytest.approx(10.0, abs=1e-4)
    assert logits_K.abs().max() <= 10.0001


def test_masks_of_the_wrong_kind_are_refused(tiny, inputs):
    model = ClusterPredictor(tiny, num_units=5)
    audio_BTF, video_BTHW, valid_BT = inputs(4)
    with pytest.raises(ValueError, match=r"masking\.on"):
        model(audio_BTF, video_BTHW, valid_BT, MaskedInput(feature_BT=valid_BT))


def test_substituted_frames_come_from_the_same_clip():
    video_BTHW = torch.arange(6, dtype=torch.uint8).view(2, 3, 1, 1).expand(2, 3, 2, 2)
    shown = substitute_frames(video_BTHW, torch.tensor([[0, 2, 2], [1, -1, 0]]))
    assert shown[:, :, 0, 0].tolist() == [[0, 2, 2], [4, 107, 3]]
    assert shown.dtype == torch.uint8
