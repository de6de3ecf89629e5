"""Turn the streams of segments into text, words with times, and scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from avspeech.decoding.config import DecodingConfig, inputs_for, settle
from avspeech.decoding.transcribe import decode_memory, encode_batch
from avspeech.decoding.whisper import detect_languages
from avspeech.decoding.word_times import TimedWord, word_times
from avspeech.features.logmel import PAD_S
from avspeech.inputs import AVBatch, Sample, collate, make_sample
from avspeech.models.files import Model
from avspeech.timebase import FRAME_RATE

LONGEST_S = 20.0
"""Longest segment of a model without a limit: as long as the longest clips that AV-HuBERT was tuned on (LRS3)."""
LOWEST_SCORE = -1000.0
"""Score of a text that the model rules out; infinity is no JSON."""
SPARE_S = 1.0
"""How much shorter than a model's limit its longest segment is."""


@dataclass(frozen=True)
class Decoded:
    """The text of a segment; times are in seconds from the segment's start."""

    text: str
    words: tuple[TimedWord, ...]
    score: float
    language: str | None


class SegmentDecoder:
    """A model that transcribes segments.

    Args:
        network: in evaluation mode, on its device.
        config: how to decode.
        name: the model's, for messages.

    Raises:
        ValueError: the model gives no text, or not in this way.
    """

    def __init__(self, network: Model, config: DecodingConfig, name: str) -> None:
        try:
            self.config, self.inputs = settle(config, network), inputs_for(network, config)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        tokenizer: Any = network.tokenizer
        self.network = network
        self.languages: tuple[str, ...] = tokenizer.languages
        """Codes of the languages that the model can be told; empty where it knows none."""
        self.reads_lips = self.inputs.clip_size is not None
        """True if the model uses video."""
        longest_s = LONGEST_S + SPARE_S if self.inputs.longest_s is None else self.inputs.longest_s
        self.longest_s = (min(longest_s, PAD_S) if self.inputs.pads_to_30s else longest_s) - SPARE_S
        """Longest segment."""

    def sample(self, name: str, num_frames: int, audio_S: np.ndarray | None, mouth_THW: np.ndarray | None) -> Sample:
        """Return a segment's features; a stream that is None is dropped."""
        return make_sample(self.inputs, name, num_frames, audio_S, mouth_THW)

    def detect(self, samples: Sequence[Sample]) -> str | None:
        """Return the language that is likeliest over all of the samples; None where the model knows none."""
        if len(self.languages) < 2:
            return self.languages[0] if self.languages else None
        network: Any = self.network
        _, tables = detect_languages(network, encode_batch(network, self._batch(samples)))
        frames = [sample.num_frames for sample in samples]
        return max(tables[0], key=lambda code: sum(n * table[code] for n, table in zip(frames, tables, strict=True)))

    def decode(
        self, samples: Sequence[Sample], language: str | None, speech: Sequence[np.ndarray | None] | None = None
    ) -> list[Decoded]:
        """Return the text of each sample; all have the same streams.

        Args:
            samples: of ``sample``.
            language: of all of them; None: detected where the model knows languages.
            speech: probability of speech per frame of each, (T,), by which words are timed; None: not known.
        """
        batch = self._batch(samples)
        memory = encode_batch(self.network, batch)
        config = replace(self.config, language=language, detect_language=False)
        nbest = decode_memory(self.network, memory, config, (), batch.ids, batch.audio_BTF is not None)
        best = [found[0] for found in nbest]
        durations_s = [one.num_frames / FRAME_RATE for one in samples] if self.inputs.pads_to_30s else None
        timed = word_times(self.network, best, memory, durations_s, speech)
        return [
            Decoded(one.text, tuple(words), max(one.mean_score, LOWEST_SCORE), one.language or language)
            for one, words in zip(best, timed, strict=True)
        ]

    def _batch(self, samples: Sequence[Sample]) -> AVBatch:
        return collate(samples).to(next(self.network.parameters()).device)
