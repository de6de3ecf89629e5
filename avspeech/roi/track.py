"""Link faces over time by overlapping boxes, fill short gaps, smooth."""

from collections.abc import Collection, Sequence
from enum import IntEnum
from itertools import pairwise

import numpy as np

MIN_OVERLAP = 0.3
"""Smallest intersection over union of the same face in two frames; a turning head moves far less in 40 ms."""
MAX_ABSENCE = 50  # frames (2 s) after which a track is closed


MOUTH_ALREADY = (
    "a picture as small as a mouth crop: if it is one, extract_rois.py --already_cropped true takes it as it is"
)


class FrameStatus(IntEnum):
    """Origin of a frame's landmarks."""

    MEASURED = 0  # the landmark network found the face
    INTERPOLATED = 1  # they come from frames shortly before and after
    MISSING = 2  # the gap is longer than allowed; they are the nearest known ones


class NoFace(Exception):
    """Too few frames show a face: ``num_found`` of ``num_frames``, wanted the share ``min_found``.

    ``is_small``: the picture is no larger than a mouth crop.
    """

    def __init__(self, num_found: int, num_frames: int, min_found: float, is_small: bool = False) -> None:
        super().__init__(num_found, num_frames, min_found, is_small)

    def __str__(self) -> str:
        num_found, num_frames, min_found, is_small = self.args
        share = f"{num_found} of {num_frames} frames ({num_found / max(num_frames, 1):.0%}), wanted {min_found:.0%}"
        hint = MOUTH_ALREADY if is_small else "is it a talking face, at least 24 pixels high?"
        return f"one face in {share}; {hint}"


