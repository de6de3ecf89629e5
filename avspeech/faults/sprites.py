"""Sprites to lay over a picture, and the sheet in centimetres on which they are drawn.

Objects have real size: outer eye corners are 8.9 cm apart (mediapipe's canonical face), 88 pixels of an aligned face,
so a mouth crop's side is 9.7 cm.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from avspeech.noise.exact_noise import ExactDraws
from avspeech.roi.mouth import EYE_DISTANCE, MOUTH_SIZE

CM_PER_SIDE = MOUTH_SIZE / EYE_DISTANCE * 8.9  # of a mouth crop, on the face
PIXELS_PER_SIDE = 128  # resolution of the drawings: that of a mouth crop with the largest object
PIXELS_PER_CM = PIXELS_PER_SIDE / CM_PER_SIDE
SHADOW = 0.4  # strength of the object's shadow on the face, 0 to 1


@dataclass(frozen=True)
class Sprite:
    """A drawn object that points upwards."""

    paint_HWC: np.ndarray  # float32: red, green, blue times cover, 0..255, then cover with shadow, 0..1
    solid_HW: np.ndarray  # bool, True where the object is
    anchor: tuple[float, float]  # pixel (x, y) that lies on the mouth's centre when the object covers it
    pixels_per_side: float = PIXELS_PER_SIDE

    def shrunk_to(self, pixels_per_side: float) -> "Sprite":
        """Return a downscaled copy, or the sprite itself if it would grow."""
        ratio = pixels_per_side / self.pixels_per_side
        if ratio >= 1:
            return self
        height, width = self.solid_HW.shape
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        paint_HWC = cv2.resize(self.paint_HWC, size, interpolation=cv2.INTER_AREA)
        solid_HW = cv2.resize(self.solid_HW.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
        anchor = (self.anchor[0] * size[0] / width, self.anchor[1] * size[1] / height)
        return Sprite(paint_HWC, solid_HW, anchor, self.pixels_per_side * ratio)


class Sheet:
    """A drawing sheet with these edges, in centimetres from the anchor, x right and y down."""

    def __init__(self, left: float, top: float, right: float, bottom: float) -> None:
        size = (round((bottom - top) * PIXELS_PER_CM), round((right - left) * PIXELS_PER_CM))
        rows_HW, columns_HW = np.mgrid[: size[0], : size[1]].astype(np.float32)
        self.x_HW = (columns_HW + 0.5) / np.float32(PIXELS_PER_CM) + np.float32(left)
        self.y_HW = (rows_HW + 0.5) / np.float32(PIXELS_PER_CM) + np.float32(top)
        self.anchor = (-left * PIXELS_PER_CM, -top * PIXELS_PER_CM)

    def part(self, low_2: np.ndarray, high_2: np.ndarray) -> tuple[slice, slice]:
        """Return the rows and columns from (x, y) ``low_2`` to ``high_2``."""
        corners_22 = np.array(self.anchor) + np.array([low_2, high_2]) * PIXELS_PER_CM
        (left, top), (right, bottom) = np.maximum(corners_22, 0).astype(int)
        return slice(top, bottom + 1), slice(left, right + 1)

    def box(self, x: float, y: float, half_width: float, half_height: float, corner: float) -> np.ndarray:
        """Return the signed distance from a rounded rectangle, negative inside."""
        across_HW = np.abs(self.x_HW - x) - (half_width - corner)
        down_HW = np.abs(self.y_HW - y) - (half_height - corner)
        outside_HW = np.hypot(np.maximum(across_HW, 0), np.maximum(down_HW, 0))
        return outside_HW + np.minimum(np.maximum(across_HW, down_HW), 0) - corner

    def disc(self, x: float, y: float, radius: float) -> np.ndarray:
        """Return the signed distance from a disc, negative inside."""
        return np.hypot(self.x_HW - x, self.y_HW - y) - radius

    def mottle(self, draws: ExactDraws, grain: float) -> np.ndarray:
        """Return smooth noise of about ``grain`` cm, mean 0 and deviation 1."""
        coarse = [max(2, round(length / (grain * PIXELS_PER_CM))) for length in self.x_HW.shape]
        return cv2.resize(draws.picture(*coarse), self.x_HW.shape[::-1], interpolation=cv2.INTER_CUBIC)

    def sprite(self, colour_HWC: np.ndarray, cover_HW: np.ndarray) -> Sprite:
        """Return the sprite with its shadow, from RGB 0..255 and cover 0..1."""
        cover_HW = cover_HW.astype(np.float32)
        shift = np.array([[1, 0, 0.25 * PIXELS_PER_CM], [0, 1, 0.45 * PIXELS_PER_CM]], np.float32)
        soft_HW = cv2.GaussianBlur(cover_HW, (0, 0), 0.45 * PIXELS_PER_CM)
        shadow_HW = cv2.warpAffine(soft_HW, shift, cover_HW.shape[::-1])
        dimmed_HW = cover_HW + (1 - cover_HW) * np.float32(SHADOW) * shadow_HW
        painted_HWC = np.clip(colour_HWC, 0, 255) * cover_HW[..., None]
        paint_HWC = np.concatenate([painted_HWC, dimmed_HW[..., None]], axis=2).astype(np.float32)
        return Sprite(paint_HWC, cover_HW > 0.5, self.anchor)


def edge(distance_HW: np.ndarray) -> np.ndarray:
    """Return the cover, 0 to 1, at a signed distance in cm: a step one pixel wide."""
    return np.clip(0.5 - distance_HW * np.float32(PIXELS_PER_CM), 0, 1)


def lay_over(colour_HWC: np.ndarray, paint: np.ndarray | tuple[float, ...], cover_HW: np.ndarray) -> None:
    """Blend ``paint``, a colour or a picture, into a picture in place with weight ``cover_HW``."""
    colour_HWC += cover_HW[..., None] * (np.asarray(paint, np.float32) - colour_HWC)


def lit(normal_x_HW: np.ndarray, normal_y_HW: np.ndarray, light: np.ndarray, ambient: float = 0.45) -> np.ndarray:
    """Return a surface's brightness, 0 to about 1, from x and y of its unit normal and the light."""
    normal_z_HW = np.sqrt(np.clip(1 - normal_x_HW**2 - normal_y_HW**2, 0, 1))
    facing_HW = normal_x_HW * light[0] + normal_y_HW * light[1] + normal_z_HW * light[2]
    return np.float32(ambient) + np.float32(1.08 - ambient) * np.clip(facing_HW, 0, 1)


def draw_light(draws: ExactDraws) -> np.ndarray:
    """Return a random light direction from above, unit length, (x, y, z towards the viewer)."""
    light = np.array([draws.uniform(-0.6, 0.6), draws.uniform(-0.7, -0.25), 0.8], np.float32)
    return light / np.float32(np.sqrt((light**2).sum()))
