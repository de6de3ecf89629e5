"""Tiny models with every weight random, exported once: an export takes seconds whatever the size."""

import pytest
import torch

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


@pytest.fixture(scope="session")
def flamingo_folder(flamingo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx") / "flamingo"
    export_model(flamingo, folder)
    return folder


@pytest.fixture(scope="session", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["ctc", "both"])
def recognizer(request) -> Recognizer:
    torch.manual_seed(0)
    decoder = DecoderConfig(width=16, depth=1, num_heads=2, ffn_width=32) if request.param else None
    config = RecognizerConfig(LIPS, decoder, ctc=True, ctc_upsample=2)
    tokenizer = Tokenizer("words", ["bin", "blue", "red", "white", "now", "please"])
    return stirred(Recognizer(config, tokenizer.vocab_size, tokenizer))  # type: ignore[return-value]


@pytest.fixture(scope="session")
def recognizer_folder(recognizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx") / "recognizer"
    export_model(recognizer, folder)
    return folder
