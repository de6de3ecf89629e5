"""Parity notices when one constant of a model is another: the comparison can fail, and does."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from avspeech.interop.avhubert import load_official
from avspeech.models.decoder import TextDecoder
from avspeech.models.encoder import AVEncoder, EncoderConfig
from avspeech.models.fusion import fixed_keep
from avspeech.models.whisper import text_sizes
from avspeech.models.whisper_encoder import WhisperConfig, WhisperEncoder
from tests.parity.compare_encoder import import_model, spied
from tests.parity.compare_flamingo import import_flamingo_model, streams
from tests.parity.comparison import TOLERANCE, relative_error

LARGE_EPSILON = 1e-2
"""Half a percent of a normalised value of variance 1, so that it is noticed on the weights of any seed; 1e-6 moved
between 2e-5 and 4e-5. ``test_every_norm_has_the_official_epsilon`` tells small differences."""


def norm_epsilon(model):
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = LARGE_EPSILON


def batch_norm_epsilon(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = LARGE_EPSILON


def relu_for_gelu(model):
    model.encoder.blocks[-1].ffn.activation = nn.ReLU()


def approximate_gelu(model):
    model.encoder.blocks[0].ffn.activation = nn.GELU(approximate="tanh")


def norm_after_projection(model):
    fusion = model.encoder.fusion
    fusion.forward = lambda streams: nn.functional.layer_norm(fusion.project(streams), (fusion.project.out_features,))


def other_norm_order(model):
    for block in model.encoder.blocks:
        block.pre_norm = not block.pre_norm


def position_kernel_shifted(model):
    conv = model.encoder.positions.conv
    conv.padding = (conv.padding[0] - 1,)
    positions = model.encoder.positions
    forward = positions.forward
    positions.forward = lambda x: forward(nn.functional.pad(x, (0, 0, 0, 2)))[:, : x.shape[1]]


def video_before_audio(model):
    join = model.encoder.fusion.join
    model.encoder.fusion.join = lambda audio, video, keep=None: join(video, audio, keep)


MUTATIONS = [
    norm_epsilon,
    batch_norm_epsilon,
    relu_for_gelu,
    approximate_gelu,
    norm_after_projection,
    other_norm_order,
    position_kernel_shifted,
    video_before_audio,
]


@torch.no_grad()
def memory_error(fixture, model):
    """Return the largest error of lip features, fused streams and memory, each stream alone, over real frames."""
    audio_BTF, video_BTHW, valid_BT = fixture.streams
    encoder, errors = model.encoder, []
    for tag, audio, video in (("a", audio_BTF, None), ("v", None, video_BTHW)):
        with spied(lips=encoder.video_frontend, norm=encoder.fusion.norm) as seen:
            ours = {f"{tag}.x": encoder(audio, video, valid_BT)}
        ours |= {f"{tag}.fused_ln": seen["norm"][1]} if "norm" in seen else {}
        ours |= {"sub.video": seen["lips"][1]} if video is not None else {}
        for name, x_BTD in ours.items():
            theirs = fixture.tensors[name].transpose(1, 2) if name == "sub.video" else fixture.tensors[name]
            errors.append(relative_error(x_BTD[valid_BT], theirs[valid_BT]))
    return max(errors)


@pytest.mark.parametrize("mutate", [None, *MUTATIONS], ids=lambda mutation: getattr(mutation, "__name__", "none"))
def test_a_changed_constant_is_noticed(fixture, mutate):
    model = import_model(fixture)
    if mutate is None:
        assert memory_error(fixture, model) <= TOLERANCE
    else:
        mutate(model)
        assert memory_error(fixture, model) > 3 * TOLERANCE


def test_the_default_model_gives_the_same_memory(fixture):
    """Padding left out of the front end and channels-last maps change nothing but rounding, on real frames."""
    assert memory_error(fixture, load_official(fixture.checkpoint)) <= 3 * TOLERANCE


def test_every_norm_has_the_official_epsilon():
    """One block's epsilon alone moves its output by less than the tolerance, so it is looked at directly."""
    encoder = AVEncoder(EncoderConfig(width=32, depth=1, num_heads=2, ffn_width=32))
    norms = [module for module in encoder.modules() if isinstance(module, nn.LayerNorm | nn.BatchNorm2d)]
    assert len(norms) == 4 + 20
    assert {module.eps for module in norms} == {1e-5}


