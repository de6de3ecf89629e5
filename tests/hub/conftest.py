"""No test of names may reach the network, the user's cache or the demo of this checkout."""

import pytest
from huggingface_hub import constants

from tests.hub.mock_hub import serve

NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens


def point_to(monkeypatch, address):
    """Make ``address`` the hub; huggingface_hub reads ``HF_ENDPOINT`` once, when it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("AVSPEECH_DEMO", raising=False)
    point_to(monkeypatch, NOWHERE)
    places = {"HF_HUB_CACHE": str(tmp_path / "hf"), "HF_TOKEN_PATH": str(tmp_path / "token")}
    for name, value in (places | {"HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}).items():
        monkeypatch.setattr(constants, name, value)  # without Xet, since the mock speaks the older protocol only
    monkeypatch.setenv("HF_TOKEN", "hf_mock")


@pytest.fixture
def hub(monkeypatch):
    with serve() as running:
        point_to(monkeypatch, running.address)
        yield running
