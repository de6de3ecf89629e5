"""Streams of a segment -> text, words with times, score: the same for a recogniser, a Whisper and one with lips."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from avspeech.decoding.recognizer_times import recognizer_word_times
from avspeech.decoding.transcribe import Hypothesis, Method, check_heads, recognizer_memory, transcribe_memory
from avspeech.decoding.whisper_transcribe import WhisperOptions, decode_memory, detect_languages, encode_batch
from avspeech.decoding.word_times import TimedWord, word_times
from avspeech.features.logmel import PAD_S
from avspeech.inputs import AVBatch, Sample, collate, make_sample
from avspeech.models.files import Model
from avspeech.models.flamingo import Flamingo
from avspeech.models.recognizer import Recognizer
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import POSITIONS_PER_SECOND
from avspeech.text.whisper_tokens import WhisperTokenizer
from avspeech.timebase import FRAME_RATE

FALLBACK = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""OpenAI's temperatures: a text that repeats itself is drawn again."""
RECOGNIZER_LONGEST_S = 20.0
"""Longest segment for a recogniser: as long as the longest clips that AV-HuBERT was tuned on (LRS3)."""
BEAM_SIZES: dict[Method, int] = {"ctc": 16, "attention": 1, "joint": 5}
"""Hypotheses that a recogniser keeps where nobody says how many."""
LOWEST_SCORE = -1000.0
"""Of a text that the model rules out; infinity is no JSON."""
SPARE_S = 1.0
"""How much shorter than a Whisper's positions its longest segment is."""


@dataclass(frozen=True)
class DecodingConfig:
    """How segments are turned into text."""

    method: Method | None = None
    """Of a recogniser: `ctc`, `attention` or `joint`; null takes `joint` where it has both heads, else the one it
    has. A Whisper has `attention` only."""
    beam_size: int | None = None
    """Hypotheses kept, 1 is greedy; null: 16 of CTC, whose beam costs little, 5 of `joint`, 1 of `attention`."""
    temperatures: tuple[float, ...] = FALLBACK
    """Of a Whisper: tried in order until a text neither repeats itself nor is improbable."""
    pad_to_30s: bool | None = None
    """Of a Whisper: add silence up to 30 s; null does so for OpenAI's own weights, which need it."""
    max_frames: int = 3000
    """Budget of a batch in frames at 25 Hz, padding included."""
    max_clips: int = 16
    """Most segments in a batch."""

    def __post_init__(self) -> None:
        if self.method not in (None, "ctc", "attention", "joint"):
            raise ValueError(f"method={self.method!r} came; wanted ctc, attention, joint, or null for the model's own")
        if self.beam_size is not None and self.beam_size < 1:
            raise ValueError(f"beam_size={self.beam_size} must be at least 1")
        if self.max_frames < 1 or self.max_clips < 1:
            raise ValueError(f"max_frames={self.max_frames} and max_clips={self.max_clips} must be at least 1")


@dataclass(frozen=True)
class Decoded:
    """What a model makes of one segment; times are in seconds from the segment's start."""

    text: str
    words: tuple[TimedWord, ...]
    score: float
    language: str | None


class SegmentDecoder(Protocol):
    """A model that can write down a segment."""

    longest_s: float
    """The longest segment that it takes."""
    languages: tuple[str, ...]
    """Codes of the languages that it can be told; empty where it knows none."""
    reads_lips: bool
    """Whether it has eyes."""

    def sample(self, name: str, num_frames: int, audio_S: np.ndarray | None, mouth_THW: np.ndarray | None) -> Sample:
        """Return a segment's features; a stream that is None is dropped."""
        ...

    def detect(self, samples: Sequence[Sample]) -> str | None:
        """Return the language that is likeliest over all of the samples; None where the model knows none."""
        ...

    def decode(
        self, samples: Sequence[Sample], language: str | None, speech: Sequence[np.ndarray | None] | None = None
    ) -> list[Decoded]:
        """Return the text of each sample; all have the same streams.

        Args:
            samples: of ``sample``.
            language: of all of them; None: not known.
            speech: probability of speech per frame of each, (T,), by which words are timed; None: nobody listened.
        """
        ...


def make_decoder(network: Model, config: DecodingConfig, name: str) -> SegmentDecoder:
    """Return what turns segments into text.

    Args:
        network: in evaluation mode, on its device.
        config: how to decode.
        name: of the model, for messages.

    Raises:
        ValueError: the model gives no text, or not in this way.
    """
    if isinstance(network, Whisper):
        return WhisperSegments(network, config, name)
    if isinstance(network, Recognizer):
        return RecognizerSegments(network, config, name)
    raise ValueError(
        f"{name} is a pre-trained model that gives no text; fine-tune it with avspeech.train, or take its features"
    )


