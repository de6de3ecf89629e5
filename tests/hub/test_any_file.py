"""A file is known by what is in it; what is no model is refused in one line that says what it is."""

import pytest
import torch
from safetensors.torch import save_file

from avspeech.interop.official_files import load_any
from avspeech.interop.whisper_flamingo import export_flamingo
from avspeech.interop.whisper_flamingo_keys import VIDEO_HEADS
from avspeech.interop.whisper_keys import HEADS
from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.files import save_model
from avspeech.models.flamingo import Flamingo
from avspeech.models.recognizer import Recognizer
from avspeech.models.whisper import Whisper
from tests.hub.small_models import KINDS, recognizer
from tests.interop import official
from tests.interop.official import PIECES, FairseqDictionary, finetuned, pretrained, same_tensors, save_with_fairseq
from tests.interop.test_restricted import Hostile
from tests.interop.test_whisper_flamingo import make
from tests.interop.whisper_files import half_file


def refused(path):
    message = official.refused(load_any, path)
    assert str(path) in message
    return message


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_file_of_ours_under_any_name(kind, tmp_path):
    network = KINDS[kind]()
    save_model(tmp_path / "holiday.mp4", network)
    loaded = load_any(tmp_path / "holiday.mp4")
    assert type(loaded) is type(network) and not loaded.training
    same_tensors(loaded, network)
    assert loaded.describe()[-1].startswith("parameters: ")


@pytest.mark.parametrize("name", ["model.pt", "whisper.safetensors", "av_hubert"])
def test_an_official_whisper(name, tmp_path):
    half_file(tmp_path / name)
    assert type(load_any(tmp_path / name)) is Whisper


def test_an_official_avhubert(tmp_path, monkeypatch):
    path = tmp_path / "whisper.pt"
    ours, checkpoint = pretrained()
    torch.save(checkpoint, path)
    network = load_any(path)
    assert type(network) is ClusterPredictor and not network.gives_text
    same_tensors(network, ours)
    ours, checkpoint = finetuned()
    torch.save(checkpoint, path)
    network = load_any(path)
    same_tensors(network, ours)
    assert type(network) is Recognizer and not network.gives_text and "dict.wrd.txt" in network.no_text
    checkpoint["task_state"] = {"target_dictionary": FairseqDictionary(PIECES)}
    save_with_fairseq(monkeypatch, checkpoint, path)
    assert load_any(path).gives_text


def test_an_official_whisper_flamingo_with_lips_and_without(tmp_path, monkeypatch):
    monkeypatch.setitem(HEADS, 32, 4)  # shapes do not show them, and no released model is so small
    monkeypatch.setitem(VIDEO_HEADS, 24, 3)
    network, content = make()
    torch.save(content | {"pytorch-lightning_version": "2.1.3", "epoch": 3}, tmp_path / "model.ckpt")
    same_tensors(loaded := load_any(tmp_path / "model.ckpt"), network)
    assert type(loaded) is Flamingo
    torch.save(export_flamingo(KINDS["whisper"]()), tmp_path / "audio.pt")
    assert type(load_any(tmp_path / "audio.pt")) is Whisper


def test_a_checkpoint_is_read_once(tmp_path, monkeypatch):
    half_file(tmp_path / "base.pt")
    torch.save(finetuned()[1], tmp_path / "av.pt")

    def again(path):
        raise AssertionError(f"{path} was read a second time")

    monkeypatch.setattr("avspeech.interop.state_dicts.read_checkpoint", again)
    assert type(load_any(tmp_path / "base.pt")) is Whisper and type(load_any(tmp_path / "av.pt")) is Recognizer


def test_models_without_words_give_no_text_and_say_why():
    assert {kind for kind, make in KINDS.items() if not make().gives_text} == {"cluster_predictor"}
    assert "fine-tune" in KINDS["cluster_predictor"]().no_text and not recognizer(tokenizer=False).gives_text


CONTENTS = {  # of other files
    "MP4": b"\0\0\0\x20ftypisom" + bytes(600), "text": "größer\n".encode() * 200, "zeros": bytes(600),
    "two bytes": b"\xff\xfe", "empty": b"", "no header": b'\7{"a": 1',
}  # fmt: skip


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", ["a.mp4", "model.safetensors", "model.pt"])
def test_what_is_no_model_is_refused_with_what_was_wanted(content, name, tmp_path):
    (tmp_path / name).write_bytes(CONTENTS[content])
    said = refused(tmp_path / name)
    assert "is no model" in said and "wanted a model file (.safetensors) or a checkpoint of AV-HuBERT" in said


@pytest.mark.parametrize("kept", [300, -1])
def test_files_that_are_missing_cut_off_or_folders(kept, tmp_path):
    assert "does not exist; wanted a model file" in refused(tmp_path / "nowhere.pt")
    assert "is no regular file; wanted a model file" in refused(tmp_path)
    save_model(tmp_path / "model.safetensors", recognizer())
    half_file(tmp_path / "base.pt")
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:kept])
        assert "is no model" in refused(path) and "it is cut off" in refused(path)


def test_code_safetensors_of_others_and_weights_that_do_not_fit_their_header(tmp_path):
    torch.save({"model": Hostile("echo")}, tmp_path / "model.safetensors")
    said = refused(tmp_path / "model.safetensors")
    assert "is refused" in said and "system" in said
    save_file({"weight": torch.ones(2)}, tmp_path / "model.pt")
    assert "without our header" in refused(tmp_path / "model.pt")
    network = recognizer()
    del network.encoder.audio_project
    save_model(tmp_path / "model.safetensors", network)
    assert "weights that do not fit its header" in refused(tmp_path / "model.safetensors")


LIGHTNING = {"pytorch-lightning_version": "2.5", "state_dict": {"model.decoder.positions_LD": torch.ones(2)}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.ones(2)], "holds a list"),
        ({"weight": torch.ones(2)}, "of another program (its keys: weight)"),
        ({"state_dict": {"model.fc.weight": torch.ones(2)}}, "of another program (its keys: state_dict)"),
        ({"dims": {}, "model_state_dict": {}}, "n_audio_head"),
        ({"cfg": {"model": {"_name": "wav2vec2"}}, "model": {}}, "'wav2vec2'"),
        (LIGHTNING, "is a training checkpoint of Lightning, which resumes a run; wanted the model.safetensors"),
    ],
)
def test_other_checkpoints(content, said, tmp_path):
    torch.save(content, tmp_path / "model.pt")
    assert said in refused(tmp_path / "model.pt")
