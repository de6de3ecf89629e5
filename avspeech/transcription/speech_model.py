"""Public interface of a model: transcribe files, get features of any layer, save a folder to share.

transcript = avspeech.load_model("demo").transcribe("clip.mp4", language="en")
print(transcript.text, [(word.text, word.start_s) for word in transcript.words])
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from avspeech.data.batching import plan_batches
from avspeech.decoding.config import DecodingConfig
from avspeech.files import file_sha256
from avspeech.hub.folder import save_pretrained
from avspeech.hub.names import find_model, open_model
from avspeech.hub.remote import from_pretrained
from avspeech.inputs import MODALITIES, Modality
from avspeech.media.errors import MediaError
from avspeech.media.sound import Sound
from avspeech.models.files import Model
from avspeech.text.languages import check_language
from avspeech.transcription.cutting import CuttingConfig
from avspeech.transcription.face_choice import FaceChoice
from avspeech.transcription.layers import LONGEST_S, Features, Part, encoder_part, layer_features
from avspeech.transcription.reading import Progress, read_streams
from avspeech.transcription.result import Segment, Transcript
from avspeech.transcription.segment_decoding import SegmentDecoder
from avspeech.transcription.streams import Streams
from avspeech.transcription.who_speaks import SYNCHRONY

MAX_CLIPS = 16  # most segments per batch
DETECTION_FRAMES = 1500  # frames at 25 Hz for language detection, one minute
FACES_SHARE, HEARING_SHARE = 0.8, 0.1  # share of the work in ``prepare``, with and without video


def load_model(
    name: str | Path,
    device: str = "cpu",
    decoding: DecodingConfig = DecodingConfig(),
    cutting: CuttingConfig | None = None,
    batch_frames: int = 3000,
) -> "SpeechModel":
    """Return a model that transcribes files; ValueError if there is none, or it cannot be used in this way.

    ``name``: see ``avspeech.hub.names.find_model``; other arguments: see ``SpeechModel``.
    """
    path = find_model(name)
    return SpeechModel(open_model(path, device), str(name), path, decoding, cutting, batch_frames)


class SpeechModel:
    """A network in evaluation mode with its name, its file and options.

    Args:
        cutting: None: the defaults, with the longest segments that the model takes.
        batch_frames: frames at 25 Hz per batch, with padding.
    """

    def __init__(
        self,
        network: Model,
        name: str,
        path: Path | None = None,
        decoding: DecodingConfig = DecodingConfig(),
        cutting: CuttingConfig | None = None,
        batch_frames: int = 3000,
    ) -> None:
        if batch_frames < 1:
            raise ValueError(f"batch_frames={batch_frames} must be at least 1")
        self.network, self.name, self.path = network, name, path
        self.decoding, self._cutting, self.batch_frames = decoding, cutting, batch_frames

    @cached_property
    def sha256(self) -> str | None:
        return None if self.path is None else file_sha256(self.path)

    @cached_property
    def decoder(self) -> SegmentDecoder:
        """Decodes segments; ValueError if the network gives no text, or not in this way."""
        return SegmentDecoder(self.network, self.decoding, self.name)

    @property
    def cutting(self) -> CuttingConfig:
        """Cutting of files; ValueError if segments are too long for the model."""
        longest_s = self.decoder.longest_s
        if self._cutting is None:
            return CuttingConfig(longest_s=longest_s)
        if self._cutting.longest_s > longest_s:
            raise ValueError(
                f"longest_s={self._cutting.longest_s} (--longest) is above the {longest_s:g} s that {self.name} takes"
            )
        return self._cutting

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that the model can be told; empty if none."""
        return self.decoder.languages

    def modality(self, wanted: Modality | None = None) -> Modality:
        """Return ``wanted``, by default the training streams; ValueError if unknown, or if the model uses no video."""
        reads_lips = self.decoder.reads_lips
        if wanted is None:
            return (reads_lips and _official_streams(self.network)) or self.network.inputs.modalities[0]
        _check_modality(wanted)
        if not reads_lips and "video" in wanted:
            raise ValueError(f"modality={wanted!r} came for {self.name}, which uses no video; use modality 'audio'")
        return wanted

    @staticmethod
    def prepared_share(modality: Modality) -> float:
        """Return the share of the work in ``prepare``."""
        return FACES_SHARE if "video" in modality else HEARING_SHARE

    @classmethod
    def stages(cls, modality: Modality, progress: Progress | None) -> tuple[Progress, Progress]:
        """Return the callbacks of ``prepare`` and ``transcribe_streams`` that report to one."""
        tell, share = progress or (lambda share: None), cls.prepared_share(modality)
        return lambda done: tell(done * share), lambda done: tell(share + done * (1 - share))

    def check_language(self, language: str | None) -> None:
        """Raise ValueError if the model knows languages, but not this one, or if it is no code of a language."""
        if language is not None:
            check_language(language, self.languages, self.name)

    def transcribe(
        self,
        path: str | Path,
        *,
        language: str | None = None,
        modality: Modality | None = None,
        face: FaceChoice = "speaking",
        who_speaks: str = SYNCHRONY,
        repair_sync: bool = True,
        audio_track: int | None = None,
        progress: Progress | None = None,
        finished: Iterable[Segment] = (),
        on_segment: Callable[[Segment], None] | None = None,
    ) -> Transcript:
        """Return what is said in a file.

        Args:
            path: any video or sound file that FFmpeg reads, of any length.
            language: code such as ``en``; None: detected, if the model knows languages.
            modality: None: as in training. Missing streams are noted.
            face: the face ``speaking`` in each segment, the ``largest``, the N-th largest (from 1), or ``all``.
            who_speaks: how the speaking one of several faces is found: ``synchrony``, ``correlation``, or a file of
                LR-ASD or of another synchrony model.
            repair_sync: shift the sound onto the picture where their offset is sure, instead of leaving the lips out.
            audio_track: number of the sound track, from 1; None: of several with speech the one that fits the lips.
            finished: segments of an interrupted call with equal arguments, not decoded again.
            on_segment: called with each decoded segment, in any order.

        Raises MediaError if the file cannot be used, ValueError if an argument does not fit the model.
        """
        modality = self.modality(modality)
        self.check_language(language)
        preparing, decoding = self.stages(modality, progress)
        watching = {"face": face, "who_speaks": who_speaks, "repair_sync": repair_sync}
        streams = self.prepare(path, modality=modality, audio_track=audio_track, progress=preparing, **watching)
        return self.transcribe_streams(
            streams, language=language, progress=decoding, finished=finished, on_segment=on_segment
        )

    def prepare(
        self,
        path: str | Path,
        *,
        modality: Modality | None = None,
        face: FaceChoice = "speaking",
        who_speaks: str = SYNCHRONY,
        repair_sync: bool = True,
        audio_track: int | None = None,
        audio_S: Sound | None = None,
        progress: Progress | None = None,
    ) -> Streams:
        """Return a file's sound and lips in segments, for ``transcribe_streams``.

        Arguments and errors as in ``transcribe``; ``audio_S``, float32 at 16 kHz, replaces the file's sound.
        """
        wanted, crop = self.modality(modality), self.network.inputs.crop
        cut = self.cutting
        return read_streams(path, wanted, cut, face, audio_S, progress, crop, who_speaks, repair_sync, audio_track)

    def transcribe_streams(
        self,
        streams: Streams,
        *,
        language: str | None = None,
        modality: Modality | None = None,
        progress: Progress | None = None,
        finished: Iterable[Segment] = (),
        on_segment: Callable[[Segment], None] | None = None,
    ) -> Transcript:
        """Return the transcript of a prepared file; ``modality``: a subset of its streams, None: all.

        Other arguments as in ``transcribe``. Raises MediaError if the file lacks these streams.
        """
        language = language or self.decoding.language
        self.check_language(language)
        modality = self.modality(modality or streams.modality)
        if not set(modality.split("+")) <= set(streams.modality.split("+")):
            raise ValueError(f"modality={modality!r} came for streams that were prepared as {streams.modality!r}")
        planned = streams.to_decode(modality)
        if streams.is_missing(modality):
            raise MediaError(streams.source, streams.why_nothing(modality))
        done = {segment.key: segment for segment in finished}
        segments = [done[segment.key] for segment in planned if segment.key in done]
        pending = [segment for segment in planned if segment.key not in done]
        if language is None and self.languages and planned:
            language = segments[0].language if segments else self._detect(streams, pending)
        for batch in self._batches(pending):
            samples = [self._sample(streams, segment) for segment in batch]
            heard = [_heard(streams, segment) for segment in batch]
            for segment in self.decoder.decode(samples, language, heard, batch):
                segments.append(segment)
                if on_segment is not None:
                    on_segment(segment)
            if progress is not None:
                progress(len(segments) / len(planned))
        segments.sort(key=lambda segment: (segment.start_s, segment.speaker or ""))
        return Transcript(
            source=str(streams.source),
            duration_s=streams.duration_s,
            model=self.name,
            modality=modality,
            segments=tuple(segments),
            language=_main_language(segments) or language,
            face_share=streams.face_share if "video" in modality else None,
            notes=streams.notes(modality),
            offset=None if streams.offset is None else streams.offset.to_json(),
        )

    def features(
        self,
        path: str | Path,
        *,
        layer: int | None = None,
        part: Part | None = None,
        modality: Modality | None = None,
        face: FaceChoice = "speaking",
    ) -> Features:
        """Return the output of an encoder's layer for a file, long ones in pieces of up to 30 s, cut in pauses.

        Args:
            layer: 1 is the first block, 0 its input, None the end of the encoder.
            part: ``audio`` or ``video`` encoder of a Whisper with lips; None: the fused encoder, or Whisper's.
            modality: streams of the encoder; None: all that it takes.
            face: as in ``transcribe``, except ``all``.

        Raises MediaError if the file cannot be used, ValueError for a wrong layer, part or modality.
        """
        part = encoder_part(self.network, part)
        wanted: Modality = modality or ("audio+video" if part == "fused" else part)
        _check_modality(wanted)
        if part != "fused" and part not in wanted:
            raise ValueError(f"modality={wanted!r} came for part={part!r}, which reads {part}; leave modality out")
        if face == "all":
            raise ValueError("face='all' came for features, which are of one face; give its number")
        limit_s = self.network.inputs.longest_s if part == "audio" else None
        cutting = CuttingConfig(longest_s=min(LONGEST_S, limit_s or LONGEST_S))
        streams = read_streams(path, wanted, cutting, face, crop=self.network.inputs.crop, exact_sound=True)
        return layer_features(self.network, streams, layer, part)

    @classmethod
    def from_pretrained(cls, name_or_folder: str | Path, revision: str | None = None, **hub: Any) -> "SpeechModel":
        """Return the model of a hub repository or folder; see ``avspeech.hub.remote.from_pretrained``."""
        return cls(from_pretrained(name_or_folder, revision, **hub), str(name_or_folder))

    def save_pretrained(self, folder: str | Path, **card: Any) -> Path:
        """Write the model in the hub's layout; see ``avspeech.hub.folder.save_pretrained``."""
        return save_pretrained(folder, self.network, **card)

    def _batches(self, segments: Sequence[Segment]) -> Iterator[list[Segment]]:
        for group in _by_modality(segments):
            for batch in plan_batches([segment.num_frames for segment in group], self.batch_frames, MAX_CLIPS):
                yield [group[place] for place in batch]

    def _sample(self, streams: Streams, segment: Segment) -> Any:
        start, end = segment.frames
        audio_S = streams.sound(segment) if "audio" in segment.modality else None
        mouth_THW = segment.mouth_THW if "video" in segment.modality else None
        name = f"{start}-{end} {segment.speaker or ''}"  # a draw above temperature 0 depends on it
        return self.decoder.sample(name, end - start, audio_S, mouth_THW)

    def _detect(self, streams: Streams, segments: Sequence[Segment]) -> str | None:
        """Return the language of the longest segments with equal streams: up to one minute and one batch."""
        group = max(_by_modality(segments), key=lambda group: sum(one.num_frames for one in group))
        # Where segments are padded to 30 s, short ones cost as much as long ones.
        longest = sorted(group, key=lambda one: -one.num_frames)[:MAX_CLIPS]
        number = sum(end <= DETECTION_FRAMES for end in accumulate(one.num_frames for one in longest))
        return self.decoder.detect([self._sample(streams, segment) for segment in longest[: max(number, 1)]])


def _by_modality(segments: Sequence[Segment]) -> list[list[Segment]]:
    modalities = dict.fromkeys(segment.modality for segment in segments)
    return [[segment for segment in segments if segment.modality == modality] for modality in modalities]


def _heard(streams: Streams, segment: Segment) -> np.ndarray | None:
    heard_T = streams.speech_T if "audio" in segment.modality else None
    return None if heard_T is None else heard_T[slice(*segment.frames)]


def _main_language(segments: Sequence[Segment]) -> str | None:
    seconds: dict[str, float] = defaultdict(float)
    for segment in segments:
        if segment.language is not None:
            seconds[segment.language] += segment.end_s - segment.start_s
    return max(seconds, key=seconds.__getitem__, default=None)


def _check_modality(modality: str) -> None:
    if modality not in MODALITIES:
        raise ValueError(f"modality={modality!r} came; wanted audio, video or audio+video")


def _official_streams(network: Model) -> Modality | None:
    """Return the fine-tuning streams of an official recogniser; None if the checkpoint does not state them."""
    training = (network.source or {}).get("training") or {}
    stated = "+".join((training.get("task") or {}).get("modalities") or ())
    return next((modality for modality in MODALITIES if modality == stated), None)
