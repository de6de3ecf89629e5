"""Cut the mouths of chosen faces out of any video, in two passes over the file.

``follow_faces`` runs before ``crop_faces``, as smoothing and the choice of the speaker need later frames. Memory holds
one frame, and 9 kB per frame of a crop's span.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from avspeech.media.audio import read_audio_if_any
from avspeech.media.errors import MediaError
from avspeech.media.video import read_pictures
from avspeech.roi.faces import FollowedFaces, follow_faces
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.mouth import MOUTH_SIZE, MouthClip, crop_mouth, crop_rule
from avspeech.roi.sparse import Sparseness
from avspeech.roi.speaking import speaking_face
from avspeech.roi.track import NoFace
from avspeech.timebase import FRAME_RATE

FaceChoice = Literal["largest", "speaking"] | int


class FaceSpan(NamedTuple):
    """A face, by its index in ``FollowedFaces.faces``, from frame ``first`` to before ``end``."""

    face: int
    first: int
    end: int


def extract_lips(
    video: str | Path,
    finder: FaceFinder | None = None,
    *,
    face: FaceChoice = "largest",
    max_gap: int = 12,
    min_found: float = 0.1,
    alignment: str = "official",
    sparseness: Sparseness = Sparseness(),
) -> MouthClip:
    """Return the mouth crops of one face in every frame of a video, at 25 fps.

    The default ``sparseness`` is twice as fast as the network on every frame, and within a pixel of it.

    Args:
        finder: the landmark model; None loads one for this call (half a second).
        face: "largest" by sum of sizes; "speaking": moves with the sound, or most without sound; or the n-th largest.
        max_gap: longest gap in frames in which the face counts as known; longer ones are MISSING, at the nearest place.
        min_found: smallest share of all frames in which the face must be known.
        alignment: how the crop is placed, see ``mouth.CROPS``.
        sparseness: how often the landmark network runs.

    MediaError: bad file. NoFace: too few frames show the face. ValueError: no face of that number, or a bad option.
    """
    crop_rule(alignment)  # an unknown name is an error before an hour of work
    if max_gap < 0:
        raise ValueError(f"max_gap={max_gap} came, wanted 0 or more")
    if face not in ("largest", "speaking") and not (isinstance(face, int) and face >= 1):
        raise ValueError(f"face={face!r} came; wanted 'largest', 'speaking' or a number from 1")
    with FaceFinder() if finder is None else nullcontext(finder) as loaded:
        followed = follow_faces(read_pictures(video), loaded, max_gap=max_gap, sparseness=sparseness)
    faces, num_frames = followed.faces, followed.num_frames
    if not faces:
        raise NoFace(0, followed.num_looked, min_found)
    index = 0
    if isinstance(face, int):
        if face > len(faces):
            raise ValueError(f"face={face} came; {video} shows {len(faces)}, numbered from 1, the largest first")
        index = face - 1
    elif face == "speaking" and len(faces) > 1:
        index = speaking_face(followed, read_audio_if_any(video), 0, num_frames) or 0
    num_known = round(faces[index].share_found(0, num_frames) * num_frames)
    if num_known < min_found * num_frames:
        raise NoFace(num_known, num_frames, min_found)
    (mouth_THW,) = crop_faces(video, followed, [[FaceSpan(index, 0, num_frames)]], alignment=alignment)
    placements_T23 = faces[index].placements_over(num_frames, alignment)
    return MouthClip(mouth_THW, faces[index].status_over(num_frames, max_gap), placements_T23)


def extract_mouth(
    video: str | Path,
    finder: FaceFinder | None = None,
    *,
    max_gap: int = 12,
    min_found: float = 0.5,
    alignment: str = "official",
    every: int = 1,
) -> MouthClip:
    """Return the mouth crops of the largest face for data preparation, with the network on every ``every``-th frame.

    Frames between are interpolated linearly. Other arguments and errors: as ``extract_lips``.
    """
    sparseness = Sparseness(every=every, flow=False)
    how = {"alignment": alignment, "sparseness": sparseness}
    return extract_lips(video, finder, max_gap=max_gap, min_found=min_found, **how)


def crop_faces(
    video: str | Path,
    followed: FollowedFaces,
    clips: Sequence[Sequence[FaceSpan]],
    *,
    alignment: str = "official",
    progress: Callable[[float], None] | None = None,
) -> list[np.ndarray]:
    """Return for each clip ``mouth_THW``, uint8 (T, 96, 96), T all frames of the video, in one pass.

    Frames outside a clip's spans are black. Beyond a face's own span, the nearest placement is used.

    Args:
        video: the file that ``followed`` came from.
        clips: the spans of each clip, without overlap within a clip.
        alignment: how the crops are placed, see ``mouth.CROPS``.
        progress: called every second of video with the share done.

    MediaError: the file cannot be used or has changed. ValueError: a span is bad or overlaps another.
    """
    # Untouched pages of zeros take no memory: a clip costs what its spans cost.
    mouths = [np.zeros((followed.num_frames, MOUTH_SIZE, MOUTH_SIZE), np.uint8) for _ in clips]
    wanted: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)  # faces by frame, and the clips they go to
    for clip, mouth_THW in zip(clips, mouths, strict=True):
        reached = 0
        for span in sorted(clip, key=lambda span: span.first):
            if not (0 <= span.face < len(followed.faces) and reached <= span.first < span.end <= followed.num_frames):
                raise ValueError(
                    f"{span} came; wanted one of {len(followed.faces)} faces, in frames {reached} (where the span "
                    f"before it ends) to {followed.num_frames}, end after first"
                )
            reached = span.end
            for index in range(span.first, span.end):
                wanted[index].append((span.face, mouth_THW))
    shown = {span.face for clip in clips for span in clip}
    placed = {face: followed.faces[face].placements_over(followed.num_frames, alignment) for face in shown}
    num_frames = 0
    for index, picture in enumerate(read_pictures(video, [])):  # the pass that found the faces told of any damage
        num_frames += 1
        if progress is not None and index % FRAME_RATE == 0:
            progress(min(index / followed.num_frames, 1.0))
        cut: dict[int, np.ndarray] = {}
        for face, mouth_THW in wanted.pop(index, ()):
            if face not in cut:
                cut[face] = crop_mouth(picture.grey(), placed[face][index])
            mouth_THW[index] = cut[face]
    if num_frames != followed.num_frames:
        raise MediaError(video, f"gave {followed.num_frames} frames, then {num_frames}: is it still being written?")
    return mouths
