"""``transcribe`` that dies at any of its writes, or at any moment, gives the same when it is started again."""

import shutil

import pytest

from avspeech import transcribe
from tests.dying import survives_moments, survives_writes

pytestmark = pytest.mark.slow


@pytest.fixture
def command(media, models, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "out/cache"))
    shutil.copy(media / "talk.wav", tmp_path / "talk.wav")
    options = [f"--model={models / 'one.safetensors'}", "--quiet", "--format=txt,srt,json", "--batch_frames=60"]
    return lambda: transcribe.main([*options, f"--out_dir={tmp_path}/out/texts", str(tmp_path / "talk.wav")])


def test_a_death_before_or_after_any_write_changes_nothing(command, tmp_path):
    survives_writes(command, tmp_path / "out")


def test_deaths_at_twenty_moments_change_nothing(command, tmp_path):
    survives_moments(command, tmp_path / "out")
