"""Utterance -> ``Sample``: decode, add noise, augment.

Random draws depend only on (seed, epoch, index). An unreadable clip is logged and the next one is used.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from avspeech.data.augment import AugmentConfig, Augmenter
from avspeech.data.unit_sets import UnitSet
from avspeech.inputs import InputSpec, Modality, NothingReadable, Sample, make_sample
from avspeech.manifest import ManifestError, Utterance
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from avspeech.media.video import read_grey_clip
from avspeech.noise.drawn import DrawnNoise
from avspeech.text.tokenizer import Tokenizer
from avspeech.text.whisper_tokens import WhisperTokenizer
from avspeech.timebase import FRAME_RATE, SAMPLES_PER_FRAME, samples_to_frames

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleKey:
    """One utterance at one training step."""

    index: int
    """Index of the utterance in the dataset."""
    epoch: int = 0
    step: int = 0
    max_frames: int | None = None
    """Cut a longer clip to this many frames at a random place; None: whole."""


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
    """Training steps over which the chance changes."""
    max_words: int = 3
    """Most words of a span."""
    margin: int = 2
    """Most extra frames on either side of the words."""

    def __post_init__(self) -> None:
        if not (0 <= self.start <= 1 and 0 <= self.end <= 1):
            raise ValueError(f"data.spans.start={self.start} and data.spans.end={self.end} must lie between 0 and 1")
        if self.steps < 1 or self.max_words < 1 or self.margin < 0:
            raise ValueError(
                f"data.spans.steps={self.steps} and data.spans.max_words={self.max_words} must be at least 1, "
                f"data.spans.margin={self.margin} at least 0"
            )

    def chance(self, step: int) -> float:
        """Return the chance of a span at a training step."""
        return self.start + (self.end - self.start) * min(1.0, step / self.steps)

    def draw(self, utterance: Utterance, step: int, num_frames: int, rng: np.random.Generator) -> "Span | None":
        """Return a random word span, or None for the whole clip."""
        words = utterance.words
        if not words or rng.random() >= self.chance(step):
            return None
        count = int(rng.integers(1, min(self.max_words, len(words)) + 1))
        first = int(rng.integers(len(words) - count + 1))
        before, after = rng.integers(0, self.margin + 1, 2).tolist()
        chosen = words[first : first + count]
        start = max(0, int(chosen[0].start_s * FRAME_RATE) - before)
        end = min(num_frames, int(np.ceil(chosen[-1].end_s * FRAME_RATE)) + after)
        return Span(start, end, " ".join(word.text for word in chosen)) if end > start else None


@dataclass(frozen=True)
class Span:
    """Frames ``start`` to ``end`` of a clip, and their words."""

    start: int
    end: int
    text: str | None


class AVDataset(Dataset[Sample | None]):
    """Utterances of a manifest as samples. Raises ManifestError if an utterance lacks a needed stream or units.

    Args:
        utterances: with ``mouth`` and ``audio`` as ``modality`` needs.
        inputs: input format of the model.
        tokenizer: None: no tokens (pre-training).
        units: unit sets in the order of the utterances; empty for fine-tuning.
        augment: None: centre crop, whole clip, no draws.
        noise: added to the audio; without ``augment`` the same in every epoch.
        spans: word spans; need ``augment``.
        cache_bytes: memory for decoded streams in each process.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
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
        self.utterances, self.modality, self.inputs, self.tokenizer = list(utterances), modality, inputs, tokenizer
        self.augment, self.noise, self.spans = augment, noise, spans
        self.seed, self.cache_bytes, self.units = seed, cache_bytes, tuple(units)
        self.wants_audio, self.wants_video = "audio" in modality, "video" in modality
        self._check()
        self._cache: dict[int, tuple[np.ndarray | None, np.ndarray | None]] = {}
        self._cached_bytes = 0
        self._reported: set[int] = set()

    def _check(self) -> None:
        needed = [("mouth", self.wants_video), ("audio", self.wants_audio), ("text", self.tokenizer is not None)]
        for utterance in self.utterances:
            for name, wanted in needed:
                if wanted and getattr(utterance, name) is None:
                    raise ManifestError(f"utterance {utterance.id!r} has no {name!r}, which this run needs")
        spans = self.spans is not None and max(self.spans.start, self.spans.end) > 0
        if spans and self.utterances and not any(utterance.words for utterance in self.utterances):
            raise ManifestError("data.spans needs word times, and no utterance of the manifest has 'words'")
        for unit_set in self.units:
            if len(unit_set.rows) != len(self.utterances):
                raise ManifestError(
                    f"{len(unit_set.rows)} unit sequences for {len(self.utterances)} utterances; "
                    "make both from one manifest"
                )

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, key: SampleKey | int) -> Sample | None:
        """Return a sample; in evaluation None for an unreadable clip."""
        if isinstance(key, int):
            key = SampleKey(key)
        index = key.index
        for _ in range(len(self.utterances)):
            try:
                return self._load(index, key)
            except MediaError as error:
                if index not in self._reported:
                    self._reported.add(index)
                    logger.warning("left out utterance %s: %s", self.utterances[index].id, error)
                if self.augment is None:
                    return None
                index = (index + 1) % len(self.utterances)
        raise NothingReadable("no clip of the manifest can be read; the log says why for each")

    def _load(self, index: int, key: SampleKey) -> Sample:
        utterance = self.utterances[index]
        mouth_THW, audio_S, num_frames = self._decode(index)
        units_TJ = (
            np.stack([units.at_frames(index, num_frames) for units in self.units], axis=1) if self.units else None
        )
        rng = np.random.default_rng((self.seed, key.epoch, index))
        if self.noise is not None and audio_S is not None:
            audio_S = self.noise(audio_S, rng, utterance)
        augmenter, text = None, utterance.text
        if self.augment is not None:
            augmenter = Augmenter(self.augment, rng, self.inputs.audio == "logmel")
            audio_S, mouth_THW = augmenter.decoded(audio_S, mouth_THW)
            span = None if self.spans is None else self.spans.draw(utterance, key.step, num_frames, rng)
            if span is not None:
                start, end, text = span.start, span.end, span.text
                mouth_THW = None if mouth_THW is None else mouth_THW[start:end]
                units_TJ = None if units_TJ is None else units_TJ[start:end]
                if audio_S is not None:
                    audio_S = audio_S[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]
                num_frames = end - start
        tokens = None if self.tokenizer is None else self.tokenizer.encode(text or "")
        sample = make_sample(
            self.inputs,
            utterance.id,
            num_frames,
            audio_S,
            mouth_THW,
            augment=augmenter,
            text=text,
            language=utterance.language,
            tokens_L=None if tokens is None else torch.tensor(tokens, dtype=torch.int64),
            units_TJ=None if units_TJ is None else torch.from_numpy(units_TJ),
        )
        return self._shorten(sample, key, rng)

    def _shorten(self, sample: Sample, key: SampleKey, rng: np.random.Generator) -> Sample:
        """Cut to ``augment.max_frames`` and the key's limit; cutting features adds no silence at the edge."""
        limits = [key.max_frames, self.augment.max_frames if self.augment is not None else None]
        longest = min((limit for limit in limits if limit is not None), default=sample.num_frames)
        if sample.num_frames <= longest:
            return sample
        start = int(rng.integers(sample.num_frames - longest + 1))
        return sample.cut(start, start + longest)

    def _decode(self, index: int) -> tuple[np.ndarray | None, np.ndarray | None, int]:
        """Return mouth crop, float32 audio and length in frames."""
        mouth_THW, audio_S = self._cache.get(index) or self._read(index)
        if audio_S is not None:
            audio_S = audio_S.astype(np.float32) / np.float32(32768)
        if mouth_THW is not None:
            return mouth_THW, audio_S, len(mouth_THW)
        assert audio_S is not None
        return None, audio_S, self.utterances[index].num_frames or samples_to_frames(len(audio_S))

    def _read(self, index: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Decode both streams; int16 audio fits twice as much in the cache."""
        utterance = self.utterances[index]
        mouth_THW = audio_S = None
        if self.wants_video:
            assert utterance.mouth is not None
            mouth_THW = read_grey_clip(utterance.mouth, self.inputs.clip_size or 1)
        if self.wants_audio:
            assert utterance.audio is not None
            audio_S = np.clip(np.rint(read_audio(utterance.audio) * 32768), -32768, 32767).astype(np.int16)
            if not len(audio_S):
                raise MediaError(utterance.audio, "has no audio samples")
        size = sum(stream.nbytes for stream in (mouth_THW, audio_S) if stream is not None)
        if self._cached_bytes + size <= self.cache_bytes:
            self._cache[index] = mouth_THW, audio_S
            self._cached_bytes += size
        return mouth_THW, audio_S
