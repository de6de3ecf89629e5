"""A file -> its sound and its lips, cut into stretches of speech; which face speaks in each; what is missing.

Both streams share the file's clock. A stretch without a face is left to the sound, a file without sound to the lips;
where neither is there the file cannot be transcribed. Memory: the sound, half a kilobyte a frame for each face, and
9 kB a frame for the lips of the stretches; frames of the video are looked at one after another.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from avspeech.inputs import Modality, fit_samples
from avspeech.media.audio import read_audio_if_any
from avspeech.media.container import Tracks, find_tracks
from avspeech.media.errors import MediaError
from avspeech.media.video import Picture, read_pictures
from avspeech.roi.faces import Face, FollowedFaces, follow_faces
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.lips import FaceSpan, crop_faces
from avspeech.roi.speaking import speaking_face
from avspeech.roi.track import FrameStatus
from avspeech.timebase import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME, samples_to_frames
from avspeech.transcription.cutting import CuttingConfig, Span, cut_segments
from avspeech.transcription.speech_activity import frame_level, lip_activity, speech_probability

FaceChoice = Literal["speaking", "largest", "all"] | int
"""Which face of several is transcribed; a number counts from 1, the largest."""
MIN_FACE_SHARE = 0.5
"""Share of a stretch's frames in which a face must be known, so that its lips are read."""
MIN_MOVING_SHARE = 0.3
"""Share of a stretch's frames in which a second face's lips must move, so that it is transcribed too."""
MIN_LIP_FRAMES = 10
"""Shortest video, in frames, whose lips are read without any sound; 0.4 s."""
FIRST_PASS = 0.75
"""Part of the work of cutting lips that is done when the faces are found, for the progress."""


@dataclass(frozen=True)
class Stretch:
    """Frames that are decoded as one, of one face or of none."""

    start: int
    """First frame at 25 Hz."""
    end: int
    """The frame after the last."""
    has_speech: bool
    """False: nobody is heard, and no lips move."""
    face: int | None = None
    """Place of the face among ``Streams.faces``."""
    face_share: float | None = None
    """Share of the frames in which that face is known; 0 where no face is, None: nobody looked."""
    mouth_THW: np.ndarray | None = None
    """uint8, (end - start, 96, 96); None where no lips are to be read."""
    speaker: str | None = None
    """Label of the face, where several are transcribed."""


