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


def each(kind, **values):
    """Return a mutation that sets attributes of every module of a kind."""

    def mutate(model):
        for module in model.modules():
            if isinstance(module, kind):
                vars(module).update(values)

    return mutate


def put(path, value):
    """Return a mutation that puts a value, or what a function makes of the old one, at a path of attributes."""

    def mutate(model):
        *way, name = path.split(".")
        for part in way:
            model = model[int(part)] if part.lstrip("-").isdigit() else getattr(model, part)
        old = getattr(model, name)
        setattr(model, name, value(old) if callable(value) and not isinstance(value, nn.Module) else value)

    return mutate


def norm_after_projection(model):
    fusion = model.encoder.fusion
    fusion.forward = lambda streams: nn.functional.layer_norm(fusion.project(streams), (fusion.project.out_features,))


def other_norm_order(model):
    for block in model.encoder.blocks:
        block.pre_norm = not block.pre_norm


def position_kernel_shifted(model):
    conv = model.encoder.positions.conv
    conv.padding = (conv.padding[0] - 1,)
    forward = model.encoder.positions.forward
    model.encoder.positions.forward = lambda x: forward(nn.functional.pad(x, (0, 0, 0, 2)))[:, : x.shape[1]]


def video_before_audio(model):
    join = model.encoder.fusion.join
    model.encoder.fusion.join = lambda audio, video, keep=None: join(video, audio, keep)


MUTATIONS = {
    "none": lambda model: None,
    "norm epsilon": each(nn.LayerNorm, eps=LARGE_EPSILON),
    "batch norm epsilon": each(nn.BatchNorm2d, eps=LARGE_EPSILON),
    "relu for gelu": put("encoder.blocks.-1.ffn.activation", nn.ReLU()),
    "approximate gelu": put("encoder.blocks.0.ffn.activation", nn.GELU(approximate="tanh")),
    "norm after projection": norm_after_projection,
    "other norm order": other_norm_order,
    "position kernel shifted": position_kernel_shifted,
    "video before audio": video_before_audio,
}


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


def check_mutation(name, error):
    assert error <= TOLERANCE if name == "none" else error > 3 * TOLERANCE


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_changed_constant_is_noticed(fixture, name):
    model = import_model(fixture)
    MUTATIONS[name](model)
    check_mutation(name, memory_error(fixture, model))


def test_the_default_model_gives_the_same_memory(fixture):
    """Padding left out of the front end and channels-last maps change nothing but rounding, on real frames."""
    assert memory_error(fixture, load_official(fixture.checkpoint)) <= 3 * TOLERANCE


def test_every_norm_has_the_official_epsilon():
    """One block's epsilon alone moves its output by less than the tolerance, so it is looked at directly."""
    encoder = AVEncoder(EncoderConfig(width=32, depth=1, num_heads=2, ffn_width=32))
    norms = [module for module in encoder.modules() if isinstance(module, nn.LayerNorm | nn.BatchNorm2d)]
    assert len(norms) == 4 + 20
    assert {module.eps for module in norms} == {1e-5}


def gates_swapped(model):
    video = model.decoder.blocks[-1].video
    video.attention_gate, video.ffn_gate = video.ffn_gate, video.attention_gate


def other_heads(model):
    for block in model.decoder.blocks:
        block.video.attention.num_heads *= 2


FLAMINGO_MUTATIONS = {
    "none": lambda model: None,
    "gate without tanh": put("decoder.blocks.0.video.attention_gate.data", torch.atanh),
    "gates swapped": gates_swapped,
    "projection not scaled": put("video_scale.data", torch.ones_like),
    "projection normalised": lambda model: put("video_norm", nn.LayerNorm(model.sizes.text_width))(model),
    # a bias of the keys would not be noticed: it moves all scores of a query alike
    "no query bias": put("decoder.blocks.0.video.attention.query.bias.data", torch.zeros_like),
    "other heads": other_heads,
    "audio positions shifted": put("encoder.positions_PD", lambda old: old.roll(1, dims=0)),
    "text positions shifted": put("decoder.positions_LD.data", lambda old: old.roll(1, dims=0)),
    "audio gelu approximate": put("encoder.blocks.0.ffn.activation", nn.GELU(approximate="tanh")),
    "gated gelu approximate": put("decoder.blocks.0.video.ffn.activation", nn.GELU(approximate="tanh")),
    "padded video masked": put("sizes", lambda old: replace(old, official_padding=False)),
    "dropped video skipped": put("config", lambda old: replace(old, zero_dropped_video=False)),
}


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


QUICK = ("none", "gate without tanh", "other heads", "text positions shifted", "dropped video skipped")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FLAMINGO_MUTATIONS]
)
def test_a_changed_constant_of_whisper_with_lips_is_noticed(fixture, name):
    model = import_flamingo_model(fixture)
    FLAMINGO_MUTATIONS[name](model)
    check_mutation(name, flamingo_error(fixture, model))


def test_every_norm_of_whisper_has_the_official_epsilon():
    """Like AV-HuBERT's: it moves the logits by less than the tolerance."""
    config = WhisperConfig(audio_width=32, audio_heads=2, audio_depth=1, text_width=32, text_heads=2, text_depth=1)
    both = nn.ModuleList([WhisperEncoder(config), TextDecoder(text_sizes(config), 50, 32, has_video=True)])
    norms = [module for module in both.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 3 + 6
    assert {module.eps for module in norms} == {1e-5}


test_a_changed_constant_of_whisper_with_lips_is_noticed.kinds = ("flamingo",)
test_a_changed_constant_is_noticed.quick = 1
test_a_changed_constant_is_noticed.kinds = test_the_default_model_gives_the_same_memory.kinds = ("encoder",)
