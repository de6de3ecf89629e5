"""Find every face in every frame, running the landmark network, nine tenths of the time, on few frames.

The network runs on every ``every``-th frame; optical flow (``flow``) carries faces between. Where flow is unreliable,
the network also runs on the middle frame, and so on by halves, so the worst case is the network on every frame.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from avspeech.media.video import Picture
from avspeech.roi.flow import carry_between, needed_points
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.track import box_of, match_boxes


@dataclass(frozen=True)
class Sparseness:
    """How many frames the landmark network sees."""

    every: int = 4
    """Frames between two network runs where flow is reliable; 1 runs it on each."""
    every_of_several: int = 2
    """The same with several faces: choosing the speaker needs syllable-rate mouth movement, which 160 ms would miss."""
    max_difference: float = 3.0
    """Largest difference in crop pixels between forward and backward flow."""
    flow: bool = True
    """Carry faces by optical flow; False interpolates linearly between every ``every``-th frame."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.every_of_several < 1 or self.max_difference < 0:
            raise ValueError(
                f"every={self.every}, every_of_several={self.every_of_several}, max_difference={self.max_difference} "
                "came; wanted whole numbers from 1, and 0 crop pixels or more"
            )


EVERY_FRAME = Sparseness(every=1)


@dataclass(frozen=True)
class FoundFaces:
    """The faces of every frame, not linked over time."""

    faces: list[list[np.ndarray]]
    """Points of each face per frame (``flow.needed_points``), in frame pixels."""
    looked_T: np.ndarray
    """bool, True where the network ran. Elsewhere faces are carried."""


class _Look(NamedTuple):
    """A frame that the network saw, and all landmarks of each face in it."""

    index: int
    landmarks: list[np.ndarray]


def find_faces(pictures: Iterable[Picture], finder: FaceFinder, sparseness: Sparseness = Sparseness()) -> FoundFaces:
    """Return the faces in every frame of ``pictures`` (25 fps); at most ``every`` + 1 frames are in memory."""
    faces: list[list[np.ndarray]] = []
    looked: list[bool] = []

    def look_at(picture: Picture, index: int) -> _Look:
        return _Look(index, finder.detect(picture.colour()))

    def advance(before: _Look, after: _Look, held: Sequence[Picture]) -> None:
        """Append the frames after ``before`` up to ``after``; ``held`` holds these and the frame of ``before``."""
        between: Sequence[list[np.ndarray]] | None = [[]] * (len(held) - 2)
        if between and (before.landmarks or after.landmarks):
            between = _carry(before.landmarks, after.landmarks, held, sparseness)
        if between is None:
            half = len(held) // 2
            middle = look_at(held[half], before.index + half)
            advance(before, middle, held[: half + 1])
            advance(middle, after, held[half:])
            return
        faces.extend(between)
        looked.extend([False] * len(between))
        append(after)

    def append(look: _Look) -> None:
        faces.append([needed_points(landmarks_J2) for landmarks_J2 in look.landmarks])
        looked.append(True)

    if not sparseness.flow:
        for index, picture in enumerate(pictures):
            if index % sparseness.every == 0:
                append(look_at(picture, index))
            else:
                faces.append([])
                looked.append(False)
        for index in range((len(faces) - 1) // sparseness.every * sparseness.every + 1, len(faces)):
            faces[index] = faces[index - 1]  # nothing follows to interpolate to
        return FoundFaces(faces, np.array(looked, bool))
    before: _Look | None = None
    held: list[Picture] = []  # from the last run of the network on
    for index, picture in enumerate(pictures):
        held.append(picture)
        if before is None:
            before = look_at(picture, 0)
            append(before)
        elif index % sparseness.every == 0:
            after = look_at(picture, index)
            advance(before, after, held)
            before, held = after, held[-1:]
    if before is not None and len(held) > 1:  # the network sees the last frame too: backward flow starts there
        advance(before, look_at(held[-1], before.index + len(held) - 1), held)
    return FoundFaces(faces, np.array(looked, bool))


def _carry(
    before: list[np.ndarray], after: list[np.ndarray], held: Sequence[Picture], sparseness: Sparseness
) -> list[list[np.ndarray]] | None:
    """Return the faces in each frame between two network runs; None where flow is unreliable."""
    pairs = match_boxes([box_of(one) for one in before], [box_of(one) for one in after])
    if not len(pairs) == len(before) == len(after):
        return None
    if len(pairs) > 1 and len(held) - 1 > sparseness.every_of_several:
        return None
    between: list[list[np.ndarray]] = [[] for _ in held[1:-1]]
    greys = [picture.grey() for picture in held]
    for i, j in sorted(pairs):
        carried = carry_between(greys, before[i], after[j])
        if carried is None or carried[1] > sparseness.max_difference:
            return None
        for faces, points_N2 in zip(between, carried[0], strict=True):
            faces.append(points_N2)
    return between