def rescaled(points_N2: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """Map points of a picture to one of another size (width, height): middle to middle, longer side to longer side."""
    scale = max(new) / max(old)
    return ((points_N2 - np.array(old) / 2) * scale + np.array(new) / 2).astype(points_N2.dtype)


def link_faces(detections: Sequence[list[np.ndarray]], changes: Collection[int] = ()) -> list[dict[int, np.ndarray]]:
    """Return every face's track, {frame index: points_N2}, from the points of each face per frame.

    The face with the largest sum of sizes over its frames comes first; one that returns to its place is the same.
    ``changes``: frames at which the picture's size changes. Faces not found at their place there are matched from left
    to right, if they are as many as before.
    """
    tracks: list[dict[int, np.ndarray]] = []
    live: list[dict[int, np.ndarray]] = []  # open tracks; an hour of cuts has thousands of closed ones
    changed = False
    for index, faces in enumerate(detections):
        changed |= index in changes
        live = [track for track in live if index - next(reversed(track)) <= MAX_ABSENCE]
        boxes = [box_of(track[next(reversed(track))]) for track in live]  # in the last frame of each
        pairs = match_boxes(boxes, [box_of(face) for face in faces])
        if changed and faces:
            newest = max((next(reversed(track)) for track in live), default=0)
            there = [i for i, track in enumerate(live) if next(reversed(track)) == newest]
            pairs, changed = pairs + _in_order(boxes, there, faces, pairs), False
        track_of = {face: live[i] for i, face in pairs}
        for face, points_N2 in enumerate(faces):
            if face not in track_of:
                track_of[face] = {}
                tracks.append(track_of[face])
                live.append(track_of[face])
            track_of[face][index] = points_N2
    return sorted(_rejoin(tracks), key=_weight, reverse=True)


def _in_order(
    boxes: Sequence[np.ndarray], there: Sequence[int], faces: Sequence[np.ndarray], pairs: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return pairs of the boxes ``there`` and the faces that have no partner, from left to right; none if they differ
    in number."""
    before = sorted(set(there) - {i for i, _ in pairs}, key=lambda i: boxes[i][[0, 2]].sum())
    after = sorted(set(range(len(faces))) - {j for _, j in pairs}, key=lambda j: faces[j][:, 0].mean())
    return list(zip(before, after, strict=True)) if len(before) == len(after) else []


def _weight(track: dict[int, np.ndarray]) -> float:
    return sum(float(np.prod(np.ptp(points_N2, axis=0))) ** 0.5 for points_N2 in track.values())


def _rejoin(tracks: list[dict[int, np.ndarray]]) -> list[dict[int, np.ndarray]]:
    """Join tracks that follow one another at the same place with the same size."""
    whole: list[dict[int, np.ndarray]] = []
    ends, boxes_N4 = np.empty(len(tracks), int), np.empty((len(tracks), 4))  # last frame of each, and the box there
    for track in sorted(tracks, key=min):
        first, last, count = min(track), max(track), len(whole)
        shared_N = overlaps(boxes_N4[:count], box_of(track[first]))
        shared_N[ends[:count] >= first] = 0
        best = int(shared_N.argmax()) if count and shared_N.max() >= MIN_OVERLAP else count
        if best == count:
            whole.append({})
        whole[best].update(track)
        ends[best], boxes_N4[best] = last, box_of(track[last])
    return whole


def match_boxes(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Return index pairs of boxes of the same face, best overlap first, each box at most once."""
    found = [(overlap(box, its), i, j) for i, box in enumerate(one) for j, its in enumerate(other)]
    pairs: dict[int, int] = {}
    for _, i, j in sorted((pair for pair in found if pair[0] >= MIN_OVERLAP), reverse=True):
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    return list(pairs.items())


def overlap(one_4: np.ndarray, other_4: np.ndarray) -> float:
    """Return the intersection over union of two boxes: twenty times faster than ``overlaps`` of one."""
    left, top, right, bottom = one_4.tolist()
    x0, y0, x1, y1 = other_4.tolist()
    shared = max(min(right, x1) - max(left, x0), 0) * max(min(bottom, y1) - max(top, y0), 0)
    return shared / max((right - left) * (bottom - top) + (x1 - x0) * (y1 - y0) - shared, 1e-9)


def overlaps(boxes_N4: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each box with one, (N,) float64."""
    boxes_N4, box = boxes_N4.astype(np.float64), box.astype(np.float64)
    sides_N2 = np.minimum(boxes_N4[:, 2:], box[2:]) - np.maximum(boxes_N4[:, :2], box[:2])
    shared_N = np.maximum(sides_N2, 0).prod(axis=1)
    union_N = (boxes_N4[:, 2:] - boxes_N4[:, :2]).prod(axis=1) + np.prod(box[2:] - box[:2]) - shared_N
    return shared_N / np.maximum(union_N, 1e-9)


def box_of(points_N2: np.ndarray) -> np.ndarray:
    """Return (left, top, right, bottom) of a face's points."""
    points_2N = np.ascontiguousarray(points_N2.T)  # numpy reduces rows of two numbers five times more slowly
    return np.concatenate([points_2N.min(axis=1), points_2N.max(axis=1)])


def fill_gaps(track: dict[int, np.ndarray], max_gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``points_TN2`` and ``status_T`` of every frame from a track's first to its last.

    Gaps up to ``max_gap`` frames are interpolated linearly; longer ones repeat the nearer end's points.
    """
    known = sorted(track)
    first, last = known[0], known[-1]
    status_T = np.full(last + 1 - first, FrameStatus.MISSING, np.uint8)
    points_TN2 = np.empty((len(status_T), *track[first].shape), np.float32)
    for frame, points_N2 in track.items():
        status_T[frame - first], points_TN2[frame - first] = FrameStatus.MEASURED, points_N2
    for before, after in pairwise(known):
        gap = slice(before + 1 - first, after - first)
        weight_T = np.arange(1, after - before, dtype=np.float32) / (after - before)
        if after - before - 1 <= max_gap:
            status_T[gap] = FrameStatus.INTERPOLATED
        else:
            weight_T = np.round(weight_T)
        points_TN2[gap] = track[before] + weight_T[:, None, None] * (track[after] - track[before])
    return points_TN2, status_T


def smooth_over_time(values_TX: np.ndarray, length: int) -> np.ndarray:
    """Return the centred mean over ``length`` (odd) frames of the first axis, same shape, float32."""
    return mean_over_time(values_TX, length // 2, length // 2)


def mean_over_time(values_TX: np.ndarray, ahead: int, behind: int) -> np.ndarray:
    """Return the mean over each frame and those before and after it, over the first axis, same shape, float32.

    Near an end a window on both sides shrinks on both, so as not to pull a moving face inwards; one that looks ahead
    only is the last whole one, as in AV-HuBERT's preparation; one that looks back starts at the first frame.
    """
    num_frames = len(values_TX)
    sums = np.concatenate([np.zeros_like(values_TX[:1], np.float64), np.cumsum(values_TX, axis=0, dtype=np.float64)])
    index_T = np.arange(num_frames)
    if ahead and behind:
        behind_T = ahead_T = np.minimum(min(ahead, behind), np.minimum(index_T, index_T[::-1]))
    else:
        index_T = np.minimum(index_T, max(num_frames - 1 - ahead, 0))
        behind_T, ahead_T = np.minimum(behind, index_T), np.minimum(ahead, num_frames - 1 - index_T)
    first_T, end_T = index_T - behind_T, index_T + ahead_T + 1
    counts_T = (end_T - first_T).reshape(-1, *[1] * (values_TX.ndim - 1))
    return ((sums[end_T] - sums[first_T]) / counts_T).astype(np.float32)
