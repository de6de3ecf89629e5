"""Choose the faces to transcribe in an interval of a file."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from avspeech.media.sound import Sound
from avspeech.roi.faces import Face, FollowedFaces
from avspeech.roi.speaking import seen_for, speaking_face
from avspeech.roi.track import FrameStatus
from avspeech.transcription.cutting import Interval
from avspeech.transcription.speech_activity import lip_activity

FaceChoice = Literal["speaking", "largest", "all"] | int  # the face to transcribe; a number counts from 1, the largest
MIN_FACE_SHARE = 0.5  # least share of a segment's frames with a known face, to read its lips
MIN_MOVING_SHARE = 0.3  # least share of a segment's frames in which a second face's lips must move, to transcribe it


def check_face(face: FaceChoice) -> None:
    if face not in ("speaking", "largest", "all") and not (type(face) is int and face >= 1):
        raise ValueError(
            f"face={face!r} (--face) came; wanted 'speaking', 'largest', 'all', or a number from 1 (the largest)"
        )


def choose_faces(
    followed: FollowedFaces,
    interval: Interval,
    audio_S: Sound | None,
    choice: FaceChoice,
    scores: Mapping[int, float] | None = None,
) -> list[tuple[int | None, float]]:
    """Return (index, share of known frames) of each face to read in an interval of frames; else (None, best share).

    ``scores`` tell by face how much it speaks; None: movement and loudness do, without ``audio_S`` movement alone.
    """
    start, end = interval
    shares = [one.share_found(start, end) for one in followed.faces]
    if choice == "largest":
        wanted = sorted(range(len(shares)), key=lambda index: shares[index] < MIN_FACE_SHARE)[:1]
    elif isinstance(choice, int):
        wanted = [choice - 1] if choice <= len(shares) else []
    else:
        if scores is None:
            speaking = speaking_face(followed, audio_S, start, min(end, followed.num_frames))
        else:
            speaking = max(scores, key=lambda index: seen_for(shares[index], scores[index]))
        wanted = [] if speaking is None else [speaking]
        if choice == "all":
            moving = [float(lip_activity(openness_in(one, interval)).mean()) for one in followed.faces]
            wanted += [i for i, share in enumerate(moving) if i != speaking and share >= MIN_MOVING_SHARE]
    seen = [(i, shares[i]) for i in sorted(wanted) if shares[i] >= MIN_FACE_SHARE]
    return [*seen] or [(None, max((shares[i] for i in wanted), default=0.0))]


def openness_of(faces: Sequence[Face], choice: FaceChoice, num_frames: int) -> np.ndarray | None:
    """Return the openness of the liveliest readable lips per frame, of the chosen face only; None without any."""
    if isinstance(choice, int):
        faces = faces[choice - 1 : choice]
    if not faces:
        return None
    rows = [openness_in(face, (0, num_frames)) for face in faces]
    rows = rows[::-1] if choice == "largest" else sorted(rows, key=lambda row_T: lip_activity(row_T).sum())
    merged_T = np.full(num_frames, np.nan, np.float32)
    for row_T in rows:  # the last one wins where several are there
        merged_T = np.where(np.isfinite(row_T), row_T, merged_T)
    return merged_T


def known_frames(face: Face, start: int, end: int) -> np.ndarray:
    """Return the frames of an interval in which the face is not MISSING."""
    inside_T = np.arange(max(start, face.first), min(end, face.end))
    return inside_T[face.status_T[inside_T - face.first] != FrameStatus.MISSING]


def openness_in(face: Face, interval: Interval) -> np.ndarray:
    """Return ``openness_T`` of a face in an interval; NaN where unknown."""
    start, end = interval
    openness_T = np.full(end - start, np.nan, np.float32)
    known_T = known_frames(face, start, end)
    openness_T[known_T - start] = face.openness_T[known_T - face.first]
    return openness_T
