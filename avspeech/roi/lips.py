"""Cut the mouths of chosen faces out of any video.

``follow_faces`` runs before ``crop_faces``, as means over time and the choice of the speaker need later frames. The
file is decoded a second time unless it is short and shows one face without a gap (``early``). Memory holds some frames,
and 9 kB per frame of a crop's span; ``FoundLips.crops`` holds no crops of a long file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict, Unpack

import numpy as np

from avspeech.media.errors import MediaError
from avspeech.media.reading import read_pictures, read_sound_if_any
from avspeech.roi.faces import FollowedFaces, follow_faces
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.motion import moving
from avspeech.roi.mouth import MOUTH_SIZE, MouthClip, count_status, crop_picture, crop_rule
from avspeech.roi.sparse import Sparseness
from avspeech.roi.speaking import speaking_face
from avspeech.roi.track import NoFace
from avspeech.timebase import FRAME_RATE, Span

FaceChoice = Literal["largest", "speaking"] | int


class FaceSpan(NamedTuple):
    """A face, by its index in ``FollowedFaces.faces``, from frame ``first`` to before ``end``."""

    face: int
    first: int
    end: int


@dataclass(frozen=True)
class FoundLips:
    """The face that was chosen in a video, and where its mouth is in every frame."""

    video: Path
    followed: FollowedFaces
    face: int
    """Index in ``followed.faces``."""
    status_T: np.ndarray
    placements_T23: np.ndarray
    alignment: str
    span: Span | None = None
    """The part of ``video`` that the frames are; None: all of it."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of frames per status: measured, interpolated, missing."""
        return count_status(self.status_T)

    def crops(self) -> Iterator[np.ndarray]:
        """Yield the mouth crop of every frame, (96, 96) uint8. MediaError: the file has changed."""
        wanted = dict.fromkeys(range(self.followed.num_frames), (self.face,))
        cut = _cut(self.video, self.followed, wanted, self.alignment, span=self.span)
        yield from moving((crop_HW for _, _, crop_HW in cut), self.followed.shown_T2)


class LipOptions(TypedDict, total=False):
    """Options of ``find_lips``."""

    face: FaceChoice
    max_gap: int
    min_found: float
    alignment: str
    every: int
    span: Span | None


def extract_lips(video: str | Path, finder: FaceFinder | None = None, **options: Unpack[LipOptions]) -> MouthClip:
    """Return the mouth crops of one face in every frame of a video, at 25 fps; options and errors as ``find_lips``."""
    found = find_lips(video, finder, **options)
    return MouthClip(np.stack(list(found.crops())), found.status_T, found.placements_T23)


def extract_mouth(video: str | Path, finder: FaceFinder | None = None, **options: Unpack[LipOptions]) -> MouthClip:
    """Return the mouth crops of the largest face for data preparation: ``extract_lips`` with ``min_found`` 0.5."""
    options.setdefault("min_found", 0.5)
    return extract_lips(video, finder, **options)


def find_lips(
    video: str | Path,
    finder: FaceFinder | None = None,
    *,
    face: FaceChoice = "largest",
    max_gap: int = 12,
    min_found: float = 0.1,
    alignment: str = "official",
    every: int = Sparseness().every,
    span: Span | None = None,
) -> FoundLips:
    """Return where the lips of one face are in every frame of a video, at 25 fps.

    Args:
        finder: the landmark model; None loads one for this call (half a second).
        face: "largest" by sum of sizes; "speaking": moves with the sound, or most without sound; or the n-th largest.
        max_gap: longest gap in frames in which the face counts as known; longer ones are MISSING, at the nearest place.
        min_found: smallest share of all frames in which the face must be known.
        alignment: how the crop is placed, see ``mouth.CROPS``.
        every: most frames between two looks of the landmark network; 1 looks at each, see ``Sparseness``.
        span: the frames to look at, if the video is not wanted as a whole.

    MediaError: bad file. NoFace: too few frames show the face. ValueError: no face of that number, or a bad option.
    """
    crop_rule(alignment)  # an unknown name is an error before an hour of work
    if max_gap < 0:
        raise ValueError(f"max_gap={max_gap} came, wanted 0 or more")
    if face not in ("largest", "speaking") and not (isinstance(face, int) and face >= 1):
        raise ValueError(f"face={face!r} came; wanted 'largest', 'speaking' or a number from 1")
    how = {"max_gap": max_gap, "sparseness": Sparseness(every=every), "alignment": alignment}
    with FaceFinder() if finder is None else nullcontext(finder) as loaded:
        followed = follow_faces(read_pictures(video, span=span), loaded, **how)
    faces, num_frames = followed.faces, followed.num_frames
    if not faces:
        raise NoFace(0, followed.num_looked, min_found, followed.is_small)
    index = 0
    if isinstance(face, int):
        if face > len(faces):
            raise ValueError(f"face={face} came; {video} shows {len(faces)}, numbered from 1, the largest first")
        index = face - 1
    elif face == "speaking" and len(faces) > 1:
        index = speaking_face(followed, read_sound_if_any(video, span=span), 0, num_frames) or 0
    num_known = round(faces[index].share_found(0, num_frames) * num_frames)
    if num_known < min_found * num_frames:
        raise NoFace(num_known, num_frames, min_found, followed.is_small)
    placements_T23 = faces[index].placements_over(num_frames, alignment)
    status_T = faces[index].status_over(num_frames, max_gap)
    return FoundLips(Path(video), followed, index, status_T, placements_T23, alignment, span)


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
    wanted: dict[int, dict[int, list[np.ndarray]]] = {}  # by frame and face, the clips that it goes to
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
                wanted.setdefault(index, {}).setdefault(span.face, []).append(mouth_THW)
    for index, face, crop_HW in _cut(video, followed, wanted, alignment, progress):
        for mouth_THW in wanted[index][face]:
            mouth_THW[index] = crop_HW
    for clip, mouth_THW in zip(clips, mouths, strict=True):
        for _, first, end in clip:
            if followed.frame_rate(first, end) < FRAME_RATE:
                mouth_THW[first:end] = np.stack(list(moving(mouth_THW[first:end].copy(), followed.shown_T2, first)))
    return mouths


def _cut(
    video: str | Path,
    followed: FollowedFaces,
    wanted: Mapping[int, Iterable[int]],
    alignment: str,
    progress: Callable[[float], None] | None = None,
    span: Span | None = None,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (frame, face, crop) of the wanted faces of each frame; without decoding if all were cut early."""
    num_frames, early = followed.num_frames, followed.early
    shown = {face for faces in wanted.values() for face in faces}
    placed = {face: followed.faces[face].placements_over(num_frames, alignment) for face in shown}
    if early is not None:
        kept = {face: early.get(placed[face]) for face in shown}
        if all(index in kept[face] for index, faces in wanted.items() for face in faces):
            yield from ((index, face, kept[face][index]) for index in sorted(wanted) for face in wanted[index])
            return
    count = 0
    for index, picture in enumerate(read_pictures(video, [], span)):  # the pass that found the faces told of any damage
        count += 1
        if progress is not None and index % FRAME_RATE == 0:
            progress(min(index / num_frames, 1.0))
        for face in wanted.get(index, ()):
            yield index, face, crop_picture(picture, placed[face][index])
    if count != num_frames:
        raise MediaError(video, f"gave {num_frames} frames, then {count}: is it still being written?")
