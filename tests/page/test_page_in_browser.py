"""The page in headless Chromium, from a server of its own and with every other address blocked."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from talker import write_clip

from tests.chromium import Tab, needs_chromium

pytestmark = needs_chromium
MAX_SECONDS = 3
BUSY_MS = 60_000
"""How long a step may take on a machine that has other work; most take a second."""


class Server:
    """The page in a process of its own, with its own folder for temporary files."""

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        here, example = Path(__file__).parent, write_clip(folder / "example.mp4", 1.0)
        paths = os.pathsep.join([str(here), str(here.parents[1]), os.environ.get("PYTHONPATH", "")])
        env = {"TMPDIR": str(self.temporary), "PYTHONPATH": paths, "GRADIO_HEARTBEAT_INTERVAL": "0.2"}
        env |= dict.fromkeys(["no_proxy", "NO_PROXY"], "127.0.0.1,localhost")
        command = [sys.executable, str(here / "serve_talker.py"), str(port), str(MAX_SECONDS), str(example)]
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(command, env=os.environ | env, **out, text=True)
        said = ""
        while not (found := re.search(r"^at (http://\S+)\n", said, re.MULTILINE)):
            line = self.process.stdout.readline()
            assert line, f"the server did not start:\n{said}"
            said += line
        self.address = found[1]

    def files(self) -> list[Path]:
        """Return the files that were uploaded or made."""
        return [path for path in self.temporary.rglob("*") if path.is_file() and "avspeech-page-" in str(path)]

    def stop(self) -> str:
        """End the process as a service manager would, and return what it said."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=30)[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    pytest.importorskip("gradio", reason='no Gradio; pip install "avspeech[app]"')
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    if server.process.poll() is None:
        server.stop()


class Visit(Tab):
    def __init__(self, browser, server: Server) -> None:
        super().__init__(browser, lambda url: url.startswith((server.address, "data:", "blob:")), 1280, 1000)
        self.page.set_default_timeout(BUSY_MS)
        self.page.goto(server.address, wait_until="load")
        self.page.wait_for_selector("#run")

    def upload(self, path: Path, message: str = "") -> None:
        """Wait until a file can be chosen, choose it, and wait until it is taken or its refusal is shown."""
        self.page.wait_for_selector("#video input[type=file]", state="attached")
        self.page.set_input_files("#video input[type=file]", str(path))
        if message:
            self.page.wait_for_selector("#message [role=alert]")
            said = self.page.inner_text("#message [role=alert]")  # beside it, a count of seconds may not be gone yet
            assert re.search(message, said), said
        else:
            self.page.wait_for_selector("#video video")
            self.page.wait_for_selector("#message [role=alert]", state="detached")

    def transcribe(self) -> None:
        """Press the button and wait until both transcripts are there."""
        self.page.wait_for_selector("#message [role=alert]", state="detached")
        self.page.evaluate("document.getElementById('transcript-audio')?.remove()")
        self.page.click("#run")
        self.page.wait_for_selector("#transcript-audio, #message [role=alert]")
        assert self.page.inner_text("#message").strip() == ""

    def wait_until_gone(self, server: Server) -> None:
        for _ in range(BUSY_MS // 200):
            if server.files():
                self.page.wait_for_timeout(200)
        assert not server.files()


def test_upload_transcribe_look_and_leave_nothing(browser, server, tmp_path):
    visit = Visit(browser, server)
    page = visit.page

    visit.upload(write_clip(tmp_path / "long.mp4", MAX_SECONDS + 2), r"lasts 5\.\d s and this page takes up to 3 s")
    visit.wait_until_gone(server)

    visit.upload(write_clip(tmp_path / "clip.mp4", 2.0))
    page.fill("#reference textarea, #reference input", "set red now")
    visit.transcribe()
    assert "set <b>bed</b> now" in page.inner_text("#transcript-audio")
    assert "set red now" in page.inner_text("#transcript-audio-video")
    assert page.locator("#result b").count() == 0
    assert page.locator("#transcript-audio mark").count() == 1
    assert page.locator("#transcript-audio-video mark, #transcript-audio-video del").count() == 0
    assert "WER 0.0 %" in page.inner_text("#transcript-audio-video")
    ready = "const one = document.getElementById(id); return one && (one.readyState >= 2 || one.error);"
    page.wait_for_function(f"['preview', 'lips', 'sound'].every(id => {{ {ready} }})")
    look = """id => { const one = document.getElementById(id); return {error: one.error && one.error.message,
              seconds: one.duration, width: one.videoWidth, paused: one.paused}; }"""
    media = {name: page.evaluate(look, name) for name in ("preview", "lips", "sound")}
    assert all(one["error"] is None and one["seconds"] == pytest.approx(2, abs=0.2) for one in media.values()), media
    assert media["lips"]["width"] == 264 and not media["lips"]["paused"], "the lips are looped"
    assert media["preview"]["width"] > 0

    before = {path for path in server.files() if path.name in ("preview.mp4", "lips.mp4", "sound.wav")}
    assert len(before) == 3
    page.click("#noise input")
    page.click("[role=option]:has-text('white')")
    visit.transcribe()
    assert "white noise, 0 dB" in page.inner_text("#result")
    assert not any(path.exists() for path in before), "results are replaced, not heaped up"

    assert visit.asked == [] and visit.errors == []
    visit.context.close()
    other = Visit(browser, server)
    other.wait_until_gone(server)
    other.context.close()


@pytest.mark.slow
def test_examples_and_messages(browser, server, tmp_path):
    visit = Visit(browser, server)
    page = visit.page
    page.click("#run")
    page.wait_for_selector("#message :text('There is no video yet')")
    page.click("text=Example: en")
    page.wait_for_selector("#video video")
    assert page.input_value("#reference textarea, #reference input") == "set red now"
    visit.transcribe()
    page.click("#video button[aria-label=Clear], #video button[title=Clear]")
    broken = tmp_path / "broken<i>.mp4"
    broken.write_bytes(b"no video at all" * 100)
    visit.upload(broken, "^[^/]*is not a media file[^/]*$")

    visit.upload(write_clip(tmp_path / "clip.mp4", 1.0))
    for path in server.files():
        path.unlink()
    page.click("#run")
    page.wait_for_selector("#message :text('no longer on the server')")
    assert visit.asked == []
    visit.context.close()


def test_the_folder_goes_with_the_server(server):
    said = server.stop()
    assert server.process.returncode == 0, said
    assert not list(server.temporary.glob("avspeech-page-*"))
    assert "avspeech.page" not in said, said  # what the page logs are its own mistakes
