"""Batches to texts: languages, fallback, options that cannot be, and the errors a user sees."""

from dataclasses import replace

import torch
from reference_whisper import POSITIONS, mels, memory_of

import avspeech
from avspeech.decoding import whisper
from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.hypothesis import Hypothesis
from avspeech.decoding.transcribe import decode_memory, encode_batch, transcribe_batch
from avspeech.decoding.whisper import compression_ratio, detect_languages, failed
from avspeech.decoding.word_times import time_words
from avspeech.inputs import AVBatch
from avspeech.models.memory import Memory
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig
from avspeech.text.whisper_tokens import ENGLISH_ONLY
from tests.refusals import raises

GREEDY = DecodingConfig(temperatures=(0.0,))


def batch_of(logmel_BAF, valid_BA=None, languages=None):
    ids, nothing = tuple(f"clip{i}" for i in range(len(logmel_BAF))), (None,) * len(logmel_BAF)
    valid_BT = torch.ones(len(logmel_BAF), logmel_BAF.shape[1] // 4, dtype=torch.bool)
    given = {"logmel_BAF": logmel_BAF, "valid_BA": valid_BA, "languages": languages or nothing}
    return AVBatch(ids, valid_BT, None, None, None, None, nothing, **given)


def test_clips_of_unequal_length_decode_as_alone(ours):
    lengths = [120, 40, 81]
    logmel_BAF = mels(3)
    valid_BA = torch.arange(120)[None] < torch.tensor(lengths)[:, None]
    logmel_BAF = torch.where(valid_BA[..., None], logmel_BAF, 0)
    languages = ("en", "ru", None)
    together = transcribe_batch(ours, batch_of(logmel_BAF, valid_BA, languages), config=GREEDY)
    for i, length in enumerate(lengths):
        one = batch_of(logmel_BAF[i : i + 1, :length], languages=languages[i : i + 1])
        alone = transcribe_batch(ours, one, config=GREEDY)
        assert together[i][0].tokens == alone[0][0].tokens
        assert together[i][0].language == alone[0][0].language
    assert [nbest[0].language for nbest in together[:2]] == ["en", "ru"]


def test_the_public_calls_of_version_0_1_0_hold(ours):
    """They take the tokenizer after the model; words come greedily, without fallback."""
    batch = batch_of(mels(2), languages=("en", "ru"))
    found = avspeech.transcribe_whisper(ours, ours.tokenizer, batch)
    assert found == transcribe_batch(ours, batch, config=GREEDY)
    best, memory = [nbest[0] for nbest in found], encode_batch(ours, batch)
    assert avspeech.word_times(ours, ours.tokenizer, best, memory) == time_words(ours, best, memory)
    options = DecodingConfig(temperatures=(0.0,), beam_size=2, num_best=2)
    nbest = avspeech.transcribe_whisper(ours, ours.tokenizer, batch, None, options)
    assert nbest == transcribe_batch(ours, batch, config=options)


def test_languages_come_from_options_then_batch_then_detection(ours):
    memory = memory_of(ours, 2)
    detected, _ = detect_languages(ours, memory)

    def languages(given, **options):
        return [nbest[0].language for nbest in decode_memory(ours, memory, replace(GREEDY, **options), given)]

    assert languages(["fr", None]) == ["fr", detected[1]]
    assert languages(["fr", None], language="pt") == ["pt", "pt"]
    assert languages(["fr", "fr"], detect_language=True) == detected
    assert languages([]) == detected


def test_only_what_failed_is_decoded_again(ours, monkeypatch):
    memory = memory_of(ours, 4)
    first = decode_memory(ours, memory, GREEDY, ["en"] * 4)
    scores = sorted(nbest[0].score for nbest in first)
    threshold = (scores[1] + scores[2]) / 2  # two of the four pass
    tried = []
    search = whisper._search

    def spy(model, start, ids, temperature, config):
        tried.append((temperature, ids))
        return search(model, start, ids, temperature, config)

    monkeypatch.setattr(whisper, "_search", spy)
    off = {"no_speech_threshold": None, "compression_ratio_threshold": None}
    options = DecodingConfig(temperatures=(0.0, 0.4), logprob_threshold=threshold, **off)
    found = decode_memory(ours, memory, options, ["en"] * 4, ids="abcd")
    low = [name for name, nbest in zip("abcd", first, strict=True) if nbest[0].score < threshold]
    assert tried == [(0.0, list("abcd")), (0.4, low)]
    for name, now, then in zip("abcd", found, first, strict=True):
        assert now[0].temperature == (0.4 if name in low else 0.0)
        assert name in low or now == then


def test_draws_depend_on_seed_and_id(ours):
    memory = memory_of(ours, 1)

    def tokens(seed, name):
        options = DecodingConfig(temperatures=(1.5,), best_of=2, num_best=2, seed=seed, language="en")
        return [one.tokens for one in decode_memory(ours, memory, options, (), [name])[0]]

    assert tokens(0, "a") == tokens(0, "a")
    assert tokens(0, "a") != tokens(1, "a")
    assert tokens(0, "a") != tokens(0, "b")


def test_fallback_follows_the_thresholds_of_openai():
    good = Hypothesis("", -0.5, (1,), -0.5, no_speech_prob=0.1, compression_ratio=1.0)
    assert not failed(good, DecodingConfig())
    assert failed(replace(good, mean_score=-1.5), DecodingConfig())
    assert failed(replace(good, compression_ratio=3.0), DecodingConfig())
    assert not failed(replace(good, mean_score=-1.5, no_speech_prob=0.7), DecodingConfig())
    assert failed(replace(good, mean_score=-1.5, no_speech_prob=0.7), DecodingConfig(no_speech_threshold=None))
    off = DecodingConfig(logprob_threshold=None, compression_ratio_threshold=None)
    assert not failed(replace(good, mean_score=-9.0, compression_ratio=9.0), off)


def test_a_text_that_repeats_itself_compresses():
    from whisper.utils import compression_ratio as theirs

    for text in ("", "bin blue at two now", "so it goes. " * 20, "ψωμί και τυρί"):
        assert compression_ratio(text) == theirs(text)


def test_english_only_models_need_no_language():
    ours = Whisper(WhisperConfig(80, POSITIONS, 16, 2, 1, ENGLISH_ONLY, 16, 16, 2, 1)).eval()
    ((found,),) = decode_memory(ours, memory_of(ours, 1), GREEDY, [None])
    assert found.language == "en"
    assert len(found.tokens) <= 8
    raises(ValueError, "English-only", detect_languages, ours, memory_of(ours, 1))


def test_nan_is_an_error_not_silence(ours):
    logmel_BAF = mels(2)
    logmel_BAF[1, 3] = torch.nan
    raises(ValueError, "not finite", transcribe_batch, ours, batch_of(logmel_BAF))


def test_unknown_languages_and_impossible_options_are_named(ours):
    raises(ValueError, "language 'xx'", decode_memory, ours, memory_of(ours, 1), GREEDY, ["xx"])
    for options, name in [
        ({"beam_size": 2, "patience": 0.1}, "patience=0.1"),
        ({"length_penalty": 2.0}, r"length_penalty=2\.0 must lie in 0\.\.1"),
        ({"method": "ctc"}, "method='ctc' came for a Whisper without CTC head"),
    ]:
        raises(ValueError, name, decode_memory, ours, memory_of(ours, 1), DecodingConfig(**options), ["en"])


def test_video_alone_is_decoded_with_the_memory_it_gives(ours):
    """A memory whose audio is one zero position, as ``Flamingo.encode`` makes it without audio."""
    found = decode_memory(ours, Memory(torch.zeros(2, 1, 32)), GREEDY, ["en", "en"])
    assert found[0][0].tokens == found[1][0].tokens
