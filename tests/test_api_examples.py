"""The examples of the README run as they stand there."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from avspeech.media.video import write_video
from avspeech.models.files import save_model
from tests.hub.small_models import recognizer
from tests.roi.conftest import finder, picture  # noqa: F401 - a fixture
from tests.roi.test_speaking import syllables
from tests.transcription.test_speech_activity import voice

README = Path(__file__).parent.parent / "README.md"
MARK = "# example"
"""First line of a block that is run, in a folder with ``model.safetensors`` and ``clip.mp4``."""
NUM = 35


def examples(text: str) -> list[str]:
    """Return the Python blocks of a Markdown text whose first line is the mark."""
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [block for block in blocks if block.splitlines()[:1] == [MARK]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, finder):  # noqa: F811
    """Return a folder with a tiny model and a drawn face that talks; skip where no face can be found."""
    made = tmp_path_factory.mktemp("examples")
    frames = [picture(160, 160, (80, 80, 120, one)) for one in syllables(NUM, 4)]
    write_video(made / "clip.mp4", frames, voice(NUM / 25))
    save_model(made / "model.safetensors", recognizer())
    return made


def test_only_marked_blocks_are_examples():
    text = f"```python\n{MARK}\na = 1\n```\n```python\nb = 1\n```\n```\n{MARK}\n```\n```python\n{MARK}\nc = 1\n```\n"
    assert examples(text) == [f"{MARK}\na = 1\n", f"{MARK}\nc = 1\n"]


@pytest.mark.parametrize("number", range(max(1, len(examples(README.read_text(encoding="utf-8"))))))
def test_an_example_of_the_readme_runs(number, folder, monkeypatch):
    found = examples(README.read_text(encoding="utf-8"))
    assert found, f"README.md has no Python block that begins with {MARK!r}, and its examples are to be run"
    monkeypatch.chdir(folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(found[number], f"README.md, example {number + 1}", "exec"), {"__name__": "__main__"})
    assert "print(" not in found[number] or printed.getvalue().strip()
