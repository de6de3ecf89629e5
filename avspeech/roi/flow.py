"""Carry a face between two frames by the motion of its rigid parts and of its lips, and estimate the error.

Flow measures head motion, a similarity per frame; relative to the head, all else moves linearly, within the landmark
network's scatter of about half a crop pixel, but the lips also move, stretch and shear by most of the flow of their
outer edge. Pyramidal Lucas-Kanade runs forwards and backwards on a grey face scaled to about one size. Where they
differ, one lost the face or the lips did not move linearly.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from avspeech.media.video import Picture
from avspeech.roi.mouth import EYE_DISTANCE, LIPS, MEAN_FACE, STABLE, fit_similarity
from avspeech.roi.track import box_of

RIGID = (*STABLE, 4, 98, 327, 168, 6, 195, 70, 105, 107, 336, 334, 300)
"""Landmarks that flow tracks: the stable ones, nose and brows."""
EDGE = LIPS[:20:2]  # every second point of the lips' outer edge
NEEDED = (*STABLE, *LIPS)
SCALE = 0.66  # flow picture pixels per crop pixel: eye corners are 50 px apart. Finer is slower, not more exact
LIP_SHARE = 0.65  # share of the lips' flow that their points follow: at most 1. The rest is its noise
BENT = 0.3  # points by which their stretching and shearing is pulled to none
MARGIN = 0.3 * EYE_DISTANCE
MAX_SIDE = 400  # longest side of the flow picture; in profile, the eye corners nearly coincide
MIN_SIDE = 16
WINDOW = (11, 11)
LEVELS = 2
STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03)
TRUSTED = 0.75  # share of the rigid points that the motion is fitted to, without the largest errors
MIN_POINTS = 5
BLUR = 0.4  # crop pixels by which the points of an enlarged face are unsure, per crop pixel of a frame pixel
_NEEDED, _TRACKED = np.array(NEEDED), np.array((*RIGID, *EDGE))
_LIPS = slice(len(STABLE), len(NEEDED))


def needed_points(landmarks_J2: np.ndarray) -> np.ndarray:
    """Return float32 (47, 2): landmarks ``NEEDED``, then two corners of the face's box."""
    return np.concatenate([landmarks_J2[_NEEDED], box_of(landmarks_J2).reshape(2, 2)])


