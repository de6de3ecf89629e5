"""Words of a recogniser are timed where its CTC reads them, or where its decoder looks."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from reference_search import ENCODER

from avspeech.decoding.hypothesis import Hypothesis
from avspeech.decoding.word_times import time_words
from avspeech.models.decoder import DecoderConfig, TextDecoder
from avspeech.models.memory import Memory
from avspeech.models.recognizer import Recognizer, RecognizerConfig
from avspeech.text.tokenizer import Tokenizer

SENTENCES = ["set red now", "bin blue soon", "lay the green one here"]


def tokenizer_of(kind):
    return Tokenizer.fit(SENTENCES * 4, kind, vocab_size=26 if kind == "sentencepiece" else None)


WORDS = tokenizer_of("words")


def reader(tokenizer=WORDS, upsample=1, decoder=None, ctc=True):
    """A recogniser whose memory is what its CTC reads: dimension v of the memory is the logit of token v."""
    torch.manual_seed(5)
    model = Recognizer(RecognizerConfig(ENCODER, decoder, ctc, upsample), tokenizer.vocab_size, tokenizer)
    if ctc:
        model.ctc_head = torch.nn.Identity()
    return model.eval()


def spikes(num_frames, at, tokenizer=WORDS, upsample=1):
    """Return a memory whose CTC reads tokens at steps, and blanks elsewhere."""
    labels_T = torch.zeros(num_frames * upsample, dtype=torch.long)
    for step, token in at.items():
        labels_T[step] = token
    logits_TV = 9.0 * torch.nn.functional.one_hot(labels_T, tokenizer.vocab_size)
    return logits_TV.reshape(1, num_frames, -1)


def timed(model, texts, memory_BTD, valid_BT=None, speech=None, method=None):
    hypotheses = [Hypothesis("", 0.0, tuple(tokens)) for tokens in texts]
    valid_BT = torch.ones(memory_BTD.shape[:2], dtype=torch.bool) if valid_BT is None else valid_BT
    return time_words(model, hypotheses, Memory(memory_BTD, valid_BT), None, speech, method)


@pytest.mark.parametrize("kind", ["words", "characters", "sentencepiece"])
@pytest.mark.parametrize("text", [*SENTENCES, "red", "soon  the\u00a0one"])
def test_joined_words_are_the_text(kind, text):
    tokenizer = tokenizer_of(kind)
    tokens = tokenizer.encode(text)
    words = tokenizer.split_words([*tokens, 2])
    assert " ".join(word for word, _ in words) == " ".join(tokenizer.decode(tokens).split())
    places = [place for _, places in words for place in places]
    assert places == sorted(set(places))
    assert all(places for _, places in words)


def test_words_lie_around_the_steps_that_read_them():
    tokens = WORDS.encode("set red now")
    memory_BTD = spikes(40, dict(zip((10, 18, 30), tokens, strict=True)))
    model = reader()
    (words,) = timed(model, [tokens], memory_BTD)
    assert [word.text for word in words] == ["set", "red", "now"]
    assert [word.end_s for word in words[:-1]] == [word.start_s for word in words[1:]] == pytest.approx([0.58, 0.98])
    assert words[0].start_s == pytest.approx(0.42 - 0.2)
    assert all(word.probability > 0.9 for word in words)
    prob_T = np.zeros(40)
    prob_T[7:35] = 1
    (heard,) = timed(model, [tokens], memory_BTD, speech=[prob_T])
    assert (heard[0].start_s, heard[-1].end_s) == pytest.approx((0.28, 1.4))
    assert [word.start_s for word in heard[1:]] == [word.start_s for word in words[1:]]


def test_characters_at_50_hz_reach_from_first_to_last():
    tokenizer = tokenizer_of("characters")
    tokens = tokenizer.encode("red now")
    memory_BTD = spikes(40, dict(zip((20, 24, 28, 34, 40, 44, 48), tokens, strict=True)), tokenizer, upsample=2)
    (words,) = timed(reader(tokenizer, upsample=2), [tokens], memory_BTD)
    assert [word.text for word in words] == ["red", "now"]
    assert words[0].start_s < 0.4
    assert words[0].end_s == words[1].start_s == pytest.approx((28.5 + 40.5) / 2 / 50)
    assert 0.98 < words[1].end_s < 1.2


def test_a_batch_is_timed_as_each_alone():
    model = reader()
    torch.manual_seed(6)
    model.decoder = TextDecoder(DecoderConfig(16, 2, 2, 16), WORDS.vocab_size, WORDS.vocab_size).eval()
    memory_BTD = torch.randn(3, 20, WORDS.vocab_size)
    lengths, texts = (20, 9, 14), [WORDS.encode(text) for text in SENTENCES]
    valid_BT = torch.arange(20)[None] < torch.tensor(lengths)[:, None]
    for method in ("ctc", "attention"):
        together = timed(model, texts, memory_BTD, valid_BT, method=method)
        for i, length in enumerate(lengths):
            part = (texts[i : i + 1], memory_BTD[i : i + 1, :length], valid_BT[i : i + 1, :length])
            (alone,) = timed(model, *part, method=method)
            assert [(w.text, w.start_s, w.end_s) for w in together[i]] == [(w.text, w.start_s, w.end_s) for w in alone]
            np.testing.assert_allclose([w.probability for w in together[i]], [w.probability for w in alone], rtol=1e-4)
            assert all(0 <= word.start_s <= word.end_s <= length / 25 for word in alone)
            assert all(one.end_s <= other.start_s + 1e-9 for one, other in pairwise(alone))
            assert all(0 <= word.probability <= 1 for word in alone)


def test_a_decoder_that_looks_at_a_place_is_timed_there():
    """Attention made by hand: token n looks for a key that only its frames have."""
    model = reader(decoder=DecoderConfig(16, 1, 1, 16), ctc=False)
    tokens = WORDS.encode("set red now")
    frames = {0: range(8, 12), 1: range(12, 20), 2: range(20, 24)}
    memory_BTD = torch.zeros(1, 32, 16)
    attention = model.decoder.blocks[0].memory_attention
    for number, where in frames.items():
        memory_BTD[0, list(where), number] = 1
    torch.nn.init.eye_(attention.key.weight)
    torch.nn.init.zeros_(attention.key.bias)
    looking_LD = 40.0 * torch.eye(3, 16)[None]  # begin looks for the first token, and so on
    hook = attention.query.register_forward_hook(lambda *_: torch.nn.functional.pad(looking_LD, (0, 0, 0, 2)))
    (words,) = timed(model, [tokens], memory_BTD)
    hook.remove()
    times = [(word.start_s, word.end_s) for word in words]
    np.testing.assert_allclose(times, [(0.32, 0.48), (0.48, 0.8), (0.8, 0.96)], atol=0.041)


def test_a_text_that_ctc_cannot_spell_is_spread_over_the_speech():
    tokens = WORDS.encode("set red now")
    (words,) = timed(reader(), [tokens], torch.zeros(1, 2, WORDS.vocab_size), speech=[np.array([0, 1.0])])
    assert [word.text for word in words] == ["set", "red", "now"]
    assert (words[0].start_s, words[-1].end_s) == (0.04, 0.08)
    assert [word.probability for word in words] == [0, 0, 0]


def test_empty_texts_have_no_words():
    assert timed(reader(), [[]], torch.zeros(1, 4, WORDS.vocab_size)) == [[]]
    assert timed(reader(decoder=DecoderConfig(16, 1, 1, 16), ctc=False), [[]], torch.zeros(1, 4, 16)) == [[]]


def test_what_does_not_fit_is_named():
    memory_BTD = torch.zeros(2, 4, WORDS.vocab_size)
    with pytest.raises(ValueError, match="1 hypotheses came for a memory of 2"):
        timed(reader(), [[4]], memory_BTD)
    with pytest.raises(ValueError, match="1 probabilities of speech came for a memory of 2"):
        timed(reader(), [[4], [4]], memory_BTD, speech=[None])
    with pytest.raises(ValueError, match="method='attention' came for word times; this model has ctc"):
        timed(reader(), [[4], [4]], memory_BTD, method="attention")
