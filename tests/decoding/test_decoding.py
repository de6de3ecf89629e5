"""Greedy and beam search against exhaustive search and against each other."""

import itertools

import pytest
import torch

from avspeech.decoding.beam import beam_search
from avspeech.decoding.greedy import BEGIN, END, PAD, attention_greedy, ctc_greedy
from avspeech.models.decoder import DecoderConfig, TextDecoder
from avspeech.models.encoder import EncoderConfig
from avspeech.models.frontends import VideoConfig
from avspeech.models.recognizer import Recognizer, RecognizerConfig

VOCAB = 6


@pytest.fixture
def decoder():
    torch.manual_seed(11)
    decoder = TextDecoder(DecoderConfig(width=16, depth=1, num_heads=2, ffn_width=32), VOCAB, memory_width=8).eval()
    torch.nn.init.normal_(decoder.embedding.weight, std=0.7)  # sharp enough that hypotheses differ
    return decoder


@pytest.fixture
def memory():
    valid_BT = torch.ones(3, 5, dtype=torch.bool)
    valid_BT[2, 3:] = False
    return torch.randn(3, 5, 8), valid_BT


def score_of(decoder, memory_BTD, valid_BT, tokens, penalty):
    inputs = torch.tensor([[BEGIN, *tokens]])
    log_LV = decoder(inputs, memory_BTD, valid_BT)[0].log_softmax(dim=-1)
    return sum(log_LV[i, token].item() for i, token in enumerate([*tokens, END])) / (len(tokens) + 1) ** penalty


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@torch.no_grad()
def test_a_wide_beam_finds_what_exhaustive_search_finds(decoder, memory, penalty):
    longest = 3
    texts = [[]]
    for length in range(1, longest + 1):
        texts += [list(t) for t in itertools.product([t for t in range(VOCAB) if t not in (PAD, END)], repeat=length)]
    beams = beam_search(decoder, *memory, beam_size=VOCAB - 1, length_penalty=penalty, max_length=longest)
    for row in range(3):
        memory_BTD, valid_BT = memory[0][row : row + 1], memory[1][row : row + 1]
        scores = sorted((score_of(decoder, memory_BTD, valid_BT, text, penalty) for text in texts), reverse=True)
        best = beams[row][0]
        assert best.score == pytest.approx(score_of(decoder, memory_BTD, valid_BT, best.tokens, penalty), abs=1e-4)
        assert best.score == pytest.approx(scores[0], abs=1e-4)


@torch.no_grad()
def test_a_beam_of_one_is_greedy(decoder, memory):
    greedy = attention_greedy(decoder, *memory, max_length=8)
    beams = beam_search(decoder, *memory, beam_size=1, length_penalty=0.0, max_length=8)
    for one, other in zip(greedy, beams, strict=True):
        if len(one.tokens) < 8:  # at the limit the beam forces an end, greedy just stops
            assert other[0].tokens == one.tokens
            assert other[0].score == pytest.approx(one.score, abs=1e-4)


@torch.no_grad()
def test_neighbours_in_the_batch_change_nothing(decoder, memory):
    memory_BTD, valid_BT = memory
    together = beam_search(decoder, memory_BTD, valid_BT, beam_size=3, max_length=6)
    for row in range(3):
        length = int(valid_BT[row].sum())
        alone = beam_search(decoder, memory_BTD[row : row + 1, :length], valid_BT[row : row + 1, :length], 3, 1.0, 6)
        assert [h.tokens for h in alone[0]] == [h.tokens for h in together[row]]


def test_a_beam_wider_than_the_vocabulary_is_refused(decoder, memory):
    with pytest.raises(ValueError, match="beam_size=6"):
        beam_search(decoder, *memory, beam_size=6)


@torch.no_grad()
def test_ctc_merges_repeats_and_drops_blanks_and_padding():
    encoder = EncoderConfig(
        width=16, depth=1, num_heads=2, position_groups=2, video=VideoConfig(widths=(4,), blocks=(1,), stem_width=4)
    )
    model = Recognizer(RecognizerConfig(encoder, None, ctc=True), 5)
    model.ctc_head = torch.nn.Identity()
    path = torch.tensor([[4, 4, 0, 4, 3, 3, 2, 2]])
    valid_BT = torch.tensor([[True] * 6 + [False] * 2])
    (hypothesis,) = ctc_greedy(model, torch.nn.functional.one_hot(path, 5).float() * 9, valid_BT)
    assert hypothesis.tokens == [4, 4, 3]
