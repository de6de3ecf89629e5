"""To the hub and back, on a mock of it: what is asked, what is kept, and what is said when it fails."""

import pytest
import torch
from huggingface_hub import constants

from avspeech.hub.folder import save_pretrained
from avspeech.hub.remote import from_pretrained, push_to_hub
from tests.hub.conftest import NOWHERE, point_to
from tests.hub.small_models import recognizer
from tests.interop.official import refused, same_tensors


@pytest.fixture
def folder(tmp_path):
    return save_pretrained(tmp_path / "mine", recognizer(), name="me/mine")


def test_a_model_goes_to_the_hub_and_comes_back(hub, folder, tmp_path, monkeypatch):
    assert push_to_hub("me/mine", folder).startswith(f"{hub.address}/me/mine/commit/")
    (files,) = hub.repositories["me/mine"].values()
    assert files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert "Bearer hf_mock" in hub.tokens  # what huggingface_hub knows; nothing of ours handles it
    hub.asked.clear()
    same_tensors(from_pretrained("me/mine"), from_pretrained(folder))
    assert [call for call in hub.asked if call.startswith("GET /me")] != []
    hub.asked.clear()
    from_pretrained("me/mine")
    assert not [call for call in hub.asked if call.startswith("GET /me")], "it was fetched a second time"
    point_to(monkeypatch, NOWHERE)
    assert from_pretrained("me/mine") is not None, "what is in the cache needs no network"


def test_a_second_push_is_a_second_commit(hub, folder):
    push_to_hub("me/mine", folder, endpoint=hub.address)
    save_pretrained(folder, recognizer(), name="me/mine")
    push_to_hub("me/mine", folder, endpoint=hub.address)
    first, last = hub.repositories["me/mine"]
    revisions = [from_pretrained("me/mine", revision) for revision in (first, None, last)]
    weights = [network.state_dict()["ctc_head.bias"] for network in revisions]
    assert not torch.equal(weights[0], weights[1]) and torch.equal(weights[1], weights[2])


def test_without_a_network_the_error_says_what_to_do(folder):
    message = refused(from_pretrained, "me/mine", "v1")
    assert "cannot be reached" in message and "hf download me/mine --revision v1 --local-dir FOLDER" in message
    assert "cannot be reached now" in refused(push_to_hub, "me/mine", folder)
    assert "is not in the cache" in refused(from_pretrained, "me/mine", local_files_only=True)


def test_offline_by_the_hubs_own_variable(hub, folder, monkeypatch):
    push_to_hub("me/mine", folder)
    from_pretrained("me/mine")
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert from_pretrained("me/mine") is not None and not hub.asked
    assert "cannot be reached" in refused(from_pretrained, "me/other")


def test_what_the_hub_does_not_have(hub, folder):
    push_to_hub("me/mine", folder)
    assert "knows no such model" in refused(from_pretrained, "me/other")
    assert "has no such revision" in refused(from_pretrained, "me/mine", "v2")
    hub.gated.add("me/mine")
    assert "accept them" in refused(from_pretrained, "me/mine")
    assert "is no name of the Hugging Face hub" in refused(from_pretrained, "me/mi--ne")


def test_repositories_of_others(hub):
    hub.commit("me/empty", {"README.md": b"#"})
    assert "lacks config.json or model.safetensors" in refused(from_pretrained, "me/empty")
    hub.commit("me/bert", {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x" * 1000})
    assert "a bert of Hugging Face's transformers" in refused(from_pretrained, "me/bert")
    assert not [call for call in hub.asked if "bert" in call and "model.safetensors" in call], "gigabytes for nothing"


def test_a_download_that_was_damaged_on_the_way(hub, folder):
    push_to_hub("me/mine", folder)
    hub.damaged = True
    assert "is not the file that config.json was written for" in refused(from_pretrained, "me/mine")


def test_only_whole_folders_are_pushed(hub, folder):
    (folder / "README.md").unlink()
    assert "lacks README.md" in refused(push_to_hub, "me/mine", folder) and not hub.asked
