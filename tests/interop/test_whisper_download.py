"""OpenAI's Whisper files by name: fetched once, checked, and what is said where that cannot be."""

import hashlib
import http.client
from dataclasses import replace

import pytest

from avspeech.files import DownloadError, fetch
from avspeech.interop.__main__ import main
from avspeech.interop.whisper import ALIASES, SHA256, download_whisper, load_whisper
from avspeech.models.files import ModelFileError
from tests.interop.official import same_tensors
from tests.interop.whisper_files import TINY, half_file


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    half_file(path := tmp_path / "server" / "tiny.pt")
    monkeypatch.setitem(SHA256, "tiny", hashlib.sha256(path.read_bytes()).hexdigest())
    return path, f"{path.parent.as_uri()}/{{file}}.pt"


def cached(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_a_name_is_downloaded_once(server, tmp_path):
    path, address = server
    model = load_whisper("tiny", address=address)
    assert model.sizes == replace(TINY, alignment_heads=model.sizes.alignment_heads)
    assert model.source == {"model": "whisper", "name": "tiny"} and len(model.sizes.alignment_heads) == 6
    assert cached(tmp_path) == ["tiny.pt"]
    path.unlink()
    same_tensors(load_whisper("tiny", address=address), model)


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_the_model_it_stands_for(alias, server, tmp_path, monkeypatch):
    path, address = server
    path.rename(path.with_name(f"{ALIASES[alias]}.pt"))
    monkeypatch.setitem(SHA256, ALIASES[alias], SHA256["tiny"])
    assert load_whisper(alias, address=address).source == {"model": "whisper", "name": ALIASES[alias]}
    assert cached(tmp_path) == [f"{ALIASES[alias]}.pt"]


def test_another_file_at_the_address_is_thrown_away(server, tmp_path):
    path, address = server
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ModelFileError, match=r"gave a file with SHA-256 \w{64}, expected \w{64}; the file"):
        load_whisper("tiny", address=address)
    assert cached(tmp_path) == []


def test_a_download_that_fails_leaves_the_old_file_and_no_part(server, tmp_path):
    target = tmp_path / "cache" / "held.pt"
    target.parent.mkdir()
    target.write_bytes(b"old")
    with pytest.raises(DownloadError):
        fetch(server[0].as_uri(), target, "0" * 64)
    with pytest.raises(OSError, match="nowhere"):
        fetch((tmp_path / "nowhere.pt").as_uri(), target, "0" * 64)
    assert target.read_bytes() == b"old" and cached(tmp_path) == ["held.pt"]


def test_a_server_that_is_none_has_the_same_error(server, monkeypatch):
    def speaks_nonsense(*_, **__):
        raise http.client.BadStatusLine("nonsense")

    monkeypatch.setattr("urllib.request.urlopen", speaks_nonsense)
    with pytest.raises(ModelFileError, match="gave no proper answer: BadStatusLine nonsense"):
        load_whisper("tiny")


def test_the_command_takes_a_name(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download_whisper, "__defaults__", (server[1],))
    main("tiny", tmp_path / "tiny.safetensors")
    assert load_whisper(tmp_path / "tiny.safetensors").source == {"model": "whisper", "name": "tiny"}
