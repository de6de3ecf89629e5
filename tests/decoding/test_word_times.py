"""Word times are those of openai-whisper, for clips of any length, and for lips where there is no audio."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from reference_search import ENCODER
from reference_whisper import POSITIONS, TOKENIZER, mels, tiny_pair

from avspeech.decoding.attention_path import positions_between_silence, positions_of_openai, record_attention
from avspeech.decoding.hypothesis import Hypothesis
from avspeech.decoding.word_times import time_words
from avspeech.models.flamingo import Flamingo, FlamingoConfig
from avspeech.models.memory import Memory

TEXTS = {"en": "Well, the cat (it sleeps) is here.", "de": "Schöne Grüße!", "zh": "今天天气很好。", "es": "¿Qué tal?"}


def hypothesis(text, language="en", times=()):
    return Hypothesis(text, -0.5, (*times, *TOKENIZER.encode(text)), language=language)


@pytest.mark.parametrize("language", TEXTS)
def test_words_and_times_are_those_of_openai(language):
    from whisper.timing import find_alignment, merge_punctuations
    from whisper.tokenizer import get_tokenizer

    theirs, ours = tiny_pair()
    tokenizer = get_tokenizer(True, num_languages=99, language=language, task="transcribe")
    (mel_AF,) = mels(1)
    one = hypothesis(TEXTS[language], language)
    wanted = find_alignment(theirs, tokenizer, list(one.tokens), mel_AF.T, num_frames=80)
    merge_punctuations(wanted, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")
    wanted = [word for word in wanted if word.word]
    (found,) = time_words(ours, [one], ours.encode_streams(mel_AF[None]), durations_s=[0.8])
    assert [word.text for word in found] == [word.word.strip() for word in wanted]
    np.testing.assert_allclose([word.start_s for word in found], [word.start for word in wanted], atol=0.021)
    np.testing.assert_allclose([word.end_s for word in found], [word.end for word in wanted], atol=0.021)
    np.testing.assert_allclose([w.probability for w in found], [w.probability for w in wanted], rtol=1e-3, atol=1e-12)


def test_a_batch_of_unequal_clips_is_timed_as_each_alone(ours):
    memory = ours.encode_streams(mels(4))
    lengths = [60, 17, 44, 30]
    valid_BP = torch.arange(POSITIONS)[None] < torch.tensor(lengths)[:, None]
    hypotheses = [hypothesis(text, language) for language, text in TEXTS.items()]
    together = time_words(ours, hypotheses, Memory(memory.memory_BTD, valid_BP))
    for i, length in enumerate(lengths):
        (alone,) = time_words(ours, hypotheses[i : i + 1], Memory(memory.memory_BTD[i : i + 1, :length]))
        assert [(w.text, w.start_s, w.end_s) for w in together[i]] == [(w.text, w.start_s, w.end_s) for w in alone]
        assert all(0 <= word.start_s <= word.end_s <= length / 50 for word in alone)
        assert all(a.end_s <= b.start_s + 1e-6 for a, b in pairwise(alone))


def test_recorded_weights_are_those_of_attention(ours):
    memory = ours.encode_streams(mels(2))
    tokens_BL = torch.randint(0, 1000, (2, 5))
    with torch.no_grad(), record_attention(ours) as recorded:
        ours.decoder(tokens_BL, memory)
    block = ours.decoder.blocks[1].memory_attention
    assert recorded.heads == [(1, 0), (1, 1)]  # the later half of two blocks
    weights_NLP = recorded.weights(1, 5, POSITIONS)
    torch.testing.assert_close(weights_NLP.sum(dim=2), torch.ones(2, 5))
    _, value_BNPE = block.project_memory(memory.memory_BTD)
    heads = []
    hook = block.out.register_forward_pre_hook(lambda _, inputs: heads.append(inputs[0]))
    with torch.no_grad():
        ours.decoder(tokens_BL, memory)
    hook.remove()
    torch.testing.assert_close((weights_NLP @ value_BNPE[1]).transpose(0, 1).flatten(1), heads[0][1])
    with torch.no_grad():
        ours.decoder(tokens_BL[:, :2], memory)  # nothing is recorded outside
    assert recorded.queries[1].shape[2] == 5


def test_time_tokens_and_empty_texts_are_no_words(ours):
    memory = ours.encode_streams(mels(2))
    first = TOKENIZER.first_time
    plain, empty = time_words(ours, [hypothesis("hello there"), hypothesis("", times=(first,))], memory)
    timed, _ = time_words(ours, [hypothesis("hello there", times=(first,)), hypothesis("")], memory)
    assert plain == timed
    assert empty == []


def test_the_first_word_starts_with_the_speech_where_somebody_listened(ours):
    memory = ours.encode_streams(mels(2))
    hypotheses = [hypothesis("hello there"), hypothesis("well then")]
    plain = time_words(ours, hypotheses, memory)
    middle = int(plain[0][0].end_s * 25 / 2)  # of the first word
    heard = time_words(ours, hypotheses, memory, None, [np.arange(POSITIONS // 2) >= middle, None])
    assert plain[0][0].start_s == 0
    assert heard[0][0].start_s == pytest.approx(middle / 25)
    assert heard[0][0].end_s == plain[0][0].end_s
    assert heard[1] == plain[1]


def test_lips_alone_time_the_words_too(ours):
    flamingo = Flamingo(FlamingoConfig(ours.sizes, ENCODER)).eval()
    video_BTHW = torch.randint(0, 255, (3, 20, 24, 24), dtype=torch.uint8)
    keep_B2 = torch.tensor([[True, True], [False, True], [True, False]])
    valid_BT = torch.arange(20)[None] < torch.tensor([20, 14, 20])[:, None]
    with torch.no_grad():
        memory = flamingo.encode_streams(mels(3)[:, :80], None, video_BTHW, valid_BT, keep_B2)
        alone = flamingo.encode_streams(None, None, video_BTHW[1:2, :14], None)
    hypotheses = [hypothesis("pa mo fi")] * 3
    words = time_words(flamingo, hypotheses, memory)
    assert [[word.text for word in one] for one in words] == [["pa", "mo", "fi"]] * 3
    assert all(0 <= word.start_s <= word.end_s <= 14 / 25 for word in words[1])
    assert any(round(word.end_s * 50) % 2 for one in (words[0], words[2]) for word in one) or words[0] != words[1]
    (lips,) = time_words(flamingo, hypotheses[:1], alone)
    assert [(w.text, w.start_s, w.end_s) for w in lips] == [(w.text, w.start_s, w.end_s) for w in words[1]]


def test_what_cannot_be_timed_is_named(ours):
    with pytest.raises(ValueError, match="neither audio nor video"):
        time_words(ours, [hypothesis("a")], Memory(torch.zeros(1, 1, 32)))


def looking(places, num_positions, sharp=0.9):
    """Return attention of tokens to their places, (1, L, P); the rest goes everywhere."""
    weights_LP = torch.full((len(places), num_positions), (1 - sharp) / num_positions)
    for row, place in enumerate(places):
        weights_LP[row, list(place)] += sharp / len(place)
    return weights_LP[None]


def test_silence_before_and_after_is_no_token():
    weights_NLP = looking([range(10, 14), range(14, 20), range(20, 23)], 40)
    assert positions_between_silence(weights_NLP, 0, 3) == [10, 14, 20, 23]


def test_tokens_of_a_few_frames_survive():
    places = [range(8, 10), range(10, 11), range(11, 13), range(13, 15)]
    prompt = looking([range(40)] * 2, 40)  # tokens before the text look everywhere
    weights_NLP = torch.cat([prompt, looking([*places, range(30, 34)], 40)], dim=1)
    assert positions_between_silence(weights_NLP, 2, 4) == [8, 10, 11, 13, 15]
    openai = positions_of_openai(weights_NLP, 2, 4)
    assert openai[0] == 0, "the first token starts with the silence before it"
    assert openai[1:] != [10, 11, 13, 15], "the filter is longer than the tokens"


def test_attention_that_knows_nothing_gives_ordered_positions():
    starts = positions_between_silence(torch.full((2, 4, 6), 1 / 6), 0, 4)
    assert starts == sorted(starts)
    assert all(0 <= start < 6 for start in starts)
    assert positions_between_silence(torch.ones(1, 3, 1), 0, 3) == [0, 0, 0, 0]
