"""Find every face in every frame, running the landmark network, nine tenths of the time, on few frames.

The network runs on every ``every``-th frame; optical flow (``flow``) carries faces between. Where flow is unreliable,
the network also runs on the middle frame, and so on by halves, so the worst case is the network on every frame.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from avspeech.media.video import Picture
from avspeech.roi.flow import carry_between, needed_points
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.seeking import Seeker
from avspeech.roi.track import box_of, match_boxes


@dataclass(frozen=True)
class Sparseness:
    """How many frames the landmark network sees."""

    every: int = 8
    """Frames between two network runs where flow is reliable; 1 runs it on each."""
    every_of_several: int = 2
    """The same with several faces: choosing the speaker needs syllable-rate mouth movement, which 160 ms would miss."""
    max_difference: float = 3.2
    """Largest difference in crop pixels between forward and backward flow."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.every_of_several < 1 or self.max_difference < 0:
            raise ValueError(
                f"every={self.every}, every_of_several={self.every_of_several}, max_difference={self.max_difference} "
                "came; wanted whole numbers from 1, and 0 crop pixels or more"
            )


EVERY_FRAME = Sparseness(every=1)


Settle = Callable[[Picture, list[np.ndarray]], None]
"""Is told each frame and the points of its faces, in order, once these are settled."""


def find_faces(
    pictures: Iterable[Picture],
    finder: FaceFinder,
    sparseness: Sparseness = Sparseness(),
    settle: Settle = lambda picture, faces: None,
) -> tuple[list[list[np.ndarray]], np.ndarray, Seeker]:
    """Return each face's points (``flow.needed_points``) in every frame, bool ``looked_T``, and what looked.

    ``looked_T``: where the network ran. The faces are not linked over time. At most ``every`` + 1 of the ``pictures``
    (25 fps) are in memory.
    """
    faces: list[list[np.ndarray]] = []
    looked: list[bool] = []
    seeker = Seeker(finder)

    def advance(before: list[np.ndarray], after: list[np.ndarray], held: Sequence[Picture]) -> None:
        """Append all frames of ``held`` but the first; ``before`` and ``after`` are the landmarks at its ends."""
        between: Sequence[list[np.ndarray]] | None = [[]] * (len(held) - 2)
        if between and (before or after):
            between = _carry(before, after, held, sparseness)
        if between is None:
            half = len(held) // 2
            middle = seeker.look(held[half], [*before, *after])
            advance(before, middle, held[: half + 1])
            advance(middle, after, held[half:])
            return
        found = [*between, [needed_points(landmarks_J2) for landmarks_J2 in after]]
        for picture, points in zip(held[-len(found) :], found, strict=True):
            settle(picture, points)
        faces.extend(found)
        looked.extend([False] * len(between) + [True])

    def end_at(index: int) -> list[np.ndarray]:
        """Look at the last picture held and return its faces."""
        after = seeker.look_and_seek(held[-1], before, index)
        advance(before, after, held)
        return after

    before: list[np.ndarray] = []
    held: list[Picture] = []  # from the last run of the network on, all of one size
    index = -1
    for index, picture in enumerate(pictures):
        if held and picture.size != held[-1].size:  # flow needs pictures of one size
            if len(held) > 1:
                before = end_at(index - 1)
            advance([], after := seeker.look_and_seek(picture, before, index), [picture])
            before, held = after, [picture]
            continue
        held.append(picture)
        if index % sparseness.every == 0:
            before, held = end_at(index), held[-1:]
    if len(held) > 1:  # the network sees the last frame too: backward flow starts there
        end_at(index)
    return faces, np.array(looked, bool), seeker


def _carry(
    before: list[np.ndarray], after: list[np.ndarray], held: Sequence[Picture], sparseness: Sparseness
) -> list[list[np.ndarray]] | None:
    """Return the faces in each frame between two network runs; None where flow is unreliable."""
    pairs = match_boxes([box_of(one) for one in before], [box_of(one) for one in after])
    too_sparse = len(pairs) > 1 and len(held) - 1 > sparseness.every_of_several
    if too_sparse or not len(pairs) == len(before) == len(after):
        return None
    between: list[list[np.ndarray]] = [[] for _ in held[1:-1]]
    for i, j in sorted(pairs):
        carried = carry_between(held, before[i], after[j])
        if carried is None or carried[1] > sparseness.max_difference:
            return None
        for faces, points_N2 in zip(between, carried[0], strict=True):
            faces.append(points_N2)
    return between
