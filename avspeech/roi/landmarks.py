"""Find the landmarks of every face in a frame with the networks of mediapipe's FaceLandmarker, by its rules.

BlazeFace (Bazarevsky et al. 2019, arXiv:1907.05047) finds faces; the mesh network (Kartynnik et al. 2019,
arXiv:1907.06724) sees each on an enlarged, level square. LiteRT runs both in 0.7 of mediapipe's own CPU time;
landmarks come to the same (experiments/2026-11-far-faces). Frames are treated independently. Axis ``J`` is the 478
landmarks of mediapipe's face mesh; ``2`` is x and y in pixels from the top left corner (first pixel's centre: 0.5).
"""

import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from avspeech.roi.face_model import FaceModelError, find_face_model
from avspeech.roi.track import overlaps

NUM_LANDMARKS = 478
_MAX_FACES = 4
_DETECTOR_SIDE, _MESH_SIDE = 128, 256  # pixels of the networks' inputs
_GRIDS = ((16, 2), (8, 6))  # cells along a side of the detector's two maps, and boxes of a cell
_OVERLAP = 0.5  # boxes that overlap by more are one face
_LOGIT = 0.0  # of both networks, above which there is a face: a probability of one half
_ENLARGED = 1.5  # side of the mesh network's square, in sides of the box


class FaceFinder(AbstractContextManager):
    """The loaded landmark model, a context manager (or call ``close``).

    ``model`` None searches for the file (``find_face_model``). FaceModelError: the model file is missing or invalid.
    """

    def __init__(self, model: str | Path | None = None) -> None:
        file = find_face_model(model)
        try:
            with zipfile.ZipFile(file) as bundle:
                self._detector, self._mesh = (
                    _Network(bundle.read(name)) for name in ("face_detector.tflite", "face_landmarks_detector.tflite")
                )
            self.detect(np.zeros((64, 64, 3), np.uint8))
        except (zipfile.BadZipFile, KeyError, ValueError, RuntimeError) as error:
            raise FaceModelError(f"{file} is no face model that can be loaded ({error})") from error

    def detect(self, frame: np.ndarray) -> list[np.ndarray]:
        """Return ``landmarks_J2``, float32 pixels, of every face in an RGB uint8 frame, (H, W, 3), at most 4."""
        found = [self._landmarks(frame, box_82) for box_82 in self._boxes(frame)[:_MAX_FACES]]
        return [landmarks_J2 for landmarks_J2 in found if landmarks_J2 is not None]

    def _boxes(self, frame: np.ndarray) -> list[np.ndarray]:
        """Return (8, 2) frame pixels of every face, the surest first: two corners, two eyes, four other points."""
        height, width = frame.shape[:2]
        middle_2, side = np.array([width, height]) / 2, max(width, height)
        square = _square(frame, middle_2, side, 0.0, _DETECTOR_SIDE, cv2.BORDER_CONSTANT)
        outputs = self._detector(square / np.float32(127.5) - 1)
        logits_N, boxes_N82 = outputs[1].ravel(), outputs[16].reshape(-1, 8, 2)
        sure_N = np.flatnonzero(logits_N >= _LOGIT)
        boxes_N82 = boxes_N82[sure_N] / _DETECTOR_SIDE + _CELLS_N2[sure_N, None]  # the middle, the sides, six points
        half_N2 = (boxes_N82[:, 1] - _CELLS_N2[sure_N]) / 2
        boxes_N82[:, 0], boxes_N82[:, 1] = boxes_N82[:, 0] - half_N2, boxes_N82[:, 0] + half_N2
        boxes = _one_per_face(boxes_N82, 1 / (1 + np.exp(-logits_N[sure_N])))
        return [middle_2 + side * (box_82 - 0.5) for box_82 in boxes]

    def _landmarks(self, frame: np.ndarray, box_82: np.ndarray) -> np.ndarray | None:
        """Return the landmarks of the face in a box, float32 frame pixels; None if the network sees none."""
        middle_2, side = box_82[:2].mean(axis=0), _ENLARGED * np.ptp(box_82[:2], axis=0).max()
        x, y = box_82[3] - box_82[2]
        angle = float(np.arctan2(y, x))
        square = _square(frame, middle_2, side, angle, _MESH_SIDE, cv2.BORDER_REPLICATE)
        outputs = self._mesh(square / np.float32(255))
        if float(outputs[1].ravel()[0]) < _LOGIT:
            return None
        level_J2 = outputs[3 * NUM_LANDMARKS].reshape(NUM_LANDMARKS, 3)[:, :2] / _MESH_SIDE - 0.5
        return (side * level_J2 @ _rotation(-angle).T + middle_2).astype(np.float32)

    def close(self) -> None:
        """Free the networks."""
        del self._detector, self._mesh

    def __exit__(self, *_: object) -> None:
        self.close()


class _Network:
    """A network whose outputs are told apart by the length of their last axis."""

    def __init__(self, content: bytes) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ImportError("finding lips needs LiteRT: `uv sync`, or `pip install ai-edge-litert`") from error
        with _quiet_stderr():
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        outputs = reversed(self._interpreter.get_output_details())
        self._outputs = {int(one["shape"][-1]): one["index"] for one in outputs}
        self._lock = Lock()  # an interpreter holds one input

    def __call__(self, image_HWC: np.ndarray) -> dict[int, np.ndarray]:
        with self._lock:
            self._interpreter.set_tensor(self._input, image_HWC[None])
            self._interpreter.invoke()
            return {length: self._interpreter.get_tensor(index) for length, index in self._outputs.items()}


def _cells() -> np.ndarray:
    """Return the middle of every box's cell, (896, 2), in sides of the picture."""
    middles = [(np.arange(cells) + 0.5) / cells for cells, _ in _GRIDS]
    grids = [np.stack(np.meshgrid(middle, middle), axis=-1).reshape(-1, 2) for middle in middles]
    return np.concatenate(
        [np.repeat(grid_N2, boxes, axis=0) for grid_N2, (_, boxes) in zip(grids, _GRIDS, strict=True)]
    )


_CELLS_N2 = _cells()


def _one_per_face(boxes_N82: np.ndarray, sure_N: np.ndarray) -> list[np.ndarray]:
    """Return the means of boxes that overlap the surest one, weighted by their probabilities, the surest first."""
    faces, left = [], np.argsort(-sure_N, kind="stable")
    while len(left):
        alike = overlaps(boxes_N82[left, :2].reshape(-1, 4), boxes_N82[left[0], :2].ravel()) > _OVERLAP
        alike[0] = True
        faces.append(np.average(boxes_N82[left[alike]], axis=0, weights=sure_N[left[alike]]))
        left = left[~alike]
    return faces


def _square(frame: np.ndarray, middle_2: np.ndarray, side: float, angle: float, size: int, border: int) -> np.ndarray:
    """Return the square around ``middle_2``, turned back by ``angle``, at ``size`` pixels."""
    turn_22 = _rotation(angle) * (size / side)
    matrix_23 = np.column_stack([turn_22, size / 2 - turn_22 @ middle_2])
    return cv2.warpAffine(frame, matrix_23, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)


def _rotation(angle: float) -> np.ndarray:
    """Return the map that turns a direction at ``angle``, x towards y, to the x axis."""
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Discard C++ output to stderr unless the block fails: LiteRT logs a line per network, unconditionally."""
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
