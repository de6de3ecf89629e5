"""Greedy and beam search against exhaustive search and against each other."""

import itertools

import pytest
import torch
from reference_search import VOCAB, decoder_scores, search

from avspeech.decoding.beam import beam_search, official_length_limit
from avspeech.decoding.greedy import BEGIN, END, PAD, attention_greedy, ctc_greedy
from avspeech.models.encoder import EncoderConfig
from avspeech.models.frontends import VideoConfig
from avspeech.models.memory import Memory
from avspeech.models.recognizer import Recognizer, RecognizerConfig


def score_of(decoder, memory_BTD, valid_BT, tokens, penalty):
    inputs = torch.tensor([[BEGIN, *tokens]])
    log_LV = decoder(inputs, Memory(memory_BTD, valid_BT))[0].log_softmax(dim=-1)
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


@pytest.mark.parametrize("beam_size", [1, 2, 4])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_every_hypothesis_is_that_of_the_plain_search(decoder, memory, beam_size, penalty):
    """Rank, score and parts; also where several hypotheses end in the step that fills the beam."""
    decoder.embedding.weight.data[END] *= 1.5  # often enough first
    beams = beam_search(decoder, *memory, beam_size, penalty, 7, min_length=1)
    for row in range(3):
        memory_BTD, valid_BT = memory[0][row : row + 1], memory[1][row : row + 1]

        def score_next(text, memory_BTD=memory_BTD, valid_BT=valid_BT):
            return decoder_scores(decoder, memory_BTD, valid_BT, text)

        expected = search(score_next, beam_size, penalty, limit=7, min_length=1)
        assert [tuple(one.tokens) for one in beams[row]] == [text for text, _ in expected]
        assert [one.score for one in beams[row]] == pytest.approx([score for _, score in expected], abs=1e-5)
        for one in beams[row]:
            parts = [score_next(tuple(one.tokens[:place]))[token] for place, token in enumerate([*one.tokens, END])]
            assert one.token_scores == pytest.approx(parts, abs=1e-5)


def test_min_length_holds_in_both_searches(decoder, memory):
    decoder.embedding.weight.data[END] *= 2
    shortest = min(len(one.tokens) for beam in beam_search(decoder, *memory, 3, max_length=8) for one in beam)
    assert shortest < 4
    beams = beam_search(decoder, *memory, 3, max_length=8, min_length=4)
    greedy = attention_greedy(decoder, *memory, max_length=8, min_length=4)
    assert min(len(one.tokens) for one in [*greedy, *itertools.chain(*beams)]) == 4
    with pytest.raises(ValueError, match="min_length=9 must be from 0 to the longest text, 8 tokens"):
        beam_search(decoder, *memory, 3, max_length=8, min_length=9)


def test_greedy_scores_have_a_part_for_each_token(decoder):
    decoder.embedding.weight.data[END] *= 1.4
    found = attention_greedy(decoder, 5 * torch.randn(9, 5, 8), torch.ones(9, 5, dtype=torch.bool), max_length=8)
    assert len({len(one.tokens) for one in found}) > 1, "all end together, or this tests nothing"
    for one in found:
        assert len(one.token_scores) == min(8, len(one.tokens) + 1)
        assert sum(one.token_scores) == pytest.approx(one.score, abs=1e-4)


def test_the_official_limit_counts_audio_channels_for_frames():
    assert official_length_limit(20, has_audio=True) == 104
    assert official_length_limit(20, has_audio=False) == 20
    assert official_length_limit(21, False, max_len_a=0.5) == 10
    assert official_length_limit(21, True, max_len_a=0.5, max_len_b=3) == 55


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
