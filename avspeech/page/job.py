"""One job of the page: a video and its settings -> transcripts, and files to look at and listen to.

Nothing here knows the browser: a job can be run from Python, and is by the tests.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avspeech.evaluation.error_rate import ErrorCounts, count_errors
from avspeech.features.clip import CLIP_SIZE
from avspeech.inputs import Modality
from avspeech.media.audio import read_audio_if_any, write_wav
from avspeech.media.container import find_tracks
from avspeech.media.video import write_video
from avspeech.page.limits import Limits, Refused, check_upload
from avspeech.page.noises import NONE, Noises
from avspeech.text.normalize import normalize_for_scoring
from avspeech.transcription.preview import write_preview
from avspeech.transcription.result import Transcript
from avspeech.transcription.speech_model import SpeechModel
from avspeech.transcription.streams import Streams

ENLARGED = 3
"""Pixels on a side that a pixel of the lip crop is shown as."""

Progress = Callable[[float, str], None]
"""Told the share of the job that is done, 0 to 1, and what is being done, in words."""


@dataclass(frozen=True)
class Job:
    """What a visitor asks for."""

    video: Path
    language: str | None = None
    """Code of the language; None detects it where the model knows languages."""
    modality: Modality = "audio+video"
    noise: str = NONE
    """One of ``Noises.kinds``."""
    snr_db: float = 0.0
    """Of the noise; without noise it means nothing."""
    reference: str = ""
    """What is really said, where the visitor knows it."""


@dataclass(frozen=True)
class Outcome:
    """What came of a job; files lie in the job's folder."""

    job: Job
    transcript: Transcript
    """With the streams that were asked for."""
    sound_alone: Transcript | None
    """The same without the picture; None where that is what was asked for, or there is no sound."""
    preview: Path | None
    """The video with captions, and with the sound that the model heard; None for a file without a picture."""
    lips: Path | None
    """The lip crop as the model sees it, enlarged, as long as the video; None where no face was found or looked for."""
    sound: Path | None
    """The sound as the model heard it."""

    def errors(self, transcript: Transcript) -> ErrorCounts | None:
        """Return the word errors of a transcript against the reference; None without one."""
        language = self.job.language or transcript.language
        reference = normalize_for_scoring(self.job.reference, language)
        return count_errors(reference, normalize_for_scoring(transcript.text, language)) if reference else None


def run_job(
    job: Job, model: SpeechModel, noises: Noises, folder: Path, limits: Limits, progress: Progress | None = None
) -> Outcome:
    """Transcribe a video with and without its picture and write what there is to see and hear.

    The lips are cut out once, and both transcripts are of the same pieces of the same sound.

    Args:
        job: what to do.
        model: loaded.
        noises: that can be added.
        folder: for the files; it exists and is empty.
        limits: of the video.
        progress: told how far the job is.

    Raises:
        Refused: the video is too large or too long.
        MediaError: the video cannot be used.
        ValueError: the model does not take this language or modality, or there is no such noise.
    """
    tell = progress or (lambda share, what: None)
    tell(0.0, "Looking at the file")
    check_upload(job.video, limits)
    model.check_language(job.language)
    heard_S = read_audio_if_any(job.video)
    if heard_S is None and job.noise != NONE:
        raise Refused("The file has no sound, so no noise can be added to it. Choose no noise.")
    if heard_S is not None:
        heard_S = noises.add(heard_S, job.noise, job.snr_db)
    wanted: Modality = "audio+video" if job.modality == "video" and heard_S is not None else job.modality
    streams = model.prepare(
        job.video,
        modality=wanted,
        audio_S=heard_S,
        progress=lambda share: tell(0.05 + 0.5 * share, "Finding the face and the speech"),
    )
    sound_alone = None
    if job.modality != "audio" and streams.audio_S is not None:
        tell(0.6, "Writing down the sound alone")
        sound_alone = model.transcribe_streams(streams, language=job.language, modality="audio")
    tell(0.7, "Writing down what was asked for")
    transcript = model.transcribe_streams(streams, language=job.language, modality=job.modality)
    tell(0.85, "Drawing captions")
    return Outcome(
        job,
        transcript,
        sound_alone,
        preview=_write_preview(folder, streams, transcript),
        lips=_write_lips(folder, streams),
        sound=_write_sound(folder, streams.audio_S),
    )


def _write_preview(folder: Path, streams: Streams, transcript: Transcript) -> Path | None:
    if not find_tracks(streams.source).has_video:
        return None
    path = folder / "preview.mp4"
    write_preview(path, transcript, streams)
    return path


def _write_lips(folder: Path, streams: Streams) -> Path | None:
    clips = [(one.frames[0], one.mouth_THW) for one in streams.segments if one.mouth_THW is not None]
    if not clips:
        return None
    path = folder / "lips.mp4"
    write_video(path, _enlarged(clips, streams.num_frames), preset="ultrafast")
    return path


def _enlarged(clips: Sequence[tuple[int, np.ndarray]], num_frames: int) -> Iterator[np.ndarray]:
    """Yield the middle of the lip crops, every pixel as a square; frames between the clips are black.

    Args:
        clips: first frame and ``mouth_THW`` of each.
        num_frames: of the whole video.
    """
    seen_THW = np.zeros((num_frames, CLIP_SIZE, CLIP_SIZE), np.uint8)
    for start, mouth_THW in clips:
        margin = (mouth_THW.shape[1] - CLIP_SIZE) // 2
        middle = slice(margin, margin + CLIP_SIZE)
        seen_THW[start : start + len(mouth_THW)] = mouth_THW[: num_frames - start, middle, middle]
    for seen_HW in seen_THW:
        yield seen_HW.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)


def _write_sound(folder: Path, audio_S: np.ndarray | None) -> Path | None:
    if audio_S is None:
        return None
    path = folder / "sound.wav"
    write_wav(path, audio_S)
    return path
