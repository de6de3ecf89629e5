"""Find every face in every frame, running the landmark network, nine tenths of the time, on few frames.

The network runs on every ``every``-th frame; optical flow (``flow``) carries faces between. Where flow is unreliable,
the network also runs on the middle frame, and so on by halves, so the worst case is the network on every frame.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
    max_difference: float = 2.6
    """Largest difference in crop pixels between forward and backward flow."""
    flow: bool = True
    """Carry faces by optical flow; False: interpolate linearly."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.every_of_several < 1 or self.max_difference < 0:
            raise ValueError(
                f"every={self.every}, every_of_several={self.every_of_several}, max_difference={self.max_difference} "
                "came; wanted whole numbers from 1, and 0 crop pixels or more"
            )


EVERY_FRAME = Sparseness(every=1)


def find_faces(
    pictures: Iterable[Picture], finder: FaceFinder, sparseness: Sparseness = Sparseness()
) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """Return each face's points (``flow.needed_points``) in every frame, and bool ``looked_T``: where the network ran.

    The faces are not linked over time. At most ``every`` + 1 of the ``pictures`` (25 fps) are in memory.
    """
    faces: list[list[np.ndarray]] = []
    looked: list[bool] = []

    def detect(picture: Picture) -> list[np.ndarray]:
        return finder.detect(picture.colour())

    def append(landmarks: list[np.ndarray]) -> None:
        faces.append([needed_points(landmarks_J2) for landmarks_J2 in landmarks])
        looked.append(True)

    def advance(before: list[np.ndarray], after: list[np.ndarray], held: Sequence[Picture]) -> None:
        """Append all frames of ``held`` but the first; ``before`` and ``after`` are the landmarks at its ends."""
        between: Sequence[list[np.ndarray]] | None = [[]] * (len(held) - 2)
        if between and (before or after):
            between = _carry(before, after, held, sparseness)
        if between is None:
            half = len(held) // 2
            middle = detect(held[half])
            advance(before, middle, held[: half + 1])
            advance(middle, after, held[half:])
            return
        faces.extend(between)
        looked.extend([False] * len(between))
        append(after)

    before: list[np.ndarray] = []
    held: list[Picture] = []  # from the last run of the network on
    for index, picture in enumerate(pictures):
        on_tick = index % sparseness.every == 0
        if sparseness.flow:
            held.append(picture)
            if on_tick:
                after = detect(picture)
                advance(before, after, held)
                before, held = after, held[-1:]
        elif on_tick:
            append(detect(picture))
        else:
            faces.append([])
            looked.append(False)
    if len(held) > 1:  # the network sees the last frame too: backward flow starts there
        advance(before, detect(held[-1]), held)
    if not sparseness.flow:
        for index in range((len(faces) - 1) // sparseness.every * sparseness.every + 1, len(faces)):
            faces[index] = faces[index - 1]  # nothing follows to interpolate to
    return faces, np.array(looked, bool)


def _carry(
    before: list[np.ndarray], after: list[np.ndarray], held: Sequence[Picture], sparseness: Sparseness
) -> list[list[np.ndarray]] | None:
    """Return the faces in each frame between two network runs; None where flow is unreliable."""
    pairs = match_boxes([box_of(one) for one in before], [box_of(one) for one in after])
    too_sparse = len(pairs) > 1 and len(held) - 1 > sparseness.every_of_several
    if too_sparse or not len(pairs) == len(before) == len(after):
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
