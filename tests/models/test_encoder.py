"""Properties the encoder has at any size; none needs trained weights."""

from dataclasses import replace

import pytest
import torch

from avspeech.models.encoder import AVEncoder, scale_gradient
from avspeech.models.fusion import ModalityDropout, fixed_keep
from tests.refusals import raises


@pytest.mark.parametrize("pre_norm", [True, False])
@pytest.mark.parametrize("lengths", [(9, 9), (7, 12)])
@torch.no_grad()
def test_padding_and_neighbours_change_nothing(tiny, inputs, pre_norm, lengths):
    encoder = AVEncoder(replace(tiny, pre_norm=pre_norm)).eval()
    audio_BTF, video_BTHW, valid_BT = inputs(12)
    valid_BT &= torch.arange(12) < torch.tensor(lengths)[:, None]
    together = encoder(audio_BTF, video_BTHW, valid_BT)
    for row, length in enumerate(lengths):
        part = (slice(row, row + 1), slice(length))
        torch.testing.assert_close(together[part], encoder(audio_BTF[part], video_BTHW[part], valid_BT[part]))


@pytest.mark.parametrize("dropped", [0, 1])
@torch.no_grad()
def test_a_dropped_stream_cannot_be_seen(encoder, inputs, dropped):
    audio_BTF, video_BTHW, valid_BT = inputs(8)
    keep_B2 = torch.ones(2, 2, dtype=torch.bool)
    keep_B2[0, dropped] = False
    before = encoder(audio_BTF, video_BTHW, valid_BT, keep_B2)
    if dropped == 0:
        audio_BTF[0] = torch.nan
    else:
        video_BTHW[0] = 255 - video_BTHW[0]
    torch.testing.assert_close(encoder(audio_BTF, video_BTHW, valid_BT, keep_B2), before, rtol=0, atol=0)


@torch.no_grad()
def test_a_dropped_stream_equals_a_missing_one(encoder, inputs):
    audio_BTF, video_BTHW, valid_BT = inputs(8)
    for modality, streams in (("audio", (audio_BTF, None)), ("video", (None, video_BTHW))):
        dropped = encoder(audio_BTF, video_BTHW, valid_BT, fixed_keep(2, modality))
        torch.testing.assert_close(dropped, encoder(*streams, valid_BT))


def test_batch_statistics_see_neither_padding_nor_dropped_clips(tiny, inputs):
    _, video_BTHW, valid_BT = inputs(8)
    one, other = (AVEncoder(tiny).train() for _ in range(2))
    other.load_state_dict(one.state_dict())
    one.video_frontend(video_BTHW[:1, :5], valid_BT[:1, :5])
    valid_BT[0, 5:] = False
    other.video_frontend(video_BTHW, valid_BT, valid_BT & torch.tensor([[True], [False]]))
    torch.testing.assert_close(other.video_frontend.stem_norm.running_mean, one.video_frontend.stem_norm.running_mean)


def test_a_batch_without_video_still_gives_every_weight_a_gradient(tiny, inputs):
    audio_BTF, video_BTHW, valid_BT = inputs(6)
    encoder = AVEncoder(replace(tiny, layer_drop=0.0)).train()
    encoder(audio_BTF, video_BTHW, valid_BT, fixed_keep(2, "audio")).square().mean().backward()
    assert not [name for name, parameter in encoder.named_parameters() if parameter.grad is None]


