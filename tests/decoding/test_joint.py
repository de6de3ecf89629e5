"""Decoder and CTC in one search: against the plain search, against exhaustive search, against each other."""

import itertools

import pytest
import torch
from reference_search import VOCAB, AllAlignments, decoder_scores, search

from avspeech.decoding.beam import beam_search
from avspeech.decoding.greedy import END
from avspeech.models.decoder import DecoderConfig, TextDecoder

LENGTHS = (5, 5, 3)


@pytest.fixture
def ctc_BTV():
    return 2 * torch.randn(3, 5, VOCAB)


@pytest.mark.parametrize("weight", [0.3, 1.0])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_equals_the_plain_search_over_all_alignments(decoder, memory, ctc_BTV, weight, penalty):
    beams = beam_search(decoder, *memory, 3, penalty, 4, min_length=1, ctc_BTV=ctc_BTV, ctc_weight=weight)
    for row, length in enumerate(LENGTHS):
        every = AllAlignments(ctc_BTV[row, :length])
        memory_BTD, valid_BT = memory[0][row : row + 1, :length], memory[1][row : row + 1, :length]

        def score_next(text, every=every, memory_BTD=memory_BTD, valid_BT=valid_BT):
            pairs = zip(decoder_scores(decoder, memory_BTD, valid_BT, text), every.scores(text, VOCAB), strict=True)
            return [(1 - weight) * attention + weight * ctc for attention, ctc in pairs]

        expected = search(score_next, 3, penalty, limit=4, min_length=1)
        assert [tuple(one.tokens) for one in beams[row]] == [text for text, _ in expected]
        assert [one.score for one in beams[row]] == pytest.approx([score for _, score in expected], abs=1e-4)


def test_ctc_alone_with_room_for_every_text_finds_the_best_of_all():
    vocab, labels = 45, (3, 4, 5)  # 3 + 9 + 27 texts and the empty one fit a beam of 44
    decoder = TextDecoder(DecoderConfig(width=8, depth=1, num_heads=2, ffn_width=8), vocab, memory_width=4).eval()
    logits_BTV = torch.full((4, 5, vocab), -torch.inf)
    logits_BTV[..., [0, *labels]] = 2 * torch.randn(4, 5, 4)
    valid_BT = torch.ones(4, 5, dtype=torch.bool)
    beams = beam_search(decoder, torch.randn(4, 5, 4), valid_BT, 44, 0.0, 3, ctc_BTV=logits_BTV, ctc_weight=1.0)
    place = {label: index for index, label in enumerate((0, *labels))}
    for row, hypotheses in enumerate(beams):
        every = AllAlignments(logits_BTV[row][:, [0, *labels]])
        texts = [text for length in range(4) for text in itertools.product(labels, repeat=length)]
        scores = {text: every.whole(tuple(place[token] for token in text)) for text in texts}
        assert tuple(hypotheses[0].tokens) == max(scores, key=lambda text: scores[text])
        assert {tuple(one.tokens): one.score for one in hypotheses} == pytest.approx(scores, abs=1e-4)


def test_steps_of_both_heads_add_up_to_their_whole_texts(decoder, memory, ctc_BTV):
    beams = beam_search(decoder, *memory, 4, 0.0, 4, ctc_BTV=ctc_BTV, ctc_weight=0.4)
    for row, length in enumerate(LENGTHS):
        every, view = AllAlignments(ctc_BTV[row, :length]), slice(row, row + 1)
        for one in beams[row]:
            parts = [
                decoder_scores(decoder, memory[0][view], memory[1][view], tuple(one.tokens[:place]))[token]
                for place, token in enumerate([*one.tokens, END])
            ]
            assert one.score == pytest.approx(0.6 * sum(parts) + 0.4 * every.whole(tuple(one.tokens)), abs=1e-4)
            assert sum(one.token_scores) == pytest.approx(one.score, abs=1e-4)


def test_a_weight_of_zero_is_the_decoder_alone(decoder, memory, ctc_BTV):
    alone = beam_search(decoder, *memory, 3, max_length=6)
    assert beam_search(decoder, *memory, 3, max_length=6, ctc_BTV=ctc_BTV, ctc_weight=0.0) == alone
    assert beam_search(decoder, *memory, 3, max_length=6, ctc_BTV=ctc_BTV, ctc_weight=0.5) != alone


def test_neighbours_and_padding_change_nothing(decoder, memory):
    logits_BTV = torch.randn(3, 10, VOCAB)  # two CTC steps a frame
    together = beam_search(decoder, *memory, 3, 1.0, 5, ctc_BTV=logits_BTV)
    for row, length in enumerate(LENGTHS):
        memory_BTD, valid_BT = memory[0][row : row + 1, :length], memory[1][row : row + 1, :length]
        alone = beam_search(decoder, memory_BTD, valid_BT, 3, 1.0, 5, ctc_BTV=logits_BTV[row : row + 1, : 2 * length])
        assert [one.tokens for one in alone[0]] == [one.tokens for one in together[row]]
        assert [one.score for one in alone[0]] == pytest.approx([one.score for one in together[row]], abs=1e-5)


def test_where_ctc_rules_all_out_there_is_no_hypothesis(decoder, memory, ctc_BTV):
    ctc_BTV[2, :, 1:] = -torch.inf  # hears nothing, but one token is asked for
    found = beam_search(decoder, *memory, 3, min_length=1, ctc_BTV=ctc_BTV)
    assert [bool(hypotheses) for hypotheses in found] == [True, True, False]


def test_what_does_not_fit_is_refused(decoder, memory, ctc_BTV):
    with pytest.raises(ValueError, match=r"ctc_weight=1\.5 must be from 0"):
        beam_search(decoder, *memory, 3, ctc_BTV=ctc_BTV, ctc_weight=1.5)
    with pytest.raises(ValueError, match="CTC logits of 9 tokens came, the decoder has 6"):
        beam_search(decoder, *memory, 3, ctc_BTV=torch.randn(3, 5, 9))
