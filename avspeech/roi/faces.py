"""Track every face of a video, if any: frames, landmarks and mouth opening, in half a kilobyte per face and frame."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat

import numpy as np

from avspeech.media.video import Picture
from avspeech.roi.early import EarlyCrops
from avspeech.roi.flow import NEEDED
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.mouth import MOUTH_SIZE, STABLE, place, placements
from avspeech.roi.seeking import MAX_FACES
from avspeech.roi.sparse import Sparseness, find_faces
from avspeech.roi.track import FrameStatus, fill_gaps, link_faces, rescaled
from avspeech.timebase import FRAME_RATE

_UPPER_LIP, _LOWER_LIP = NEEDED.index(0), NEEDED.index(17)
"""Middle of the lips' outer edges, more exact than the inner ones."""
NOSE = 2.885 / 8.892  # in mediapipe's canonical mesh, of landmarks 2, 33 and 263
_LOST = "did the file lose its rotation flag? The lips were turned upright."
TURNED = {1: f"The face lies on its side: {_LOST}", 2: f"The face is upside down: {_LOST}"}
TURNED[3] = TURNED[1]
STILL, MOSTLY = 0.05, 0.85  # crop pixels that a face moves, and the share of frames; a face at rest moves 0.2
FROZEN = "The face stands quite still in {:.0%} of the frames: is it a slideshow, or has the picture frozen?"


@dataclass(frozen=True)
class Face:
    """One face, from the first frame that shows it to the last."""

    first: int
    points_TN2: np.ndarray
    """float32 pixels, unsmoothed (``flow.needed_points``)."""
    status_T: np.ndarray
    """uint8, a ``FrameStatus`` per frame; frames carried by flow are INTERPOLATED."""
    changes: tuple[int, ...] = ()
    """Indices in ``status_T`` of the frames at which the picture's size changes."""

    @property
    def end(self) -> int:
        """Index of the frame after the last."""
        return self.first + len(self.status_T)

    @cached_property
    def boxes_T4(self) -> np.ndarray:
        """float32: left, top, right, bottom in frame pixels."""
        return self.points_TN2[:, -2:].reshape(-1, 4)

    def status_over(self, num_frames: int, max_gap: int) -> np.ndarray:
        """Return ``status_T`` of a whole video, INTERPOLATED before and after the face for up to ``max_gap`` frames."""
        before, after = self.first, num_frames - self.end
        outside = [FrameStatus.INTERPOLATED if gap <= max_gap else FrameStatus.MISSING for gap in (before, after)]
        return np.pad(self.status_T, (before, after), constant_values=outside)

    @cached_property
    def openness_T(self) -> np.ndarray:
        """float32: distance of the lips' outer edges, in crop pixels of an aligned face."""
        matrices_T23 = place(self.points_TN2[:, : len(STABLE)], self.points_TN2[:, len(STABLE) : len(NEEDED)])
        gap_T2 = self.points_TN2[:, _LOWER_LIP] - self.points_TN2[:, _UPPER_LIP]
        return (np.hypot(*gap_T2.T) * np.hypot(*matrices_T23[:, :, 0].T)).astype(np.float32)

    @property
    def share_still(self) -> float:
        """Return the share of frames in which no point moves: 0.98 in a slideshow, 0.5 at 12 fps; 0 below a second."""
        stable_TN2 = self.points_TN2[:, : len(STABLE)]
        scale_T = np.hypot(*place(stable_TN2, stable_TN2)[:, :, 0].T)
        some_TN2 = self.points_TN2[:, : len(NEEDED) : 4]
        moved_T = np.linalg.norm(np.diff(some_TN2, axis=0), axis=-1).mean(axis=1) * scale_T[1:]
        return float((moved_T < STILL).mean()) if len(moved_T) >= FRAME_RATE else 0.0

    def share_found(self, first: int, end: int) -> float:
        """Return the share of frames from ``first`` to before ``end`` in which the face is not MISSING."""
        start, stop = max(first, self.first), max(min(end, self.end), self.first)
        known = (self.status_T[start - self.first : stop - self.first] != FrameStatus.MISSING).sum()
        return float(known / max(end - first, 1))

    def placements_over(self, num_frames: int, alignment: str = "official") -> np.ndarray:
        """Return the maps from frame to crop pixels, (T, 2, 3), of a video; outside the face's span the nearest."""
        placed_T23 = placements(self.points_TN2, alignment, self.changes)
        return placed_T23[np.clip(np.arange(num_frames) - self.first, 0, len(placed_T23) - 1)]

    @property
    def yaw_T(self) -> np.ndarray:
        """Return the turn to the side in degrees, positive towards the right of the picture; 0 looks into the camera.

        From the nose's base, which stands out of the plane of the eye corners by ``NOSE`` of their distance.
        """
        right_T2, *_, left_T2, nose_T2 = np.moveaxis(self.points_TN2[:, : len(STABLE)], 1, 0)
        eyes_T2, middle_T2 = left_T2 - right_T2, nose_T2 - (left_T2 + right_T2) / 2
        aside_T = (eyes_T2 * middle_T2).sum(axis=1) / np.maximum((eyes_T2**2).sum(axis=1), 1e-9)
        return np.degrees(np.arctan(aside_T / NOSE))

    @property
    def turn(self) -> int:
        """Return by how many quarters the picture is turned clockwise where this face is upright, 0 to 3."""
        down_T2 = self.points_TN2[:, STABLE.index(2)] - self.points_TN2[:, :4].mean(axis=1)
        x, y = down_T2.sum(axis=0)
        return round(float(np.arctan2(-x, y)) / (np.pi / 2)) % 4


