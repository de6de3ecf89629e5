"""A model as a folder: it comes back the same, is written whole or not at all, and is checked when it is read."""

import json
import shutil

import pytest

from avspeech.hub import folder as folder_module
from avspeech.hub.folder import check_folder, save_pretrained
from avspeech.hub.remote import from_pretrained
from tests.hub.small_models import KINDS, recognizer
from tests.interop.official import refused, same_tensors


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_comes_back_the_same(kind, tmp_path):
    network = KINDS[kind]()
    folder = save_pretrained(tmp_path / "model", network, languages=["en", "es"], license="mit")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    same_tensors(loaded := from_pretrained(folder), network)
    assert type(loaded) is type(network)
    config = json.loads((folder / "config.json").read_text())
    assert (config["kind"], config["languages"], config["license"]) == (kind, ["en", "es"], "mit")
    assert config["parameters"] == sum(weight.numel() for weight in network.parameters())


def test_equal_models_are_equal_folders(tmp_path):
    network = recognizer()
    one, other = (save_pretrained(tmp_path / folder, network, name="me/m") for folder in ("one", "other"))
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in folder_module.FILES)


def test_the_folder_is_replaced_but_nobody_elses(tmp_path):
    folder = save_pretrained(tmp_path / "model", recognizer())
    before = check_folder(folder).read_bytes()
    save_pretrained(folder, recognizer())
    assert check_folder(folder).read_bytes() != before
    (folder / "notes.txt").touch()
    for taken in (folder, folder / "notes.txt"):
        assert "holds more than a saved model" in refused(save_pretrained, taken, recognizer())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_half_written_folder_never_has_its_name(tmp_path, monkeypatch):
    former = check_folder(save_pretrained(tmp_path / "former", recognizer())).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder_module, "file_sha256", full)
    for name in ("new", "former"):
        with pytest.raises(OSError, match="No space left"):
            save_pretrained(tmp_path / name, recognizer())
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["former"]
    assert check_folder(tmp_path / "former").read_bytes() == former


def test_weights_of_another_file_are_refused(tmp_path):
    folder, other = (save_pretrained(tmp_path / name, recognizer()) for name in ("model", "other"))
    shutil.copy(other / "model.safetensors", folder)
    said = refused(from_pretrained, folder)
    assert "is not the file that config.json was written for" in said and "delete" in said


OTHERS = {
    '{"model_type": "whisper"}': "a whisper of Hugging Face's transformers", "{": "cannot be read",
    '{"format": "avspeech model", "version": 9}': "is of version 9, this avspeech reads 1",
    '{"format": "avspeech model", "version": 1}': "has no SHA-256 of its weights", "[]": "another library's model",
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), OTHERS.items())
def test_other_configurations(content, said, tmp_path):
    folder = save_pretrained(tmp_path / "model", recognizer())
    (folder / "config.json").write_text(content)
    assert said in refused(from_pretrained, folder)
