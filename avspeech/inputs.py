"""Model inputs: ``InputSpec``, one utterance as a ``Sample``, several as an ``AVBatch``.

Training, evaluation, transcription and feature extraction all use ``make_sample``. The video's length wins: short audio
is padded, long audio is cut (AV-HuBERT, Shi et al. 2022, arXiv:2201.02184, official code).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from avspeech.features.clip import CLIP_SIZE, crop_clips
from avspeech.features.logfbank import STACKED_WIDTH, fbank_TF
from avspeech.features.logmel import logmel_AF
from avspeech.sequence import lengths_to_valid, pad_stack
from avspeech.timebase import ACOUSTIC_PER_FRAME, frames_to_samples, samples_to_frames

Modality = Literal["audio", "video", "audio+video"]
MODALITIES: tuple[Modality, ...] = ("audio+video", "audio", "video")
IGNORE = -100  # target that is not scored: a padded token, or a frame without a unit


class NothingReadable(ValueError):
    """No clip of a batch or manifest could be read; the log has each clip's reason."""


@dataclass(frozen=True)
class InputSpec:
    """Inputs that a model takes, and its limits. Defaults are AV-HuBERT's."""

    audio: Literal["fbank", "logmel"] = "fbank"  # 26 log filterbanks stacked to 25 Hz, or Whisper's log-mel at 100 Hz
    audio_bins: int = STACKED_WIDTH  # channels of the audio features: 104 of ``fbank``, 80 or 128 of ``logmel``
    clip_size: int | None = CLIP_SIZE  # side of the square video crop in pixels; None: no video
    crop: str = "official"  # how the mouth is cut, a name of ``avspeech.roi.mouth.CROPS``
    longest_s: float | None = None  # longest utterance in seconds; None: no limit
    longest_text: int | None = None  # most text tokens, prompt included; None: no limit
    modalities: tuple[Modality, ...] = MODALITIES  # modalities to decode from; the first is the default
    pads_to_30s: bool = False  # pad the log-mel to 30 s, which published Whisper weights need


@dataclass(frozen=True)
class Sample:
    """One utterance as tensors; None for a stream that is absent or unused."""

    id: str
    num_frames: int  # T, length at 25 Hz
    audio_TF: Tensor | None = None  # float32 stacked filterbanks, normalised per frame
    video_THW: Tensor | None = None  # uint8 mouth crop of ``InputSpec.clip_size``
    units_TJ: Tensor | None = None  # int64, J unit sets, ``IGNORE`` where a frame has no unit
    tokens_L: Tensor | None = None  # int64 tokens of the text, without begin and end
    text: str | None = None
    logmel_AF: Tensor | None = None  # float32 log-mel at 100 Hz, in place of ``audio_TF``
    language: str | None = None

    def cut(self, start: int, end: int) -> "Sample":
        """Return frames ``start`` to ``end`` of every stream; the text stays whole."""
        per_frame = {"audio_TF": 1, "video_THW": 1, "units_TJ": 1, "logmel_AF": ACOUSTIC_PER_FRAME}
        streams = {name: getattr(self, name) for name in per_frame if getattr(self, name) is not None}
        kept = {name: stream[start * per_frame[name] : end * per_frame[name]] for name, stream in streams.items()}
        return replace(self, num_frames=end - start, **kept)


class Augmentation(Protocol):
    """In this order: change features, perhaps in place; choose (top, left) of the crop; change a copy of the crop."""

    def audio(self, features: Tensor) -> Tensor: ...
    def offset(self, height: int, width: int, size: int) -> tuple[int, int] | None: ...  # None: the centre
    def video(self, video_THW: Tensor) -> Tensor: ...


