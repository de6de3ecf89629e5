"""Faults of single pictures: blur, noise, low resolution, JPEG, too dark, too bright.

Severities are 1 to 5. Pixel lengths refer to a 96x96 mouth crop and scale with the mouth, so a severity hides the
same lip detail in a crop and in its video.
"""

from collections.abc import Callable

import cv2
import numpy as np

from avspeech.faults.picture_draws import PictureDraws
from avspeech.roi.mouth import MOUTH_SIZE

BLUR_SIGMAS = (1.0, 2.0, 3.5, 5.5, 8.0)
"""Standard deviation of the Gaussian, in pixels at 96x96."""
NOISE_DEVIATIONS = (8.0, 16.0, 28.0, 44.0, 64.0)
"""Standard deviation of the noise, in grey levels of 0..255."""
SHRINK_FACTORS = (2.0, 3.0, 4.0, 6.0, 10.0)
"""Downscaling factor: 48, 32, 24, 16 or about 10 of a crop's 96 pixels remain."""
JPEG_QUALITIES = (40, 20, 10, 6, 3)
"""libjpeg's quality at the picture's own size."""
DARK_GAINS = (0.7, 0.5, 0.33, 0.2, 0.1)
"""Factor on grey levels, which are then rounded."""
BRIGHT_GAINS = (1.2, 1.4, 1.65, 2.0, 2.5)
"""Factor on grey levels, which are then clipped at 255."""

Picture = np.ndarray
"""uint8, (H, W) grey or (H, W, 3) RGB."""


def picture_fault(kind: str, severity: int, mouth_side: float, draws: PictureDraws) -> Callable[[Picture], Picture]:
    """Return the function that degrades pictures one by one, without changing its argument.

    Args:
        kind: ``blur``, ``pixel_noise``, ``low_resolution``, ``jpeg``, ``darker`` or ``brighter``.
        severity: 1 to 5.
        mouth_side: mouth crop side in pixels of these pictures; 96 for mouth crops.
        draws: source of the noise.
    """
    scale, index = mouth_side / MOUTH_SIZE, severity - 1
    if kind == "blur":
        sigma = BLUR_SIGMAS[index] * scale
        return lambda picture: cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    if kind == "pixel_noise":
        return lambda picture: _noisy(picture, NOISE_DEVIATIONS[index], max(1, round(scale)), draws)
    if kind == "low_resolution":
        return lambda picture: _coarse(picture, SHRINK_FACTORS[index] * scale)
    if kind == "jpeg":
        return lambda picture: _compressed(picture, JPEG_QUALITIES[index])
    gain = {"darker": DARK_GAINS, "brighter": BRIGHT_GAINS}[kind][index]
    table = np.clip(np.round(np.arange(256) * gain), 0, 255).astype(np.uint8)
    return lambda picture: table[picture]


def _noisy(picture: Picture, deviation: float, grain: int, draws: PictureDraws) -> Picture:
    """Add equal noise to all colours, so grey has the stated deviation; ``grain`` is in pixels."""
    height, width = picture.shape[:2]
    noise_HW = draws.noise(-(-height // grain), -(-width // grain)) * np.float32(deviation)
    if grain > 1:  # finer noise would be averaged away in the mouth crop of a large picture
        noise_HW = np.repeat(np.repeat(noise_HW, grain, axis=0), grain, axis=1)[:height, :width]
    noise = noise_HW if picture.ndim == 2 else noise_HW[..., None]
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def _coarse(picture: Picture, factor: float) -> Picture:
    height, width = picture.shape[:2]
    small = (max(1, round(width / max(1, factor))), max(1, round(height / max(1, factor))))
    shrunk = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)


def _compressed(picture: Picture, quality: int) -> Picture:
    blue_first = picture if picture.ndim == 2 else picture[..., ::-1]
    _, packed = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])
    unpacked = cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE if picture.ndim == 2 else cv2.IMREAD_COLOR)
    assert unpacked is not None
    return unpacked if picture.ndim == 2 else np.ascontiguousarray(unpacked[..., ::-1])
