"""Stretches of a file -> the jobs that are decoded, and what comes of them -> segments."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from avspeech.inputs import Modality
from avspeech.timebase import FRAME_RATE
from avspeech.transcription.result import Segment
from avspeech.transcription.segment_decoding import Decoded
from avspeech.transcription.streams import Streams, Stretch


@dataclass(frozen=True)
class Job:
    """A stretch and the segment that it will become."""

    stretch: Stretch
    segment: Segment

    @property
    def num_frames(self) -> int:
        return self.stretch.end - self.stretch.start


def make_job(streams: Streams, stretch: Stretch, wanted: Modality) -> Job | None:
    """Return what is to be decoded; None where there is nothing to decode, or nobody speaks."""
    if not stretch.has_speech:
        return None
    hears = "audio" in wanted and streams.audio_S is not None
    sees = "video" in wanted and stretch.mouth_THW is not None
    if not hears and not sees:
        return None
    used: Modality = "audio+video" if hears and sees else "audio" if hears else "video"
    note = None
    if "video" in wanted and not sees and streams.has_video:
        note = "no face: sound alone"
    return Job(
        stretch,
        Segment(
            start_s=stretch.start / FRAME_RATE,
            end_s=min(stretch.end / FRAME_RATE, streams.duration_s),
            text="",
            modality=used,
            face_share=stretch.face_share if "video" in wanted else None,
            speaker=stretch.speaker,
            note=note,
        ),
    )


def heard_in(streams: Streams, job: Job) -> np.ndarray | None:
    """Return when somebody is heard to speak in a segment; None where its sound is not used."""
    if streams.speech_T is None or "audio" not in job.segment.modality:
        return None
    return streams.speech_T[job.stretch.start : job.stretch.end]


def key_of(segment: Segment) -> tuple[float, float, str, str | None]:
    """Return what tells a segment from all others of its file, decoded or not."""
    return segment.start_s, segment.end_s, segment.modality, segment.speaker


def by_streams(jobs: Sequence[Job]) -> list[list[Job]]:
    """Return the jobs in groups that have the same streams, which one batch must."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.segment.modality, []).append(job)
    return list(groups.values())


def finish(segment: Segment, decoded: Decoded) -> Segment:
    """Return the segment with its text, its words on the file's clock."""
    shift, end = segment.start_s, segment.end_s
    words = tuple(
        replace(word, start_s=min(shift + word.start_s, end), end_s=min(shift + word.end_s, end))
        for word in decoded.words
    )
    return replace(segment, text=decoded.text, words=words, score=decoded.score, language=decoded.language)


def main_language(segments: Sequence[Segment]) -> str | None:
    """Return the language of most seconds."""
    seconds: dict[str, float] = {}
    for segment in segments:
        if segment.language is not None:
            length_s = segment.end_s - segment.start_s
            seconds[segment.language] = seconds.get(segment.language, 0.0) + length_s
    return max(seconds, key=seconds.__getitem__) if seconds else None
