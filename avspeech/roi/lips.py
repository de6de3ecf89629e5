"""Cut the mouths of chosen faces out of any video, in two passes over the file.

``follow_faces`` runs first, then ``crop_faces``: smoothing and the choice of the speaker need later frames. Memory
holds one frame, and 9 kB per frame of a crop's span.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from avspeech.media.audio import read_audio_if_any
from avspeech.media.errors import MediaError
from avspeech.media.video import read_pictures
from avspeech.roi.faces import Face, FollowedFaces, follow_faces
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.mouth import MOUTH_SIZE, MouthClip, crop_mouth
from avspeech.roi.sparse import Sparseness
from avspeech.roi.speaking import speaking_face
from avspeech.roi.track import FrameStatus, NoFace
from avspeech.timebase import FRAME_RATE

FaceChoice = Literal["largest", "speaking"] | int


class FaceSpan(NamedTuple):
    """Which face is wanted in which frames."""

    face: int
    """Index into ``FollowedFaces.faces``."""
    first: int
    end: int
    """The frame after the last."""


def extract_lips(
    video: str | Path,
    finder: FaceFinder | None = None,
    *,
    face: FaceChoice = "largest",
    max_gap: int = 12,
    min_found: float = 0.1,
    smooth: int = 13,
    sparseness: Sparseness = Sparseness(),
) -> MouthClip:
    """Return the mouth crops of one face in every frame of a video, at 25 fps.

    The default ``sparseness`` is twice as fast as the network on every frame, and within a pixel of it.

    Args:
        video: any file with a video track.
        finder: the landmark model; None loads one for this call (half a second).
        face: "largest" by sum of sizes; "speaking": moves with the sound, or most without sound; or the n-th largest.
        max_gap: longest gap in frames in which the face counts as known; longer ones are MISSING, at the nearest place.
        min_found: smallest share of all frames in which the face must be known.
        smooth: frames of the centred mean over landmarks, odd; 1 smooths nothing.
        sparseness: how often the landmark network runs.

    Raises:
        MediaError, NoFace, ValueError: bad file, face in too few frames, no face of that number or a bad option.
    """
    if smooth < 1 or smooth % 2 == 0 or max_gap < 0:
        raise ValueError(f"smooth={smooth}, max_gap={max_gap} came; wanted an odd number from 1, and 0 or more")
    if face not in ("largest", "speaking") and not (isinstance(face, int) and face >= 1):
        raise ValueError(f"face={face!r} came; wanted 'largest', 'speaking' or a number from 1")
    if finder is None:
        with FaceFinder() as own_finder:
            options = {"face": face, "max_gap": max_gap, "min_found": min_found, "smooth": smooth}
            return extract_lips(video, own_finder, sparseness=sparseness, **options)
    followed = follow_faces(read_pictures(video), finder, max_gap=max_gap, sparseness=sparseness)
    num_frames = followed.num_frames
    if not followed.faces:
        raise NoFace(0, followed.num_looked, min_found)
    index = _chosen(video, followed, face)
    chosen = followed.faces[index]
    num_known = round(chosen.share_found(0, num_frames) * num_frames)
    if num_known < min_found * num_frames:
        raise NoFace(num_known, num_frames, min_found)
    (mouth_THW,) = crop_faces(video, followed, [[FaceSpan(index, 0, num_frames)]], smooth=smooth)
    return MouthClip(mouth_THW, _status_of_all(chosen, num_frames, max_gap))


def extract_mouth(
    video: str | Path,
    finder: FaceFinder | None = None,
    *,
    max_gap: int = 12,
    min_found: float = 0.5,
    smooth: int = 13,
    every: int = 1,
) -> MouthClip:
    """Return the mouth crops of the largest face for data preparation, with the network on every ``every``-th frame.

    Frames between are interpolated linearly. Other arguments and errors: as ``extract_lips``.
    """
    sparseness = Sparseness(every=every, flow=False)
    return extract_lips(video, finder, max_gap=max_gap, min_found=min_found, smooth=smooth, sparseness=sparseness)


def _chosen(video: str | Path, followed: FollowedFaces, face: FaceChoice) -> int:
    if face == "largest" or (face == "speaking" and len(followed.faces) == 1):
        return 0
    if face == "speaking":
        return speaking_face(followed, read_audio_if_any(video), 0, followed.num_frames) or 0
    if face > len(followed.faces):
        raise ValueError(f"face={face} came; {video} shows {len(followed.faces)}, numbered from 1, the largest first")
    return face - 1


def _status_of_all(face: Face, num_frames: int, max_gap: int) -> np.ndarray:
    """Return ``status_T`` over the whole video, outside the face's span as in ``track.fill_gaps``."""
    status_T = np.full(num_frames, FrameStatus.MISSING, np.uint8)
    status_T[face.first : face.end] = face.status_T
    if face.first <= max_gap:
        status_T[: face.first] = FrameStatus.INTERPOLATED
    if num_frames - face.end <= max_gap:
        status_T[face.end :] = FrameStatus.INTERPOLATED
    return status_T


