"""Utterance -> ``Sample``: decode, augment, bring both streams to one length.

The video's length wins: short audio gets zero rows, long audio is cut (AV-HuBERT's rule, Shi et al. 2022, official
code). What augmentation draws for an utterance depends on (seed, epoch, index) and never on the worker or on what was
loaded before. A clip that cannot be read is named in the log with its reason; training goes on with its neighbour.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from avspeech.data.stored_otherwise import at_other_rate, shifted
from avspeech.data.unit_sets import UnitSet
from avspeech.features.clip import CLIP_SIZE, MEAN, crop_clips
from avspeech.features.logfbank import fbank_TF
from avspeech.features.logmel import logmel_AF as logmel_AF_of
from avspeech.inputs import Modality, NothingReadable, Sample, fit_samples
from avspeech.manifest import ManifestError, Utterance
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from avspeech.media.video import read_grey_clip
from avspeech.noise.sources import TrainingNoise
from avspeech.timebase import FRAME_RATE, SAMPLES_PER_FRAME, frames_to_samples, samples_to_frames

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleKey:
    """Which utterance to load, and when: augmentation depends on (seed, epoch, index) and never on the worker."""

    index: int
    epoch: int = 0
    step: int = 0
    max_frames: int | None = None
    """A longer clip is cut to this many frames at a random place; None leaves it whole."""


@dataclass(frozen=True)
class SpanConfig:
    """Train on a few words at a time, cut out by their times in the manifest.

    A small model on whole sentences learns the grammar and stalls; on short spans it must look and listen. The
    chance of a span falls linearly from ``start`` to ``end`` over ``steps``; the rest are whole clips.
    """

    start: float = 0.0
    """Chance of a span at the first step."""
    end: float = 0.0
    """Chance of a span from step ``steps`` on."""
    steps: int = 1
    """Training steps over which the chance changes."""
    max_words: int = 3
    """A span has 1 to this many words."""
    margin: int = 2
    """Up to this many frames are kept on either side."""

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


@dataclass(frozen=True)
class AugmentConfig:
    """What training does to the streams apart from noise. Defaults are AV-HuBERT's."""

    random_crop: bool = True
    """Cut the clip at a random place, one for all its frames, instead of the centre."""
    flip: float = 0.5
    """Chance that the clip is mirrored."""
    contrast: float = 0.0
    """Light and contrast of a clip change by up to this share, for corpora with few faces; 0 leaves them alone."""
    frame_rates: float = 0.0
    """Chance that a clip looks as if it had been stored with another frame rate, see ``stored_otherwise``."""
    shift_ms: float = 0.0
    """The sound comes up to so much earlier or later than the picture."""
    time_masks: int = 0
    """Stretches of each stream that are blanked out."""
    time_mask_frames: int = 5
    """Longest such stretch in frames at 25 Hz."""
    max_frames: int | None = None
    """Longer clips are cut to this many frames at a random place; null keeps them whole."""
    mel_masks: int = 0
    """Bands, and as many stretches of time, of Whisper's log-mel that are set to 0 (SpecAugment; Whisper-Flamingo's
    ``ls-basic`` has 1). The streams of ``time_masks`` are other ones."""
    mel_mask_bins: int = 27
    """A band is narrower than this, in mel bins."""
    mel_mask_frames: int = 100
    """A stretch is shorter than this, in frames at 100 Hz."""


@dataclass
class _Streams:
    """Decoded streams on their way to a sample."""

    mouth_THW: np.ndarray | None
    audio_S: np.ndarray | None
    units_TJ: np.ndarray | None
    text: str | None
    num_frames: int

    def cut(self, start: int, end: int) -> None:
        """Keep frames ``start`` to ``end`` of every stream."""
        if self.mouth_THW is not None:
            self.mouth_THW = self.mouth_THW[start:end]
        if self.audio_S is not None:
            self.audio_S = self.audio_S[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]
        if self.units_TJ is not None:
            self.units_TJ = self.units_TJ[start:end]
        self.num_frames = end - start


class TextEncoder(Protocol):
    """What turns a text into token numbers: ``Tokenizer``, or ``WhisperTokenizer``."""

    def encode(self, text: str) -> list[int]:
        """Return the text's own tokens, without begin and end."""
        ...


