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


class Shown(np.ndarray):
    """A part of a picture as the finder sees it: blank, but it knows the frame's number, the part and the scale."""

    where: tuple[int, tuple[int, ...], tuple[float, float]]

    def __array_finalize__(self, made_from: object) -> None:
        self.where = getattr(made_from, "where", (-1, (), (1.0, 1.0)))


class DrawnPicture:
    """A frame of heads; the parts in colour are blank."""

    def __init__(self, index: int, heads: list[Head], size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
        self.index, self.heads, self.size = index, heads, size
        self.shown_s = index / 25, (index + 1) / 25

    def part(self, box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
        shown = np.zeros((size[1], size[0], 3), np.uint8).view(Shown)
        shown.where = self.index, box, (size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1]))
        return shown

    def grey(self, box=None, resample=lambda grey_HW: grey_HW) -> np.ndarray:
        frame, box = np.full(self.size[::-1], 100, np.uint8), box or (0, 0, *self.size)
        for head in self.heads:
            skin = np.random.default_rng(head.texture).normal(128, 60, (160, 160)).astype(np.float32)
            skin = cv2.GaussianBlur(skin, (0, 0), 3) * 4 - 3 * 128
            matrix_23 = head.matrix_23.copy()
            matrix_23[:, 2] -= matrix_23[:, :2] @ (80, 80)
            drawn = cv2.warpAffine(skin, matrix_23, self.size, borderValue=-1000)
            frame = np.where(drawn > -1000, np.clip(drawn, 0, 255), frame).astype(np.uint8)
        return resample(frame[box[1] : box[3], box[0] : box[2]])


class KnowingFinder:
    """Return the true landmarks of the heads in a part that are large enough in it, and remember the frames seen."""

    def __init__(self, frames: list[list[Head]]) -> None:
        self.frames, self.looked, self.num_calls = frames, [], 0

    def detect(self, frame: np.ndarray) -> list[np.ndarray]:
        assert isinstance(frame, Shown)
        index, (left, top, right, bottom), scale = frame.where
        self.num_calls += 1
        if index not in self.looked:
            self.looked.append(index)
        if not frame.flags.c_contiguous:  # turned: these heads stand upright
            return []
        found = []
        for head in self.frames[index]:
            inside = left < head.x < right and top < head.y < bottom
            if inside and 5 * 120 * head.scale > max(right - left, bottom - top):
                found.append((head.landmarks_J2 - (left, top)) * scale)
        return found


def pictures_of(frames: list[list[Head]], sizes: list[tuple[int, int]] | None = None) -> list[DrawnPicture]:
    sizes = sizes or [(WIDTH, HEIGHT)] * len(frames)
    return [DrawnPicture(index, *shown) for index, shown in enumerate(zip(frames, sizes, strict=True))]
