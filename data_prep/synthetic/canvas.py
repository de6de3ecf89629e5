"""Drawing in cm on a pixel grid: soft masks, lines, noise, blobs; images are float32 RGB, 0 to 255."""

import cv2
import numpy as np


class Canvas:
    """A square grid addressed in cm, x to the right and y upwards."""

    def __init__(self, size: int, px_per_cm: float, x0: float, y0: float) -> None:
        """Make a grid of ``size`` pixels a side; (0, 0) cm lies at column ``x0`` and row ``y0``."""
        self.size, self.px_per_cm, self.x0, self.y0 = size, px_per_cm, x0, y0
        self.x_W = ((np.arange(size) - x0) / px_per_cm).astype(np.float32)
        self.y_H = (-(np.arange(size) - y0) / px_per_cm).astype(np.float32)
        self.x_HW, self.y_HW = np.meshgrid(self.x_W, self.y_H)

    def _fixed_point(self, points: np.ndarray) -> np.ndarray:
        pixels = np.stack([self.x0 + self.px_per_cm * points[:, 0], self.y0 - self.px_per_cm * points[:, 1]], -1)
        return np.round(pixels * 16).astype(np.int32)  # four fractional bits for OpenCV's ``shift``

    def _soften(self, mask_HW: np.ndarray, blur_cm: float) -> np.ndarray:
        soft_HW = mask_HW.astype(np.float32) / 255
        return cv2.GaussianBlur(soft_HW, (0, 0), blur_cm * self.px_per_cm) if blur_cm else soft_HW

    def mask(self, points: np.ndarray, blur_cm: float = 0.0) -> np.ndarray:
        """Return 1 inside the polygon ``points`` (N, 2), (H, W) float32."""
        mask_HW = np.zeros((self.size, self.size), np.uint8)
        cv2.fillPoly(mask_HW, [self._fixed_point(points)], 255, cv2.LINE_AA, 4)
        return self._soften(mask_HW, blur_cm)

    def line(self, points: np.ndarray, width_cm: float, blur_cm: float = 0.0, closed: bool = False) -> np.ndarray:
        """Return 1 on a line through ``points``, (H, W) float32."""
        mask_HW = np.zeros((self.size, self.size), np.uint8)
        width = max(1, round(width_cm * self.px_per_cm))
        cv2.polylines(mask_HW, [self._fixed_point(points)], closed, 255, width, cv2.LINE_AA, 4)
        return self._soften(mask_HW, blur_cm)

    def blob(self, x: float, y: float, spread_x: float, spread_y: float) -> np.ndarray:
        """Return a Gaussian of height 1 around a point, (H, W) float32; spreads in cm."""
        across_W = np.exp(-(((self.x_W - x) / spread_x) ** 2))
        return np.exp(-(((self.y_H - y) / spread_y) ** 2))[:, None] * across_W

    def noise(self, rng: np.random.Generator, cell_cm: float, tall: float = 1.0) -> np.ndarray:
        """Return smooth noise of unit variance, (H, W) float32; grains are ``cell_cm`` wide, ``tall`` times as high."""
        cells_x = max(2, int(self.size / (cell_cm * self.px_per_cm)) + 2)
        cells_y = max(2, int(self.size / (cell_cm * tall * self.px_per_cm)) + 2)
        grains = rng.standard_normal((cells_y, cells_x)).astype(np.float32)
        return cv2.resize(grains, (self.size, self.size), interpolation=cv2.INTER_CUBIC)


def paint(image_HWC: np.ndarray, colour: np.ndarray | np.floating, cover_HW: np.ndarray) -> None:
    """Blend a grey level, a colour (3,) or an image into ``image_HWC`` in place; ``cover_HW`` is the opacity."""
    image_HWC += cover_HW[..., None] * (colour - image_HWC)


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
    """Return an ellipse as 80 points, (80, 2)."""
    angle = np.linspace(0, 2 * np.pi, 80)
    return np.stack([x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)], -1)


def smooth_closed(points: np.ndarray, steps: int = 8) -> np.ndarray:
    """Return a closed Catmull-Rom curve through ``points`` (N, 2), ``steps`` points per segment."""
    at = np.arange(len(points) * steps) / steps
    piece, part = at.astype(int), (at % 1)[:, None]
    before, here, after, beyond = (points[(piece + offset) % len(points), :2] for offset in (-1, 0, 1, 2))
    quadratic = 2 * before - 5 * here + 4 * after - beyond
    cubic = 3 * here - before - 3 * after + beyond
    return (2 * here + (after - before) * part + quadratic * part**2 + cubic * part**3) / 2
