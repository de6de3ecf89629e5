"""Names of models: which kind of place a name stands for, and the one line where it stands for none."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from avspeech.hub.folder import save_pretrained
from avspeech.hub.names import find_model, load_encoder, open_encoder, open_model
from avspeech.models.encoder import AVEncoder
from avspeech.models.files import save_model
from avspeech.models.flamingo import Flamingo
from tests.hub.small_models import KINDS, recognizer
from tests.interop.official import SMALL, pretrained, refused, same_tensors


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "elsewhere" / "runs" / "demo"
    for name in ("av", "audio"):
        save_model(folder / name / "model.safetensors", recognizer())
    return folder


def test_demo_is_found_where_the_variable_says_or_under_the_current_folder(run, monkeypatch):
    monkeypatch.setenv("AVSPEECH_DEMO", str(run))
    assert find_model("demo") == run / "av/model.safetensors"
    assert find_model("demo-audio") == run / "audio/model.safetensors"
    monkeypatch.setenv("AVSPEECH_DEMO", str(run.parent))
    assert f"AVSPEECH_DEMO={run.parent} has no av/model.safetensors" in refused(find_model, "demo")
    monkeypatch.delenv("AVSPEECH_DEMO")
    monkeypatch.chdir(run.parents[1])
    assert find_model("demo") == Path.cwd() / "runs/demo/av/model.safetensors"


def test_a_demo_that_was_not_made_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = refused(find_model, "demo-audio")
    assert str(tmp_path / "runs/demo/audio/model.safetensors") in said
    assert "run `make demo` in the checkout" in said and "set AVSPEECH_DEMO" in said


def test_a_path_object_is_never_a_name(tmp_path, monkeypatch, run):
    monkeypatch.setenv("AVSPEECH_DEMO", str(run))
    monkeypatch.chdir(tmp_path)
    assert "demo does not exist" in refused(find_model, Path("demo"))
    save_model("demo", recognizer())
    assert find_model("./demo") == find_model(Path("demo")) == Path("demo")
    assert find_model("demo") == run / "av/model.safetensors"


def test_folders(tmp_path, run):
    folder = save_pretrained(tmp_path / "mine", recognizer())
    assert find_model(folder) == find_model(str(folder)) == folder / "model.safetensors"
    assert find_model(run / "av") == run / "av/model.safetensors"
    said = refused(find_model, run)
    assert "is a folder without model.safetensors; wanted one of" in said and f"{run}/av/model" in said
    (tmp_path / "empty").mkdir()
    assert "wanted a folder of save_pretrained" in refused(find_model, tmp_path / "empty")


@pytest.mark.parametrize("name", ["", "  ", "nothing", "a/b/c", "/nowhere/model", "~/nowhere/model", "models/model.pt"])
def test_a_name_that_stands_for_nothing_lists_what_there_is_and_a_misspelt_one_gets_the_right_one(name, hub):
    said = refused(find_model, name)
    for kind in ("demo", "tiny ... large-v3", "avhubert/...", "owner/name of the Hugging Face hub"):
        assert kind in said
    assert "did you mean large-v2?" in refused(find_model, "largev2") and not hub.asked


def test_a_name_of_the_hub(hub, tmp_path):
    folder = save_pretrained(tmp_path / "mine", recognizer())
    first = hub.commit("me/mine", {path.name: path.read_bytes() for path in folder.iterdir()})
    hub.commit("me/mine", {"model.safetensors": b"", "config.json": b"{}"})
    hub.tags["me/mine", "v1"] = first
    found = find_model("me/mine@v1")
    assert first in str(found) and found.read_bytes() == (folder / "model.safetensors").read_bytes()
    assert "me/mine on the Hugging Face hub is no model of avspeech" in refused(find_model, "me/mine")
    assert "me/other is no local path, and the Hugging Face hub knows no such" in refused(find_model, "me/other")


def test_an_encoder_of_any_model_starts_a_training(tmp_path):
    ours, official = pretrained()
    torch.save(official, tmp_path / "official.pt")
    encoder, before = AVEncoder(SMALL), torch.get_rng_state()
    for saved in (tmp_path / "official.pt", str(tmp_path / "official.pt")):
        load_encoder(saved, encoder)
    save_model(tmp_path / "ours.safetensors", ours)
    load_encoder(tmp_path / "ours.safetensors", encoder)
    assert torch.equal(torch.get_rng_state(), before), "a training would draw other numbers"
    same_tensors(encoder, ours.encoder)
    said = refused(load_encoder, tmp_path / "ours.safetensors", AVEncoder(replace(SMALL, depth=3)))
    assert "has another encoder than this run's config; missing: ['blocks.2" in said


def test_a_model_without_an_encoder_of_lips_starts_none(tmp_path):
    save_model(tmp_path / "whisper.safetensors", KINDS["whisper"]())
    said = refused(open_encoder, tmp_path / "whisper.safetensors")
    assert "has no encoder that reads lips, wanted AV-HuBERT's encoder" in said
    save_model(tmp_path / "flamingo.safetensors", KINDS["flamingo"]())
    assert isinstance(open_model(tmp_path / "flamingo.safetensors"), Flamingo)
    assert isinstance(open_encoder(tmp_path / "flamingo.safetensors"), AVEncoder)
