"""Move an object or a hand over the mouth and away, or cover the whole face.

A severity sets the share of the time in place and the share of the mouth, an ellipse, covered then. The object enters
from below or a side, stops, sways slightly, and leaves the same way. Entering and leaving do not count as in place.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from avspeech.faults.frame_faults import draw_stretches
from avspeech.faults.hands import draw_hand
from avspeech.faults.objects import draw_object
from avspeech.faults.sprites import Sprite
from avspeech.noise.exact_noise import ExactDraws
from avspeech.timebase import FRAME_RATE

# By severity; lengths are in crop sides.
TIME_SHARES = (0.3, 0.45, 0.6, 0.8, 1.0)  # of the frames in which the object is in place
MOUTH_SHARES = (0.2, 0.4, 0.65, 0.95, 1.0)  # of the mouth that it then covers
SIZES = (1.0, 1.0, 1.0, 1.15, 1.3)  # factor on the real size; above 1 the object is nearer than the face
MOUTH_HALF = (0.25, 0.164)  # half width and half height of a mouth with lips
MIDDLE = 0.07  # half side of the square at the mouth's centre that severities 4 and 5 cover fully
VISIT_FRAMES = (25, 75)  # shortest and longest stay: 1 to 3 s
RAMP_FRAMES = 8
FACE_CENTRE, FACE_HALF = (0.0, -0.36), (0.85, 1.17)  # centre and half axes of a face, from the mouth's centre
FACE_COVER = 128
Box = tuple[float, float, float, float]  # area of a mouth crop: x0, y0, x1, y1 in pixels


@dataclass(frozen=True)
class Occlusion:
    """An object and its path."""

    sprite: Sprite
    size: float  # factor on the real size
    place_T2: np.ndarray  # of the sprite's anchor relative to the mouth's centre, in crop sides
    angle_T: np.ndarray  # in radians, clockwise
    seen_T: np.ndarray  # bool, False where the object is outside the mouth crop

    def apply(self, picture: np.ndarray, box: Box, index: int) -> np.ndarray:
        """Return frame ``index`` with the object over the mouth in ``box``."""
        if not self.seen_T[index]:
            return picture
        centre, side = _centre_and_side(box)
        zoom = self.size * side / self.sprite.pixels_per_side
        matrix_22 = zoom * _turn(self.angle_T[index])
        shift_2 = centre + side * self.place_T2[index] - matrix_22 @ np.array(self.sprite.anchor)
        return _blend(picture, self.sprite.paint_HWC, matrix_22, shift_2)


def plan_occlusion(kind: str, severity: int, num_frames: int, mouth_side: float, draws: ExactDraws) -> Occlusion:
    """Draw the path of an ``object`` or ``hand`` over the mouth; all severities (1 to 5) share object and side.

    ``mouth_side``, the approximate crop side in pixels, sets the sprite's resolution.
    """
    size = SIZES[severity - 1]
    sprite = (draw_hand(draws) if kind == "hand" else draw_object(draws)).shrunk_to(size * mouth_side)
    from_side, flank = draws.uniform(0, 1) < (0.6 if kind == "hand" else 0.2), draws.side()
    # Direction of entry, clockwise from straight up.
    way = flank * (draws.uniform(1.0, 1.6) if from_side else draws.uniform(0.0, 0.5))
    angle = (way if kind == "hand" else 0.25 * way) + draws.uniform(-0.15, 0.15)
    into_2 = np.array([np.sin(way), -np.cos(way)])
    phases, periods = (np.array([draws.uniform(*limits) for _ in range(3)]) for limits in ((0, 2 * np.pi), (1.2, 3.0)))
    time_T = np.arange(num_frames) / FRAME_RATE
    sway_3T = np.sin(2 * np.pi * time_T / periods[:, None] + phases[:, None])
    rest, away = _stops(sprite, size, angle, into_2, severity)
    present_T = _presence(num_frames, TIME_SHARES[severity - 1], draws)
    gap_T = away + (rest - away) * present_T
    place_T2 = -into_2 * gap_T[:, None] + 0.018 * sway_3T[:2].T
    return Occlusion(sprite, size, place_T2, angle + 0.04 * sway_3T[2], present_T > 0)


def _presence(num_frames: int, share: float, draws: ExactDraws) -> np.ndarray:
    """Return 1 with the object in place, 0 with it away, and a smooth ramp between."""
    inside_T = draw_stretches(num_frames, round(share * num_frames), *VISIT_FRAMES, draws)
    wide_T = np.convolve(inside_T, np.ones(2 * (RAMP_FRAMES // 2) + 1), "full") > 0  # ramps lie outside of the visit
    window = np.hanning(RAMP_FRAMES + 3)[1:-1]
    padded_T = np.pad(wide_T.astype(float), len(window) // 2, mode="edge")
    smooth_T = np.convolve(padded_T, window / window.sum(), "valid")
    return np.clip(smooth_T[RAMP_FRAMES // 2 :][:num_frames], 0, 1)


def _stops(sprite: Sprite, size: float, angle: float, into_2: np.ndarray, severity: int) -> tuple[float, float]:
    """Return the anchor's distances from the mouth: covering its share, and outside the crop."""
    mouth_M2 = _grid(*MOUTH_HALF)
    mouth_M2 = mouth_M2[(mouth_M2[:, 0] / MOUTH_HALF[0]) ** 2 + (mouth_M2[:, 1] / MOUTH_HALF[1]) ** 2 <= 1]
    crop_M2, middle_M2 = _grid(0.5, 0.5), _grid(MIDDLE, MIDDLE)
    gaps = np.arange(3.6, -0.61, -0.03)
    covered = []
    for gap in gaps:
        share = _covers(sprite, sprite.solid_HW, size, angle, -into_2 * gap, mouth_M2).mean()
        whole = severity < 4 or _covers(sprite, sprite.solid_HW, size, angle, -into_2 * gap, middle_M2).all()
        covered.append(share if whole else share / 2)
    enough = np.flatnonzero(np.array(covered) >= MOUTH_SHARES[severity - 1])
    rest = gaps[enough[0]] if len(enough) else gaps[int(np.argmax(covered))]
    touched = sprite.paint_HWC[..., 3] > 0.01
    out = [gap for gap in gaps if not _covers(sprite, touched, size, angle, -into_2 * gap, crop_M2).any()]
    return float(rest), float(min((gap for gap in out if gap > rest), default=gaps[0])) + 0.1


