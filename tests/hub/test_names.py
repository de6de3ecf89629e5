"""Names of models: which kind of place a name stands for, and the one line where it stands for none."""

from pathlib import Path

import pytest

from avspeech.hub.errors import ModelNameError
from avspeech.hub.folder import save_pretrained
from avspeech.hub.names import resolve
from avspeech.models.files import save_model
from tests.hub.small_models import recognizer


@pytest.fixture
def run(tmp_path):
    """Return the folder of a demo run with both models."""
    folder = tmp_path / "elsewhere" / "runs" / "demo"
    for name in ("av", "audio"):
        save_model(folder / name / "model.safetensors", recognizer())
    return folder


def test_demo_is_found_where_the_variable_says(run, monkeypatch):
    monkeypatch.setenv("AVSPEECH_DEMO", str(run))
    assert resolve("demo").path == run / "av/model.safetensors" and resolve("demo").origin == "demo"
    assert resolve("demo-audio").path == run / "audio/model.safetensors"
    monkeypatch.setenv("AVSPEECH_DEMO", str(run.parent))
    with pytest.raises(ModelNameError, match=r"AVSPEECH_DEMO names .* which has no av/model\.safetensors"):
        resolve("demo")


def test_demo_is_found_under_the_current_folder(run, monkeypatch):
    monkeypatch.chdir(run.parents[1])
    assert resolve("demo").path == Path.cwd() / "runs/demo/av/model.safetensors"


def test_a_demo_that_was_not_made_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("avspeech.hub.demo.__file__", str(tmp_path / "checkout/avspeech/hub/demo.py"))
    with pytest.raises(ModelNameError, match=r"run `make demo` in the checkout") as caught:
        resolve("demo-audio")
    assert str(tmp_path / "checkout/runs/demo") in str(caught.value) and "\n" not in str(caught.value)


def test_a_path_object_is_never_a_name(tmp_path, monkeypatch, run):
    monkeypatch.setenv("AVSPEECH_DEMO", str(run))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNameError, match="demo does not exist"):
        resolve(Path("demo"))
    save_model("demo", recognizer())
    assert resolve("./demo").origin == resolve(Path("demo")).origin == "file"
    assert resolve("demo").origin == "demo"


def test_folders(tmp_path, run):
    folder = save_pretrained(tmp_path / "mine", recognizer())
    assert resolve(folder).path == resolve(str(folder)).path == folder / "model.safetensors"
    assert resolve(run / "av").path == run / "av/model.safetensors"
    with pytest.raises(ModelNameError, match=r"is a folder without model\.safetensors; wanted one of .*av/model"):
        resolve(run)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNameError, match="wanted a folder of save_pretrained"):
        resolve(tmp_path / "empty")


@pytest.mark.parametrize("name", ["", "  ", "nothing", "a/b/c", "/nowhere/model", "~/nowhere/model", "models/model.pt"])
def test_a_name_that_stands_for_nothing_lists_what_there_is(name, hub):
    with pytest.raises(ModelNameError) as caught:
        resolve(name)
    said = str(caught.value)
    assert "\n" not in said and not hub.asked
    for kind in ("demo", "tiny ... large-v3", "avhubert/...", "owner/name of the Hugging Face hub"):
        assert kind in said


def test_a_misspelt_name_gets_the_right_one():
    with pytest.raises(ModelNameError, match=r"did you mean large-v2\?"):
        resolve("largev2")


def test_a_name_of_the_hub(hub, tmp_path):
    folder = save_pretrained(tmp_path / "mine", recognizer())
    first = hub.commit("me/mine", {path.name: path.read_bytes() for path in folder.iterdir()})
    hub.commit("me/mine", {"model.safetensors": b"", "config.json": b"{}"})
    hub.tags["me/mine", "v1"] = first
    found = resolve("me/mine@v1")
    assert found.origin == "hub" and found.name == "me/mine@v1" and first in str(found.path)
    assert found.path.read_bytes() == (folder / "model.safetensors").read_bytes()
    hub.asked.clear()
    assert resolve("me/mine@v1", offline=True).path == found.path and not hub.asked
    with pytest.raises(ModelNameError, match="me/mine on the Hugging Face hub is no model of ours"):
        resolve("me/mine")
    with pytest.raises(
        ModelNameError, match=r"me/other is no local path, and the Hugging Face hub knows no such model"
    ):
        resolve("me/other")
