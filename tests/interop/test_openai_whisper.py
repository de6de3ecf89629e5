"""OpenAI's Whisper files, by name and by path, in and out: nothing is lost, and what does not fit is named."""

import os
import re
from dataclasses import replace
from functools import partial

import pytest
import torch
import whisper
from whisper.model import ModelDimensions

from avspeech.interop.whisper import ADDRESS, ALIASES, SHA256, export_openai, load_openai, load_whisper, name_of
from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.files import load_model, save_model
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig
from tests.interop.official import refused, replaced, same_tensors
from tests.interop.whisper_files import TINY, half_file, same_file
from tests.models.tiny_whisper import LIPS, SIZES


def test_names_and_addresses_are_openais():
    ours = {name: ADDRESS.format(sha256=sha256, file=name) for name, sha256 in SHA256.items()}
    assert ours | {alias: ours[name] for alias, name in ALIASES.items()} == whisper._MODELS
    assert set(whisper._ALIGNMENT_HEADS) == set(whisper._MODELS)


# OpenAI's sizes: width, heads, encoder blocks, decoder blocks
RELEASED = {
    "tiny": (384, 6, 4, 4), "base": (512, 8, 6, 6), "small": (768, 12, 12, 12), "medium": (1024, 16, 24, 24),
    **dict.fromkeys(["large-v1", "large-v2", "large-v3"], (1280, 20, 32, 32)), "large-v3-turbo": (1280, 20, 32, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", SHA256)
def test_sizes_show_the_name_unless_two_models_share_them(name):
    width, heads, audio_depth, text_depth = RELEASED[name.removesuffix(".en")]
    sizes = WhisperConfig(
        audio_width=width, audio_heads=heads, audio_depth=audio_depth, text_width=width, text_heads=heads,
        text_depth=text_depth, mel_bins=128 if "v3" in name else 80,
        vocab_size=51_866 if "v3" in name else 51_864 if name.endswith(".en") else 51_865,
    )  # fmt: skip
    assert name_of(sizes) == (None if name in ("large-v1", "large-v2") else name)
    assert name_of(replace(sizes, vocab_size=50)) is None
    assert name_of(replace(sizes, audio_width=2 * width, text_width=2 * width)) is None


def test_heads_that_follow_the_words_are_openais_and_stay_in_the_model_file(tmp_path):
    theirs = whisper.model.Whisper(ModelDimensions(**half_file(tmp_path / "some.pt")["dims"]))
    theirs.set_alignment_heads(whisper._ALIGNMENT_HEADS["tiny"])
    expected = tuple((int(block), int(head)) for block, head in theirs.alignment_heads.indices().T)
    model = load_openai(tmp_path / "some.pt", name="tiny")
    assert len(expected) == 6 and model.sizes == replace(TINY, alignment_heads=expected)
    save_model(tmp_path / "ours.safetensors", model)
    loaded = load_model(tmp_path / "ours.safetensors")
    assert isinstance(loaded, Whisper) and loaded.source == {"model": "whisper", "name": "tiny"}
    assert loaded.sizes == model.sizes and isinstance(loaded.sizes.alignment_heads[0], tuple)
    assert load_openai(tmp_path / "some.pt").sizes.alignment_heads == ()  # no released model has these sizes
    assert load_openai(tmp_path / "some.pt", name="base").sizes.alignment_heads == ()  # nor do 6 x 8 heads fit


@pytest.mark.slow
def test_a_large_file_that_kept_its_name_has_its_heads(tmp_path):
    sizes = replace(SIZES, audio_width=20, audio_heads=20, audio_depth=32, text_width=20, text_heads=20, text_depth=32)
    half_file(tmp_path / "large-v2.pt", sizes)  # those of large-v1 are the same
    for name in ("large-v1", "mine"):
        (tmp_path / f"{name}.pt").hardlink_to(tmp_path / "large-v2.pt")
    models = [load_openai(tmp_path / f"{name}.pt") for name in ("large-v1", "large-v2", "mine")]
    assert [model.source["name"] for model in models if model.source] == ["large-v1", "large-v2", None]
    one, two, mine = (model.sizes.alignment_heads for model in models)
    assert one and two and one != two and mine == ()


def test_a_file_goes_through_the_model_file_and_back_bit_for_bit(tmp_path):
    file = half_file(tmp_path / "official.pt")
    assert {value.dtype for value in file["model_state_dict"].values()} == {torch.float16}
    model = load_whisper(tmp_path / "official.pt")
    assert type(model) is Whisper and not model.training
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert all(weight.requires_grad for weight in model.parameters())
    save_model(tmp_path / "ours.safetensors", model)
    same_file(export_openai(load_whisper(tmp_path / "ours.safetensors")), file)
    assert {value.dtype for value in export_openai(model, None)["model_state_dict"].values()} == {torch.float32}


def test_openais_code_loads_what_we_write(tmp_path):
    file = half_file(tmp_path / "ours.pt", SIZES)
    theirs = whisper.model.Whisper(ModelDimensions(**file["dims"]))
    theirs.load_state_dict(file["model_state_dict"])
    assert list(file["model_state_dict"]) == list(theirs.state_dict())
    same_tensors(theirs, {key: value.float() for key, value in file["model_state_dict"].items()})


@pytest.mark.slow
def test_the_real_base_model_goes_round(tmp_path):
    if not (path := os.environ.get("AVSPEECH_WHISPER_BASE")):
        pytest.skip("AVSPEECH_WHISPER_BASE is not set: the real weights are no part of the project")
    model = load_whisper(path)
    assert model.source == {"model": "whisper", "name": "base"} and len(model.sizes.alignment_heads) == 8
    save_model(tmp_path / "base.safetensors", model)
    again = export_openai(load_whisper(tmp_path / "base.safetensors"))
    same_file(again, torch.load(path, weights_only=True, mmap=True))


weights, sizes = partial(replaced, "model_state_dict"), partial(replaced, "dims")


def rename(file):
    state = file["model_state_dict"]
    state["decoder.blocks.1.attn_norm.bias"] = state.pop("decoder.blocks.1.attn_ln.bias")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (rename, r"missing: decoder\.blocks\.1\.attn_ln\.bias; unknown: decoder\.blocks\.1\.attn_norm\.bias$"),
        (weights(encoder__conv2__bias=None), r"missing: encoder\.conv2\.bias$"),
        (weights(encoder__positional_embedding=None), r"lacks encoder\.positional_embedding, which shows a size"),
        (weights(encoder__blocks__0__attn__key__bias=torch.ones(1)), r"unknown: encoder\.blocks\.0\.attn\.key\.bias$"),
        (weights(encoder__blocks__0__mlp__0__bias=torch.zeros(95)), r"ffn\.inner\.bias has \(95,\), .* says \(96,\)"),
        (weights(encoder__conv1__weight=torch.zeros(24, 8)), r"its encoder\.conv1\.weight is \(24, 8\); wanted 3 axes"),
        (weights(decoder__ln__bias="x"), r"something else than tensors in its state dict: decoder\.ln\.bias"),
        (sizes(n_text_head=None), r"a setting missing .* KeyError\('n_text_head'\)"),
        (sizes(n_audio_head="six"), r"TypeError"),
        (sizes(n_audio_head=5), r"audio_width=24 is not a multiple of whisper\.audio_heads=5"),
        (lambda file: file.update(dims=None), r"TypeError"),
        (replaced(dims=None), r"holds keys .*; wanted OpenAI's 'dims' and 'model_state_dict'$"),
    ],
)
def test_what_does_not_fit_has_a_one_line_reason(tmp_path, spoil, reason):
    file = half_file(tmp_path / "official.pt")
    spoil(file)
    torch.save(file, tmp_path / "spoilt.pt")
    said = refused(load_openai, tmp_path / "spoilt.pt")
    assert said.startswith(str(tmp_path / "spoilt.pt")) and re.search(reason, said), said


def test_other_names_and_models_are_refused(tmp_path):
    said = refused(load_whisper, tmp_path / "in.pt")
    assert "is no file and no name of OpenAI's; the names are tiny.en, " in said and said.endswith(", turbo")
    save_model(tmp_path / "units.safetensors", ClusterPredictor(LIPS, 9))
    assert "holds a ClusterPredictor, wanted a Whisper" in refused(load_whisper, tmp_path / "units.safetensors")