def crop_faces(
    video: str | Path,
    followed: FollowedFaces,
    clips: Sequence[Sequence[FaceSpan]],
    *,
    smooth: int = 13,
    progress: Callable[[float], None] | None = None,
) -> list[np.ndarray]:
    """Return for each clip ``mouth_THW``, uint8 (T, 96, 96), T all frames of the video, in one pass.

    Frames outside a clip's spans are black. Beyond a face's own span, the nearest placement is used.

    Args:
        video: the file that ``followed`` came from.
        followed: its faces.
        clips: the spans of each clip, without overlap within a clip.
        smooth: frames of the centred mean over landmarks, odd.
        progress: called every second of video with the share done.

    Raises:
        MediaError, ValueError: the file cannot be used or has changed; a span is bad or overlaps another.
    """
    _check_spans(followed, clips)
    # Untouched pages of zeros take no memory: a clip costs what its spans cost.
    mouths = [np.zeros((followed.num_frames, MOUTH_SIZE, MOUTH_SIZE), np.uint8) for _ in clips]
    placed = {
        index: followed.faces[index].placements_T23(smooth) for index in {span.face for clip in clips for span in clip}
    }
    waiting = [iter(sorted(clip, key=lambda span: span.first)) for clip in clips]
    current = [next(spans, None) for spans in waiting]
    num_frames = 0
    for index, picture in enumerate(read_pictures(video, [])):  # the pass that found the faces told of any damage
        num_frames += 1
        if progress is not None and index % FRAME_RATE == 0:
            progress(min(index / followed.num_frames, 1.0))
        cut: dict[int, np.ndarray] = {}
        for number, mouth_THW in enumerate(mouths):
            span = current[number]
            if span is not None and index >= span.end:
                span = current[number] = next(waiting[number], None)
            if span is None or index < span.first or index >= followed.num_frames:
                continue
            if span.face not in cut:
                matrices_T23 = placed[span.face]
                nearest = min(max(index - followed.faces[span.face].first, 0), len(matrices_T23) - 1)
                cut[span.face] = crop_mouth(picture.grey(), matrices_T23[nearest])
            mouth_THW[index] = cut[span.face]
    if num_frames != followed.num_frames:
        raise MediaError(video, f"gave {followed.num_frames} frames, then {num_frames}: is it still being written?")
    return mouths


def _check_spans(followed: FollowedFaces, clips: Sequence[Sequence[FaceSpan]]) -> None:
    for clip in clips:
        reached = 0
        for span in sorted(clip, key=lambda span: span.first):
            if not (0 <= span.face < len(followed.faces) and reached <= span.first < span.end <= followed.num_frames):
                raise ValueError(
                    f"{span} came; wanted one of {len(followed.faces)} faces, in frames {reached} (where the span "
                    f"before it ends) to {followed.num_frames}, end after first"
                )
            reached = span.end
