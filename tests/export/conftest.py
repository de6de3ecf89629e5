"""Tiny models with every weight random, exported once: an export takes seconds whatever the size."""

from pathlib import Path

import pytest
import torch
from filelock import FileLock

from avspeech.export.folder import export_model
from avspeech.models.decoder import DecoderConfig
from avspeech.models.flamingo import Flamingo, FlamingoConfig
from avspeech.models.recognizer import Recognizer, RecognizerConfig
from avspeech.text.tokenizer import Tokenizer
from tests.export.tiny_exports import REAL_TOKENS
from tests.models.tiny_whisper import LIPS, make_flamingo, stirred


@pytest.fixture(scope="session")
def flamingo() -> Flamingo:
    return make_flamingo(FlamingoConfig(REAL_TOKENS, LIPS))


def exported(model, name: str, tmp_path_factory) -> Path:
    """Export a model once for all test processes; they share the folder above each one's own."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if folder.name.startswith("popen-") else folder) / f"onnx_{name}"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            export_model(model, folder)
    return folder


@pytest.fixture(scope="session")
def flamingo_folder(flamingo, tmp_path_factory):
    return exported(flamingo, "flamingo", tmp_path_factory)


@pytest.fixture(scope="session", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["ctc", "both"])
def recognizer(request) -> Recognizer:
    torch.manual_seed(0)
    decoder = DecoderConfig(width=16, depth=1, num_heads=2, ffn_width=32) if request.param else None
    config = RecognizerConfig(LIPS, decoder, ctc=True, ctc_upsample=2)
    tokenizer = Tokenizer("words", ["bin", "blue", "red", "white", "now", "please"])
    return stirred(Recognizer(config, tokenizer.vocab_size, tokenizer))  # type: ignore[return-value]


@pytest.fixture(scope="session")
def recognizer_folder(recognizer, tmp_path_factory):
    return exported(recognizer, f"recognizer_{recognizer.decoder is not None}", tmp_path_factory)
