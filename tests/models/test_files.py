"""A model file gives back the same model, and says what is wrong with any other file."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from avspeech.inputs import MODALITIES
from avspeech.models.cluster_predictor import ClusterPredictor, HeadConfig
from avspeech.models.configs import ModelFileError
from avspeech.models.decoder import DecoderConfig
from avspeech.models.files import load_model, save_model
from avspeech.models.recognizer import Recognizer, RecognizerConfig
from avspeech.text.tokenizer import Tokenizer
from tests.refusals import raises


@torch.no_grad()
def test_a_recognizer_comes_back_with_its_tokenizer(tiny, inputs, tmp_path):
    sizes = RecognizerConfig(tiny, DecoderConfig(32, 1, 4, 64), ctc=True, ctc_upsample=2)
    model = Recognizer(sizes, 9, Tokenizer("words", ["a", "b"])).eval()
    save_model(tmp_path / "m.safetensors", model)
    again = load_model(tmp_path / "m.safetensors")
    assert again.config == sizes
    assert again.gives_text and again.tokenizer.symbols == ("a", "b")
    memory_BTD = again(*inputs(6))
    torch.testing.assert_close(memory_BTD, model(*inputs(6)), rtol=0, atol=0)
    torch.testing.assert_close(again.ctc_logits(memory_BTD), model.ctc_logits(memory_BTD), rtol=0, atol=0)
    assert again.ctc_logits(memory_BTD).shape == (2, 12, 9)
    assert not again.training


def test_other_files_are_refused_with_a_reason(tmp_path):
    (tmp_path / "text").write_text("no")
    (tmp_path / "base.pt").write_bytes(b"PK no model file")
    save_file({"x": torch.zeros(2)}, tmp_path / "bare")
    unread = r"cannot be read.*an official checkpoint becomes one by python -m avspeech\.interop"
    for name, reason in {"missing": unread, "text": unread, "base.pt": unread, "bare": "without our header"}.items():
        raises(ModelFileError, reason, load_model, tmp_path / name)


def test_the_header_names_no_path(tiny, tmp_path):
    save_model(tmp_path / "p.safetensors", ClusterPredictor(tiny, num_units=6))
    with safe_open(str(tmp_path / "p.safetensors"), framework="pt") as file:
        assert str(tmp_path) not in str(file.metadata())
    assert [path.name for path in tmp_path.iterdir()] == ["p.safetensors"]


@torch.no_grad()
def test_every_option_of_a_predictor_comes_back(tiny, inputs, tmp_path):
    head = HeadConfig(8, 4, "dot", 0.3, supervised_blocks=(1,), block_weight=0.5)
    model = ClusterPredictor(tiny, [6, 3], True, head).eval()
    model.carried, model.source, model.about = {"their.key": torch.arange(3)}, {"updates": 7}, {"modality": "video"}
    save_model(tmp_path / "p.safetensors", model)
    again = load_model(tmp_path / "p.safetensors")
    for one, other in zip(model(*inputs(6)).scores, again(*inputs(6)).scores, strict=True):
        torch.testing.assert_close(other.logits, one.logits, rtol=0, atol=0)
        assert (other.block, other.unit_set) == (one.block, one.unit_set)
    assert (again.num_units, again.mask_features, again.head) == ((6, 3), True, head)
    assert torch.equal(again.carried["their.key"], torch.arange(3))
    assert (again.source, again.about) == ({"updates": 7}, {"modality": "video"})


@pytest.mark.parametrize(
    ("source", "crop"), [(None, "former"), ({"model": "av_hubert"}, "official"), ({"fine_tuned": True}, "former")]
)
def test_a_file_says_how_its_mouths_are_cut_and_one_of_before_that_is_known_by_its_source(tiny, tmp_path, source, crop):
    path, model = tmp_path / "p.safetensors", ClusterPredictor(tiny, num_units=6)
    assert model.inputs.crop == "official"
    model.encoder.crop, model.source = "steady", source
    save_model(path, model)
    assert load_model(path).inputs.crop == "steady"
    rewritten(path, about=None)
    assert load_model(path).inputs.crop == crop


def rewritten(path, **changes):
    """Write the model file again with another header."""
    with safe_open(str(path), framework="pt") as file:
        header = json.loads(file.metadata()["avspeech"]) | changes
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(weights, path, {"avspeech": json.dumps({key: value for key, value in header.items() if value})})


@torch.no_grad()
def test_a_model_file_written_before_heads_and_notes_had_a_place_opens(tiny, tmp_path):
    """Files of format 2 written up to commit 62863e7 have no 'about' and no weight of a block's loss."""
    path, model = tmp_path / "p.safetensors", ClusterPredictor(tiny, num_units=6)
    save_model(path, model)
    config = {key: value for key, value in model.to_config().items() if key != "block_weight"}
    rewritten(path, config=config, about=None)
    again = load_model(path)
    assert again.about == {} and again.head == model.head and again.inputs.crop == "former"
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "1"}, "has format 1, this version reads 2; convert it with avspeech at commit 62863e7"),
        ({"format": "3"}, "has format 3, this version reads 2; update avspeech"),
        ({"kind": "dreamer"}, "holds a 'dreamer', and the models known are cluster_predictor, flamingo, .*recognizer"),
        ({"config": {"encoder": {"wings": 2}}}, "EncoderConfig has no field wings; the file is from another version"),
        ({"config": {"encoder": {"kind": "unheard"}}}, "holds a 'unheard', and the encoders known are avhubert"),
    ],
)
def test_a_file_that_this_version_cannot_read_says_what_to_do(tiny, tmp_path, changes, message):
    save_model(tmp_path / "p.safetensors", ClusterPredictor(tiny, num_units=6))
    rewritten(tmp_path / "p.safetensors", **changes)
    raises(ModelFileError, message, load_model, tmp_path / "p.safetensors")


def test_equal_models_are_equal_files(tiny, tmp_path):
    model = ClusterPredictor(tiny, num_units=6)
    for number in range(4):
        save_model(tmp_path / f"{number}.safetensors", model)
    assert len({(tmp_path / f"{number}.safetensors").read_bytes() for number in range(4)}) == 1


@pytest.mark.parametrize("modality", ["audio", "video", "audio+video", None])
def test_a_model_decodes_what_it_was_trained_on(tiny, tmp_path, modality):
    """``demo-audio`` was shown lips by default, which it had never seen in training."""
    for model in (Recognizer(RecognizerConfig(tiny, None, ctc=True), 9), ClusterPredictor(tiny, num_units=6)):
        model.about = {} if modality is None else {"modality": modality}
        save_model(tmp_path / "m.safetensors", model)
        alone = modality in ("audio", "video")
        assert load_model(tmp_path / "m.safetensors").inputs.modalities == ((modality,) if alone else MODALITIES)
