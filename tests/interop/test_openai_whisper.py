"""OpenAI's Whisper files, by name and by path, in and out: nothing is lost, and what does not fit is named."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from jsonargparse import auto_cli

from avspeech.interop.restricted import CheckpointError
from avspeech.interop.whisper import (
    ADDRESS,
    ALIASES,
    SHA256,
    export_openai,
    load_openai,
    load_whisper,
    main,
    name_of,
)
from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.files import load_model, save_model
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig
from tests.interop.test_restricted import Hostile
from tests.interop.whisper_files import TINY, half_file, same_file
from tests.models.tiny_whisper import LIPS, SIZES, make_flamingo


def test_names_and_addresses_are_openais():
    whisper = pytest.importorskip("whisper", reason="openai-whisper is not installed")
    ours = {name: ADDRESS.format(sha256=sha256, file=name) for name, sha256 in SHA256.items()}
    assert ours | {alias: ours[name] for alias, name in ALIASES.items()} == whisper._MODELS
    assert set(whisper._ALIGNMENT_HEADS) == set(whisper._MODELS)


# OpenAI's sizes: width, heads, encoder blocks, decoder blocks
RELEASED = {
    "tiny": (384, 6, 4, 4),
    "base": (512, 8, 6, 6),
    "small": (768, 12, 12, 12),
    "medium": (1024, 16, 24, 24),
    "large-v1": (1280, 20, 32, 32),
    "large-v2": (1280, 20, 32, 32),
    "large-v3": (1280, 20, 32, 32),
    "large-v3-turbo": (1280, 20, 32, 4),
}


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
    pytest.importorskip("whisper", reason="openai-whisper is not installed")
    from whisper import _ALIGNMENT_HEADS
    from whisper.model import ModelDimensions
    from whisper.model import Whisper as OpenAI

    file = half_file(tmp_path / "some.pt")
    theirs = OpenAI(ModelDimensions(**file["dims"]))
    theirs.set_alignment_heads(_ALIGNMENT_HEADS["tiny"])
    expected = tuple((int(block), int(head)) for block, head in theirs.alignment_heads.indices().T)
    model = load_openai(tmp_path / "some.pt", name="tiny")
    assert len(expected) == 6
    assert model.sizes == replace(TINY, alignment_heads=expected)
    save_model(tmp_path / "ours.safetensors", model)
    loaded = load_model(tmp_path / "ours.safetensors")
    assert isinstance(loaded, Whisper)
    assert loaded.sizes == model.sizes and isinstance(loaded.sizes.alignment_heads[0], tuple)
    assert loaded.source == {"model": "whisper", "name": "tiny"}
    assert load_openai(tmp_path / "some.pt").sizes.alignment_heads == ()  # no released model has these sizes
    assert load_openai(tmp_path / "some.pt", name="base").sizes.alignment_heads == ()  # nor do 6 x 8 heads fit


def test_a_large_file_that_kept_its_name_has_its_heads(tmp_path):
    """large-v1 and large-v2 have the same sizes."""
    sizes = replace(SIZES, audio_width=20, audio_heads=20, audio_depth=32, text_width=20, text_heads=20, text_depth=32)
    half_file(tmp_path / "large-v2.pt", sizes)
    (tmp_path / "large-v1.pt").hardlink_to(tmp_path / "large-v2.pt")
    (tmp_path / "mine.pt").hardlink_to(tmp_path / "large-v2.pt")
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
    export_openai(load_whisper(tmp_path / "ours.safetensors"), tmp_path / "back.pt")
    same_file(torch.load(tmp_path / "back.pt", weights_only=True), file)
    export_openai(model, tmp_path / "full.pt", None)
    full = torch.load(tmp_path / "full.pt", weights_only=True)
    assert {value.dtype for value in full["model_state_dict"].values()} == {torch.float32}


def test_openais_code_loads_what_we_write(tmp_path):
    pytest.importorskip("whisper", reason="openai-whisper is not installed")
    from whisper.model import ModelDimensions
    from whisper.model import Whisper as OpenAI

    file = half_file(tmp_path / "ours.pt", SIZES)
    theirs = OpenAI(ModelDimensions(**file["dims"]))
    theirs.load_state_dict(file["model_state_dict"])
    assert list(file["model_state_dict"]) == list(theirs.state_dict())
    with torch.no_grad():
        for key, value in theirs.state_dict().items():
            assert torch.equal(value, file["model_state_dict"][key].float()), key


def test_the_real_base_model_goes_round(tmp_path):
    if not (path := os.environ.get("AVSPEECH_WHISPER_BASE")):
        pytest.skip("AVSPEECH_WHISPER_BASE is not set: the real weights are no part of the project")
    model = load_whisper(path)
    assert model.source == {"model": "whisper", "name": "base"}
    assert len(model.sizes.alignment_heads) == 8
    save_model(tmp_path / "base.safetensors", model)
    export_openai(load_whisper(tmp_path / "base.safetensors"), tmp_path / "back.pt")
    same_file(*(torch.load(file, weights_only=True, mmap=True) for file in (tmp_path / "back.pt", Path(path))))


def test_official_padding_is_a_choice_that_the_model_file_keeps(tmp_path):
    half_file(tmp_path / "official.pt")
    for choice in (False, True):
        save_model(tmp_path / "ours.safetensors", load_whisper(tmp_path / "official.pt", official_padding=choice))
        assert load_whisper(tmp_path / "ours.safetensors").sizes.official_padding == choice


def rename(file):
    file["model_state_dict"]["decoder.blocks.1.attn_norm.bias"] = file["model_state_dict"].pop(
        "decoder.blocks.1.attn_ln.bias"
    )


def lose(file):
    del file["model_state_dict"]["encoder.conv2.bias"]


def lose_a_size(file):
    del file["model_state_dict"]["encoder.positional_embedding"]


def key_bias(file):
    file["model_state_dict"]["encoder.blocks.0.attn.key.bias"] = torch.zeros(24)


def another_shape(file):
    file["model_state_dict"]["encoder.blocks.0.mlp.0.bias"] = torch.zeros(95)


def two_axes(file):
    file["model_state_dict"]["encoder.conv1.weight"] = torch.zeros(24, 8)


def no_tensor(file):
    file["model_state_dict"]["decoder.ln.bias"] = "x"


def no_heads(file):
    del file["dims"]["n_text_head"]


def heads_in_words(file):
    file["dims"]["n_audio_head"] = "six"


def heads_that_do_not_divide(file):
    file["dims"]["n_audio_head"] = 5


def no_dims(file):
    file["dims"] = None


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (rename, r"missing: decoder\.blocks\.1\.attn_ln\.bias; unknown: decoder\.blocks\.1\.attn_norm\.bias$"),
        (lose, r"missing: encoder\.conv2\.bias$"),
        (lose_a_size, r"lacks encoder\.positional_embedding, which shows a size"),
        (key_bias, r"unknown: encoder\.blocks\.0\.attn\.key\.bias$"),
        (another_shape, r"encoder\.blocks\.0\.ffn\.inner\.bias has \(95,\), its configuration says \(96,\)"),
        (two_axes, r"its encoder\.conv1\.weight is \(24, 8\); wanted 3 axes"),
        (no_tensor, r"something else than tensors in its state dict: decoder\.ln\.bias"),
        (no_heads, r"KeyError: 'n_text_head'"),
        (heads_in_words, r"TypeError"),
        (heads_that_do_not_divide, r"audio_width=24 is not a multiple of whisper\.audio_heads=5"),
        (no_dims, r"TypeError"),
    ],
)
def test_what_does_not_fit_has_a_one_line_reason(tmp_path, spoil, reason):
    file = half_file(tmp_path / "official.pt")
    spoil(file)
    torch.save(file, tmp_path / "spoilt.pt")
    with pytest.raises(CheckpointError, match=reason) as caught:
        load_openai(tmp_path / "spoilt.pt")
    assert str(caught.value).startswith(str(tmp_path / "spoilt.pt"))
    assert "\n" not in str(caught.value)


def by_text(folder):
    (folder / "in.pt").write_text("no weights here\n")


def by_flamingo(folder):
    torch.save({"state_dict": {"model.decoder.ln.bias": torch.zeros(3)}}, folder / "in.pt")


def by_list(folder):
    torch.save([1, 2], folder / "in.pt")


def by_hostile(folder):
    torch.save({"dims": Hostile("echo"), "model_state_dict": {}}, folder / "in.pt")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (by_text, "is no whole PyTorch checkpoint"),
        (by_flamingo, r"wanted OpenAI's 'dims' and .*; see python -m avspeech\.interop\.whisper_flamingo$"),
        (by_list, r"holds a list; wanted OpenAI's 'dims' and 'model_state_dict'$"),
        (by_hostile, "is refused: it names .*system"),
        (lambda folder: None, r"is no file and no name of OpenAI's; the names are tiny\.en, tiny, .*, large, turbo$"),
    ],
    ids=["text", "Whisper-Flamingo", "a list", "hostile", "missing"],
)  # fmt: skip
def test_the_command_says_in_one_line_what_a_file_is(tmp_path, write, reason):
    write(tmp_path)
    with pytest.raises(SystemExit, match=reason) as caught:
        main(str(tmp_path / "in.pt"), tmp_path / "out.safetensors")
    assert str(caught.value).startswith(str(tmp_path / "in.pt")) and "\n" not in str(caught.value)
    assert not (tmp_path / "out.safetensors").exists()


def test_the_command_goes_both_ways(tmp_path, capsys):
    file = half_file(tmp_path / "official.pt")
    official, ours, back = (str(tmp_path / name) for name in ("official.pt", "ours.safetensors", "back.pt"))
    auto_cli(main, args=[official, ours])
    weights = sum(weight.numel() for weight in load_whisper(ours).parameters())
    assert capsys.readouterr().out == f"{ours}: {weights:,} weights\n"
    auto_cli(main, args=[ours, back])
    same_file(torch.load(back, weights_only=True), file)
    auto_cli(main, args=[official, ours, "--official_padding=true"])
    assert load_whisper(ours).sizes.official_padding


def test_the_command_refuses_what_it_cannot_write(tmp_path):
    half_file(tmp_path / "official.pt")
    official, ours = str(tmp_path / "official.pt"), tmp_path / "ours.safetensors"
    with pytest.raises(SystemExit, match=r"out\.bin must end in \.safetensors .* or \.pt"):
        main(official, tmp_path / "out.bin")
    with pytest.raises(SystemExit, match=r"official\.pt"):  # a folder that is a file
        main(official, tmp_path / "official.pt" / "ours.safetensors")
    main(official, ours)
    for source, target in ((official, tmp_path / "back.pt"), (str(ours), tmp_path / "again.safetensors")):
        with pytest.raises(SystemExit, match="official_padding is written into a model file made from OpenAI's layout"):
            main(source, target, official_padding=True)
    save_model(tmp_path / "units.safetensors", ClusterPredictor(LIPS, 9))
    with pytest.raises(SystemExit, match="holds a ClusterPredictor, wanted a Whisper"):
        main(str(tmp_path / "units.safetensors"), tmp_path / "back.pt")


def test_of_a_model_that_reads_lips_the_audio_model_is_written(tmp_path):
    model = make_flamingo()
    save_model(tmp_path / "flamingo.safetensors", model)
    main(str(tmp_path / "flamingo.safetensors"), tmp_path / "whisper.pt")
    whisper, state = load_openai(tmp_path / "whisper.pt"), model.state_dict()
    assert type(whisper) is Whisper
    assert all(torch.equal(value, state[name].half().float()) for name, value in whisper.state_dict().items())
