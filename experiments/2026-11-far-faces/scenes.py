"""Clips of known faces set small into large moving pictures."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from avspeech.media.video import read_frames
from avspeech.roi.landmarks import FaceFinder

WIDTH, HEIGHT = 1920, 1080


@dataclass
class Actor:
    """A person cut out of a clip, and where it is: ``where(t)`` is (x, y, height) in pixels, or None when away."""

    frames_TJ: list[np.ndarray]
    landmarks: list[np.ndarray]
    where: Callable[[int], tuple[float, float, float] | None]
    still: bool = False


@dataclass
class Scene:
    name: str
    actors: list[Actor]
    size: float
    num_frames: int = 75
    truth: list[list[np.ndarray | None]] = field(default_factory=list)


def background(seed: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Return a picture with clutter at every scale, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for octave in range(2, 9):
        noise = rng.normal(0, 1, (2**octave * 9 // 16 + 1, 2**octave, 3)).astype(np.float32)
        picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * 40 / octave
    picture += 120
    for _ in range(60):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        a, b = rng.integers(8, 160, 2).tolist()
        colour = rng.integers(20, 235, 3).tolist()
        if rng.random() < 0.5:
            cv2.rectangle(picture, (x, y), (x + a, y + b), colour, -1)
        else:
            cv2.ellipse(picture, (x, y), (a // 2, b // 2), 0, 0, 360, colour, -1, cv2.LINE_AA)
    return np.clip(picture, 0, 255).astype(np.uint8)


def actor_of(clip: Path, finder: FaceFinder, where: Callable, still: bool = False, start: int = 0) -> Actor:
    """Return the person of a clip; its landmarks are the network's on every frame of the original."""
    frames = list(read_frames(clip))[start : start + 75]
    landmarks: list[np.ndarray] = []
    for frame in frames:
        found = finder.detect(frame)
        landmarks.append(max(found, key=lambda one: np.ptp(one[:, 1])) if found else landmarks[-1])
    return Actor(frames, landmarks, where, still)


def draw(scene: Scene, seed: int) -> Iterator[np.ndarray]:
    """Yield the frames, later actors before earlier ones; fills ``scene.truth`` with landmarks per frame and actor."""
    picture = background(seed)
    for t in range(scene.num_frames):
        frame, truth = picture.copy(), []
        for actor in scene.actors:
            place = actor.where(t)
            if place is None:
                truth.append(None)
                continue
            index = 0 if actor.still else min(t, len(actor.frames_TJ) - 1)
            truth.append(_paste(frame, actor.frames_TJ[index], actor.landmarks[0], actor.landmarks[index], *place))
        scene.truth.append(truth)
        yield frame


def _paste(frame: np.ndarray, image: np.ndarray, first_J2, own_J2, x: float, y: float, size: float) -> np.ndarray:
    """Set a head into the frame; its mesh in the clip's first frame is ``size`` px high, its centre at (x, y)."""
    middle_2 = (first_J2.min(axis=0) + first_J2.max(axis=0)) / 2
    height = float(np.ptp(first_J2[:, 1]))
    scale = size / height
    matrix_23 = np.array([[scale, 0, x - scale * middle_2[0]], [0, scale, y - scale * middle_2[1]]])
    mask = np.zeros(image.shape[:2], np.float32)
    axes = (round(0.62 * height), round(0.85 * height))
    cv2.ellipse(mask, tuple(int(v) for v in middle_2 - (0, 0.12 * height)), axes, 0, 0, 360, 1, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.05 * height)
    blur = max(0.4 / scale, 0.1)
    smooth = cv2.GaussianBlur(image, (0, 0), blur) if scale < 0.8 else image
    span = (max(int(x - 2 * size), 0), max(int(y - 2 * size), 0))
    end = (min(int(x + 2 * size), frame.shape[1]), min(int(y + 2 * size), frame.shape[0]))
    wide, high = end[0] - span[0], end[1] - span[1]
    if wide > 0 and high > 0:
        local_23 = matrix_23.copy()
        local_23[:, 2] -= span
        local_23[:, 2] += local_23[:, :2].sum(axis=1) / 2 - 0.5
        head = cv2.warpAffine(smooth, local_23, (wide, high), flags=cv2.INTER_LINEAR)
        alpha = cv2.warpAffine(mask, local_23, (wide, high), flags=cv2.INTER_LINEAR)[..., None]
        part = frame[span[1] : end[1], span[0] : end[0]]
        part[:] = np.round(alpha * head + (1 - alpha) * part)
    return own_J2 @ matrix_23[:, :2].T + matrix_23[:, 2]