def carry_between(
    held: Sequence[Picture], before_J2: np.ndarray, after_J2: np.ndarray
) -> tuple[np.ndarray, float] | None:
    """Return a face's points between two detections, and the error estimate; None if the face is hardly in the picture.

    ``held`` are the frames, both ends included. The points (``needed_points``) are without the ends. The error is the
    worst frame's mean difference of forward and backward flow in crop pixels, over stable points or lips; in a face
    much smaller than its crop, in multiples of what its pixels can tell.
    """
    ends = np.stack([before_J2, after_J2]).astype(np.float64)
    rotate_T22, _ = fit_similarity(ends[:, STABLE], MEAN_FACE)
    crop_scale = float(np.hypot(rotate_T22[:, 0, 0], rotate_T22[:, 1, 0]).mean())
    window = _Window(ends[:, _TRACKED].reshape(-1, 2), crop_scale, held[0].size)
    if min(window.size) < MIN_SIDE:  # hardly any of it is inside the frame
        return None
    pictures = [window.cut(picture) for picture in held]
    forwards = _follow(pictures, window.into(before_J2[_TRACKED]))
    backwards = _follow(pictures[::-1], window.into(after_J2[_TRACKED]))
    if forwards is None or backwards is None:
        return None
    (rigid_there_T, edge_there_T), (rigid_back_T, edge_back_T) = (
        np.split(window.out_of(path_TN2), [len(RIGID)], axis=1) for path_TN2 in (forwards[0], backwards[0][::-1])
    )
    (there_N, edge_N), (back_N, back_edge_N) = (np.split(kept_N, [len(RIGID)]) for _, kept_N in (forwards, backwards))
    there_T = _carried(rigid_there_T, ends[0, _TRACKED[: len(RIGID)]], there_N, needed_points(before_J2))
    back_T = _carried(rigid_back_T, ends[1, _TRACKED[: len(RIGID)]], back_N, needed_points(after_J2))
    apart_TN = np.hypot(*np.moveaxis(there_T - back_T, -1, 0)) * crop_scale
    worst = max(apart_TN[:, : _LIPS.start].mean(axis=1).max(), apart_TN[:, _LIPS].mean(axis=1).max())
    points_TN2 = _blended(there_T, back_T)
    if (edge_N := edge_N & back_edge_N).any():
        edge_TN2 = _blended(edge_there_T, edge_back_T)
        moved_TN2 = (edge_TN2 - points_TN2[:, _LIPS][:, : 2 * len(EDGE) : 2])[:, edge_N]
        points_TN2[:, _LIPS] += LIP_SHARE * _spread(moved_TN2, points_TN2[len(held) // 2, _LIPS], edge_N)
    return points_TN2[1:-1].astype(np.float32), float(worst) / max(1.0, BLUR * crop_scale)


def _blended(there_TX: np.ndarray, back_TX: np.ndarray) -> np.ndarray:
    """Return the mean of two paths, each weighted by the nearness of its start."""
    share_T = np.linspace(0, 1, len(there_TX)).reshape(-1, *[1] * (there_TX.ndim - 1))
    return (1 - share_T) * there_TX + share_T * back_TX


def _spread(moved_TE2: np.ndarray, lips_N2: np.ndarray, edge_N: np.ndarray) -> np.ndarray:
    """Return the motion of all lip points, (T, N, 2), from that of their tracked edge: an affine one, hardly bent."""
    x_N2 = lips_N2 - lips_N2.mean(axis=0)
    design_N3 = np.column_stack([np.ones(len(x_N2)), x_N2 / max(float(x_N2.std()), 1e-6)])
    edge_E3 = design_N3[: 2 * len(EDGE) : 2][edge_N]
    solved_3E = np.linalg.solve(edge_E3.T @ edge_E3 + np.diag([0.0, BENT, BENT]), edge_E3.T)
    return np.einsum("nk,ke,tei->tni", design_N3, solved_3E, moved_TE2)


class _Window:
    """An upright part of the frame, and the map to a picture in which every face has about one size."""

    def __init__(self, points_N2: np.ndarray, crop_scale: float, shape: tuple[int, int]) -> None:
        margin = MARGIN / max(crop_scale, 1e-6)
        self.corner = np.maximum(np.floor(points_N2.min(axis=0) - margin), 0).astype(int)
        sides_2 = np.maximum(np.minimum(np.ceil(points_N2.max(axis=0) + margin), shape).astype(int) - self.corner, 0)
        scale = min(SCALE * crop_scale, MAX_SIDE / max(*sides_2, 1))
        if scale < 1:  # averaging over whole pixels is several times faster
            sides_2 -= sides_2 % round(1 / scale)
            scale = 1 / round(1 / scale)
        self.box = (*self.corner.tolist(), *(self.corner + sides_2).tolist())
        self.size = tuple(round(side * scale) for side in sides_2)
        self.scale = np.array(self.size) / np.maximum(sides_2, 1)

    def cut(self, picture: Picture) -> np.ndarray:
        interpolation = cv2.INTER_AREA if self.scale[0] < 1 else cv2.INTER_LINEAR
        return picture.grey(self.box, lambda grey_HW: cv2.resize(grey_HW, self.size, interpolation=interpolation))

    def into(self, points_N2: np.ndarray) -> np.ndarray:
        """Map frame pixels, counted from the corner, to the picture's, counted from the first pixel's centre."""
        return ((points_N2 - self.corner) * self.scale - 0.5).astype(np.float32)

    def out_of(self, points_TN2: np.ndarray) -> np.ndarray:
        return (points_TN2 + 0.5) / self.scale + self.corner


def _follow(pictures: Sequence[np.ndarray], points_N2: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the points in every picture, (T, N, 2), and which were never lost; None if too few rigid ones are left."""
    path, kept_N = [points_N2], np.ones(len(points_N2), bool)
    for picture, following in pairwise(pictures):
        points_N2, found_N1, _ = cv2.calcOpticalFlowPyrLK(
            picture, following, points_N2, points_N2.copy(), winSize=WINDOW, maxLevel=LEVELS, criteria=STEPS
        )
        kept_N &= found_N1[:, 0] > 0
        path.append(points_N2)
    return (np.stack(path), kept_N) if kept_N[: len(RIGID)].sum() >= MIN_POINTS else None


def _carried(moved_TN2: np.ndarray, start_N2: np.ndarray, kept_N: np.ndarray, points_P2: np.ndarray) -> np.ndarray:
    """Return ``points_P2`` after each frame's motion, (T, P, 2).

    The motion is the similarity from ``start_N2`` to ``moved_TN2``, fitted twice: the second time without large errors.
    """
    z_N, z_TN = _complex(start_N2[kept_N]), _complex(moved_TN2[:, kept_N])
    weight_TN = np.ones(z_TN.shape)
    for trim in (True, False):
        total_T1 = weight_TN.sum(axis=1, keepdims=True)
        from_TN = z_N - (weight_TN * z_N).sum(axis=1, keepdims=True) / total_T1
        to_TN = z_TN - (weight_TN * z_TN).sum(axis=1, keepdims=True) / total_T1
        power_T = np.maximum((weight_TN * np.abs(from_TN) ** 2).sum(axis=1), 1e-12)
        turn_T = (weight_TN * from_TN.conj() * to_TN).sum(axis=1) / power_T
        shift_T = (z_TN - to_TN)[:, 0] - turn_T * (z_N - from_TN)[:, 0]
        if trim:
            error_TN = np.abs(turn_T[:, None] * z_N + shift_T[:, None] - z_TN)
            last = int(TRUSTED * (error_TN.shape[1] - 1))  # as np.quantile, without its overhead
            weight_TN = (error_TN <= np.sort(error_TN, axis=1)[:, last : last + 1]).astype(float)
    carried_TP = turn_T[:, None] * _complex(points_P2) + shift_T[:, None]
    return np.stack([carried_TP.real, carried_TP.imag], axis=-1)


def _complex(points: np.ndarray) -> np.ndarray:
    return points[..., 0] + 1j * points[..., 1]