class AVDataset(Dataset[Sample | None]):
    """Utterances of a manifest as samples.

    Args:
        utterances: with ``mouth`` where video is wanted, ``audio`` where audio is.
        modality: which streams are loaded at all.
        tokenizer: None gives no tokens (pre-training).
        units: unit sets in the utterances' order; none for fine-tuning.
        augment: None loads as evaluation does: centre crop, whole clip, no draws.
        noise: added to the audio; without ``augment`` the same in every epoch.
        spans: word spans when augmenting.
        clip_size: pixels on a side of the crop.
        mel_bins: give Whisper's log-mel with so many bins instead of the stacked filterbanks; None for the latter.
        pad_to_30s: of the log-mel, as OpenAI's pipeline does.
        seed: of augmentation.
        cache_bytes: memory for decoded streams, in each process; beyond it clips are decoded every time.

    Raises:
        ManifestError: an utterance lacks what the arguments need, or units and utterances differ in number.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        modality: Modality = "audio+video",
        tokenizer: TextEncoder | None = None,
        units: Sequence[UnitSet] = (),
        augment: AugmentConfig | None = None,
        noise: TrainingNoise | None = None,
        spans: SpanConfig | None = None,
        clip_size: int = CLIP_SIZE,
        seed: int = 0,
        cache_bytes: int = 0,
        mel_bins: int | None = None,
        pad_to_30s: bool = False,
    ) -> None:
        self.mel_bins, self.pad_to_30s = mel_bins, pad_to_30s
        self.utterances, self.modality, self.tokenizer = list(utterances), modality, tokenizer
        self.augment, self.noise, self.spans = augment, noise, spans
        self.clip_size, self.seed, self.cache_bytes = clip_size, seed, cache_bytes
        self.wants_audio, self.wants_video = "audio" in modality, "video" in modality
        self._check()
        for unit_set in units:
            if len(unit_set.rows) != len(self.utterances):
                raise ManifestError(
                    f"{len(unit_set.rows)} unit sequences for {len(self.utterances)} utterances; "
                    "make both from one manifest"
                )
        self.units = tuple(units)
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

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, key: SampleKey | int) -> Sample | None:
        """Return a sample, or None where evaluation meets a clip that cannot be read."""
        if isinstance(key, int):
            key = SampleKey(key)
        index = key.index
        for _ in range(len(self.utterances)):
            try:
                return self._load(index, key)
            except MediaError as error:
                self._report(index, error)
                if self.augment is None:
                    return None
                index = (index + 1) % len(self.utterances)
        raise NothingReadable("no clip of the manifest can be read; the log says why for each")

    def _report(self, index: int, error: MediaError) -> None:
        if index not in self._reported:
            self._reported.add(index)
            logger.warning("left out utterance %s: %s", self.utterances[index].id, error)

    def _load(self, index: int, key: SampleKey) -> Sample:
        utterance = self.utterances[index]
        streams = self._decode(index)
        rng = np.random.default_rng((self.seed, key.epoch, index))
        if self.noise is not None and streams.audio_S is not None:
            streams.audio_S = self.noise(streams.audio_S, rng, utterance.speaker, utterance.id)
        if self.augment is not None:
            if self.augment.shift_ms > 0 and streams.audio_S is not None:
                streams.audio_S = shifted(streams.audio_S, self.augment.shift_ms, rng)
            if streams.mouth_THW is not None and 0 < self.augment.frame_rates > rng.random():
                streams.mouth_THW = at_other_rate(streams.mouth_THW, rng)
            self._cut_words(streams, utterance, key.step, rng)
        return self._shorten(self._sample(utterance, streams, rng), key, rng)

    def _shorten(self, sample: Sample, key: SampleKey, rng: np.random.Generator) -> Sample:
        """Cut to ``augment.max_frames`` and what the batch allows; on features, so that a cut's edge is no silence."""
        limits = [key.max_frames, self.augment.max_frames if self.augment is not None else None]
        longest = min((limit for limit in limits if limit is not None), default=sample.num_frames)
        if sample.num_frames <= longest:
            return sample
        start = int(rng.integers(sample.num_frames - longest + 1))
        return sample.cut(start, start + longest)

    def _decode(self, index: int) -> _Streams:
        utterance = self.utterances[index]
        mouth_THW, audio_S = self._cache.get(index) or self._read(index)
        if mouth_THW is not None:
            num_frames = len(mouth_THW)
        else:
            assert audio_S is not None
            num_frames = utterance.num_frames or samples_to_frames(len(audio_S))
        if audio_S is not None:
            audio_S = audio_S.astype(np.float32) / np.float32(32768)
        units_TJ = None
        if self.units:
            units_TJ = np.stack([unit_set.at_frames(index, num_frames) for unit_set in self.units], axis=1)
        return _Streams(mouth_THW, audio_S, units_TJ, utterance.text, num_frames)

    def _read(self, index: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Decode both streams, audio as int16 so that twice as much fits the cache."""
        utterance = self.utterances[index]
        mouth_THW = audio_S = None
        if self.wants_video:
            assert utterance.mouth is not None
            mouth_THW = read_grey_clip(utterance.mouth)
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

    def _cut_words(self, streams: _Streams, utterance: Utterance, step: int, rng: np.random.Generator) -> None:
        """Cut to a span of words, where spans are wanted."""
        words = utterance.words
        if self.spans is not None and words and rng.random() < self.spans.chance(step):
            count = int(rng.integers(1, min(self.spans.max_words, len(words)) + 1))
            first = int(rng.integers(len(words) - count + 1))
            before, after = rng.integers(0, self.spans.margin + 1, 2).tolist()
            chosen = words[first : first + count]
            start = int(chosen[0].start_s * FRAME_RATE) - before
            end = int(np.ceil(chosen[-1].end_s * FRAME_RATE)) + after
            start, end = max(0, start), min(streams.num_frames, end)
            if end > start:
                streams.cut(start, end)
                streams.text = " ".join(word.text for word in chosen)

    def _sample(self, utterance: Utterance, streams: _Streams, rng: np.random.Generator) -> Sample:
        audio_TF = logmel_AF = video_THW = tokens_L = None
        audio_S = streams.audio_S
        if audio_S is not None and not len(audio_S):
            audio_S = np.zeros(1, dtype=np.float32)
        if audio_S is not None and self.mel_bins is not None:
            if streams.mouth_THW is not None:
                audio_S = fit_samples(audio_S, frames_to_samples(streams.num_frames))
            logmel_AF = self._mel_masked(logmel_AF_of(torch.from_numpy(audio_S), self.mel_bins, self.pad_to_30s), rng)
        elif audio_S is not None:
            audio_TF = self._masked(fbank_TF(torch.from_numpy(audio_S), streams.num_frames), 0, rng)
        if streams.mouth_THW is not None:
            video_THW = self._masked(self._crop(utterance, streams.mouth_THW, rng), round(MEAN * 255), rng)
        if self.tokenizer is not None:
            assert streams.text is not None
            tokens_L = torch.tensor(self.tokenizer.encode(streams.text), dtype=torch.int64)
        units_TJ = None if streams.units_TJ is None else torch.from_numpy(streams.units_TJ)
        return Sample(
            utterance.id,
            streams.num_frames,
            audio_TF,
            video_THW,
            units_TJ,
            tokens_L,
            streams.text,
            logmel_AF,
            utterance.language,
        )

    def _crop(self, utterance: Utterance, mouth_THW: np.ndarray, rng: np.random.Generator) -> Tensor:
        height, width = mouth_THW.shape[1:]
        if min(height, width) < self.clip_size:
            assert utterance.mouth is not None
            raise MediaError(utterance.mouth, f"is {height}x{width}, wanted at least {self.clip_size} on a side")
        offset_12 = None
        if self.augment is not None and self.augment.random_crop:
            left, top = (int(rng.integers(side - self.clip_size + 1)) for side in (width, height))
            offset_12 = torch.tensor([[top, left]])
        clip_THW = crop_clips(torch.from_numpy(mouth_THW)[None], self.clip_size, offset_12)[0]
        if self.augment is not None and rng.random() < self.augment.flip:
            clip_THW = clip_THW.flip(2)
        if self.augment is not None and self.augment.contrast > 0:
            gain, shift = rng.uniform(-self.augment.contrast, self.augment.contrast, 2)
            return change_contrast(clip_THW, 1 + gain, 255 * shift / 2)
        return clip_THW.clone()  # the cached clip must not be masked

    def _masked(self, stream: Tensor, blank: int, rng: np.random.Generator) -> Tensor:
        for _ in range(self.augment.time_masks if self.augment else 0):
            assert self.augment is not None
            span = int(rng.integers(min(self.augment.time_mask_frames, len(stream)) + 1))
            start = int(rng.integers(len(stream) - span + 1))
            stream[start : start + span] = blank
        return stream

    def _mel_masked(self, logmel_AF: Tensor, rng: np.random.Generator) -> Tensor:
        """Blank bands and stretches out, as SpecAugment does (arXiv:1904.08779, section 2)."""
        for _ in range(self.augment.mel_masks if self.augment else 0):
            assert self.augment is not None
            for axis, widest in ((1, self.augment.mel_mask_bins), (0, self.augment.mel_mask_frames)):
                width = int(rng.integers(max(1, min(widest, logmel_AF.shape[axis]))))
                start = int(rng.integers(logmel_AF.shape[axis] - width + 1))
                logmel_AF.narrow(axis, start, width).zero_()
        return logmel_AF


def change_contrast(clip_THW: Tensor, gain: float, shift: float) -> Tensor:
    """Return the clip with its values scaled around their mean by ``gain`` and moved by ``shift``, uint8."""
    clip = clip_THW.numpy()
    middle = clip.mean()
    table_256 = ((np.arange(256) - middle) * gain + middle + shift).clip(0, 255).astype(np.uint8)
    return torch.from_numpy(table_256[clip])
