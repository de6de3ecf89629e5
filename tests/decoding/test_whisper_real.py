"""The real Whisper base against openai-whisper: logits, greedy transcripts and word times.

``AVSPEECH_WHISPER_BASE`` names the weights (OpenAI's ``base.pt``), ``AVSPEECH_SHARED`` a folder with GRID clips.
"""

import importlib.util
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.transcribe import decode_memory
from avspeech.decoding.word_times import time_words
from avspeech.features.logmel import logmel_AF
from avspeech.interop.whisper import load_openai
from avspeech.media.audio import read_audio
from avspeech.noise.mixing import mix_at_snr
from avspeech.text.whisper_tokens import APPENDED, PREPENDED, WhisperTokenizer

WEIGHTS, SHARED = os.environ.get("AVSPEECH_WHISPER_BASE"), os.environ.get("AVSPEECH_SHARED")
pytestmark = pytest.mark.skipif(
    not WEIGHTS, reason="AVSPEECH_WHISPER_BASE names no weights of Whisper base in OpenAI's layout"
)
needs_grid = pytest.mark.skipif(not SHARED, reason="AVSPEECH_SHARED names no folder with GRID clips")
SNR_DB = 10.0
SPOKEN = ("en", "ar", "de", "el", "es", "fr", "it", "pt", "ru")


@cache
def models():
    import whisper

    assert WEIGHTS is not None
    theirs = whisper.load_model(WEIGHTS, device="cpu")
    theirs.set_alignment_heads(whisper._ALIGNMENT_HEADS["base"])  # a model loaded from a file has none
    return theirs, load_openai(WEIGHTS, name="base")


def grid_clips(count):
    assert SHARED is not None
    paths = sorted((Path(SHARED) / "data" / "grid_s1" / "video").glob("*.mp4"))
    return [read_audio(path) for path in paths[:: len(paths) // count][:count]]


def spoken_clips(languages, per_language):
    """Return (audio, language) of synthetic sentences."""
    if importlib.util.find_spec("espeakng_loader") is None:
        pytest.skip("espeakng-loader is not installed: pip install 'avspeech[synthetic]'")
    from data_prep.synthetic.espeak import Espeak, Voice
    from data_prep.synthetic.speech import say
    from data_prep.synthetic.texts import read_sentences

    rng = np.random.default_rng(5)
    with Espeak() as espeak:
        return [
            (say(espeak, text, language, Voice("m3"), rng).audio_S, language)
            for language in languages
            for text in read_sentences(language)[:per_language]
        ]


def with_noise(clips):
    """Return the clips, and each again in white noise."""
    rng = np.random.default_rng(9)
    noisy = [mix_at_snr(audio_S, rng.standard_normal(len(audio_S)).astype(np.float32), SNR_DB) for audio_S in clips]
    return [*clips, *noisy]


def padded(clips):
    return torch.stack([logmel_AF(torch.as_tensor(audio_S), pad_to_30s=True) for audio_S in clips])


@torch.no_grad()
def compare(clips, languages, batch_size=8):
    """Check logits and greedy transcripts of every clip; return the texts."""
    from whisper.decoding import DecodingOptions, decode

    theirs, ours = models()
    tokenizer, texts = WhisperTokenizer(), []
    for first in range(0, len(clips), batch_size):
        mel_BAF, codes = padded(clips[first : first + batch_size]), languages[first : first + batch_size]
        memory = ours.encode_streams(mel_BAF)
        found = decode_memory(ours, memory, DecodingConfig(temperatures=(0.0,)), codes)
        for i, ((best,), code) in enumerate(zip(found, codes, strict=True)):
            audio_1PD = theirs.encoder(mel_BAF[i : i + 1].transpose(1, 2))
            (wanted,) = decode(theirs, audio_1PD, DecodingOptions(language=code, fp16=False, without_timestamps=True))
            assert list(best.tokens) == wanted.tokens, (best.text, wanted.text)
            assert best.score == pytest.approx(wanted.avg_logprob, abs=1e-3)
            tokens_1L = torch.tensor([[*tokenizer.prompt(code), *wanted.tokens]])
            theirs_LV = theirs.decoder(tokens_1L, audio_1PD)[0]
            ours_LV = ours.decoder(tokens_1L, memory.select(torch.tensor([i])))[0]
            assert (ours_LV - theirs_LV).abs().max() / theirs_LV.abs().max() < 1e-4
            texts.append(best.text)
    return texts


@needs_grid
def test_a_few_clips_are_transcribed_as_openai_does():
    clips = [with_noise(grid_clips(1))[1], *(audio_S for audio_S, _ in spoken_clips(("de",), 1))]
    assert all(compare(clips, ["en", "de"]))


@pytest.mark.slow
@needs_grid
def test_grid_clips_are_transcribed_as_openai_does():
    compare(with_noise(grid_clips(20)), ["en"] * 40)


@pytest.mark.slow
def test_sentences_in_nine_languages_are_transcribed_as_openai_does():
    spoken = spoken_clips(SPOKEN, 2)
    assert len(spoken) == 18
    compare(with_noise([audio_S for audio_S, _ in spoken]), [language for _, language in spoken] * 2)


@pytest.mark.slow
@needs_grid
@torch.no_grad()
def test_word_times_are_those_of_openai():
    from whisper.timing import find_alignment, merge_punctuations
    from whisper.tokenizer import get_tokenizer

    theirs, ours = models()
    clips = grid_clips(1)
    mel_BAF = padded(clips)
    memory = ours.encode_streams(mel_BAF)
    best = [nbest[0] for nbest in decode_memory(ours, memory, DecodingConfig(language="en", temperatures=(0.0,)))]
    durations_s = [len(audio_S) / 16_000 for audio_S in clips]
    timed = time_words(ours, best, memory, durations_s)
    library = get_tokenizer(True, num_languages=99, language="en", task="transcribe")
    for one, words, mel_AF, duration_s in zip(best, timed, mel_BAF, durations_s, strict=True):
        wanted = find_alignment(theirs, library, list(one.tokens), mel_AF.T, round(duration_s * 100))
        merge_punctuations(wanted, PREPENDED, APPENDED)
        wanted = [word for word in wanted if word.word]
        assert [word.text for word in words] == [word.word.strip() for word in wanted]
        for word, their in zip(words, wanted, strict=True):
            assert abs(word.start_s - their.start) <= 0.04
            assert abs(word.end_s - their.end) <= 0.04
            assert word.probability == pytest.approx(their.probability, abs=1e-3)
    assert len(best[0].text.split()) > 1
