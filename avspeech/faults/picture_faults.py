"""Faults of single pictures: blur, noise, low resolution, JPEG, too dark, too bright.

Severities are 1 to 5. Pixel lengths refer to a 96x96 mouth crop and scale with the mouth, so a severity hides the
same lip detail in a crop and in its video.
"""

from collections.abc import Callable

import cv2
import numpy as np

from avspeech.noise.exact_noise import ExactDraws
from avspeech.roi.mouth import MOUTH_SIZE

LEVELS = {
    "blur": (1.0, 2.0, 3.5, 5.5, 8.0),  # standard deviation of the Gaussian, in pixels at 96x96
    "pixel_noise": (8.0, 16.0, 28.0, 44.0, 64.0),  # standard deviation of the noise, in grey levels of 0..255
    "low_resolution": (2.0, 3.0, 4.0, 6.0, 10.0),  # downscaling; 48, 32, 24, 16 or about 10 of 96 pixels remain
    "jpeg": (40, 20, 10, 6, 3),  # libjpeg's quality at the picture's own size
    "darker": (0.7, 0.5, 0.33, 0.2, 0.1),  # factor on grey levels, which are then rounded and clipped at 255
    "brighter": (1.2, 1.4, 1.65, 2.0, 2.5),
}
"""Level of a kind by severity, 1 to 5."""
Picture = np.ndarray  # uint8, (H, W) grey or (H, W, 3) RGB


def picture_fault(kind: str, severity: int, mouth_side: float, draws: ExactDraws) -> Callable[[Picture], Picture]:
    """Return the function that degrades pictures one by one, without changing its argument.

    ``kind`` is a key of ``LEVELS``, ``mouth_side`` the side of a mouth crop in pixels of these pictures (96 for crops).
    """
    scale, level = mouth_side / MOUTH_SIZE, LEVELS[kind][severity - 1]
    if kind == "blur":
        return lambda picture: cv2.GaussianBlur(picture, (0, 0), level * scale, borderType=cv2.BORDER_REPLICATE)
    if kind == "pixel_noise":
        return lambda picture: _noisy(picture, level, max(1, round(scale)), draws)
    if kind == "low_resolution":
        return lambda picture: _coarse(picture, max(1, level * scale))
    if kind == "jpeg":
        return lambda picture: _compressed(picture, int(level))
    table = np.clip(np.round(np.arange(256) * level), 0, 255).astype(np.uint8)
    return lambda picture: table[picture]


def _noisy(picture: Picture, deviation: float, grain: int, draws: ExactDraws) -> Picture:
    """Add equal noise to all colours, so grey has the stated deviation; ``grain`` is in pixels."""
    height, width = picture.shape[:2]
    noise_HW = draws.picture(-(-height // grain), -(-width // grain)) * np.float32(deviation)
    if grain > 1:  # finer noise would be averaged away in the mouth crop of a large picture
        noise_HW = np.repeat(np.repeat(noise_HW, grain, axis=0), grain, axis=1)[:height, :width]
    noise = noise_HW if picture.ndim == 2 else noise_HW[..., None]
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def _coarse(picture: Picture, factor: float) -> Picture:
    height, width = picture.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    shrunk = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)


def _compressed(picture: Picture, quality: int) -> Picture:
    blue_first = picture if picture.ndim == 2 else picture[..., ::-1]
    _, packed = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])
    unpacked = cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE if picture.ndim == 2 else cv2.IMREAD_COLOR)
    assert unpacked is not None
    return unpacked if picture.ndim == 2 else np.ascontiguousarray(unpacked[..., ::-1])
