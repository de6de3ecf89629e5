"""Find the landmarks of every face in a frame, with mediapipe's FaceLandmarker.

IMAGE mode: every frame is looked at afresh, so landmarks neither lag behind nor follow a face that has left. (VIDEO
mode smooths over time and fits best one frame late.) Axis ``J`` is the 478 landmarks of mediapipe's face mesh; ``2``
is x and y in pixels from the frame's top left corner, so the centre of the first pixel is at (0.5, 0.5).
"""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from avspeech.roi.face_model import FaceModelError, find_face_model

NUM_LANDMARKS = 478


class FaceFinder:
    """The landmark model, loaded. Use it as a context manager or call ``close``.

    Args:
        model: the model file; None searches for it (``find_face_model``).
        max_faces: how many faces to look for; more than one, so that the larger can be told from the smaller.
        min_confidence: of the face detector and of the landmark network, 0 to 1.

    Raises:
        FaceModelError: there is no model file, or it is none.
    """

    def __init__(self, model: str | Path | None = None, max_faces: int = 4, min_confidence: float = 0.5) -> None:
        try:
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:
            raise ImportError("finding lips needs mediapipe: `uv sync`, or `pip install mediapipe`") from error
        file = find_face_model(model)
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(file)),
            running_mode=vision.RunningMode.IMAGE,
            num_faces=max_faces,
            min_face_detection_confidence=min_confidence,
            min_face_presence_confidence=min_confidence,
        )
        self._mediapipe: Any = mediapipe
        with _quiet_stderr():
            try:
                self._landmarker = vision.FaceLandmarker.create_from_options(options)
            except (RuntimeError, ValueError) as error:
                raise FaceModelError(f"{file} is no face model that mediapipe can load ({error})") from error
            self.detect(np.zeros((64, 64, 3), np.uint8))  # the first call chatters too

    def detect(self, frame: np.ndarray) -> list[np.ndarray]:
        """Return ``landmarks_J2``, float32 pixels, of every face; none gives an empty list.

        Args:
            frame: RGB uint8, (H, W, 3).
        """
        # mediapipe ignores strides: a view with padded rows would be read askew, without an error.
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame)
        )  # fmt: skip
        size = np.array([frame.shape[1], frame.shape[0]], np.float32)
        faces = self._landmarker.detect(image).face_landmarks
        return [np.array([(point.x, point.y) for point in face], np.float32) * size for face in faces]

    def close(self) -> None:
        """Free the model; without it mediapipe complains at exit."""
        self._landmarker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def find_landmarks(frames: Iterable[np.ndarray], finder: FaceFinder, every: int = 1) -> list[list[np.ndarray] | None]:
    """Return for each frame the faces in it, each as ``landmarks_J2``; None for a frame that was not looked at.

    Args:
        frames: RGB uint8 at 25 fps, as they come.
        finder: the model.
        every: look at every n-th frame only; ``follow_face`` interpolates between them.
    """
    if every < 1:
        raise ValueError(f"every={every} came; wanted 1 (each frame) or more")
    return [finder.detect(frame) if index % every == 0 else None for index, frame in enumerate(frames)]


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hold back what C++ code writes to stderr; show it if the block fails.

    mediapipe logs five lines per model through a logger that no environment variable reaches.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        saved = os.dup(2)
        os.dup2(held.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            if failed:
                held.seek(0)
                sys.stderr.write(held.read().decode(errors="replace"))
