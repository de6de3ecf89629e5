"""A drawn face that the landmark model finds, and clips of it."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from avspeech.media.video import write_video

BACKGROUND = (90, 120, 150)


def draw_face(frame: np.ndarray, x: float, y: float, height: float, opening: float = 0.3) -> None:
    """Draw a face of ``height`` pixels around (x, y) into an RGB frame; ``opening`` 0 to 1 opens the mouth."""
    unit = height / 2

    def oval(dx: float, dy: float, a: float, b: float, colour: tuple[int, int, int]) -> None:
        centre = (round((x + dx * unit) * 16), round((y + dy * unit) * 16))  # 4 bits below the point
        cv2.ellipse(frame, centre, (round(a * unit * 16), round(b * unit * 16)), 0, 0, 360, colour, -1, cv2.LINE_AA, 4)

    oval(0, 0, 0.74, 1, (224, 178, 150))
    for side in (-0.32, 0.32):
        oval(side, -0.18, 0.15, 0.075, (250, 250, 250))
        oval(side, -0.18, 0.07, 0.07, (50, 30, 20))
        oval(side, -0.36, 0.2, 0.035, (80, 50, 30))
    oval(0, 0.14, 0.12, 0.05, (190, 140, 120))
    oval(0, 0.5, 0.28, 0.08 + 0.1 * opening, (170, 70, 80))
    oval(0, 0.5, 0.22, 0.012 + 0.1 * opening, (60, 15, 20))


def picture(height: int = 200, width: int = 240, *faces: tuple[float, ...]) -> np.ndarray:
    """Return a frame with faces at (x, y, height) or (x, y, height, opening)."""
    frame = np.full((height, width, 3), BACKGROUND, np.uint8)
    for face in faces:
        draw_face(frame, *face)
    return frame


def face(opening: float = 0.3) -> np.ndarray:
    """Return a frame with one face in its middle."""
    return picture(200, 240, (120, 100, 150, opening))


@pytest.fixture(scope="session")
def finder() -> Iterator:
    """Return the landmark model, or skip where it cannot be had."""
    pytest.importorskip("ai_edge_litert")
    from avspeech.roi.face_model import FaceModelError
    from avspeech.roi.landmarks import FaceFinder

    try:
        loaded = FaceFinder()
    except FaceModelError as error:
        pytest.skip(str(error))
    with loaded:
        yield loaded


@pytest.fixture
def talking(tmp_path) -> Path:
    """Return a 1 s clip of a face whose mouth opens and closes, without sound."""
    write_video(tmp_path / "talking.mp4", [face(0.5 - 0.5 * np.cos(index / 2)) for index in range(25)])
    return tmp_path / "talking.mp4"