@dataclass(frozen=True)
class FollowedFaces:
    """Every face of a video, the one with the largest sum of sizes first."""

    faces: tuple[Face, ...]
    num_frames: int
    num_looked: int
    """Number of frames that the landmark network saw."""
    notes: tuple[str, ...] = ()
    """What is odd about the faces, as sentences."""
    size: tuple[int, int] = (0, 0)
    """Width and height of the last picture."""
    shown_T2: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    """float64 seconds from and until which the source shows the picture of each frame; held frames have the same."""
    early: EarlyCrops | None = None
    """Crops of a lone face that were cut as its frames came by."""

    def frame_rate(self, first: int, end: int) -> float:
        """Return how many pictures a second frames ``first`` to before ``end`` show, at most 25, also if unknown."""
        times_T = self.shown_T2[first:end, 0]
        return FRAME_RATE * len(np.unique(times_T)) / len(times_T) if len(times_T) else float(FRAME_RATE)

    @property
    def is_small(self) -> bool:
        """True if the pictures are no larger than a mouth crop."""
        return 0 < max(self.size) <= MOUTH_SIZE


def follow_faces(
    pictures: Iterable[Picture],
    finder: FaceFinder,
    *,
    max_gap: int = 12,
    sparseness: Sparseness = Sparseness(),
    alignment: str | None = None,
) -> FollowedFaces:
    """Return every face of a video over its own span; a face that returns to its place is the same face.

    Gaps up to ``max_gap`` frames are interpolated; in longer ones the face is MISSING, at the nearest known points.
    ``alignment``: crops of a lone face so placed are kept, which saves ``crop_faces`` a second pass.
    """
    early = None if alignment is None else EarlyCrops(alignment)
    settle = {} if early is None else {"settle": early.settle}
    sizes: list[tuple[int, int]] = []
    shown: list[tuple[float, float]] = []
    found, looked_T, seeker = find_faces(_noted(pictures, sizes, shown), finder, sparseness, **settle)
    if early is not None:
        early.finish()
    faces, changes = [], [index for index in range(1, len(sizes)) if sizes[index] != sizes[index - 1]]
    if changes:
        found = [[rescaled(one, size, sizes[0]) for one in faces] for faces, size in zip(found, sizes, strict=True)]
    for track in link_faces(found, changes):
        first = min(track)
        points_TN2, status_T = fill_gaps(track, max_gap)
        end = first + len(status_T)
        if changes:
            points_TN2 = np.stack([rescaled(*one) for one in zip(points_TN2, repeat(sizes[0]), sizes[first:end])])
        carried_T = (status_T == FrameStatus.MEASURED) & ~looked_T[first:end]
        status_T[carried_T] = FrameStatus.INTERPOLATED
        faces.append(Face(first, points_TN2, status_T, tuple(at - first for at in changes if first < at < end)))
    notes = [TURNED[faces[0].turn]] if faces and faces[0].turn else []
    if faces and (share := faces[0].share_still) > MOSTLY:
        notes.append(FROZEN.format(share))
    if seeker.crowded:
        notes.append(f"More than {MAX_FACES} faces are in the picture: {MAX_FACES} large ones were followed.")
    about = int(looked_T.sum()), tuple(notes), seeker.size, np.array(shown).reshape(-1, 2)
    return FollowedFaces(tuple(faces), len(found), *about, early)


def _noted(
    pictures: Iterable[Picture], sizes: list[tuple[int, int]], shown: list[tuple[float, float]]
) -> Iterator[Picture]:
    for picture in pictures:
        sizes.append(picture.size)
        shown.append(picture.shown_s)
        yield picture
