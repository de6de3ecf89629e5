"""A clip that the page's tests upload, and a model that knows what is said in it without listening."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from avspeech.decoding.word_times import TimedWord
from avspeech.media.container import find_tracks
from avspeech.media.video import write_video
from avspeech.roi.faces import FollowedFaces
from avspeech.timebase import FRAME_RATE, SAMPLES_PER_FRAME
from avspeech.transcription.result import Segment, Transcript
from avspeech.transcription.streams import Streams

TEXTS = {"audio": "set <b>bed</b> now", "video": "set red now", "audio+video": "set red now"}
"""What is "heard": with the picture all is right, and one text would be markup if it were not escaped."""


def write_clip(path: Path, seconds: float = 2.0, sound: bool = True) -> Path:
    """Write a small video in which something moves and hums."""
    rng = np.random.default_rng(0)
    num_frames = round(seconds * FRAME_RATE)
    still = rng.integers(60, 200, (48, 64, 3)).astype(np.uint8)
    frames = (np.roll(still, index % 8, axis=1) for index in range(num_frames))
    audio_S = 0.1 * np.sin(np.arange(num_frames * SAMPLES_PER_FRAME) / 20).astype(np.float32)
    write_video(path, frames, audio_S if sound else None, preset="ultrafast", crf=30)
    return path


@dataclass
class TalkerModel:
    """Stands in for a ``SpeechModel``: lips are grey noise, and texts are those of ``TEXTS``."""

    languages: tuple[str, ...] = ("en", "es")
    reads_lips: bool = True
    finds_face: bool = True
    heard: list[np.ndarray | None] = field(default_factory=list)
    """The sound of each ``prepare``."""

    @property
    def decoder(self) -> SimpleNamespace:
        return SimpleNamespace(reads_lips=self.reads_lips, languages=self.languages)

    def modality(self, wanted=None):
        return wanted or ("audio+video" if self.reads_lips else "audio")

    def check_language(self, language: str | None) -> None:
        if language not in (None, *self.languages):
            raise ValueError(f"language={language!r} came")

    def prepare(self, path, *, modality=None, face="speaking", audio_S=None, progress=None) -> Streams:
        self.heard.append(audio_S)
        info, sees = find_tracks(path), "video" in modality
        num_frames = round((info.duration_s or 1.0) * FRAME_RATE)
        mouth_THW = np.random.default_rng(1).integers(0, 256, (num_frames, 96, 96)).astype(np.uint8)
        crops = mouth_THW if sees and self.finds_face else None
        segment = Segment(0, num_frames / FRAME_RATE, face_share=0.9, mouth_THW=crops)
        progress(1.0)
        followed = FollowedFaces((), num_frames if info.has_video and sees else 0, 0)
        return Streams(Path(path), modality, audio_S, followed, segments=(segment,))

    def transcribe_streams(self, streams, *, language=None, modality=None) -> Transcript:
        words = tuple(TimedWord(word, 0.2 * i, 0.2 * i + 0.2, 0.9) for i, word in enumerate(TEXTS[modality].split()))
        length_s, code = streams.duration_s, language or "en"
        segment = Segment(0.0, length_s, TEXTS[modality], modality, words, -0.25, code, 0.9)
        notes = () if self.finds_face or modality == "audio" else ("no face was found",)
        return Transcript(str(streams.source), length_s, "talker", modality, (segment,), code, 0.9, notes)
