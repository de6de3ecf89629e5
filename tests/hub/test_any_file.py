"""A file is known by what is in it; what is no model is refused in one line that says what it is."""

import struct

import pytest
import torch
from safetensors.torch import save_file

from avspeech.hub.any_file import load_any
from avspeech.hub.describe import describe, why_no_text
from avspeech.hub.errors import ModelNameError
from avspeech.interop import avhubert, whisper, whisper_flamingo
from avspeech.interop.whisper_flamingo import export_flamingo
from avspeech.interop.whisper_flamingo_keys import VIDEO_HEADS
from avspeech.interop.whisper_keys import HEADS
from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.files import save_model
from avspeech.models.flamingo import Flamingo
from avspeech.models.recognizer import Recognizer
from avspeech.models.whisper import Whisper
from tests.hub.small_models import KINDS, recognizer
from tests.interop.official import PIECES, FairseqDictionary, finetuned, pretrained, save_with_fairseq
from tests.interop.test_whisper_flamingo import make
from tests.interop.whisper_files import half_file


def same(one, other):
    ours = one.state_dict()
    return ours.keys() == other.state_dict().keys() and all(
        torch.equal(value, other.state_dict()[name]) for name, value in ours.items()
    )


@pytest.fixture
def refused():
    """Return a function: path -> the message, after checking that it is one line."""

    def message(path):
        with pytest.raises(ModelNameError) as caught:
            load_any(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return message


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_file_of_ours_under_any_name(kind, tmp_path):
    network = KINDS[kind]()
    path = tmp_path / "holiday.mp4"
    save_model(path, network)
    loaded = load_any(path)
    assert type(loaded) is type(network) and same(loaded, network) and not loaded.training
    assert describe(loaded)[-1].startswith("parameters: ")


@pytest.mark.parametrize("name", ["model.pt", "whisper.safetensors", "av_hubert"])
def test_an_official_whisper(name, tmp_path):
    half_file(tmp_path / "made.pt")
    (tmp_path / "made.pt").rename(tmp_path / name)
    assert type(load_any(tmp_path / name)) is Whisper


def test_an_official_avhubert(tmp_path, monkeypatch):
    path = tmp_path / "whisper.pt"
    ours, checkpoint = pretrained()
    torch.save(checkpoint, path)
    network = load_any(path)
    assert type(network) is ClusterPredictor and same(network, ours)
    assert "features" in (why_no_text(network) or "")
    ours, checkpoint = finetuned()
    torch.save(checkpoint, path)
    network = load_any(path)
    assert type(network) is Recognizer and same(network, ours)
    assert "dict.wrd.txt" in (why_no_text(network) or "")
    checkpoint["task_state"] = {"target_dictionary": FairseqDictionary(PIECES)}
    save_with_fairseq(monkeypatch, checkpoint, path)
    assert why_no_text(load_any(path)) is None


def test_an_official_whisper_flamingo_with_lips_and_without(tmp_path, monkeypatch):
    monkeypatch.setitem(HEADS, 32, 4)  # shapes do not show them, and no released model is so small
    monkeypatch.setitem(VIDEO_HEADS, 24, 3)
    network, official = make()
    torch.save(official | {"pytorch-lightning_version": "2.1.3", "epoch": 3}, tmp_path / "model.ckpt")
    assert type(load_any(tmp_path / "model.ckpt")) is Flamingo and same(load_any(tmp_path / "model.ckpt"), network)
    torch.save(export_flamingo(KINDS["whisper"]()), tmp_path / "audio.pt")
    assert type(load_any(tmp_path / "audio.pt")) is Whisper


def test_a_checkpoint_is_read_once(tmp_path, monkeypatch):
    half_file(tmp_path / "base.pt")
    torch.save(finetuned()[1], tmp_path / "av.pt")

    def again(path):
        raise AssertionError(f"{path} was read a second time")

    for module in (avhubert, whisper, whisper_flamingo):
        monkeypatch.setattr(module, "read_checkpoint", again)
    assert type(load_any(tmp_path / "base.pt")) is Whisper and type(load_any(tmp_path / "av.pt")) is Recognizer


def test_only_a_recogniser_with_words_and_whisper_give_text():
    silent = {kind for kind, make in KINDS.items() if why_no_text(make()) is not None}
    assert silent == {"cluster_predictor"}
    assert "dictionary" in (why_no_text(recognizer(tokenizer=False)) or "")


MEDIA = {
    "a.mp4": (b"\0\0\0\x20ftypisom" + bytes(600), "an MP4 or MOV video and no model"),
    "a.mkv": (b"\x1aE\xdf\xa3" + bytes(600), "a Matroska or WebM video"),
    "a.wav": (b"RIFF\0\0\0\0WAVE" + bytes(600), "an AVI or WAV file"),
    "a.png": (b"\x89PNG\r\n" + bytes(600), "a PNG picture"),
    "a.txt": ("größer\n".encode() * 200, "text and no model"),
    "a.bin": (bytes(range(255, 0, -1)), "of a format that is not known here"),
    "zeros.pt": (bytes(600), "no model (it begins with 00 00"),
    "one.pt": (b"\xff\xfe", "of a format that is not known here"),
}


@pytest.mark.parametrize("name", MEDIA)
def test_what_is_no_model_is_named(name, tmp_path, refused):
    content, said = MEDIA[name]
    (tmp_path / name).write_bytes(content)
    assert said in refused(tmp_path / name) and "wanted a model file" in refused(tmp_path / name)


def test_missing_and_empty_files(tmp_path, refused):
    assert "does not exist" in refused(tmp_path / "nowhere.pt")
    (tmp_path / "empty.safetensors").touch()
    assert "is empty" in refused(tmp_path / "empty.safetensors")


def test_a_cut_off_model_file(tmp_path, refused):
    path = tmp_path / "model.safetensors"
    save_model(path, recognizer())
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert f"is cut off: {len(whole) - 1:,} of {len(whole):,} bytes" in refused(path)
    path.write_bytes(whole[:300])
    assert "is cut off within its header" in refused(path)


def test_a_cut_off_checkpoint(tmp_path, refused):
    path = tmp_path / "base.pt"
    half_file(path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "is cut off" in refused(path)


def test_safetensors_of_others(tmp_path, refused):
    path = tmp_path / "model.safetensors"
    save_file({"model.encoder.layers.0.fc1.weight": torch.ones(2)}, path, metadata={"format": "pt"})
    assert "transformers" in refused(path) and "model.encoder.layers.0.fc1.weight" in refused(path)
    save_file({"weight": torch.ones(2)}, path)
    assert "without our header" in refused(path) and "wanted a model file" in refused(path)
    path.write_bytes(struct.pack("<Q", 7) + b'{"a": 1')
    assert "broken header" in refused(path)
    path.write_bytes(struct.pack("<Q", 8) + b'{"a": 1}')
    assert "broken header" in refused(path)


def test_weights_that_do_not_fit_their_header(tmp_path, refused):
    path = tmp_path / "model.safetensors"
    network = recognizer()
    del network.encoder.audio_project
    save_model(path, network)
    assert "other weights than its header says" in refused(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.ones(2)], "holds a list"),
        ({"weight": torch.ones(2)}, "of another program (its keys: weight)"),
        ({"state_dict": {"model.fc.weight": torch.ones(2)}}, "of another program (its keys: state_dict)"),
        ({"dims": {}, "model_state_dict": {}}, "n_audio_head"),
        ({"cfg": {"model": {"_name": "wav2vec2"}}, "model": {}}, "'wav2vec2'"),
    ],
)
def test_other_checkpoints(content, said, tmp_path, refused):
    torch.save(content, tmp_path / "model.pt")
    assert said in refused(tmp_path / "model.pt")


def test_a_training_checkpoint_names_the_model_file_of_its_run(tmp_path, refused):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    content = {"pytorch-lightning_version": "2.5", "state_dict": {"model.decoder.positions_LD": torch.ones(2)}}
    torch.save(content, folder / "last.ckpt")
    assert "training checkpoint" in refused(folder / "last.ckpt")
    save_model(tmp_path / "run" / "model.safetensors", recognizer())
    assert str(tmp_path / "run" / "model.safetensors") in refused(folder / "last.ckpt")


def test_flamingo_of_ours_is_a_flamingo(tmp_path):
    save_model(tmp_path / "f", KINDS["flamingo"]())
    assert type(load_any(tmp_path / "f")) is Flamingo