def gate_without_tanh(model):
    gate = model.decoder.blocks[0].video.attention_gate
    gate.data = gate.data.atanh()


def gates_swapped(model):
    video = model.decoder.blocks[-1].video
    video.attention_gate, video.ffn_gate = video.ffn_gate, video.attention_gate


def projection_not_scaled(model):
    model.video_scale.data.fill_(1)


def projection_normalised(model):
    model.video_norm = nn.LayerNorm(model.sizes.text_width)


def no_query_bias(model):
    """A bias of the keys would not be noticed: it moves all scores of a query alike."""
    model.decoder.blocks[0].video.attention.query.bias.data.zero_()


def other_heads(model):
    for block in model.decoder.blocks:
        block.video.attention.num_heads *= 2


def audio_positions_shifted(model):
    model.encoder.positions_PD = model.encoder.positions_PD.roll(1, dims=0)


def text_positions_shifted(model):
    model.decoder.positions_LD.data = model.decoder.positions_LD.data.roll(1, dims=0)


def audio_gelu_approximate(model):
    model.encoder.blocks[0].ffn.activation = nn.GELU(approximate="tanh")


def gated_gelu_approximate(model):
    model.decoder.blocks[0].video.ffn.activation = nn.GELU(approximate="tanh")


def padded_video_masked(model):
    model.sizes = replace(model.sizes, official_padding=False)


def dropped_video_skipped(model):
    model.config = replace(model.config, zero_dropped_video=False)


FLAMINGO_MUTATIONS = [
    gate_without_tanh,
    gates_swapped,
    projection_not_scaled,
    projection_normalised,
    no_query_bias,
    other_heads,
    audio_positions_shifted,
    text_positions_shifted,
    audio_gelu_approximate,
    gated_gelu_approximate,
    padded_video_masked,
    dropped_video_skipped,
]


@torch.no_grad()
def flamingo_error(fixture, model):
    """Return the largest error of the audio memory and of the logits with both streams and with audio alone."""
    logmel_BAF, video_BTHW, valid_BT = streams(fixture)
    both = model.encode_streams(logmel_BAF, None, video_BTHW, valid_BT)
    audio = model.encode_streams(logmel_BAF, None, video_BTHW, valid_BT, fixed_keep(len(valid_BT), "audio"))
    errors = [relative_error(both.memory_BTD, fixture.tensors["enc.audio"])]
    for tag, memory in (("av", both), ("a", audio)):
        logits_BLV = model(fixture.tensors["in.dec_input_ids"], memory)[..., fixture.tensors["vocab_columns"]]
        errors.append(relative_error(logits_BLV, fixture.tensors[f"{tag}.logits"]))
    return max(errors)


@pytest.mark.parametrize(
    "mutate", [None, *FLAMINGO_MUTATIONS], ids=lambda mutation: getattr(mutation, "__name__", "none")
)
def test_a_changed_constant_of_whisper_with_lips_is_noticed(fixture, mutate):
    model = import_flamingo_model(fixture)
    if mutate is None:
        assert flamingo_error(fixture, model) <= TOLERANCE
    else:
        mutate(model)
        assert flamingo_error(fixture, model) > 3 * TOLERANCE


def test_every_norm_of_whisper_has_the_official_epsilon():
    """Like AV-HuBERT's: it moves the logits by less than the tolerance."""
    config = WhisperConfig(audio_width=32, audio_heads=2, audio_depth=1, text_width=32, text_heads=2, text_depth=1)
    norms = [
        module
        for part in (WhisperEncoder(config), TextDecoder(text_sizes(config), 50, 32, has_video=True))
        for module in part.modules()
        if isinstance(module, nn.LayerNorm)
    ]
    assert len(norms) == 3 + 6
    assert {module.eps for module in norms} == {1e-5}


test_a_changed_constant_of_whisper_with_lips_is_noticed.kinds = ("flamingo",)
test_a_changed_constant_is_noticed.kinds = test_the_default_model_gives_the_same_memory.kinds = ("encoder",)