@dataclass(frozen=True)
class Streams:
    """What a file holds, ready to be decoded."""

    source: Path
    modality: Modality
    """The streams that were asked for."""
    num_frames: int
    """At 25 Hz, of the longer stream."""
    num_video_frames: int
    """Of the picture; 0 where it was not looked at."""
    duration_s: float
    has_video: bool
    """There is a picture, and it was looked at."""
    audio_S: np.ndarray | None
    """float32 at 16 kHz; None: there is none, or it was not asked for."""
    speech_T: np.ndarray | None
    """float32, probability that somebody is heard to speak in each frame; None without sound."""
    faces: tuple[Face, ...]
    """Largest and longest first."""
    stretches: tuple[Stretch, ...]
    """In the order of time; those of several faces may share their frames."""
    remarks: tuple[str, ...] = field(default=())
    """What is odd about the file, in sentences."""

    def sound(self, stretch: Stretch) -> np.ndarray | None:
        """Return a stretch's samples, as many as its frames last or, at the end of the file, fewer but one."""
        if self.audio_S is None:
            return None
        sound_S = self.audio_S[stretch.start * SAMPLES_PER_FRAME : stretch.end * SAMPLES_PER_FRAME]
        return sound_S if len(sound_S) else np.zeros(SAMPLES_PER_FRAME, np.float32)

    @property
    def face_share(self) -> float | None:
        """Share of the file's frames in which a face that is read is known; None: nobody looked."""
        if not self.has_video:
            return None
        known_T = np.zeros(self.num_frames, bool)
        for index in {stretch.face for stretch in self.stretches if stretch.face is not None}:
            face = self.faces[index]
            known_T[face.first : face.end] |= face.status_T != FrameStatus.MISSING
        return float(known_T.mean()) if len(known_T) else 0.0

    def notes_of(self, modality: Modality) -> tuple[str, ...]:
        """Return what is otherwise than asked where these streams are used, in sentences."""
        notes = list(self.remarks)
        if "audio" in modality and self.audio_S is None:
            notes.append("There is no sound: the lips alone were read.")
        spoken = [stretch for stretch in self.stretches if stretch.has_speech]
        if self.stretches and not spoken:
            unheard = [] if self.audio_S is None else ["nobody is heard to speak"]
            unseen = ["no lips move"] if self.has_video else []
            notes.append(" and ".join(unheard + unseen).capitalize() + ".")
        if "video" in modality:
            blind = [stretch for stretch in spoken if stretch.mouth_THW is None]
            fate = "the sound alone was used" if "audio" in modality and self.audio_S is not None else "left out"
            if not self.has_video:
                notes.append("There is no picture: the sound alone was used.")
            elif spoken and len(blind) == len(spoken):
                notes.append(f"No face was found: {fate}.")
            elif blind:
                times = ", ".join(f"{one.start / FRAME_RATE:.1f} to {one.end / FRAME_RATE:.1f} s" for one in blind[:5])
                more = f" and {len(blind) - 5} more" if len(blind) > 5 else ""
                notes.append(f"No face in {len(blind)} of {len(spoken)} segments ({times}{more}): {fate}.")
        return tuple(notes)

    def why_nothing(self, modality: Modality) -> str:
        """Return why there is nothing to decode with these streams, for an error."""
        missing = []
        if "audio" in modality:
            missing.append("no sound")
        if "video" in modality:
            missing.append("no face that could be read" if self.has_video else "no picture")
        return f"has {' and '.join(missing)}, and modality {modality} needs it; choose another modality or file"


def read_streams(
    path: str | Path,
    modality: Modality,
    cutting: CuttingConfig,
    face: FaceChoice = "speaking",
    audio_S: np.ndarray | None = None,
    progress: Callable[[float], None] | None = None,
) -> Streams:
    """Return the sound and the lips of a file, cut into stretches of speech.

    Args:
        path: any video or sound file.
        modality: the streams to read; of another one nothing can be seen in the result.
        cutting: how stretches are cut.
        face: which face to read of several.
        audio_S: sound in place of the file's own.
        progress: told the share of the work that is done.

    Raises:
        MediaError: the file cannot be used, or has neither sound nor a face.
        ValueError: there is no such choice of face.
    """
    check_face(face)
    path, tell = Path(path), progress or (lambda share: None)
    tracks = find_tracks(path)
    wants_audio, wants_video = "audio" in modality, "video" in modality
    own_sound = wants_audio and audio_S is None
    with _overheard(path) as remarks:
        if not wants_audio:
            audio_S = None
        elif own_sound:
            audio_S = read_audio_if_any(path)
        if audio_S is not None and not len(audio_S):
            audio_S = None
        tell(0.02)
        followed = FollowedFaces((), 0, 0)
        if wants_video and tracks.has_video:
            expected = (tracks.duration_s or 0) * FRAME_RATE
            with FaceFinder() as finder:
                followed = follow_faces(_counted(read_pictures(path), expected, tell, 0.02, FIRST_PASS), finder)
    has_video = wants_video and tracks.has_video
    num_frames = max(followed.num_frames, 0 if audio_S is None else samples_to_frames(len(audio_S)))
    if audio_S is None and followed.num_frames < MIN_LIP_FRAMES:
        raise MediaError(path, _too_little(tracks, followed.num_frames, modality))
    if audio_S is None and not followed.faces:
        raise MediaError(path, f"shows no face in {followed.num_frames} frames, and there is no sound; {_HINT}")
    num_faces = len(followed.faces)
    if has_video and isinstance(face, int) and face > max(num_faces, 1):
        shows = f"{num_faces} face{'' if num_faces == 1 else 's'}"
        raise MediaError(path, f"shows {shows}, face {face} was asked for; choose a smaller number")
    prob_T = level_T = None
    if audio_S is not None:
        prob_T, level_T = (fit_samples(make(audio_S), num_frames) for make in (speech_probability, frame_level))
    spans = cut_segments(prob_T, _openness(followed.faces, face, num_frames), num_frames, cutting, level_T)
    stretches = [Stretch(span.start, span.end, span.speech) for span in spans]
    if has_video:
        chosen = choose_faces(followed, spans, audio_S, face)
        stretches = list(_with_lips(path, followed, chosen, lambda share: tell(FIRST_PASS + share * (1 - FIRST_PASS))))
    tell(1.0)
    picture_s, sound_s = followed.num_frames / FRAME_RATE, 0 if audio_S is None else len(audio_S) / SAMPLE_RATE
    duration_s = max(picture_s, sound_s)
    if has_video and own_sound and sound_s and abs(picture_s - sound_s) > 0.5 + duration_s / 100:
        remarks.append(f"The picture lasts {picture_s:.1f} s, the sound {sound_s:.1f} s: one may be cut off.")
    elif tracks.promised_s is not None and tracks.promised_s - duration_s > 0.5 + tracks.promised_s / 100:
        remarks.append(f"What was read lasts {duration_s:.1f} s, the container says {tracks.promised_s:.1f} s.")
    return Streams(
        source=path,
        modality=modality,
        num_frames=num_frames,
        num_video_frames=followed.num_frames,
        duration_s=duration_s,
        has_video=has_video,
        audio_S=audio_S,
        speech_T=prob_T,
        faces=followed.faces,
        stretches=tuple(stretches),
        remarks=tuple(remarks),
    )


