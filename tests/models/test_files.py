"""A model file gives back the same model, and says what is wrong with any other file."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.decoder import DecoderConfig
from avspeech.models.encoder import AVEncoder
from avspeech.models.files import ModelFileError, load_encoder, load_model, load_recognizer, save_model
from avspeech.models.recognizer import Recognizer, RecognizerConfig


@torch.no_grad()
def test_a_recognizer_comes_back_with_its_tokenizer(tiny, inputs, tmp_path):
    sizes = RecognizerConfig(
        tiny, DecoderConfig(width=32, depth=1, num_heads=4, ffn_width=64), ctc=True, ctc_upsample=2
    )
    model = Recognizer(sizes, 9, {"kind": "words", "symbols": ["a", "b"]}).eval()
    save_model(tmp_path / "m.safetensors", model)
    again = load_recognizer(tmp_path / "m.safetensors")
    assert again.config == sizes
    assert again.tokenizer_config == {"kind": "words", "symbols": ["a", "b"]}
    memory_BTD = again(*inputs(6))
    torch.testing.assert_close(memory_BTD, model(*inputs(6)), rtol=0, atol=0)
    torch.testing.assert_close(again.ctc_logits(memory_BTD), model.ctc_logits(memory_BTD), rtol=0, atol=0)
    assert again.ctc_logits(memory_BTD).shape == (2, 12, 9)
    assert not again.training


@torch.no_grad()
def test_an_encoder_moves_from_pretraining_to_recognition(tiny, inputs, tmp_path):
    pretrained = ClusterPredictor(tiny, num_units=6, mask_features=True).eval()
    save_model(tmp_path / "p.safetensors", pretrained)
    assert load_model(tmp_path / "p.safetensors").mask_features
    fresh = AVEncoder(tiny).eval()
    load_encoder(tmp_path / "p.safetensors", fresh)
    torch.testing.assert_close(fresh(*inputs(6)), pretrained.encoder(*inputs(6)), rtol=0, atol=0)
    with pytest.raises(ModelFileError, match="fine-tune it first"):
        load_recognizer(tmp_path / "p.safetensors")


def test_an_encoder_of_another_size_is_named(tiny, tmp_path):
    from dataclasses import replace

    save_model(tmp_path / "p.safetensors", ClusterPredictor(tiny, num_units=6))
    with pytest.raises(ModelFileError, match=r"blocks\.2"):
        load_encoder(tmp_path / "p.safetensors", AVEncoder(replace(tiny, depth=3)))


def test_other_files_are_refused_with_a_reason(tmp_path):
    (tmp_path / "text.safetensors").write_text("no")
    save_file({"x": torch.zeros(2)}, tmp_path / "bare.safetensors")
    for name, reason in [("missing", "cannot be read"), ("text", "cannot be read"), ("bare", "without our header")]:
        with pytest.raises(ModelFileError, match=reason):
            load_model(tmp_path / f"{name}.safetensors")


def test_the_header_names_no_path(tiny, tmp_path):
    save_model(tmp_path / "p.safetensors", ClusterPredictor(tiny, num_units=6))
    with safe_open(str(tmp_path / "p.safetensors"), framework="pt") as file:
        assert str(tmp_path) not in str(file.metadata())
    assert [path.name for path in tmp_path.iterdir()] == ["p.safetensors"]


@torch.no_grad()
def test_every_option_of_a_predictor_comes_back(tiny, inputs, tmp_path):
    options = {"num_units": [6, 3], "unit_width": 8, "special_units": 4, "similarity": "dot", "temperature": 0.3}
    model = ClusterPredictor(tiny, **options, supervised_blocks=(1,)).eval()
    model.carried, model.source = {"their.key": torch.arange(3)}, {"updates": 7}
    save_model(tmp_path / "p.safetensors", model)
    again = load_model(tmp_path / "p.safetensors")
    for one, other in zip(model(*inputs(6)).scores, again(*inputs(6)).scores, strict=True):
        torch.testing.assert_close(other.logits, one.logits, rtol=0, atol=0)
        assert (other.block, other.unit_set) == (one.block, one.unit_set)
    assert again.num_units == (6, 3)
    assert torch.equal(again.carried["their.key"], torch.arange(3))
    assert again.source == {"updates": 7}
    load_encoder(tmp_path / "p.safetensors", AVEncoder(tiny))


@torch.no_grad()
def test_a_model_file_of_the_first_format_still_opens(tiny, tmp_path):
    """Before, the head's weights had other names and one number of units."""
    model = ClusterPredictor(tiny, num_units=6)
    save_model(tmp_path / "p.safetensors", model)
    with safe_open(str(tmp_path / "p.safetensors"), framework="pt") as file:
        header = json.loads(file.metadata()["avspeech"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    config = header["config"]
    kept = ("encoder", "mask_features", "unit_width")
    header = {
        "format": "1",
        "kind": "cluster_predictor",
        "config": json.dumps({key: config[key] for key in kept} | {"num_units": 6}),
    }
    former = {"unit_head.embedding": "unit_embedding", "unit_head.project.weight": "unit_project.weight"}
    former |= {"unit_head.project.bias": "unit_project.bias"}
    save_file(
        {former.get(name, name): tensor for name, tensor in weights.items()}, tmp_path / "old.safetensors", header
    )
    again = load_model(tmp_path / "old.safetensors")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_equal_models_are_equal_files(tiny, tmp_path):
    model = ClusterPredictor(tiny, num_units=6)
    for number in range(4):
        save_model(tmp_path / f"{number}.safetensors", model)
    assert len({(tmp_path / f"{number}.safetensors").read_bytes() for number in range(4)}) == 1


def test_an_official_checkpoint_is_sent_to_its_import(tmp_path):
    (tmp_path / "base.pt").write_bytes(b"PK no model file")
    with pytest.raises(ModelFileError, match=r"an official checkpoint is imported first: python -m avspeech\.interop"):
        load_model(tmp_path / "base.pt")
