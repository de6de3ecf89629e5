"""Heads with a texture whose landmarks are known: pictures of them, and a finder that knows the truth."""

from dataclasses import dataclass

import cv2
import numpy as np

from avspeech.roi.landmarks import NUM_LANDMARKS
from avspeech.roi.mouth import LIPS, MEAN_FACE, STABLE

HEIGHT, WIDTH = 240, 320


@dataclass(frozen=True)
class Head:
    """Where a head is in one frame."""

    x: float
    y: float
    scale: float = 1.0  # 1: eye corners are 76 px apart, those of a crop
    turn: float = 0.0  # radians
    opening: float = 0.0  # pixels by which the lower lip is down, at scale 1
    texture: int = 0  # seed of the skin; another one is another person

    @property
    def matrix_23(self) -> np.ndarray:
        """From head coordinates, with the eyes' and nose's mean at 0, to the frame."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return np.column_stack([self.scale * np.array([[cos, -sin], [sin, cos]]), (self.x, self.y)])

    @property
    def landmarks_J2(self) -> np.ndarray:
        """All landmarks in pixels of the frame."""
        points_J2 = np.random.default_rng(0).uniform((-60, -60), (60, 60), (NUM_LANDMARKS, 2))
        points_J2[list(STABLE)] = MEAN_FACE - MEAN_FACE.mean(axis=0)
        angles = np.linspace(0, 2 * np.pi, len(LIPS), endpoint=False)
        points_J2[list(LIPS)] = np.stack([25 * np.cos(angles), 55 + 8 * np.sin(angles)], axis=-1)
        points_J2[0], points_J2[17] = (0, 47), (0, 63 + self.opening)
        return (points_J2 @ self.matrix_23[:, :2].T + self.matrix_23[:, 2]).astype(np.float32)


class DrawnPicture:
    """A frame of heads; its colour picture carries only its number, for the finder."""

    def __init__(self, index: int, heads: list[Head]) -> None:
        self.index, self.heads = index, heads

    def colour(self) -> np.ndarray:
        return np.full((2, 2, 3), self.index, np.uint8)

    def grey(self) -> np.ndarray:
        frame = np.full((HEIGHT, WIDTH), 100, np.uint8)
        for head in self.heads:
            skin = np.random.default_rng(head.texture).normal(128, 60, (160, 160)).astype(np.float32)
            skin = cv2.GaussianBlur(skin, (0, 0), 3) * 4 - 3 * 128
            matrix_23 = head.matrix_23.copy()
            matrix_23[:, 2] -= matrix_23[:, :2] @ (80, 80)
            drawn = cv2.warpAffine(skin, matrix_23, (WIDTH, HEIGHT), borderValue=-1000)
            frame = np.where(drawn > -1000, np.clip(drawn, 0, 255), frame).astype(np.uint8)
        return frame


class KnowingFinder:
    """Return the true landmarks, and remember which frames it was asked about."""

    def __init__(self, frames: list[list[Head]]) -> None:
        self.frames, self.looked = frames, []

    def detect(self, frame: np.ndarray) -> list[np.ndarray]:
        self.looked.append(int(frame[0, 0, 0]))
        return [head.landmarks_J2 for head in self.frames[self.looked[-1]]]


def pictures_of(frames: list[list[Head]]) -> list[DrawnPicture]:
    return [DrawnPicture(index, heads) for index, heads in enumerate(frames)]
