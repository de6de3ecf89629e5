"""Find the landmarks of every face in a frame with mediapipe's FaceLandmarker.

Frames are treated independently. Axis ``J`` is the 478 landmarks of mediapipe's face mesh; ``2`` is x and y in pixels
from the top left corner (first pixel's centre: 0.5, 0.5).
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from avspeech.roi.face_model import FaceModelError, find_face_model

NUM_LANDMARKS = 478


class FaceFinder(AbstractContextManager):
    """The loaded landmark model, a context manager (or call ``close``).

    ``model`` None searches for the file (``find_face_model``). FaceModelError: the model file is missing or invalid.
    """

    def __init__(self, model: str | Path | None = None) -> None:
        try:
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:
            raise ImportError("finding lips needs mediapipe: `uv sync`, or `pip install mediapipe`") from error
        file = find_face_model(model)
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(file)), running_mode=vision.RunningMode.IMAGE, num_faces=4
        )
        self._to_image = partial(mediapipe.Image, image_format=mediapipe.ImageFormat.SRGB)
        with _quiet_stderr():
            try:
                self._landmarker = vision.FaceLandmarker.create_from_options(options)
            except (RuntimeError, ValueError) as error:
                raise FaceModelError(f"{file} is no face model that mediapipe can load ({error})") from error
            self.detect(np.zeros((64, 64, 3), np.uint8))  # the first call logs to stderr too

    def detect(self, frame: np.ndarray) -> list[np.ndarray]:
        """Return ``landmarks_J2``, float32 pixels, of every face in an RGB uint8 frame, (H, W, 3)."""
        image = self._to_image(data=np.ascontiguousarray(frame))  # mediapipe ignores strides
        size = np.array([frame.shape[1], frame.shape[0]], np.float32)
        faces = self._landmarker.detect(image).face_landmarks
        return [np.array([(point.x, point.y) for point in face], np.float32) * size for face in faces]

    def close(self) -> None:
        """Free the model; otherwise mediapipe logs an error at exit."""
        self._landmarker.close()

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Discard C++ output to stderr unless the block fails: mediapipe logs five lines per model, unconditionally."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        saved = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
            held.truncate(0)
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            sys.stderr.write(held.read().decode(errors="replace"))
