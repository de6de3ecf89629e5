"""A small test set in two languages, a grid, its evaluation, and a corpus of real files for a real model."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_transcriber import IDENTITY, FakeTranscriber

from avspeech.evaluation.config import EvaluationConfig
from avspeech.evaluation.grid import evaluate_grid
from avspeech.evaluation.results import Results, read_results, write_results
from avspeech.manifest import Utterance, read_manifest, write_manifest
from avspeech.media.audio import write_wav
from avspeech.media.video import write_video
from avspeech.models.recognizer import Recognizer, RecognizerConfig
from avspeech.noise.spec import NoiseSpec
from avspeech.text.tokenizer import Tokenizer
from avspeech.timebase import SAMPLES_PER_FRAME
from tests.models.tiny_whisper import LIPS


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
def kept(tmp_path_factory) -> Path:
    """A folder of evaluations, each named by the hash of what it was asked."""
    return tmp_path_factory.mktemp("evaluations")


@pytest.fixture
def evaluate(tmp_path, utterances, config, kept) -> Callable[..., Results]:
    """Evaluates into a folder below ``tmp_path``; takes fields of the configuration by name.

    The same evaluation into a new folder is a copy of the first, unless the transcriber is given.
    """

    def made(folder="", fake=None, *, broken=(), model="av", words=utterances, noise_of=None, **changed):
        identity, told = IDENTITY | changed.pop("identity", {}), changed.pop("told", {})
        chosen, out_dir = replace(config, **changed), tmp_path / folder
        asked = hashlib.sha256(repr((broken, model, identity, told, chosen)).encode()).hexdigest()
        plain = fake is None and noise_of is None and words is utterances and not (out_dir / "results.json").exists()
        place, fake = kept / asked if plain else out_dir, fake or FakeTranscriber(broken)
        if not (plain and (place / "results.json").exists()):
            write_results(place, evaluate_grid(words, chosen, fake, place, model, identity, told, noise_of))
        if plain:
            shutil.copytree(place, out_dir, dirs_exist_ok=True)
        return read_results(out_dir)

    return made


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Leave the figures of reports empty: to draw them takes most of the time."""
    monkeypatch.setattr("avspeech.evaluation.plots.to_svg", lambda *_: "<svg></svg>")
    monkeypatch.setattr("avspeech.evaluation.plots.to_png", lambda *_: b"\x89PNG")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """A folder with four clips of 12 to 24 frames (test.jsonl) and eight voices (voices.jsonl)."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    clips, voices = [], []
    for number, text in enumerate(["set red now", "bin blue now", "lay red soon", "set blue soon"]):
        frames = 12 + 4 * number
        mouth, audio = folder / f"mouth{number}.mp4", folder / f"clip{number}.wav"
        write_video(mouth, rng.integers(0, 256, (frames, 32, 32), dtype=np.uint8))
        write_wav(audio, 0.1 * rng.standard_normal(frames * SAMPLES_PER_FRAME, dtype=np.float32))
        facts = {"num_frames": frames, "text": text, "language": "en", "speaker": "x"}
        clips.append(Utterance(f"c{number}", mouth=mouth, audio=audio, **facts))
    for number in range(8):
        audio = folder / f"voice{number}.wav"
        write_wav(audio, 0.1 * rng.standard_normal(9000, dtype=np.float32))
        voices.append(Utterance(f"v{number}", audio=audio, speaker=f"s{number % 4}"))
    write_manifest(folder / "test.jsonl", clips)
    write_manifest(folder / "voices.jsonl", voices)
    return folder


@pytest.fixture
def clips(corpus) -> list[Utterance]:
    return read_manifest(corpus / "test.jsonl")


@pytest.fixture(scope="session")
def model() -> Recognizer:
    """An untrained model that writes words of the corpus, sharp enough that its inputs matter."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.fit(["set red now", "bin blue soon", "lay"], "words")
    recognizer = Recognizer(RecognizerConfig(LIPS, decoder=None, ctc=True), tokenizer.vocab_size, tokenizer).eval()
    assert recognizer.ctc_head is not None
    torch.nn.init.normal_(recognizer.ctc_head.weight, std=3)
    torch.nn.init.constant_(recognizer.ctc_head.bias[:4], -100)  # words only: no blank
    return recognizer
