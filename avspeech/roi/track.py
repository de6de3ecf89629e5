"""Follow one face through a clip: pick the speaker, fill short gaps, smooth.

Faces of neighbouring frames belong to one track where their boxes overlap, so a track never jumps to another face.
The speaker is the track with the largest sum of face sizes: large and there for long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np

MIN_OVERLAP = 0.3
"""Intersection over union from which on two boxes are the same face. A head turns or nods far less in 40 ms."""
MAX_ABSENCE = 50
"""Frames (2 s) after which a face that comes back at the same place counts as another one."""


class FrameStatus(IntEnum):
    """How a frame's landmarks came about."""

    MEASURED = 0
    """The face was found in this frame."""
    INTERPOLATED = 1
    """It was not, but shortly before or after."""
    MISSING = 2
    """The gap is longer than allowed; the nearest known landmarks stand in."""


class NoFace(Exception):
    """Too few frames show a face.

    Args:
        num_found: frames in which the face was found.
        num_looked: frames that were looked at.
        min_found: share that was wanted.
    """

    def __init__(self, num_found: int, num_looked: int, min_found: float) -> None:
        super().__init__(num_found, num_looked, min_found)
        self.share_found = num_found / max(num_looked, 1)
        self.num_found, self.num_looked, self.min_found = num_found, num_looked, min_found

    def __str__(self) -> str:
        return (
            f"one face in {self.num_found} of {self.num_looked} frames ({self.share_found:.0%}), wanted "
            f"{self.min_found:.0%}; is it a talking face, upright and at least a sixth of the picture's height?"
        )


@dataclass(frozen=True)
class FaceTrack:
    """One face in every frame of a clip."""

    landmarks_TJ2: np.ndarray
    """float32, pixels; smoothed, defined in every frame."""
    status_T: np.ndarray
    """uint8, a ``FrameStatus`` per frame."""


def follow_face(
    detections: Sequence[list[np.ndarray] | None], max_gap: int = 12, min_found: float = 0.5, smooth: int = 13
) -> FaceTrack:
    """Return the speaker's face in every frame.

    Args:
        detections: per frame the faces found, as ``find_landmarks`` returns them.
        max_gap: longest gap in frames that is filled by linear interpolation between its ends; at the clip's ends
            the nearest landmarks are repeated up to the same length. 12 frames = 480 ms.
        min_found: share of the frames looked at in which the face must be found.
        smooth: length in frames of the centred mean over time, odd; 1 smooths nothing.

    Raises:
        NoFace: no face, or in less than ``min_found`` of the frames.
    """
    if smooth < 1 or smooth % 2 == 0 or max_gap < 0:
        raise ValueError(f"smooth={smooth}, max_gap={max_gap} came; wanted an odd number from 1, and 0 or more")
    num_looked = sum(faces is not None for faces in detections)
    track = max(link_faces(detections), key=weight, default={})
    if not track or len(track) < min_found * num_looked:
        raise NoFace(len(track), num_looked, min_found)
    landmarks_TJ2, status_T = fill_gaps(track, len(detections), max_gap)
    return FaceTrack(smooth_over_time(landmarks_TJ2, smooth), status_T)


def link_faces(detections: Sequence[list[np.ndarray] | None]) -> list[dict[int, np.ndarray]]:
    """Return every face's track, {frame index: landmarks_J2}, each detection in exactly one."""
    tracks: list[dict[int, np.ndarray]] = []
    last: list[tuple[int, np.ndarray]] = []  # per track, its last frame and the box there
    live: list[int] = []  # tracks that are not given up; an hour of cuts has thousands that are
    for index, faces in enumerate(detections):
        boxes = [box_of(face) for face in faces or []]
        live = [track for track in live if index - last[track][0] <= MAX_ABSENCE]
        pairs = [(overlap(last[track][1], box), track, face) for face, box in enumerate(boxes) for track in live]
        open_tracks, open_faces = set(live), set(range(len(boxes)))
        for shared, track, face in sorted(pairs, reverse=True):  # best match first, each side once
            if shared >= MIN_OVERLAP and track in open_tracks and face in open_faces:
                open_tracks.remove(track)
                open_faces.remove(face)
                tracks[track][index] = (faces or [])[face]
                last[track] = (index, boxes[face])
        for face in sorted(open_faces):
            live.append(len(tracks))
            tracks.append({index: (faces or [])[face]})
            last.append((index, boxes[face]))
    return tracks


def box_of(landmarks_J2: np.ndarray) -> np.ndarray:
    """Return (left, top, right, bottom) of a face, in the pixels of its landmarks."""
    return np.concatenate([landmarks_J2.min(axis=0), landmarks_J2.max(axis=0)])


def _area(box: np.ndarray) -> float:
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two boxes."""
    shared = _area(np.concatenate([np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])]))
    return shared / max(_area(one) + _area(other) - shared, 1e-9)


def weight(track: dict[int, np.ndarray]) -> float:
    """Return the sum of a track's face sizes over its frames: large and there for long."""
    return sum(_area(box_of(landmarks_J2)) ** 0.5 for landmarks_J2 in track.values())


def fill_gaps(track: dict[int, np.ndarray], num_frames: int, max_gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``landmarks_TJ2``, defined in every frame, and ``status_T``, which says how.

    Args:
        track: {frame index: landmarks_J2}, at least one.
        num_frames: T.
        max_gap: see ``follow_face``.
    """
    known = sorted(track)
    status_T = np.full(num_frames, FrameStatus.MISSING, np.uint8)
    status_T[known] = FrameStatus.MEASURED
    landmarks_TJ2 = np.empty((num_frames, *track[known[0]].shape), np.float32)
    landmarks_TJ2[: known[0]] = track[known[0]]
    landmarks_TJ2[known[-1] :] = track[known[-1]]
    if known[0] <= max_gap:
        status_T[: known[0]] = FrameStatus.INTERPOLATED
    if num_frames - 1 - known[-1] <= max_gap:
        status_T[known[-1] + 1 :] = FrameStatus.INTERPOLATED
    for before, after in pairwise(known):
        landmarks_TJ2[before] = track[before]
        gap = slice(before + 1, after)
        weight_T = (np.arange(before + 1, after, dtype=np.float32) - before) / (after - before)
        if after - before - 1 <= max_gap:
            status_T[gap] = FrameStatus.INTERPOLATED
        else:
            weight_T = np.round(weight_T)  # too long to draw a line: the nearer end stands in
        landmarks_TJ2[gap] = track[before] + weight_T[:, None, None] * (track[after] - track[before])
    return landmarks_TJ2, status_T


def smooth_over_time(values_TX: np.ndarray, length: int) -> np.ndarray:
    """Return the centred mean over ``length`` frames, fewer at the ends; same shape, float32.

    Args:
        values_TX: time first, any further axes.
        length: odd number of frames.
    """
    half = length // 2
    num_frames = len(values_TX)
    sums = np.concatenate([np.zeros_like(values_TX[:1], np.float64), np.cumsum(values_TX, axis=0, dtype=np.float64)])
    # Near an end the window shrinks on both sides: cut on one side only, it would pull a moving face inwards.
    reach_T = np.minimum(half, np.minimum(np.arange(num_frames), np.arange(num_frames)[::-1]))
    first_T, last_T = np.arange(num_frames) - reach_T, np.arange(num_frames) + reach_T + 1
    counts_T = (2 * reach_T + 1).reshape(-1, *[1] * (values_TX.ndim - 1))
    return ((sums[last_T] - sums[first_T]) / counts_T).astype(np.float32)
