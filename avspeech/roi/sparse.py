"""Find every face in every frame while looking at few frames: on a grid of ticks, and between them where it matters.

The landmark network costs nine tenths of the time of cutting lips. It looks at every ``every``-th frame; in between,
faces are carried by optical flow (``flow``). Where that cannot be trusted, the frame in the middle is looked at as
well, and so on by halves: a face came or went, moved too far to be the same one, the two ways of flow differ, the lips
went far, the scene was cut. So a restless video costs what looking at every frame costs, and no more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from avspeech.roi.flow import carry_between, needed_points
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.track import MIN_OVERLAP, box_of, overlap


class Picture(Protocol):
    """A frame that is converted when somebody asks for it; ``avspeech.media.video.read_pictures`` yields them."""

    def colour(self) -> np.ndarray:
        """Return RGB uint8, (H, W, 3)."""
        ...

    def grey(self) -> np.ndarray:
        """Return uint8, (H, W)."""
        ...


@dataclass(frozen=True)
class Sparseness:
    """How many frames the landmark network looks at."""

    every: int = 4
    """Frames from one look to the next where nothing calls for more; 1 looks at each."""
    every_of_several: int = 2
    """The same where several faces are seen. Who speaks shows in mouths at the rate of syllables, which a straight line
    over 160 ms misses and one over 80 ms hardly does."""
    max_difference: float = 3.0
    """Crop pixels by which a face carried forwards and backwards may differ before the frames between are looked at."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.every_of_several < 1 or self.max_difference < 0:
            raise ValueError(
                f"every={self.every}, every_of_several={self.every_of_several}, max_difference={self.max_difference} "
                "came; wanted whole numbers from 1, and 0 crop pixels or more"
            )


@dataclass(frozen=True)
class FoundFaces:
    """The faces of every frame, not linked over time yet."""

    faces: list[list[np.ndarray]]
    """Per frame, each face's points as ``flow.needed_points`` gives them, in pixels of the frame."""
    looked_T: np.ndarray
    """bool; whether the network looked at the frame. Elsewhere faces are carried."""


class _Look(NamedTuple):
    """A frame that the network looked at, and all landmarks of each face there."""

    index: int
    landmarks: list[np.ndarray]


class _Held:
    """A frame in memory; its grey picture is made once, when flow first wants it."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture

    @cached_property
    def grey(self) -> np.ndarray:
        return self.picture.grey()


def find_faces(pictures: Iterable[Picture], finder: FaceFinder, sparseness: Sparseness = Sparseness()) -> FoundFaces:
    """Return the faces in every frame; never more than ``every`` + 1 frames are in memory.

    Args:
        pictures: at 25 fps, as they come.
        finder: the landmark model.
        sparseness: how often to look.
    """
    faces: list[list[np.ndarray]] = []
    looked: list[bool] = []

    def look_at(held: _Held, index: int) -> _Look:
        return _Look(index, finder.detect(held.picture.colour()))

    def advance(before: _Look, after: _Look, held: Sequence[_Held]) -> None:
        """Settle the frames after ``before`` up to ``after``; ``held`` has these and ``before``'s own."""
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
        settle(after)

    def settle(look: _Look) -> None:
        faces.append([needed_points(landmarks_J2) for landmarks_J2 in look.landmarks])
        looked.append(True)

    before: _Look | None = None
    held: list[_Held] = []  # from the last tick on
    for index, picture in enumerate(pictures):
        held.append(_Held(picture))
        if before is None:
            before = look_at(held[0], 0)
            settle(before)
        elif index % sparseness.every == 0:
            after = look_at(held[-1], index)
            advance(before, after, held)
            before, held = after, held[-1:]
    if before is not None and len(held) > 1:  # the last frame is looked at too: nothing follows to carry back from
        advance(before, look_at(held[-1], before.index + len(held) - 1), held)
    return FoundFaces(faces, np.array(looked, bool))


def _carry(
    before: list[np.ndarray], after: list[np.ndarray], held: Sequence[_Held], sparseness: Sparseness
) -> list[list[np.ndarray]] | None:
    """Return the faces in each frame between two looks; None where the frames between must be looked at."""
    pairs = _matches(before, after)
    if pairs is None or (len(pairs) > 1 and len(held) - 1 > sparseness.every_of_several):
        return None
    between: list[list[np.ndarray]] = [[] for _ in held[1:-1]]
    greys = [one.grey for one in held]
    for earlier_J2, later_J2 in pairs:
        carried = carry_between(greys, earlier_J2, later_J2)
        if carried is None or carried[1] > sparseness.max_difference:
            return None
        for faces, points_N2 in zip(between, carried[0], strict=True):
            faces.append(points_N2)
    return between


def _matches(before: list[np.ndarray], after: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Return the same faces of two frames in pairs; None where a face of one is not in the other."""
    if len(before) != len(after):
        return None
    shared = sorted(
        ((overlap(box_of(one), box_of(other)), i, j) for i, one in enumerate(before) for j, other in enumerate(after)),
        reverse=True,
    )
    partner: dict[int, int] = {}
    for value, i, j in shared:
        if value >= MIN_OVERLAP and i not in partner and j not in partner.values():
            partner[i] = j
    return [(before[i], after[j]) for i, j in sorted(partner.items())] if len(partner) == len(before) else None
