"""Decode the streams of segments into text, timed words and scores."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from avspeech.decoding.config import DecodingConfig, inputs_for, settle
from avspeech.decoding.transcribe import decode_memory, encode_batch
from avspeech.decoding.whisper import detect_languages
from avspeech.decoding.word_times import time_words
from avspeech.features.logmel import PAD_S
from avspeech.inputs import AVBatch, Sample, collate, make_sample
from avspeech.models.files import Model
from avspeech.timebase import FRAME_RATE
from avspeech.transcription.result import Segment

LONGEST_S = 20.0  # longest segment of a model without a limit: the longest clips of AV-HuBERT's fine-tuning (LRS3)
LOWEST_SCORE = -1000.0  # score of an impossible text, because JSON has no infinity
SPARE_S = 1.0  # margin in seconds between a model's limit and its longest segment


class SegmentDecoder:
    """Decodes segments. ValueError: the network has no text output, or does not support this config."""

    def __init__(self, network: Model, config: DecodingConfig, name: str) -> None:
        try:
            self.config, self.inputs = settle(config, network), inputs_for(network, config)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        tokenizer: Any = network.tokenizer
        self.network = network
        self.languages: tuple[str, ...] = tokenizer.languages  # that the model can be told
        self.reads_lips = self.inputs.clip_size is not None
        longest_s = LONGEST_S + SPARE_S if self.inputs.longest_s is None else self.inputs.longest_s
        self.longest_s = (min(longest_s, PAD_S) if self.inputs.pads_to_30s else longest_s) - SPARE_S
        """Longest segment in seconds."""

    def sample(self, name: str, num_frames: int, audio_S: np.ndarray | None, mouth_THW: np.ndarray | None) -> Sample:
        return make_sample(self.inputs, name, num_frames, audio_S, mouth_THW)

    def detect(self, samples: Sequence[Sample]) -> str | None:
        """Return the most likely language over all samples; None if the model knows none."""
        if len(self.languages) < 2:
            return self.languages[0] if self.languages else None
        network: Any = self.network
        _, tables = detect_languages(network, encode_batch(network, self._batch(samples)))
        frames = [sample.num_frames for sample in samples]
        return max(tables[0], key=lambda code: sum(n * table[code] for n, table in zip(frames, tables, strict=True)))

    def decode(
        self,
        samples: Sequence[Sample],
        language: str | None,
        speech: Sequence[np.ndarray | None] | None = None,
        segments: Sequence[Segment] | None = None,
    ) -> list[Segment]:
        """Return each sample's segment with text, words, score and language; all samples have the same streams.

        Args:
            language: of all samples; None: detected, if the model knows languages.
            speech: probability of speech per frame of each, (T,), to time words; None: unknown.
            segments: of the samples; None: each begins at 0 s.
        """
        batch = self._batch(samples)
        memory = encode_batch(self.network, batch)
        config = replace(self.config, language=language, detect_language=False)
        nbest = decode_memory(self.network, memory, config, (), batch.ids, batch.audio_BTF is not None)
        best = [found[0] for found in nbest]
        durations_s = [one.num_frames / FRAME_RATE for one in samples]
        timed = time_words(self.network, best, memory, durations_s if self.inputs.pads_to_30s else None, speech)
        found = []
        segments = segments or [Segment(0.0, end_s) for end_s in durations_s]
        for segment, one, words in zip(segments, best, timed, strict=True):
            given = {"score": max(one.mean_score, LOWEST_SCORE), "language": one.language or language}
            at, end = segment.start_s, segment.end_s  # on the file's clock
            words = [replace(w, start_s=min(at + w.start_s, end), end_s=min(at + w.end_s, end)) for w in words]
            spent = {"face": None, "mouth_THW": None, "doubt": None}
            found.append(replace(segment, text=one.text, words=tuple(words), **spent, **given))
        return found

    def _batch(self, samples: Sequence[Sample]) -> AVBatch:
        return collate(samples).to(next(self.network.parameters()).device)
