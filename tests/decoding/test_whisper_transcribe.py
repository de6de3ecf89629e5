"""Batches to texts: languages, fallback, options that cannot be, and the errors a user sees."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from reference_whisper import POSITIONS, TOKENIZER, mels, memory_of, tiny_pair

from avspeech.decoding import whisper_transcribe
from avspeech.decoding.whisper_transcribe import (
    WhisperHypothesis,
    WhisperOptions,
    compression_ratio,
    decode_memory,
    detect_languages,
    failed,
    transcribe_whisper,
)
from avspeech.models.memory import Memory
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig
from avspeech.text.whisper_tokens import ENGLISH_ONLY, WhisperTokenizer


def batch_of(logmel_BAF, valid_BA=None, languages=None):
    count = len(logmel_BAF)
    return SimpleNamespace(
        ids=tuple(f"clip{i}" for i in range(count)),
        languages=languages or (None,) * count,
        logmel_BAF=logmel_BAF,
        valid_BA=valid_BA,
        video_BTHW=None,
        valid_BT=torch.ones(count, logmel_BAF.shape[1] // 4, dtype=torch.bool),
    )


def test_clips_of_unequal_length_decode_as_alone():
    _, ours = tiny_pair()
    lengths = [120, 40, 81]
    logmel_BAF = mels(3)
    valid_BA = torch.arange(120)[None] < torch.tensor(lengths)[:, None]
    logmel_BAF = torch.where(valid_BA[..., None], logmel_BAF, 0)
    languages = ("en", "ru", None)
    together = transcribe_whisper(ours, TOKENIZER, batch_of(logmel_BAF, valid_BA, languages))
    for i, length in enumerate(lengths):
        alone = transcribe_whisper(
            ours, TOKENIZER, batch_of(logmel_BAF[i : i + 1, :length], languages=languages[i : i + 1])
        )
        assert together[i][0].tokens == alone[0][0].tokens
        assert together[i][0].language == alone[0][0].language
    assert [nbest[0].language for nbest in together[:2]] == ["en", "ru"]


def test_languages_come_from_options_then_batch_then_detection():
    _, ours = tiny_pair()
    memory = memory_of(ours, 2)
    detected, _ = detect_languages(ours, TOKENIZER, memory)

    def languages(given, **options):
        return [nbest[0].language for nbest in decode_memory(ours, TOKENIZER, memory, given, WhisperOptions(**options))]

    assert languages(["fr", None]) == ["fr", detected[1]]
    assert languages(["fr", None], language="pt") == ["pt", "pt"]
    assert languages(["fr", "fr"], detect_language=True) == detected
    assert languages([]) == detected


def test_only_what_failed_is_decoded_again(monkeypatch):
    _, ours = tiny_pair()
    memory = memory_of(ours, 4)
    first = decode_memory(ours, TOKENIZER, memory, ["en"] * 4)
    scores = sorted(nbest[0].score for nbest in first)
    threshold = (scores[1] + scores[2]) / 2  # two of the four pass
    tried = []
    search = whisper_transcribe._search

    def spy(model, tokenizer, start, ids, temperature, options):
        tried.append((temperature, ids))
        return search(model, tokenizer, start, ids, temperature, options)

    monkeypatch.setattr(whisper_transcribe, "_search", spy)
    options = WhisperOptions(
        temperatures=(0.0, 0.4), logprob_threshold=threshold, no_speech_threshold=None, compression_ratio_threshold=None
    )
    found = decode_memory(ours, TOKENIZER, memory, ["en"] * 4, options, ids="abcd")
    low = [name for name, nbest in zip("abcd", first, strict=True) if nbest[0].score < threshold]
    assert tried == [(0.0, list("abcd")), (0.4, low)]
    for name, now, then in zip("abcd", found, first, strict=True):
        assert now[0].temperature == (0.4 if name in low else 0.0)
        assert name in low or now == then


def test_draws_depend_on_seed_and_id():
    _, ours = tiny_pair()
    memory = memory_of(ours, 1)

    def tokens(seed, name):
        options = WhisperOptions(temperatures=(1.5,), best_of=2, num_best=2, seed=seed, language="en")
        return [one.tokens for one in decode_memory(ours, TOKENIZER, memory, (), options, [name])[0]]

    assert tokens(0, "a") == tokens(0, "a")
    assert tokens(0, "a") != tokens(1, "a")
    assert tokens(0, "a") != tokens(0, "b")


def test_fallback_follows_the_thresholds_of_openai():
    good = WhisperHypothesis("", [1], -0.5, "en", 0.0, 0.1, 1.0)
    assert not failed(good, WhisperOptions())
    assert failed(replace(good, score=-1.5), WhisperOptions())
    assert failed(replace(good, compression_ratio=3.0), WhisperOptions())
    assert not failed(replace(good, score=-1.5, no_speech_prob=0.7), WhisperOptions())
    assert failed(replace(good, score=-1.5, no_speech_prob=0.7), WhisperOptions(no_speech_threshold=None))
    off = WhisperOptions(logprob_threshold=None, compression_ratio_threshold=None)
    assert not failed(replace(good, score=-9.0, compression_ratio=9.0), off)


def test_a_text_that_repeats_itself_compresses():
    from whisper.utils import compression_ratio as theirs

    for text in ("", "bin blue at two now", "so it goes. " * 20, "ψωμί και τυρί"):
        assert compression_ratio(text) == theirs(text)


def test_english_only_models_need_no_language():
    ours = Whisper(
        WhisperConfig(
            audio_positions=POSITIONS, audio_width=16, audio_heads=2, audio_depth=1, vocab_size=ENGLISH_ONLY,
            text_positions=16, text_width=16, text_heads=2, text_depth=1,
        )
    ).eval()  # fmt: skip
    tokenizer = WhisperTokenizer(ENGLISH_ONLY)
    ((found,),) = decode_memory(ours, tokenizer, memory_of(ours, 1), [None])
    assert found.language == "en"
    assert len(found.tokens) <= 8
    with pytest.raises(ValueError, match="English-only"):
        detect_languages(ours, tokenizer, memory_of(ours, 1))


def test_nan_is_an_error_not_silence():
    _, ours = tiny_pair()
    logmel_BAF = mels(2)
    logmel_BAF[1, 3] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        transcribe_whisper(ours, TOKENIZER, batch_of(logmel_BAF))


def test_unknown_languages_and_impossible_options_are_named():
    _, ours = tiny_pair()
    with pytest.raises(ValueError, match="language 'xx'"):
        decode_memory(ours, TOKENIZER, memory_of(ours, 1), ["xx"])
    for options, name in [
        ({"beam_size": 0}, "beam_size=0"),
        ({"beam_size": 2, "patience": 0.1}, "patience=0.1"),
        ({"temperatures": ()}, "temperatures"),
        ({"length_penalty": 2.0}, "length_penalty=2.0"),
        ({"language": "en", "detect_language": True}, "detect_language"),
        ({"max_tokens": 0}, "max_tokens=0"),
    ]:
        with pytest.raises(ValueError, match=name):
            WhisperOptions(**options)


def test_video_alone_is_decoded_with_the_memory_it_gives():
    """A memory whose audio is one zero position, as ``Flamingo.encode`` makes it without audio."""
    _, ours = tiny_pair()
    found = decode_memory(ours, TOKENIZER, Memory(torch.zeros(2, 1, 32)), ["en", "en"])
    assert found[0][0].tokens == found[1][0].tokens