class WhisperSegments:
    """A Whisper, with lips or without."""

    def __init__(self, network: Whisper, config: DecodingConfig, name: str) -> None:
        if config.method not in (None, "attention"):
            raise ValueError(
                f"method={config.method!r} came for {name}, a Whisper, which has no CTC head; leave it out"
            )
        self.network, self.tokenizer = network, WhisperTokenizer(network.sizes.vocab_size)
        self.options = WhisperOptions(beam_size=config.beam_size or 1, temperatures=config.temperatures)
        source = network.source or {}
        official = source.get("model") == "whisper" and not source.get("fine_tuned")
        self.pad_to_30s = official if config.pad_to_30s is None else config.pad_to_30s
        self.longest_s = network.sizes.audio_positions / POSITIONS_PER_SECOND - SPARE_S
        if self.pad_to_30s:
            if network.sizes.audio_positions < PAD_S * POSITIONS_PER_SECOND:
                raise ValueError(f"pad_to_30s came for {name}, which hears at most {self.longest_s + SPARE_S:g} s")
            self.longest_s = min(self.longest_s, PAD_S - SPARE_S)
        self.languages = self.tokenizer.languages
        self.reads_lips = isinstance(network, Flamingo)

    def sample(self, name: str, num_frames: int, audio_S: np.ndarray | None, mouth_THW: np.ndarray | None) -> Sample:
        """See ``SegmentDecoder``."""
        inputs = replace(self.network.inputs, pads_to_30s=self.pad_to_30s)
        return make_sample(inputs, name, num_frames, audio_S, mouth_THW)

    def detect(self, samples: Sequence[Sample]) -> str | None:
        """See ``SegmentDecoder``; an English-only Whisper is never asked."""
        if not self.tokenizer.is_multilingual:
            return "en"
        memory = encode_batch(self.network, self._batch(samples))
        _, tables = detect_languages(self.network, self.tokenizer, memory)
        frames = [sample.num_frames for sample in samples]
        return max(tables[0], key=lambda code: sum(n * table[code] for n, table in zip(frames, tables, strict=True)))

    @torch.no_grad()
    def decode(
        self, samples: Sequence[Sample], language: str | None, speech: Sequence[np.ndarray | None] | None = None
    ) -> list[Decoded]:
        """See ``SegmentDecoder``."""
        memory = encode_batch(self.network, self._batch(samples))
        options = replace(self.options, language=language if self.tokenizer.is_multilingual else None)
        ids = [sample.id for sample in samples]
        best = [one[0] for one in decode_memory(self.network, self.tokenizer, memory, (), options, ids)]
        durations_s = [sample.num_frames / FRAME_RATE for sample in samples] if self.pad_to_30s else None
        timed = word_times(self.network, self.tokenizer, best, memory, durations_s, speech)
        return [
            Decoded(one.text, tuple(words), one.score, one.language) for one, words in zip(best, timed, strict=True)
        ]

    def _batch(self, samples: Sequence[Sample]) -> AVBatch:
        return collate(samples).to(next(self.network.parameters()).device)


class RecognizerSegments:
    """A recogniser of AV-HuBERT's kind, by CTC, by its decoder, or by both."""

    languages: tuple[str, ...] = ()
    reads_lips = True
    longest_s = RECOGNIZER_LONGEST_S

    def __init__(self, network: Recognizer, config: DecodingConfig, name: str) -> None:
        if network.tokenizer is None:
            raise ValueError(
                f"{name} carries no tokenizer, so it cannot give text; import it with its dictionary "
                "(python -m avspeech.interop --dictionary dict.wrd.txt)"
            )
        both = network.ctc_head is not None and network.decoder is not None
        self.method: Method = config.method or ("joint" if both else "ctc" if network.decoder is None else "attention")
        check_heads(network, self.method)
        self.beam_size = config.beam_size or BEAM_SIZES[self.method]
        self.network, self.tokenizer = network, network.tokenizer

    def sample(self, name: str, num_frames: int, audio_S: np.ndarray | None, mouth_THW: np.ndarray | None) -> Sample:
        """See ``SegmentDecoder``."""
        return make_sample(self.network.inputs, name, num_frames, audio_S, mouth_THW)

    def detect(self, samples: Sequence[Sample]) -> str | None:
        """See ``SegmentDecoder``; it knows no languages."""
        return None

    @torch.no_grad()
    def decode(
        self, samples: Sequence[Sample], language: str | None, speech: Sequence[np.ndarray | None] | None = None
    ) -> list[Decoded]:
        """See ``SegmentDecoder``; the language is only handed on."""
        batch = collate(samples).to(next(self.network.parameters()).device)
        memory_BTD = recognizer_memory(self.network, batch)
        nbest = transcribe_memory(self.network, self.tokenizer, memory_BTD, batch.valid_BT, self.method, self.beam_size)
        best = [found[0] if found else Hypothesis("", -torch.inf) for found in nbest]
        tokens = [one.tokens for one in best]
        timed = recognizer_word_times(self.network, self.tokenizer, tokens, memory_BTD, batch.valid_BT, speech)
        return [
            Decoded(one.text, tuple(words), max(one.mean_score, LOWEST_SCORE), language)
            for one, words in zip(best, timed, strict=True)
        ]
