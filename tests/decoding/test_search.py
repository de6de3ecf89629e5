"""AV-HuBERT's searches against the plain search, against exhaustive search, and against each other."""

import itertools

import pytest
import torch
from reference_search import VOCAB, AllAlignments, alone, beam_search, decoder_scores, search

from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.recognizer import length_limits, official_length_limit
from avspeech.models.decoder import DecoderConfig, TextDecoder
from avspeech.models.memory import Memory
from avspeech.text.tokenizer import EOS, PAD

LENGTHS = (5, 5, 3)


@pytest.fixture
def ctc_BTV():
    return 2 * torch.randn(3, 5, VOCAB)


def texts_of(hypotheses):
    return [tokens for tokens, _, _ in hypotheses]


def scores_of(hypotheses):
    return [score for _, score, _ in hypotheses]


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@torch.no_grad()
def test_a_wide_beam_finds_what_exhaustive_search_finds(decoder, memory, penalty):
    labels = [token for token in range(VOCAB) if token not in (PAD, EOS)]
    texts = [text for length in range(4) for text in itertools.product(labels, repeat=length)]

    def score_of(row, text):
        parts = [decoder_scores(decoder, row, text[:place])[token] for place, token in enumerate((*text, EOS))]
        return sum(parts) / len(parts) ** penalty

    for row, hypotheses in enumerate(beam_search(decoder, memory, VOCAB - 1, penalty, 3)):
        best, score, _ = hypotheses[0]
        assert score == pytest.approx(score_of(alone(memory, row), best), abs=1e-4)
        assert score == pytest.approx(max(score_of(alone(memory, row), text) for text in texts), abs=1e-4)


@pytest.mark.parametrize("weight", [None, 0.3, 1.0])
@pytest.mark.parametrize("beam_size", [1, 2, 4])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_every_hypothesis_is_that_of_the_plain_search(decoder, memory, ctc_BTV, weight, beam_size, penalty):
    """Rank, score and parts, with CTC and without; also where several end in the step that fills the beam."""
    decoder.embedding.weight.data[EOS] *= 1.5  # often enough first
    options = {} if weight is None else {"ctc_BTV": ctc_BTV, "ctc_weight": weight}
    beams = beam_search(decoder, memory, beam_size, penalty, 4, min_length=1, **options)
    for row, length in enumerate(LENGTHS):
        every, part = AllAlignments(ctc_BTV[row, :length]), alone(memory, row)

        def score_next(text, every=every, part=part):
            scores = decoder_scores(decoder, part, text)
            if weight is None:
                return scores
            pairs = zip(scores, every.scores(text, VOCAB), strict=True)
            return [(1 - weight) * attention + weight * ctc for attention, ctc in pairs]

        expected = search(score_next, beam_size, penalty, 4, min_length=1)
        assert texts_of(beams[row]) == [text for text, _ in expected]
        assert scores_of(beams[row]) == pytest.approx([score for _, score in expected], abs=1e-5)
        for tokens, _, found in beams[row]:
            parts = [score_next(tokens[:place])[token] for place, token in enumerate([*tokens, EOS])]
            assert found == pytest.approx(parts, abs=1e-5)


def test_ctc_alone_with_room_for_every_text_finds_the_best_of_all():
    vocab, labels = 45, (3, 4, 5)  # 3 + 9 + 27 texts and the empty one fit a beam of 44
    decoder = TextDecoder(DecoderConfig(width=8, depth=1, num_heads=2, ffn_width=8), vocab, memory_width=4).eval()
    logits_BTV = torch.full((4, 5, vocab), -torch.inf)
    logits_BTV[..., [0, *labels]] = 2 * torch.randn(4, 5, 4)
    memory = Memory(torch.randn(4, 5, 4), torch.ones(4, 5, dtype=torch.bool))
    beams = beam_search(decoder, memory, 44, 0.0, 3, ctc_BTV=logits_BTV, ctc_weight=1.0)
    place = {label: index for index, label in enumerate((0, *labels))}
    for row, hypotheses in enumerate(beams):
        every = AllAlignments(logits_BTV[row][:, [0, *labels]])
        texts = [text for length in range(4) for text in itertools.product(labels, repeat=length)]
        scores = {text: every.whole(tuple(place[token] for token in text)) for text in texts}
        assert hypotheses[0][0] == max(scores, key=lambda text: scores[text])
        assert {tokens: score for tokens, score, _ in hypotheses} == pytest.approx(scores, abs=1e-4)


