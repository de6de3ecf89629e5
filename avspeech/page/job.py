"""A job of the page: a video and settings -> transcripts and files.

Independent of the browser. Uploads are measured before any costly step.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avspeech.evaluation.error_rate import ErrorCounts, count_errors
from avspeech.features.clip import CLIP_SIZE
from avspeech.inputs import Modality
from avspeech.media.audio import write_wav
from avspeech.media.reading import find_tracks, measure_duration, read_audio_if_any, safe_decoding
from avspeech.media.video import write_video
from avspeech.page.noises import NONE, Noises
from avspeech.text.normalize import normalize_for_scoring
from avspeech.transcription.preview import write_preview
from avspeech.transcription.result import Transcript
from avspeech.transcription.speech_model import SpeechModel

ENLARGED = 3
"""Display pixels per side of a mouth crop's pixel."""


class Refused(ValueError):
    """An upload is refused; the message is for its sender and names no server path."""


@dataclass(frozen=True)
class Limits:
    """Limits of an upload; a job takes a few times its video's length, one job at a time."""

    max_mb: float = 200.0
    """Largest file in millions of bytes."""
    max_seconds: float = 120.0
    """Longest video in seconds."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}={value} must be a number above 0")

    @property
    def max_bytes(self) -> int:
        return int(self.max_mb * 1_000_000)


@dataclass(frozen=True)
class Job:
    """A visitor's settings: ``noise`` is one of ``Noises.kinds``, ``reference`` the spoken words, if known."""

    video: Path
    language: str | None = None
    """Code; None: detected, if the model knows languages."""
    modality: Modality = "audio+video"
    noise: str = NONE
    snr_db: float = 0.0
    reference: str = ""


@dataclass(frozen=True)
class Outcome:
    """Results of a job; files lie in its folder."""

    job: Job
    transcript: Transcript
    """From the requested streams."""
    sound_alone: Transcript | None
    """None if that was requested, or there is no sound."""
    preview: Path | None
    """Video with captions and the sound that the model heard; None without a picture."""
    lips: Path | None
    """Enlarged mouth crop, as long as the video; None without a face."""
    sound: Path | None

    def errors(self, transcript: Transcript) -> ErrorCounts | None:
        """Return the word errors against the reference; None without one."""
        language = self.job.language or transcript.language
        reference = normalize_for_scoring(self.job.reference, language)
        return count_errors(reference, normalize_for_scoring(transcript.text, language)) if reference else None


def run_job(
    job: Job, model: SpeechModel, noises: Noises, folder: Path, limits: Limits, tell: Callable[[float, str], None]
) -> Outcome:
    """Transcribe a video with and without its picture from the same segments, and write the page's files.

    ``folder`` exists and is empty; ``tell`` is called with the finished share, 0 to 1, and the step in words. Raises
    Refused, MediaError (unusable video), ValueError (language, modality or noise that does not fit).
    """
    with safe_decoding():
        return _run_job(job, model, noises, folder, limits, tell)


def _run_job(
    job: Job, model: SpeechModel, noises: Noises, folder: Path, limits: Limits, tell: Callable[[float, str], None]
) -> Outcome:
    tell(0.0, "Looking at the file")
    check_upload(job.video, limits)
    model.check_language(job.language)
    heard_S = read_audio_if_any(job.video, [])  # damage is in the transcript's notes
    if heard_S is None and job.noise != NONE:
        raise Refused("The file has no sound, so no noise can be added to it. Choose no noise.")
    if heard_S is not None:
        heard_S = noises.add(heard_S, job.noise, job.snr_db)
    several = len(find_tracks(job.video).sounds) > 1  # then ``prepare`` chooses; noise is added to the default
    streams = model.prepare(
        job.video,
        modality="audio+video" if job.modality == "video" and heard_S is not None else job.modality,
        audio_S=None if several and job.noise == NONE else heard_S,
        progress=lambda share: tell(0.05 + 0.5 * share, "Finding the face and the speech"),
    )
    sound_alone = preview = lips = sound = None
    if job.modality != "audio" and streams.audio_S is not None:
        tell(0.6, "Transcribing the sound alone")
        sound_alone = model.transcribe_streams(streams, language=job.language, modality="audio")
    tell(0.7, "Transcribing")
    transcript = model.transcribe_streams(streams, language=job.language, modality=job.modality)
    tell(0.85, "Drawing captions")
    if find_tracks(streams.source).has_video:
        write_preview(preview := folder / "preview.mp4", transcript, streams)
    if clips := [(one.frames[0], one.mouth_THW) for one in streams.segments if one.mouth_THW is not None]:
        write_video(lips := folder / "lips.mp4", _enlarged(clips, streams.num_frames), preset="ultrafast")
    if streams.audio_S is not None:
        write_wav(sound := folder / "sound.wav", np.asarray(streams.audio_S))
    return Outcome(job, transcript, sound_alone, preview, lips, sound)


def _enlarged(clips: Sequence[tuple[int, np.ndarray]], num_frames: int) -> Iterator[np.ndarray]:
    """Yield the centre of the mouth crops (first frame, ``mouth_THW``), enlarged; frames between are black."""
    seen_THW = np.zeros((num_frames, CLIP_SIZE, CLIP_SIZE), np.uint8)
    for start, mouth_THW in clips:
        margin = (mouth_THW.shape[1] - CLIP_SIZE) // 2
        middle = slice(margin, margin + CLIP_SIZE)
        seen_THW[start : start + len(mouth_THW)] = mouth_THW[: num_frames - start, middle, middle]
    for seen_HW in seen_THW:
        yield seen_HW.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)


def check_upload(path: Path, limits: Limits) -> float:
    """Return a file's length in seconds; Refused beyond the limits, MediaError if it is no media file."""
    size = path.stat().st_size
    if size > limits.max_bytes:
        said = f"The file has {size / 1e6:.1f} MB and this page takes up to {limits.max_mb:g} MB."
        raise Refused(f"{said} Send a smaller one, or use `python -m avspeech.transcribe`, which has no limit.")
    with safe_decoding():
        duration_s = measure_duration(path)
    if duration_s > limits.max_seconds:
        said = f"The video lasts {duration_s:.1f} s and this page takes up to {limits.max_seconds:g} s."
        raise Refused(f"{said} Cut it, or use `python -m avspeech.transcribe`, which takes any length.")
    return duration_s