@torch.no_grad()
def test_the_stem_is_the_3d_convolution_it_stores(encoder, inputs):
    """Frames as channels of a 2-D convolution must equal the 3-D convolution of AV-HuBERT."""
    _, video_BTHW, valid_BT = inputs(7)
    frontend = encoder.video_frontend
    clip_BTHW = (video_BTHW.float() / 255 - 0.421) / 0.165
    windows = frontend._windows(clip_BTHW, valid_BT)
    ours = torch.nn.functional.conv2d(windows, frontend.stem.weight[:, 0], stride=2, padding=3)
    theirs = torch.nn.functional.conv3d(clip_BTHW[:, None], frontend.stem.weight, stride=(1, 2, 2), padding=(2, 3, 3))
    torch.testing.assert_close(ours, theirs.transpose(1, 2).flatten(0, 1), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_layer_zero_is_the_fused_input_and_the_last_lacks_only_the_norm(encoder, inputs):
    audio_BTF, video_BTHW, valid_BT = inputs(8)
    fused = encoder.fuse(encoder.join_streams(audio_BTF, video_BTHW, valid_BT))
    torch.testing.assert_close(encoder(audio_BTF, video_BTHW, valid_BT, layer=0), fused)
    last = encoder(audio_BTF, video_BTHW, valid_BT, layer=2)
    torch.testing.assert_close(encoder.norm(last), encoder(audio_BTF, video_BTHW, valid_BT))


def test_streams_of_different_length_are_named_in_the_error(encoder, inputs):
    audio_BTF, video_BTHW, valid_BT = inputs(8)
    raises(ValueError, r"audio \(2, 7, 32\) and video \(2, 8, 32\)", encoder, audio_BTF[:, :7], video_BTHW, valid_BT)
    raises(ValueError, r"24, 24.*this model wants|wants 24x24", encoder, audio_BTF, video_BTHW[..., :20], valid_BT)
    raises(ValueError, "both None", encoder, None, None, valid_BT)
    raises(ValueError, "layers 0 to 2", encoder, audio_BTF, video_BTHW, valid_BT, layer=3)


def test_no_utterance_loses_both_streams_and_shares_are_as_asked():
    keep_B2 = ModalityDropout(0.5, 0.375, 0.125).draw(20_000, torch.Generator().manual_seed(0))
    assert keep_B2.any(dim=1).all()
    without_audio, without_video = (~keep_B2).float().mean(dim=0).tolist()
    assert without_audio == pytest.approx(0.125, abs=0.01)
    assert without_video == pytest.approx(0.375, abs=0.01)
    per_batch = ModalityDropout(0.0, 0.5, 0.5, per_batch=True).draw(50, torch.Generator().manual_seed(0))
    assert (per_batch == per_batch[0]).all()
    assert ModalityDropout().draw(50).all()


def test_the_draws_are_those_of_before_the_chances_were_named_by_what_is_kept():
    """Two uniform numbers an utterance, as for the p_drop=0.5 and p_audio=0.5 of before."""
    drop_B, audio_B = (torch.rand(64, generator=g) < 0.5 for g in [torch.Generator().manual_seed(3)] * 2)
    keep_B2 = ModalityDropout(0.5, 0.25, 0.25).draw(64, torch.Generator().manual_seed(3))
    assert torch.equal(keep_B2, torch.stack([~(drop_B & audio_B), ~(drop_B & ~audio_B)], dim=1))


@pytest.mark.parametrize("chances", [(0.8, 0.4, 0.0), (0.5, 0.0, 0.0), (1.2, -0.2, 0.0)])
def test_chances_add_up_to_one(chances):
    raises(ValueError, r"modality_dropout\.p_both=.*add up to 1", ModalityDropout, *chances)


def test_gradient_is_scaled_and_the_value_is_not():
    x = torch.tensor([2.0], requires_grad=True)
    y = scale_gradient(x * 3, 0.1)
    y.sum().backward()
    assert y.item() == 6
    assert x.grad.item() == pytest.approx(0.3)


def test_official_size_is_as_counted():
    """103,330,280 parameters with 2000 + 4 classes of 256, as the official code counts the base model."""
    from avspeech.models.cluster_predictor import ClusterPredictor
    from avspeech.models.encoder import EncoderConfig

    with torch.device("meta"):
        base = ClusterPredictor(EncoderConfig(), num_units=2004)
        large = ClusterPredictor(EncoderConfig(width=1024, depth=24, num_heads=16, ffn_width=4096), num_units=2004)
    assert sum(parameter.numel() for parameter in base.parameters()) == 103_330_280
    assert sum(parameter.numel() for parameter in large.parameters()) == 325_398_504
