"""No test of names may reach the network, the user's cache or the demo of this checkout."""

import pytest
from huggingface_hub import constants

from tests.hub.mock_hub import serve

NOWHERE = "http://127.0.0.1:9"
"""The discard port: nothing listens."""


def point_to(monkeypatch, address):
    """Make ``address`` the hub; huggingface_hub reads ``HF_ENDPOINT`` once, when it is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("AVSPEECH_DEMO", raising=False)
    point_to(monkeypatch, NOWHERE)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the mock speaks the older protocol only
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN", "hf_mock")


@pytest.fixture
def hub(monkeypatch):
    """Return a mock hub that is the default one."""
    with serve() as running:
        point_to(monkeypatch, running.address)
        yield running