_HINT = "give a file in which somebody is heard or seen to speak"


def _too_little(tracks: Tracks, num_frames: int, modality: Modality) -> str:
    """Return why a file without usable sound cannot be read."""
    if tracks.has_video and num_frames == 0:
        return f"has no sound, and its picture was not asked for (modality {modality}); {_HINT}"
    if tracks.has_video:
        sound = "sound was not asked for" if tracks.has_audio and modality == "video" else "there is no sound"
        few = "is a still picture" if num_frames == 1 else f"has only {num_frames} frames of picture"
        return f"{few} (lips are read from {MIN_LIP_FRAMES} frames on), and {sound}; {_HINT}"
    if tracks.has_audio and modality == "video":
        return f"has a sound track and no picture, which modality {modality} needs; use modality audio"
    return f"has neither a sound track nor a picture; {_HINT}"


def check_face(face: FaceChoice) -> None:
    """Do nothing if there may be such a face.

    Raises:
        ValueError: there is no such choice.
    """
    if face in ("speaking", "largest", "all") or (isinstance(face, int) and not isinstance(face, bool) and face >= 1):
        return
    raise ValueError(f"face={face!r} came; wanted 'speaking', 'largest', 'all', or a number from 1 (the largest) on")


def choose_faces(
    followed: FollowedFaces, spans: Sequence[Span], audio_S: np.ndarray | None, face: FaceChoice
) -> list[Stretch]:
    """Return for each span whose lips are to be read, and with ``all`` a stretch for each face that speaks in it.

    Args:
        followed: the faces of the file.
        spans: of the file.
        audio_S: what the lips should go with; None: the most moving ones speak.
        face: see ``FaceChoice``.
    """
    stretches: list[Stretch] = []
    for span in spans:
        shares = [one.share_found(span.start, span.end) for one in followed.faces]
        if face == "largest":
            wanted = sorted(range(len(shares)), key=lambda index: shares[index] < MIN_FACE_SHARE)[:1]
        elif isinstance(face, int):
            wanted = [face - 1] if face <= len(shares) else []
        else:
            speaking = speaking_face(followed, audio_S, span.start, min(span.end, followed.num_frames))
            wanted = [] if speaking is None else [speaking]
            if face == "all":
                wanted += [index for index, one in enumerate(followed.faces) if index != speaking and _moves(one, span)]
        seen = sorted(index for index in wanted if shares[index] >= MIN_FACE_SHARE)
        if not seen:
            share = max((shares[index] for index in wanted), default=0.0)
            stretches.append(Stretch(span.start, span.end, span.speech, face_share=share))
        for index in seen:
            label = f"speaker {index + 1}" if face == "all" else None
            stretches.append(Stretch(span.start, span.end, span.speech, index, shares[index], speaker=label))
    return stretches


