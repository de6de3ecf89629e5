"""Models and media for the command, and calls of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from avspeech import transcribe
from avspeech.media.audio import write_wav
from avspeech.models.files import save_model
from avspeech.timebase import SAMPLE_RATE
from avspeech.transcription.segment_decoding import SegmentDecoder
from tests.hub.small_models import recognizer
from tests.roi.conftest import finder  # noqa: F401 - a fixture
from tests.transcription.broken_media import write_sound_files
from tests.transcription.test_speech_activity import voice


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """Return a folder with two recognisers, one.safetensors and two.safetensors, that write something."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        network = recognizer()
        with torch.no_grad():
            network.ctc_head.weight *= 40  # else blanks win everywhere
        save_model(folder / f"{name}.safetensors", network)
    return folder


@pytest.fixture(scope="session")
def media(tmp_path_factory) -> Path:
    """Return a folder with talk.wav, three stretches of speech, and 2 s of a speaking face in many containers."""
    folder = tmp_path_factory.mktemp("media")
    pause_S = np.zeros(3 * SAMPLE_RATE // 2, np.float32)
    parts = [part_S for seed in range(3) for part_S in (voice(1.5 + seed / 2, seed), pause_S)]
    write_wav(folder / "talk.wav", np.concatenate(parts))
    write_sound_files(folder)
    return folder


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str

    @property
    def reasons(self) -> dict[str, str]:
        """Return name -> reason, of the list of failures; each is one line."""
        lines = self.err.partition(" failed:\n")[2].splitlines()
        assert lines and all(line.startswith("  ") for line in lines), self.err
        return dict(line.strip().split(": ", 1) for line in lines)


@pytest.fixture
def run(models, tmp_path, monkeypatch, capsys):
    """Return a function that calls the command in a folder and with a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def call(*arguments, model="one", status=0) -> Answer:
        capsys.readouterr()
        model = [] if model is None else ["--model", str(models / f"{model}.safetensors")]
        try:
            got = transcribe.main([*model, "--quiet", *map(str, arguments)])
        except SystemExit as stop:  # the parser's
            got = stop.code
        answer = Answer(got, *capsys.readouterr())
        assert got == status, answer.err
        assert "Traceback" not in answer.err
        return answer

    return call


class Decoded(list[int]):
    """Number of segments of each batch that was decoded; Ctrl-C comes before batch ``stop_at``."""

    stop_at: int | None = None


@pytest.fixture
def decoded(monkeypatch) -> Decoded:
    counts, decode = Decoded(), SegmentDecoder.decode

    def counted(self, samples, *others):
        if len(counts) == counts.stop_at:
            raise KeyboardInterrupt
        counts.append(len(samples))
        return decode(self, samples, *others)

    monkeypatch.setattr(SegmentDecoder, "decode", counted)
    return counts
