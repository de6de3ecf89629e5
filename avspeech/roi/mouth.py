"""Align a face and cut its mouth: 96x96 grey at 25 fps.

A similarity maps the eye corners and the nose base onto a mean face; the crop is centred on the lips' mean. AV-HuBERT
(Shi et al. 2022, arXiv:2201.02184) does so with dlib's landmarks and the "20 words" mean face. Ours is mediapipe's
canonical mesh at the size and lip centre that give the same crops; frames without a face are marked.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple

import cv2
import numpy as np

from avspeech.media.video import Picture
from avspeech.roi.sizes import MOUTH_SIZE
from avspeech.roi.track import FrameStatus, mean_over_time

EYE_DISTANCE = 76.0
"""Crop pixels between the outer eye corners of an aligned face: fitted to dlib's crops of 90 people (error 0.2)."""
CUT = 21.6  # smallest mean movement of the stable points per frame, in crop pixels, that is a cut: no smoothing over it
MARGIN = 4  # frame pixels around a crop that its sampling touches at most
STABLE = (33, 133, 362, 263, 2)
"""Right eye's outer and inner corner, left eye's inner and outer corner, base of the nose."""
# x and y in centimetres, y upwards, from geometry_pipeline_metadata_landmarks.binarypb inside face_landmarker.task.
_CANONICAL_CM = np.array(
    [(-4.445859, 2.663991), (-1.856432, 2.585245), (1.856432, 2.585245), (4.445859, 2.663991), (0.0, -2.089024)]
)
MEAN_FACE = _CANONICAL_CM * (1, -1) * EYE_DISTANCE / (2 * 4.445859)
"""Stable points of an aligned face, in pixels, y down; only differences matter."""
LIPS = (
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 146, 91, 181, 84, 17, 314, 405, 321, 375,  # outer edge
    78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 95, 88, 178, 87, 14, 317, 402, 318, 324,  # inner edge
)  # fmt: skip

Alignment = Literal["official", "steady", "causal", "former"]


class CropRule(NamedTuple):
    """How a crop is placed: the frames whose mean gives scale and rotation, and where the lips' mean lies."""

    ahead: int = 0
    behind: int = 0
    steady_centre: bool = False
    """The centre is averaged over the same frames; False: it follows each frame's own lips."""
    lip_centre: tuple[float, float] = (48.5, 47.4)
    """x and y in crop pixels from the corner; dlib's mean lies 0.5 px right of and 0.6 px above the crop's centre."""
    eye_distance: float = EYE_DISTANCE


CROPS: dict[str, CropRule] = {
    "official": CropRule(ahead=11),
    "steady": CropRule(6, 6, steady_centre=True),
    "causal": CropRule(behind=11),
    "former": CropRule(6, 6, steady_centre=True, lip_centre=(48.0, 48.0), eye_distance=88.0),
}
"""``official``: AV-HuBERT's rule, frames t to t+11. ``steady``: a centred mean. ``causal``: no frame ahead, for live
video. ``former``: the crops of model files of format 2, of before the official geometry."""


def crop_rule(alignment: str) -> CropRule:
    """Return the rule of that name. Raises ValueError for any other name."""
    if alignment not in CROPS:
        raise ValueError(f"alignment={alignment!r} came, wanted one of {', '.join(CROPS)}")
    return CROPS[alignment]