def _with_lips(
    path: Path, followed: FollowedFaces, stretches: Sequence[Stretch], tell: Callable[[float], None]
) -> Iterator[Stretch]:
    """Yield the stretches with their lips, for all of which the file is read once more."""
    tracks = sorted({one.speaker or "" for one in stretches if one.face is not None})
    clips = [
        [
            FaceSpan(one.face, one.start, min(one.end, followed.num_frames))
            for one in stretches
            if one.face is not None and (one.speaker or "") == track and one.start < followed.num_frames
        ]
        for track in tracks
    ]
    mouths: list[np.ndarray] = []
    if tracks:
        mouths = crop_faces(path, followed, clips, progress=tell)
    for one in stretches:
        if one.face is None:
            yield one
            continue
        mouth_THW = mouths[tracks.index(one.speaker or "")][one.start : one.end]
        missing = one.end - one.start - len(mouth_THW)  # the sound outlasts the picture
        if missing:
            mouth_THW = np.pad(mouth_THW, ((0, missing), (0, 0), (0, 0)), mode="edge")
        yield replace(one, mouth_THW=mouth_THW)


def _moves(face: Face, span: Span) -> bool:
    return float(lip_activity(openness_in(face, span.start, span.end)).mean()) >= MIN_MOVING_SHARE


def openness_in(face: Face, start: int, end: int) -> np.ndarray:
    """Return ``openness_T`` of a face from one frame to before another; NaN where it is not there."""
    openness_T = np.full(end - start, np.nan, np.float32)
    first, last = max(start, face.first), min(end, face.end)
    if first < last:
        inside = slice(first - face.first, last - face.first)
        known_T = face.status_T[inside] != FrameStatus.MISSING
        openness_T[first - start : last - start] = np.where(known_T, face.openness_T[inside], np.nan)
    return openness_T


def _openness(faces: Sequence[Face], choice: FaceChoice, num_frames: int) -> np.ndarray | None:
    """Return the openness of the lips that may be read in each frame, the liveliest of several; None without any.

    Of a face that was chosen by number or size, no other's lips tell when it speaks.
    """
    if isinstance(choice, int):
        faces = faces[choice - 1 : choice]
    if not faces:
        return None
    every_NT = np.stack([openness_in(face, 0, num_frames) for face in faces])
    if len(faces) == 1:
        return every_NT[0]
    if choice == "largest":
        order = range(len(faces))[::-1]
    else:
        order = np.argsort([float(lip_activity(row_T).sum()) for row_T in every_NT], kind="stable")
    merged_T = np.full(num_frames, np.nan, np.float32)
    for row in order:  # the last one wins where several are there
        merged_T = np.where(np.isfinite(every_NT[row]), every_NT[row], merged_T)
    return merged_T


def _counted(
    pictures: Iterator[Picture], expected: float, tell: Callable[[float], None], begin: float, end: float
) -> Iterator[Picture]:
    """Pass pictures on and tell how far they are, every second."""
    for number, picture in enumerate(pictures):
        if number % FRAME_RATE == 0 and expected > 0:
            tell(begin + (end - begin) * min(number / expected, 1.0))
        yield picture


@contextmanager
def _overheard(path: Path) -> Iterator[list[str]]:
    """Collect what the media stage warns of while this file is read: damage that it could work around."""
    heard: list[str] = []
    prefix = f"{path}: "  # another thread may be reading another file

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            message = record.getMessage()
            if message.startswith(prefix) and message.removeprefix(prefix) not in heard:
                heard.append(message.removeprefix(prefix))

    logger, collector = logging.getLogger("avspeech.media"), Collector(logging.WARNING)
    logger.addHandler(collector)
    try:
        yield heard
    finally:
        logger.removeHandler(collector)
