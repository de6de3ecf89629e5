"""Published checkpoints by name: fetched once, checked as far as that goes, pinned; and what is said where not."""

import hashlib
import io
import logging
import re
from typing import ClassVar

import pytest
import torch

from avspeech.files import DownloadError, fetch
from avspeech.hub import official
from avspeech.hub.__main__ import main
from avspeech.hub.names import find_model, open_model
from avspeech.hub.official import FAMILIES, OPENAI, RELEASES, Release, fetch_official
from avspeech.interop import whisper
from avspeech.models.recognizer import Recognizer
from avspeech.models.whisper import Whisper
from tests.interop.official import finetuned, refused
from tests.interop.whisper_files import half_file

NAME = "avhubert/base_vox_433h"


@pytest.fixture
def served(tmp_path, monkeypatch):
    path = tmp_path / "server" / "base.pt"
    path.parent.mkdir()
    torch.save(finetuned()[1], path)
    monkeypatch.setitem(RELEASES, NAME, Release(path.as_uri(), "tiny", official.AVHUBERT_NOTICE))
    return path


@pytest.fixture(params=[NAME, "tiny"])
def either(request, served, tmp_path, monkeypatch):
    """Return a published name or OpenAI's, the file that it stands for, and its place in the cache."""
    if request.param == NAME:
        return NAME, served, tmp_path / "cache/avspeech/official" / f"{NAME}.pt"
    half_file(path := served.with_name("tiny.pt"))
    monkeypatch.setitem(whisper.SHA256, "tiny", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(whisper.download_whisper, "__defaults__", (f"{path.parent.as_uri()}/{{file}}.pt",))
    return "tiny", path, tmp_path / "cache/avspeech/whisper/tiny.pt"


@pytest.fixture
def cached(tmp_path):
    return lambda: sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_a_name_is_downloaded_once_and_pinned(served, cached, tmp_path):
    assert isinstance(open_model(NAME), Recognizer)
    path = find_model(NAME)
    assert path == tmp_path / "cache/avspeech/official" / f"{NAME}.pt" and path.read_bytes() == served.read_bytes()
    assert cached() == ["base_vox_433h.pt", "base_vox_433h.pt.sha256"]
    served.unlink()
    assert find_model(NAME) == path


def test_the_licence_is_said_when_it_is_downloaded_and_not_again(served, caplog):
    with caplog.at_level(logging.WARNING):
        fetch_official(NAME)
    assert "non-commercial" in caplog.text and "Copyright (c) Meta Platforms" in caplog.text
    caplog.clear()
    fetch_official(NAME)
    assert not caplog.text


def test_a_damaged_file_in_the_cache_is_fetched_again(either):
    name, path, held = either
    assert fetch_official(name) == held
    held.write_bytes(path.read_bytes()[:-1] + b"x")
    assert fetch_official(name).read_bytes() == path.read_bytes()


def test_another_file_than_the_first_time_is_refused(served, cached):
    fetch_official(NAME).unlink()
    served.write_bytes(served.read_bytes() + b"\0" * 8)
    assert "the file was deleted; if its authors replaced it, delete" in refused(fetch_official, NAME)
    assert cached() == ["base_vox_433h.pt.sha256"]


def test_a_file_put_into_the_cache_by_hand_is_taken_and_pinned(served, cached, tmp_path, monkeypatch):
    path = tmp_path / "cache/avspeech/official" / f"{NAME}.pt"
    path.parent.mkdir(parents=True)
    served.rename(path)
    assert fetch_official(NAME) == path and len(cached()) == 2
    path.with_name(path.name + ".sha256").unlink()
    path.write_bytes(path.read_bytes()[:-200])
    assert "gave no checkpoint: the file is no whole PyTorch checkpoint" in refused(fetch_official, NAME)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><title>Log in</title>", b""])
def test_what_is_no_checkpoint_never_gets_the_name(content, served, cached):
    served.write_bytes(content)
    assert "base.pt gave no checkpoint" in refused(fetch_official, NAME) and cached() == []


def test_without_a_network_the_error_says_what_to_fetch_and_where_to_put_it(either, cached):
    name, path, held = either
    content = path.read_bytes()
    path.unlink()
    said = refused(find_model, name)
    assert path.as_uri() in said and f"save it as {held}" in said and cached() == []
    held.write_bytes(content)  # what the message asks for
    assert find_model(name) == held


def test_a_download_that_breaks_off_is_thrown_away(tmp_path, monkeypatch):
    class Broken(io.BytesIO):
        headers: ClassVar = {"Content-Length": "100"}

    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Broken(bytes(60)))
    with pytest.raises(DownloadError, match="broke off after 60 of 100 bytes"):
        fetch("http://somewhere/model.pt", tmp_path / "model.pt", None)
    assert not list(tmp_path.iterdir())


def test_a_misspelt_name_gets_the_near_ones_and_never_the_hub(hub):
    said = refused(find_model, "avhubert/large_433h")
    assert "near it are avhubert/large_vox_433h, " in said and "lists all" in said
    assert "near it are whisper-flamingo/" in refused(find_model, "whisper-flamingo/nothing-like-it-at-all")
    assert not hub.asked


@pytest.mark.parametrize("either", ["tiny"], indirect=True)
def test_openai_names_go_to_their_own_table(either, monkeypatch):
    assert type(open_model("tiny")) is Whisper
    either[2].write_bytes(b"")
    monkeypatch.setattr(whisper.download_whisper, "__defaults__", ("http://127.0.0.1:9/{sha256}/{file}",))
    for name, file in (("tiny", "tiny"), ("large", "large-v3")):
        assert f"Whisper {file} is missing or incomplete in the cache" in refused(find_model, name)


def test_the_table_is_sound():
    assert {len(RELEASES), len({release.address for release in RELEASES.values()})} == {42}
    assert all(name.split("/")[0] in FAMILIES and name.count("/") == 1 for name in RELEASES)
    assert all(re.fullmatch(r"https://.*\.pt", release.address) for release in RELEASES.values())
    assert all("AV-HuBERT" in RELEASES[name].notice for name in RELEASES if name.startswith("avhubert/"))
    assert not set(RELEASES) & set(OPENAI)


def test_the_command_lists_every_name(capsys):
    main()
    lines = capsys.readouterr().out.splitlines()
    assert {"demo", "turbo", *RELEASES} <= {line.split()[0] for line in lines} and max(map(len, lines)) <= 130