def _grid(half_width: float, half_height: float) -> np.ndarray:
    points = np.meshgrid(np.linspace(-half_width, half_width, 25), np.linspace(-half_height, half_height, 25))
    return np.stack(points, axis=-1).reshape(-1, 2)


def _covers(
    sprite: Sprite, mask_HW: np.ndarray, size: float, angle: float, place_2: np.ndarray, points_M2: np.ndarray
) -> np.ndarray:
    """Return bool: the points, in crop sides from the mouth's centre, that the mask covers."""
    zoom = size / sprite.pixels_per_side
    pixels_M2 = np.floor((points_M2 - place_2) @ _turn(angle) / zoom + np.array(sprite.anchor)).astype(int)
    height, width = mask_HW.shape
    inside_M = ((pixels_M2 >= 0) & (pixels_M2 < (width, height))).all(axis=1)
    x_M, y_M = np.clip(pixels_M2, 0, (width - 1, height - 1)).T
    return mask_HW[y_M, x_M] & inside_M


def _turn(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _blend(picture: np.ndarray, paint_HWC: np.ndarray, matrix_22: np.ndarray, shift_2: np.ndarray) -> np.ndarray:
    """Return the picture with the sprite on it; coordinates count from the corner."""
    height, width = paint_HWC.shape[:2]
    corners_42 = np.array([(0, 0), (width, 0), (0, height), (width, height)]) @ matrix_22.T + shift_2
    limits = picture.shape[1::-1]
    left, top = np.clip(np.floor(corners_42.min(axis=0)), 0, limits).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners_42.max(axis=0)), 0, limits).astype(int).tolist()
    if left >= right or top >= bottom:
        return picture
    # OpenCV counts from the first pixel's centre; the part has its own corner.
    shift_2 = shift_2 + matrix_22.sum(axis=1) / 2 - 0.5 - (left, top)
    matrix_23 = np.concatenate([matrix_22, shift_2[:, None]], axis=1)
    placed_HWC = cv2.warpAffine(paint_HWC, matrix_23, (right - left, bottom - top))
    result, part = picture.copy(), (slice(top, bottom), slice(left, right))
    colour, cover = placed_HWC[..., :3], placed_HWC[..., 3:]
    if picture.ndim == 2:
        colour, cover = colour @ np.array([0.299, 0.587, 0.114], np.float32), cover[..., 0]
    result[part] = np.clip(np.rint(picture[part] * (1 - cover) + colour), 0, 255).astype(np.uint8)
    return result


def _centre_and_side(box: Box) -> tuple[np.ndarray, float]:
    left, top, right, bottom = box
    return np.array([(left + right) / 2, (top + bottom) / 2]), ((right - left) + (bottom - top)) / 2


def hide_face(picture: np.ndarray, box: Box) -> np.ndarray:
    """Return the picture with a grey oval over the face whose mouth is in ``box``."""
    middle_2, side = _centre_and_side(box)
    result = np.ascontiguousarray(picture).copy()
    centre, axes = (np.round(middle_2 + side * np.array(FACE_CENTRE)), np.round(side * np.array(FACE_HALF)))
    cv2.ellipse(
        result, centre.astype(int).tolist(), axes.astype(int).tolist(), 0, 0, 360, (FACE_COVER,) * 3, -1, cv2.LINE_AA
    )
    return result
