"""A small random decoder with a memory to read, and a tiny Whisper, shared by the searches."""

import pytest
import torch
from reference_search import VOCAB
from reference_whisper import tiny_pair

from avspeech.models.decoder import DecoderConfig, TextDecoder
from avspeech.models.memory import Memory
from avspeech.models.whisper import Whisper


@pytest.fixture
def decoder() -> TextDecoder:
    torch.manual_seed(11)
    decoder = TextDecoder(DecoderConfig(width=16, depth=1, num_heads=2, ffn_width=32), VOCAB, memory_width=8).eval()
    torch.nn.init.normal_(decoder.embedding.weight, std=0.7)  # sharp enough that hypotheses differ
    return decoder


@pytest.fixture
def memory() -> Memory:
    valid_BT = torch.ones(3, 5, dtype=torch.bool)
    valid_BT[2, 3:] = False
    return Memory(torch.randn(3, 5, 8), valid_BT)


@pytest.fixture
def ours() -> Whisper:
    return tiny_pair()[1]
