"""Utterance -> ``Sample``: decode, add noise, augment.

Random draws depend only on (seed, epoch, index) and, where an epoch repeats a clip, on the repetition. An unreadable
clip is logged and the next one is used.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from avspeech.data.augment import AugmentConfig, Augmenter, Streams
from avspeech.data.clips import Clips, as_clips, first_lacking
from avspeech.data.unit_sets import UnitSet
from avspeech.inputs import InputSpec, Modality, NothingReadable, Sample, make_sample
from avspeech.manifest import ManifestError, Utterance
from avspeech.media.errors import MediaError
from avspeech.noise.drawn import DrawnNoise
from avspeech.noise.mixing import to_audio
from avspeech.text.tokenizer import Tokenizer
from avspeech.text.whisper_tokens import WhisperTokenizer
from avspeech.timebase import FRAME_RATE, SAMPLES_PER_FRAME, samples_to_frames

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleKey:
    """One utterance at one training step."""

    index: int
    epoch: int = 0
    step: int = 0  # number of its batch, counted over all processes
    max_frames: int | None = None  # cut a longer clip to this many frames at a random place; None: whole
    repeat: int = 0  # times that the epoch had the clip before


@dataclass(frozen=True)
class SpanConfig:
    """Train on spans of a few words, cut by the word times in the manifest.

    On whole sentences a small model learns the grammar and ignores the streams. The chance of a span falls linearly
    from ``start`` to ``end`` over ``steps``.
    """

    start: float = 0.0
    """Chance of a span at the first step."""
    end: float = 0.0
    """Chance of a span from step ``steps`` on."""
    steps: int = 1
    """Training batches, of all processes together, over which the chance changes."""
    max_words: int = 3
    """Most words of a span."""
    margin: int = 2
    """Most extra frames on either side of the words."""

    def __post_init__(self) -> None:
        if not (0 <= self.start <= 1 and 0 <= self.end <= 1):
            raise ValueError(f"data.spans.start={self.start} and data.spans.end={self.end} must lie between 0 and 1")
        for name, least in (("steps", 1), ("max_words", 1), ("margin", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"data.spans.{name}={getattr(self, name)} must be at least {least}")

    def chance(self, step: int) -> float:
        """Return the chance of a span at a training step."""
        return self.start + (self.end - self.start) * min(1.0, step / self.steps)

    def draw(
        self, utterance: Utterance, step: int, num_frames: int, rng: np.random.Generator
    ) -> tuple[int, int, str] | None:
        """Return first and last frame (exclusive) and text of a random word span, or None for the whole clip."""
        words = utterance.words
        if not words or rng.random() >= self.chance(step):
            return None
        count = int(rng.integers(1, min(self.max_words, len(words)) + 1))
        first = int(rng.integers(len(words) - count + 1))
        before, after = rng.integers(0, self.margin + 1, 2).tolist()
        chosen = words[first : first + count]
        start = max(0, int(chosen[0].start_s * FRAME_RATE) - before)
        end = min(num_frames, int(np.ceil(chosen[-1].end_s * FRAME_RATE)) + after)
        return (start, end, " ".join(word.text for word in chosen)) if end > start else None


class AVDataset(Dataset[Sample | None]):
    """Clips as samples. Raises ManifestError if one lacks a needed stream or units.

    ``tokenizer`` None gives no tokens (pre-training). ``augment`` None takes the centre crop of the whole clip, and
    ``noise`` is then the same in every epoch; ``spans`` need it. ``cache_bytes`` of streams are kept in each process.
    """

    def __init__(
        self,
        clips: Clips | Sequence[Utterance],
        modality: Modality = "audio+video",
        inputs: InputSpec = InputSpec(),
        tokenizer: Tokenizer | WhisperTokenizer | None = None,
        units: Sequence[UnitSet] = (),
        augment: AugmentConfig | None = None,
        noise: DrawnNoise | None = None,
        spans: SpanConfig | None = None,
        seed: int = 0,
        cache_bytes: int = 0,
    ) -> None:
        self.clips, self.modality, self.inputs, self.tokenizer = as_clips(clips), modality, inputs, tokenizer
        self.augment, self.noise, self.spans = augment, noise, spans
        self.seed, self.cache_bytes, self.units = seed, cache_bytes, tuple(units)
        self.wants_audio, self.wants_video = "audio" in modality, "video" in modality
        self._cache: dict[int, Streams] = {}
        self._cached_bytes = 0
        self._reported: set[int] = set()
        needed = {"mouth": self.wants_video, "audio": self.wants_audio, "text": self.tokenizer is not None}
        for name, wanted in needed.items():
            if wanted and (lacking := first_lacking(self.clips, name)) is not None:
                raise ManifestError(f"utterance {lacking!r} has no {name!r}, which this run needs")
        count = len(self.clips)
        uses_spans = count and spans is not None and max(spans.start, spans.end) > 0
        if uses_spans and not self.clips.has("words").any():
            raise ManifestError("data.spans needs word times, and no utterance of the manifest has 'words'")
        for rows in (unit_set.rows for unit_set in self.units):
            if len(rows) != count:
                raise ManifestError(f"{len(rows)} unit sequences for {count} utterances; make both from one manifest")

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: SampleKey | int) -> Sample | None:
        """Return a sample; in evaluation None for an unreadable clip."""
        key = SampleKey(key) if isinstance(key, int) else key
        index = key.index
        for _ in range(len(self)):
            try:
                return self._load(index, key)
            except MediaError as error:
                if index not in self._reported:
                    self._reported.add(index)
                    logger.warning("left out utterance %s: %s", self.clips.utterance(index).id, error)
                if self.augment is None:
                    return None
                index = (index + 1) % len(self)
        raise NothingReadable("no clip of the manifest can be read; the log says why for each")

    def _load(self, index: int, key: SampleKey) -> Sample:
        utterance = self.clips.utterance(index)
        mouth_THW, steps_S = self._cache.get(index) or self._read(index)
        audio_S = None if steps_S is None else to_audio(steps_S)
        if mouth_THW is not None:
            num_frames = len(mouth_THW)
        else:
            assert audio_S is not None
            num_frames = utterance.num_frames or samples_to_frames(len(audio_S))
        units = [unit_set.at_frames(index, num_frames) for unit_set in self.units]
        units_TJ = torch.from_numpy(np.stack(units, axis=1)) if units else None
        rng = np.random.default_rng((self.seed, key.epoch, index, *([key.repeat] if key.repeat else [])))
        if self.noise is not None and audio_S is not None:
            audio_S = self.noise(audio_S, rng, utterance)
        augmenter, text = None, utterance.text
        if self.augment is not None:
            augmenter = Augmenter(self.augment, rng, self.inputs.audio == "logmel")
            audio_S, mouth_THW = augmenter.decoded(audio_S, mouth_THW)
            span = None if self.spans is None else self.spans.draw(utterance, key.step, num_frames, rng)
            if span is not None:
                start, end, text = span
                mouth_THW = None if mouth_THW is None else mouth_THW[start:end]
                units_TJ = None if units_TJ is None else units_TJ[start:end]
                audio_S = None if audio_S is None else audio_S[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]
                num_frames = end - start
        sample = make_sample(
            self.inputs,
            utterance.id,
            num_frames,
            audio_S,
            mouth_THW,
            augment=augmenter,
            text=text,
            language=utterance.language,
            tokens_L=None if self.tokenizer is None else torch.tensor(self.tokenizer.encode(text or "")).long(),
            units_TJ=units_TJ,
        )
        # Cutting features, and not the audio, adds no silence at the edge.
        limits = (sample.num_frames, key.max_frames, self.augment and self.augment.max_frames)
        longest = min(limit for limit in limits if limit is not None)
        if sample.num_frames == longest:
            return sample
        start = int(rng.integers(sample.num_frames - longest + 1))
        return sample.cut(start, start + longest)

    def _read(self, index: int) -> Streams:
        """Decode both streams; int16 audio fits twice as much in the cache."""
        streams = self.clips.streams(index, self.wants_audio, self.wants_video, self.inputs.clip_size or 1)
        size = sum(stream.nbytes for stream in streams if stream is not None)
        if self._cached_bytes + size <= self.cache_bytes:
            self._cache[index] = streams
            self._cached_bytes += size
        return streams
