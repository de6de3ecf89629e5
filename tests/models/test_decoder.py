"""The text decoder of every model: cached equals full, beams take their past along, future and padding are not seen."""

from dataclasses import replace

import pytest
import torch

from avspeech.models.decoder import DecoderConfig, TextDecoder
from avspeech.models.memory import Memory
from tests.models.tiny_whisper import KEPT, make_flamingo, make_inputs, make_whisper, valid_until


@pytest.fixture(params=["AV-HuBERT", "Whisper", "Flamingo"])
def given(request):
    """Return a decoder, a padded memory of three utterances and tokens (3, 7)."""
    logmel_BAF, video_BTHW, tokens_BL = make_inputs()
    if request.param == "AV-HuBERT":
        torch.manual_seed(3)
        decoder = TextDecoder(DecoderConfig(32, 2, 4, 64), vocab_size=50, memory_width=24).eval()
        return decoder, Memory(torch.randn(3, 7, 24), valid_until([7, 4, 7], 7)), tokens_BL
    model = make_whisper() if request.param == "Whisper" else make_flamingo()
    video = () if request.param == "Whisper" else (video_BTHW, valid_until([12, 5, 8], 12), KEPT)
    with torch.no_grad():
        return model.decoder, model.encode_streams(logmel_BAF, valid_until([48, 20, 32], 48), *video), tokens_BL


@torch.no_grad()
def test_cached_steps_equal_the_whole(given):
    decoder, memory, tokens_BL = given
    whole_BLV, state = decoder(tokens_BL, memory), decoder.start(memory, 7)
    torch.testing.assert_close(decoder.step(tokens_BL[:, :3], state, last_only=False), whole_BLV[:, :3])
    torch.testing.assert_close(decoder.step(tokens_BL[:, 3:5], state), whole_BLV[:, 4])  # two at once, later
    for place in (5, 6):
        torch.testing.assert_close(decoder.step(tokens_BL[:, place, None], state), whole_BLV[:, place])
    assert state.length == 7


@pytest.mark.parametrize("stay", [[0, 1], [2], [0, 2], [2, 1]])
@torch.no_grad()
def test_beams_part_after_the_prompt_take_their_past_along_and_lose_finished_utterances(given, stay):
    decoder, memory, tokens_BL = given
    state = decoder.start(memory, 7)
    decoder.step(tokens_BL[:, :3], state)
    state.repeat(2)
    next_RL, rows_R = torch.randint(0, 50, (6, 4)), torch.tensor([1, 1, 2, 2, 5, 4])
    parted_RV = decoder.step(next_RL[:, :1], state)
    state.reorder(rows_R)
    tokens_RL = torch.cat([tokens_BL[:, :3].repeat_interleave(2, dim=0), next_RL[rows_R, :1], next_RL[:, 1:]], dim=1)
    whole_RLV = decoder(tokens_RL, memory.select(torch.arange(3).repeat_interleave(2)))
    torch.testing.assert_close(parted_RV[rows_R], whole_RLV[:, 3])
    for place in (4, 5):
        torch.testing.assert_close(decoder.step(tokens_RL[:, place, None], state), whole_RLV[:, place])
    state.keep(stay)
    left_R = torch.tensor([2 * place + k for place in stay for k in range(2)])
    torch.testing.assert_close(decoder.step(tokens_RL[left_R, 6:], state), whole_RLV[left_R, 6])


@torch.no_grad()
def test_the_future_cannot_be_seen(given):
    decoder, memory, tokens_BL = given
    before = decoder(tokens_BL, memory)
    tokens_BL[:, 4:] = (tokens_BL[:, 4:] + 1) % 50
    after = decoder(tokens_BL, memory)
    torch.testing.assert_close(after[:, :4], before[:, :4], rtol=0, atol=0)
    assert not torch.allclose(after[:, 4], before[:, 4])


@torch.no_grad()
def test_padded_memory_cannot_be_seen(given):
    decoder, memory, tokens_BL = given
    other = replace(memory, memory_BTD=torch.where(memory.valid_BT[..., None], memory.memory_BTD, 100.0))
    assert not torch.equal(other.memory_BTD, memory.memory_BTD)
    torch.testing.assert_close(decoder(tokens_BL, other), decoder(tokens_BL, memory), rtol=0, atol=0)


@pytest.mark.parametrize("rows", [[2, 0], [True, False, True]])
@torch.no_grad()
def test_a_selected_memory_gives_the_same_logits(given, rows):
    decoder, memory, tokens_BL = given
    rows_B = torch.tensor(rows)
    torch.testing.assert_close(decoder(tokens_BL[rows_B], memory.select(rows_B)), decoder(tokens_BL, memory)[rows_B])