@dataclass(frozen=True)
class MouthClip:
    """Mouth crops of one face in every frame of a clip."""

    mouth_THW: np.ndarray
    """uint8 grey, (T, 96, 96)."""
    status_T: np.ndarray
    placements_T23: np.ndarray
    """float64, the maps from frame to crop pixels; both pixel systems count from the corner."""

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of frames per status: measured, interpolated, missing."""
        return count_status(self.status_T)


def count_status(status_T: np.ndarray) -> dict[str, int]:
    return {status.name.lower(): int((status_T == status).sum()) for status in FrameStatus}


def place(stable_TN2: np.ndarray, lips_TN2: np.ndarray, rule: CropRule = CROPS["official"]) -> np.ndarray:
    """Return ``matrices_T23``, the maps from frame to crop pixels, from averaged ``STABLE`` and ``LIPS`` points.

    Both pixel systems count from the corner.
    """
    rotate_T22, _ = fit_similarity(stable_TN2.astype(np.float64), MEAN_FACE * (rule.eye_distance / EYE_DISTANCE))
    centre_T2 = np.einsum("tij,tj->ti", rotate_T22, lips_TN2.mean(axis=1, dtype=np.float64))
    return np.concatenate([rotate_T22, (rule.lip_centre - centre_T2)[:, :, None]], axis=2)


def placements(points_TN2: np.ndarray, alignment: str, changes: Sequence[int] = ()) -> np.ndarray:
    """Return ``matrices_T23`` of a face's ``STABLE``, then ``LIPS`` points.

    A cut, or a frame of ``changes``, at which the picture's size changes, is an end to every mean over time.
    """
    rule, num_stable = crop_rule(alignment), len(STABLE)
    stable_TN2, lips_TN2 = np.split(points_TN2[:, : num_stable + len(LIPS)], [num_stable], axis=1)
    # The lips' mean stands for all of them: sums over 45 points would take most of the memory of an hour.
    points_TN2 = np.concatenate([stable_TN2, lips_TN2.mean(axis=1, keepdims=True, dtype=np.float64)], axis=1)
    scale_T = np.hypot(*place(stable_TN2, stable_TN2)[:, :, 0].T)
    moved_T = np.hypot(*np.moveaxis(np.diff(stable_TN2, axis=0), -1, 0)).mean(axis=1) * scale_T[1:]
    cuts = sorted({0, *(np.flatnonzero(moved_T > CUT) + 1).tolist(), *changes, len(points_TN2)})
    mean_TN2 = np.concatenate([mean_over_time(points_TN2[a:b], *rule[:2]) for a, b in pairwise(cuts)])
    lips_TN2 = mean_TN2 if rule.steady_centre else points_TN2
    return place(mean_TN2[:, :num_stable], lips_TN2[:, num_stable:], rule)


def fit_similarity(points_TN2: np.ndarray, target_N2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least-squares scaled rotation (T, 2, 2) and shift (T, 2) onto the target, as complex ``a * z + b``."""
    z_TN = points_TN2[..., 0] + 1j * points_TN2[..., 1]
    target_N = target_N2[:, 0] + 1j * target_N2[:, 1]
    centred_TN = z_TN - z_TN.mean(axis=1, keepdims=True)
    power_T = (np.abs(centred_TN) ** 2).sum(axis=1)
    a_T = (centred_TN.conj() * (target_N - target_N.mean())).sum(axis=1) / np.maximum(power_T, 1e-12)
    b_T = target_N.mean() - a_T * z_TN.mean(axis=1)
    rotate_T22 = np.stack([np.stack([a_T.real, -a_T.imag], axis=-1), np.stack([a_T.imag, a_T.real], axis=-1)], axis=1)
    return rotate_T22, np.stack([b_T.real, b_T.imag], axis=-1)


def crop_picture(picture: Picture, matrix_23: np.ndarray) -> np.ndarray:
    """Return ``crop_mouth`` of a picture, of which only the part that shows is converted."""
    (a, b, x), (c, d, y) = matrix_23.tolist()  # numpy takes ten times as long for four points
    corners, area = [(u - x, v - y) for u in (0, MOUTH_SIZE) for v in (0, MOUTH_SIZE)], a * d - b * c
    left, right = _covered([(d * u - b * v) / area for u, v in corners], picture.size[0])
    top, bottom = _covered([(a * v - c * u) / area for u, v in corners], picture.size[1])
    if right <= left or bottom <= top:
        return np.zeros((MOUTH_SIZE, MOUTH_SIZE), np.uint8)
    matrix_23 = np.array([(a, b, x + a * left + b * top), (c, d, y + c * left + d * top)])
    return picture.grey((left, top, right, bottom), lambda grey_HW: crop_mouth(grey_HW, matrix_23))


def _covered(places: Sequence[float], length: int) -> tuple[int, int]:
    """Return the first of the frame's pixels around these places, and the one after the last."""
    first, end = math.floor(min(places)) - MARGIN, math.ceil(max(places)) + MARGIN
    return min(max(first, 0), length), min(max(end, 0), length)


def crop_mouth(frame_HW: np.ndarray, matrix_23: np.ndarray, side: int = MOUTH_SIZE, outside: int = 0) -> np.ndarray:
    """Return one square crop of ``side`` pixels, uint8, of grey level ``outside`` beyond the frame (official: black).

    Larger faces are sampled at a multiple of ``side`` and averaged: subsampling makes stubble and lip edges flicker.
    """
    frame_pixels_per_crop_pixel = 1 / max(np.hypot(*matrix_23[:, 0]), 1e-6)
    times = int(np.clip(np.ceil(frame_pixels_per_crop_pixel - 0.25), 1, 16))
    matrix_23 = matrix_23 * times
    # OpenCV counts coordinates from the centre of the first pixel.
    matrix_23[:, 2] += matrix_23[:, :2].sum(axis=1) / 2 - 0.5
    size = (side * times, side * times)
    flags = cv2.INTER_CUBIC if times == 1 else cv2.INTER_LINEAR
    crop_HW = cv2.warpAffine(frame_HW, matrix_23, size, flags=flags, borderValue=outside)
    if times > 1:
        crop_HW = cv2.resize(crop_HW, (side, side), interpolation=cv2.INTER_AREA)
    return crop_HW
