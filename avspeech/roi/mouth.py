"""Turn the face upright and to one size, and cut out the mouth: 96x96 grey at 25 fps.

The eye corners and the base of the nose hardly move when somebody speaks. A similarity transform takes them onto a
mean face; the crop is centred on the mean of the lip landmarks. AV-HuBERT (Shi et al. 2022, arXiv:2201.02184) does
the same with dlib's landmarks and the "20 words" mean face. Where we differ: the mean face is mediapipe's canonical
mesh, seen from the front and scaled so that the outer eye corners are 88 px apart; transform and centre both come
from landmarks smoothed by a centred mean (theirs: a mean that looks ahead, and the centre unsmoothed, rounded to a
pixel); frames without a face are marked.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from avspeech.media.errors import MediaError
from avspeech.media.video import read_frames
from avspeech.roi.landmarks import FaceFinder, find_landmarks
from avspeech.roi.track import FrameStatus, follow_face

MOUTH_SIZE = 96
"""Height and width of a mouth clip in pixels."""
EYE_DISTANCE = 88.0
"""Pixels between the outer eye corners of an aligned face."""
STABLE = (33, 133, 362, 263, 2)
"""Right eye's outer and inner corner, left eye's inner and outer corner, base of the nose."""
# x and y of the stable points in mediapipe's canonical face mesh, centimetres, y upwards (the file
# geometry_pipeline_metadata_landmarks.binarypb inside face_landmarker.task).
_CANONICAL_CM = np.array(
    [(-4.445859, 2.663991), (-1.856432, 2.585245), (1.856432, 2.585245), (4.445859, 2.663991), (0.0, -2.089024)]
)
MEAN_FACE = _CANONICAL_CM * (1, -1) * EYE_DISTANCE / (2 * 4.445859)
"""Where the stable points lie on an aligned face, in pixels, y downwards; only differences matter."""
LIPS = (
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 146, 91, 181, 84, 17, 314, 405, 321, 375,  # outer edge
    78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 95, 88, 178, 87, 14, 317, 402, 318, 324,  # inner edge
)  # fmt: skip


@dataclass(frozen=True)
class MouthClip:
    """The mouth of one face through a clip, and how each frame was found."""

    mouth_THW: np.ndarray
    """uint8 grey, (T, 96, 96)."""
    status_T: np.ndarray
    """uint8, a ``FrameStatus`` per frame."""

    @cached_property
    def counts(self) -> dict[str, int]:
        """Frames per status: measured, interpolated, missing."""
        return {status.name.lower(): int((self.status_T == status).sum()) for status in FrameStatus}


def extract_mouth(
    video: str | Path,
    finder: FaceFinder | None = None,
    *,
    max_gap: int = 12,
    min_found: float = 0.5,
    smooth: int = 13,
    every: int = 1,
) -> MouthClip:
    """Return the speaker's mouth in every frame of a video.

    The file is read twice, one frame in memory at a time: for the landmarks, then for the crops.

    Args:
        video: any file with a video track.
        finder: the landmark model; None loads one for this call (half a second).
        max_gap, min_found, smooth: see ``follow_face``.
        every: look for the face in every n-th frame only.

    Raises:
        MediaError: the file cannot be used.
        NoFace: the face is in too few frames.
    """
    if finder is None:
        with FaceFinder() as own_finder:
            return extract_mouth(
                video, own_finder, max_gap=max_gap, min_found=min_found, smooth=smooth, every=every
            )  # fmt: skip
    track = follow_face(find_landmarks(read_frames(video), finder, every), max_gap, min_found, smooth)
    matrices_T23 = placements(track.landmarks_TJ2)
    mouth_THW = crop_mouths(read_frames(video, grey=True), matrices_T23)
    if len(mouth_THW) != len(matrices_T23):
        raise MediaError(video, f"gave {len(matrices_T23)} frames, then {len(mouth_THW)}: is it still being written?")
    return MouthClip(mouth_THW, track.status_T)


def placements(landmarks_TJ2: np.ndarray) -> np.ndarray:
    """Return ``matrices_T23``: per frame the map from frame pixels to crop pixels, both counted from the corner.

    Args:
        landmarks_TJ2: smoothed landmarks in pixels of the frame.
    """
    return place(landmarks_TJ2[:, STABLE], landmarks_TJ2[:, LIPS])


def place(stable_TN2: np.ndarray, lips_TN2: np.ndarray) -> np.ndarray:
    """Return ``matrices_T23`` of ``placements`` from the only landmarks that it needs.

    Args:
        stable_TN2: the landmarks ``STABLE``, smoothed, in pixels of the frame.
        lips_TN2: the landmarks ``LIPS``, likewise.
    """
    rotate_T22, shift_T2 = fit_similarity(stable_TN2.astype(np.float64), MEAN_FACE)
    lips_T2 = lips_TN2.mean(axis=1, dtype=np.float64)
    centre_T2 = np.einsum("tij,tj->ti", rotate_T22, lips_T2) + shift_T2
    return np.concatenate([rotate_T22, (shift_T2 - centre_T2 + MOUTH_SIZE / 2)[:, :, None]], axis=2)


def fit_similarity(points_TN2: np.ndarray, target_N2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the turn-and-scale (T, 2, 2) and shift (T, 2) that take points closest to the target, least squares.

    In closed form: a similarity of the plane is ``a * z + b`` for complex a and b.
    """
    z_TN = points_TN2[..., 0] + 1j * points_TN2[..., 1]
    target_N = target_N2[:, 0] + 1j * target_N2[:, 1]
    centred_TN = z_TN - z_TN.mean(axis=1, keepdims=True)
    power_T = (np.abs(centred_TN) ** 2).sum(axis=1)
    a_T = (centred_TN.conj() * (target_N - target_N.mean())).sum(axis=1) / np.maximum(power_T, 1e-12)
    b_T = target_N.mean() - a_T * z_TN.mean(axis=1)
    rotate_T22 = np.stack([np.stack([a_T.real, -a_T.imag], axis=-1), np.stack([a_T.imag, a_T.real], axis=-1)], axis=1)
    return rotate_T22, np.stack([b_T.real, b_T.imag], axis=-1)