def make_sample(
    inputs: InputSpec,
    id: str,
    num_frames: int | None,
    audio_S: np.ndarray | None,
    mouth_THW: np.ndarray | None,
    *,
    augment: Augmentation | None = None,
    text: str | None = None,
    language: str | None = None,
    tokens_L: Tensor | None = None,
    units_TJ: Tensor | None = None,
) -> Sample:
    """Turn decoded streams into a model's features and crop; video is left out if the model uses none.

    Args:
        num_frames: T without a mouth crop; None: as long as the audio.
        audio_S: float32 mono samples at 16 kHz in [-1, 1]; None: no audio.
        mouth_THW: uint8 mouth crop at 25 Hz, at least ``inputs.clip_size`` pixels on a side; None: no video.
        augment: changes the features and chooses the crop; None takes the centre.

    Raises ValueError if both streams are None, or the mouth crop is smaller than the model's.
    """
    if mouth_THW is not None:
        num_frames = len(mouth_THW)
    elif audio_S is None:
        raise ValueError(f"utterance {id!r} has neither audio nor video; give at least one stream")
    elif num_frames is None:
        num_frames = samples_to_frames(len(audio_S))
    audio_TF = mel_AF = video_THW = None
    if audio_S is not None and inputs.audio == "logmel":
        if mouth_THW is not None:
            audio_S = fit_samples(audio_S, frames_to_samples(num_frames))
        mel_AF = logmel_AF(torch.from_numpy(audio_S), inputs.audio_bins, inputs.pads_to_30s)
        mel_AF = mel_AF if augment is None else augment.audio(mel_AF)
    elif audio_S is not None:
        audio_TF = fbank_TF(torch.from_numpy(audio_S if len(audio_S) else np.zeros(1, np.float32)), num_frames)
        audio_TF = audio_TF if augment is None else augment.audio(audio_TF)
    if mouth_THW is not None and inputs.clip_size is not None:
        _, height, width = mouth_THW.shape
        offset = None if augment is None else augment.offset(height, width, inputs.clip_size)
        offset_12 = None if offset is None else torch.tensor([offset])
        video_THW = crop_clips(torch.from_numpy(mouth_THW)[None], inputs.clip_size, offset_12)[0]
        # A copy, because the caller may keep the decoded crop.
        video_THW = video_THW.clone() if augment is None else augment.video(video_THW)
    return Sample(id, num_frames, audio_TF, video_THW, units_TJ, tokens_L, text, mel_AF, language)


def fit_samples(audio_S: np.ndarray, length: int) -> np.ndarray:
    """Return the samples cut, or filled with zeros, to ``length``."""
    return np.pad(audio_S[:length], (0, max(0, length - len(audio_S))))


@dataclass(frozen=True)
class AVBatch:
    """Utterances padded to one length; None for absent streams, units or tokens."""

    ids: tuple[str, ...]
    valid_BT: Tensor  # bool, True where a frame is real
    audio_BTF: Tensor | None  # float32, zero where padded; see ``Sample``
    video_BTHW: Tensor | None  # uint8, zero where padded
    units_BTJ: Tensor | None  # int64, ``IGNORE`` where padded or unknown
    tokens_BL: Tensor | None  # int64, ``IGNORE`` where padded
    texts: tuple[str | None, ...]
    logmel_BAF: Tensor | None = None  # float32, zero where padded; in place of ``audio_BTF``
    valid_BA: Tensor | None = None  # bool, True where a frame of ``logmel_BAF`` is real
    languages: tuple[str | None, ...] = ()

    @property
    def token_lengths_B(self) -> Tensor:
        """Tokens of each utterance."""
        assert self.tokens_BL is not None
        return (self.tokens_BL != IGNORE).sum(dim=1)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "AVBatch":
        return self._map(lambda x: x.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "AVBatch":
        """Return a copy in pinned memory; DataLoader calls this."""
        return self._map(lambda x: x.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> "AVBatch":
        tensors = {name: change(value) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)


def collate(samples: Sequence[Sample | None]) -> AVBatch:
    """Return the samples padded to the longest; None (an unreadable clip) is left out.

    Raises NothingReadable if nothing is left.
    """
    read = [sample for sample in samples if sample is not None]
    if not read:
        raise NothingReadable("no clip of a batch can be read; the log says why for each")

    def stack(name: str, value: int = 0) -> Tensor | None:
        rows = [getattr(sample, name) for sample in read]
        return None if any(row is None for row in rows) else pad_stack(rows, value)

    logmel_BAF = stack("logmel_AF")
    acoustic = torch.tensor([0 if sample.logmel_AF is None else len(sample.logmel_AF) for sample in read])
    return AVBatch(
        ids=tuple(sample.id for sample in read),
        valid_BT=lengths_to_valid(torch.tensor([sample.num_frames for sample in read])),
        audio_BTF=stack("audio_TF"),
        video_BTHW=stack("video_THW"),
        units_BTJ=stack("units_TJ", IGNORE),
        tokens_BL=stack("tokens_L", IGNORE),
        texts=tuple(sample.text for sample in read),
        logmel_BAF=logmel_BAF,
        valid_BA=None if logmel_BAF is None else lengths_to_valid(acoustic),
        languages=tuple(sample.language for sample in read),
    )
