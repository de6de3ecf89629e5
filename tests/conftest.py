"""Shared: a tiny corpus with sound, moving mouths, word times and units, drawn on the spot."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported, and for the processes that tests start: models this small run no faster on two threads,
# and two processes of two threads on two cores are several times slower than on one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch

from avspeech.manifest import Utterance, Word, write_manifest
from avspeech.timebase import SAMPLE_RATE, SAMPLES_PER_FRAME
from tests.chromium import CHROMIUM

WORDS = ("pa", "mo", "fi", "su")


LONGEST = (
    *("test_end_to_end", "test_training", "test_pretrain_iterations", "test_extract_rois", "test_flamingo_training"),
    *("test_parity", "test_page_in_browser", "test_transcribe_fuzz", "test_onnx_whisper", "test_configs"),
)


def pytest_collection_modifyitems(items):
    """Put the longest files first: a process that starts one when the others are through would end alone."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_collection_finish():
    """Take what was imported, millions of objects, out of every later search for garbage."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def draw_clip(words: list[str], frames_per_word: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a mouth clip (T, 96, 96) and its sound: each word has its own opening and its own tone."""
    rng = np.random.default_rng(seed)
    frames, tones = [], []
    rows, columns = np.mgrid[-48:48, -48:48]
    for word in words:
        kind = WORDS.index(word)
        for t in range(frames_per_word):
            height = 2 + 6 * kind * np.sin(np.pi * (t + 0.5) / frames_per_word)
            inside = (columns / 26) ** 2 + (rows / max(height, 1)) ** 2 < 1
            frames.append(np.where(inside, 60, 150) + rng.integers(-6, 7, (96, 96)))
        time_S = np.arange(frames_per_word * SAMPLES_PER_FRAME) / SAMPLE_RATE
        tones.append(0.3 * np.sin(2 * np.pi * 200 * (kind + 1) * time_S))
    audio_S = np.concatenate(tones) + 0.002 * rng.standard_normal(len(frames) * SAMPLES_PER_FRAME)
    return np.stack(frames).clip(0, 255).astype(np.uint8), audio_S.astype(np.float32)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """Return a folder with train.jsonl and val.jsonl (and .km beside each): 12 and 4 clips of 2 to 4 words."""
    from avspeech.media.audio import write_wav
    from avspeech.media.video import write_video

    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(7)
    for split, count in (("train", 12), ("val", 4)):
        utterances, units = [], []
        for number in range(count):
            words = [WORDS[i] for i in rng.integers(0, len(WORDS), 2 + number % 3)]
            mouth_THW, audio_S = draw_clip(words, 6, seed=number)
            name = f"{split}{number}"
            write_video(folder / f"{name}.mp4", mouth_THW)
            write_wav(folder / f"{name}.wav", audio_S)
            times = tuple(Word(word, 0.24 * i, 0.24 * (i + 1)) for i, word in enumerate(words))
            files = {"audio": folder / f"{name}.wav", "mouth": folder / f"{name}.mp4"}
            lengths = {"num_frames": len(mouth_THW), "num_samples": len(audio_S)}
            said = {"text": " ".join(words), "language": "en", "speaker": f"speaker{number % 3}", "words": times}
            utterances.append(Utterance(name, **files, **lengths, **said))
            units.append(" ".join(str(WORDS.index(word)) for word in words for _ in range(6)))
        write_manifest(folder / f"{split}.jsonl", utterances)
        (folder / f"{split}.km").write_text("\n".join(units) + "\n")
    return folder


@pytest.fixture(scope="session")
def tokenizer_file(corpus) -> Path:
    from avspeech.text.tokenizer import Tokenizer

    Tokenizer.fit([" ".join(WORDS)], "words").save(corpus / "tokenizer.json")
    return corpus / "tokenizer.json"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright; uv sync installs it")
    with sync_api.sync_playwright() as playwright:
        args = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        yield browser
        browser.close()