def crop_mouths(frames: Iterable[np.ndarray], matrices_T23: np.ndarray) -> np.ndarray:
    """Return ``mouth_THW``, uint8, from grey frames as they come and their placements."""
    crops = [crop_mouth(frame, matrix_23) for frame, matrix_23 in zip(frames, matrices_T23, strict=False)]
    return np.stack(crops)


def crop_mouth(frame_HW: np.ndarray, matrix_23: np.ndarray) -> np.ndarray:
    """Return one crop, (96, 96) uint8. Outside the frame its border pixels are repeated.

    A face larger than the crop's is cut at a whole multiple of 96 px first and then averaged down, because sampling
    it at every n-th pixel would turn stubble and lip edges into flicker.
    """
    frame_pixels_per_crop_pixel = 1 / max(np.hypot(*matrix_23[:, 0]), 1e-6)
    times = int(np.clip(np.ceil(frame_pixels_per_crop_pixel - 0.25), 1, 16))
    matrix_23 = matrix_23 * times
    # From pixels counted from the corner to OpenCV's, which count from the first pixel's centre.
    matrix_23[:, 2] += matrix_23[:, :2].sum(axis=1) / 2 - 0.5
    size = (MOUTH_SIZE * times, MOUTH_SIZE * times)
    crop_HW = cv2.warpAffine(frame_HW, matrix_23, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    if times > 1:
        crop_HW = cv2.resize(crop_HW, (MOUTH_SIZE, MOUTH_SIZE), interpolation=cv2.INTER_AREA)
    return crop_HW