def test_a_weight_of_zero_is_the_decoder_alone(decoder, memory, ctc_BTV):
    given, (without, half) = (decoder, memory, 3, 1.0, 6), ({"ctc_BTV": ctc_BTV, "ctc_weight": w} for w in (0.0, 0.5))
    assert beam_search(*given, **without) == beam_search(*given) != beam_search(*given, **half)


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("with_ctc", [False, True])
def test_neighbours_and_padding_change_nothing(decoder, beam_size, with_ctc):
    """A longer neighbour least of all: how long a text may be follows from its own utterance."""
    decoder.embedding.weight.data[EOS] *= 0.3  # texts are as long as they may be
    lengths = (5, 30, 14)
    valid_BT = torch.arange(30)[None] < torch.tensor(lengths)[:, None]
    memory, logits_BTV = Memory(torch.randn(3, 30, 8), valid_BT), torch.randn(3, 60, VOCAB)  # two CTC steps a frame
    together = beam_search(decoder, memory, beam_size, ctc_BTV=logits_BTV if with_ctc else None)
    for row, length in enumerate(lengths):
        ctc_BTV = logits_BTV[row : row + 1, : 2 * length] if with_ctc else None
        (single,) = beam_search(decoder, alone(memory, row), beam_size, ctc_BTV=ctc_BTV)
        assert texts_of(single) == texts_of(together[row])
        assert scores_of(single) == pytest.approx(scores_of(together[row]), abs=1e-5)
    longest = [max(map(len, texts_of(hypotheses))) for hypotheses in together]
    assert with_ctc or longest == [10, 30, 14], "all texts end before their limit, so this tests nothing"


def test_looking_seldom_changes_nothing(decoder, memory, ctc_BTV, monkeypatch):
    """On a GPU the search looks only now and then whether something is finished."""
    wanted = beam_search(decoder, memory, 3, 1.0, 6, ctc_BTV=ctc_BTV)
    monkeypatch.setattr("avspeech.decoding.search._looks", lambda step, device: step % 4 == 3)
    for found, expected in zip(beam_search(decoder, memory, 3, 1.0, 6, ctc_BTV=ctc_BTV), wanted, strict=True):
        assert texts_of(found) == texts_of(expected)
        assert scores_of(found) == pytest.approx(scores_of(expected), abs=1e-5)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_the_shortest_text_has_min_length_tokens(decoder, memory, beam_size):
    decoder.embedding.weight.data[EOS] *= 2

    def shortest(**options):
        beams = beam_search(decoder, memory, beam_size, 1.0, 8, **options)
        return min(len(text) for beam in beams for text in texts_of(beam))

    assert shortest() < 4
    assert shortest(min_length=4) == 4


def test_limits_follow_each_utterance_or_the_config():
    valid_BT = torch.arange(40)[None] < torch.tensor([40, 3])[:, None]

    def limits(has_audio=True, **options):
        return length_limits(valid_BT, DecodingConfig(**options), has_audio).tolist()

    assert limits() == [40, 10]
    assert limits(min_length=12) == [40, 12]
    assert limits(max_tokens=7) == [7, 7]
    assert limits(official_limit=True) == [104, 104]
    assert limits(False, official_limit=True) == [40, 40]


def test_the_official_limit_counts_audio_channels_for_frames():
    assert [official_length_limit(20, has_audio) for has_audio in (True, False)] == [104, 20]
    assert official_length_limit(21, False, max_len_a=0.5) == 10
    assert official_length_limit(21, True, max_len_a=0.5, max_len_b=3) == 55


def test_where_ctc_rules_all_out_there_is_no_hypothesis(decoder, memory, ctc_BTV):
    ctc_BTV[2, :, 1:] = -torch.inf  # hears nothing, but one token is asked for
    found = beam_search(decoder, memory, 3, min_length=1, ctc_BTV=ctc_BTV)
    assert [bool(hypotheses) for hypotheses in found] == [True, True, False]


def test_what_does_not_fit_is_refused(decoder, memory):
    with pytest.raises(ValueError, match="CTC logits of 9 tokens came, the decoder has 6"):
        beam_search(decoder, memory, 3, ctc_BTV=torch.randn(3, 5, 9))
    with pytest.raises(ValueError, match="beam_size=6 must be below the vocabulary's 6"):
        beam_search(decoder, memory, 6)
