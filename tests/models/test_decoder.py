"""The decoder: cached equals full, the future and padding cannot be seen."""

import pytest
import torch

from avspeech.models.decoder import DecoderConfig, TextDecoder
from avspeech.models.memory import Memory

CONFIG = DecoderConfig(width=32, depth=2, num_heads=4, ffn_width=64)


@pytest.fixture
def decoder():
    torch.manual_seed(3)
    return TextDecoder(CONFIG, vocab_size=11, memory_width=24).eval()


@pytest.fixture
def memory():
    valid_BT = torch.ones(3, 7, dtype=torch.bool)
    valid_BT[1, 4:] = False
    return torch.randn(3, 7, 24), valid_BT


@torch.no_grad()
def test_cached_decoding_equals_full(decoder, memory):
    memory_BTD, valid_BT = memory
    tokens_BL = torch.randint(2, 11, (3, 6))
    full_BLV = decoder(tokens_BL, Memory(memory_BTD, valid_BT))
    state = decoder.start(Memory(memory_BTD, valid_BT), max_length=6)
    for step in range(6):
        torch.testing.assert_close(decoder.step(tokens_BL[:, step : step + 1], state), full_BLV[:, step])


@torch.no_grad()
def test_reordered_beams_take_their_past_along(decoder, memory):
    memory_BTD, valid_BT = memory[0][:1], memory[1][:1]
    state = decoder.start(Memory(memory_BTD, valid_BT), max_length=3)
    state.repeat(2)
    decoder.step(torch.tensor([[4], [5]]), state)
    state.reorder(torch.tensor([1, 1]))
    after = decoder.step(torch.tensor([[6], [7]]), state)
    expected = decoder(torch.tensor([[5, 6], [5, 7]]), Memory(memory_BTD, valid_BT).select(torch.tensor([0, 0])))[:, -1]
    torch.testing.assert_close(after, expected)


@torch.no_grad()
def test_the_future_cannot_be_seen(decoder, memory):
    tokens_BL = torch.randint(2, 11, (3, 6))
    before = decoder(tokens_BL, Memory(*memory))
    tokens_BL[:, 4:] = 3
    torch.testing.assert_close(decoder(tokens_BL, Memory(*memory))[:, :4], before[:, :4], rtol=0, atol=0)


@torch.no_grad()
def test_padded_memory_cannot_be_seen(decoder, memory):
    memory_BTD, valid_BT = memory
    tokens_BL = torch.randint(2, 11, (3, 6))
    before = decoder(tokens_BL, Memory(memory_BTD, valid_BT))
    memory_BTD = memory_BTD.clone()
    memory_BTD[1, 4:] = 100.0
    torch.testing.assert_close(decoder(tokens_BL, Memory(memory_BTD, valid_BT)), before, rtol=0, atol=0)
