"""Shards behind a URL: fetched in blocks once, kept on the disk, readable in forked processes, and named when wrong."""

import multiprocessing
import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from avspeech.data.clips import open_clips
from avspeech.data.dataset import AVDataset
from avspeech.shards import storage
from avspeech.shards.reading import Shards
from avspeech.shards.storage import ShardError


class Ranges(SimpleHTTPRequestHandler):
    """Serves byte ranges, unless ``whole``, and counts the bytes that leave."""

    sent = 0
    whole = False

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content, wanted = path.read_bytes(), self.headers.get("Range")
        if wanted and not self.whole:
            start, end = wanted.removeprefix("bytes=").split("-")
            content, size = content[int(start) : int(end) + 1], len(content)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{int(start) + len(content) - 1}/{size}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        type(self).sent += len(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def address(packed, tmp_path, monkeypatch):
    """Serve a copy of the shards by http, from ``tmp_path/served``."""
    pytest.importorskip("aiohttp", reason="no aiohttp; pip install 'avspeech[remote]'")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Ranges, "sent", 0)
    monkeypatch.setattr(storage, "BLOCK", 1 << 14)
    shutil.copytree(packed["fast"] / "train", tmp_path / "served")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Ranges, directory=tmp_path / "served"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def equal(one, other, indices) -> bool:
    return all(
        np.array_equal(one.mouth(i), other.mouth(i)) and np.array_equal(one.sound(i), other.sound(i)) for i in indices
    )


def in_a_fork(check) -> bool:
    process = multiprocessing.get_context("fork").Process(target=lambda: os._exit(0 if check() else 1))
    process.start()
    process.join(60)
    return process.exitcode == 0


def test_bytes_come_once_and_stay(packed, address, tmp_path, monkeypatch):
    local = Shards(packed["fast"] / "train")
    remote = Shards(address)
    assert equal(remote, local, [3])
    first, total = Ranges.sent, sum(path.stat().st_size for path in (tmp_path / "served").glob("*.tar"))
    assert 0 < first < total / 2  # a clip costs no whole shard
    assert in_a_fork(lambda: equal(remote, local, range(12)))  # and what the fork fetched, we have
    everything = Ranges.sent
    assert equal(Shards(address), local, range(12)) and Ranges.sent == everything
    dataset = AVDataset(open_clips(f"{address}/index.arrow"), augment=None)
    assert dataset[2].id == "train2" and Ranges.sent == everything
    # A cached block that is wrong is fetched again; one that is wrong at the source is named.
    (cached,) = (tmp_path / "cache").rglob("shard-000000.tar")
    cached.write_bytes(bytes(cached.stat().st_size))
    assert equal(remote, local, [0])
    served = tmp_path / "served/shard-000002.tar"
    served.write_bytes(bytes(served.stat().st_size))
    assert equal(remote, local, [11])
    next((tmp_path / "cache").rglob("shard-000002.tar.marks")).unlink()
    with pytest.raises(ShardError, match=r"http://.*, shard shard-000002\.tar: lips of clip 'train11' is damaged"):
        Shards(address).mouth(11)


def test_what_cannot_be_fetched_is_said(address, tmp_path, monkeypatch):
    with pytest.raises(ShardError, match=r"http://.*/none/index\.arrow cannot be read: .*none"):
        Shards(f"{address}/none")
    with pytest.raises(ShardError, match=r"nosuch://x cannot be opened: .*avspeech\[remote\]"):
        Shards("nosuch://x")
    remote = Shards(address)
    (tmp_path / "served/shard-000001.tar").unlink()
    with pytest.raises(ShardError, match=r"shard-000001\.tar cannot be read"):
        remote.sound(6)
    monkeypatch.setattr(Ranges, "whole", True)
    with pytest.raises(ShardError, match=r"shard-000000\.tar cannot be read: .*whole files, wanted the byte range"):
        remote.sound(0)


@pytest.mark.slow
def test_s3(packed, tmp_path, monkeypatch):
    server = pytest.importorskip("moto.server", reason="no moto; uv sync installs it")
    s3fs = pytest.importorskip("s3fs", reason="no s3fs; pip install 'avspeech[remote]'")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    stand_in = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    stand_in.start()
    try:
        host, port = stand_in.get_host_and_port()
        for key, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(key, value)
        bucket = s3fs.S3FileSystem()
        bucket.mkdir("lab")
        bucket.put(str(packed["small"] / "train"), "lab/train", recursive=True)
        local, remote = Shards(packed["small"] / "train"), Shards("s3://lab/train")
        assert equal(remote, local, range(6)) and in_a_fork(lambda: equal(remote, local, range(12)))
        assert [remote.utterance(i) for i in range(12)] == [local.utterance(i) for i in range(12)]
        with pytest.raises(ShardError, match=r"s3://lab/other/index\.arrow cannot be read"):
            Shards("s3://lab/other")
    finally:
        stand_in.stop()
