"""A small test set in two languages, a grid, the transcriber, and a corpus of real files for a real model."""

from pathlib import Path

import numpy as np
import pytest
from fake_transcriber import FakeTranscriber

from avspeech.evaluation.config import EvaluationConfig
from avspeech.manifest import Utterance, write_manifest
from avspeech.media.audio import write_wav
from avspeech.media.video import write_video
from avspeech.noise.spec import NoiseSpec
from avspeech.timebase import SAMPLES_PER_FRAME


@pytest.fixture
def utterances() -> list[Utterance]:
    texts = ["bin blue at f two now", "lay red by k nine soon", "place green in a one again"]
    texts += ["set white with x six please"]
    english = [Utterance(f"en/{i}", text=texts[i % 4], language="en", speaker=f"e{i % 5}") for i in range(20)]
    spanish = {"text": "pon el gato rojo aquí", "language": "es"}
    return english + [Utterance(f"es/{i}", speaker=f"s{i % 5}", **spanish) for i in range(20)]


@pytest.fixture
def config() -> EvaluationConfig:
    return EvaluationConfig(noises={"babble": NoiseSpec("babble")}, snrs_db=(10.0, 0.0, -5.0))


@pytest.fixture
def fake() -> FakeTranscriber:
    return FakeTranscriber()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """A folder with four clips of 12 to 24 frames (test.jsonl) and eight voices (voices.jsonl)."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    clips, voices = [], []
    for number in range(4):
        frames = 12 + 4 * number
        mouth, audio = folder / f"mouth{number}.mp4", folder / f"clip{number}.wav"
        write_video(mouth, rng.integers(0, 256, (frames, 32, 32), dtype=np.uint8))
        write_wav(audio, 0.1 * rng.standard_normal(frames * SAMPLES_PER_FRAME, dtype=np.float32))
        text = ["set red now", "bin blue now", "lay red soon", "set blue soon"][number]
        facts = {"num_frames": frames, "text": text, "language": "en", "speaker": "x"}
        clips.append(Utterance(f"c{number}", mouth=mouth, audio=audio, **facts))
    for number in range(8):
        audio = folder / f"voice{number}.wav"
        write_wav(audio, 0.1 * rng.standard_normal(9000, dtype=np.float32))
        voices.append(Utterance(f"v{number}", audio=audio, speaker=f"s{number % 4}"))
    write_manifest(folder / "test.jsonl", clips)
    write_manifest(folder / "voices.jsonl", voices)
    return folder
