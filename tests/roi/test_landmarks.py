"""The face networks run as mediapipe's FaceLandmarker runs them."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from tests.roi.conftest import face, picture


def turned(frame: np.ndarray, degrees: float) -> np.ndarray:
    height, width = frame.shape[:2]
    matrix_23 = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 0.8)
    return cv2.warpAffine(frame, matrix_23, (width, height), borderMode=cv2.BORDER_REPLICATE)


PICTURES = {
    "one": face(),
    "mouth open": face(0.9),
    "small": cv2.resize(face(), None, fx=0.5, fy=0.5),
    "enlarged": cv2.resize(face(), None, fx=4, fy=4),
    "tilted": turned(face(), 25),
    "tilted back": turned(face(), -25),
    "upside down": np.ascontiguousarray(np.rot90(face(), 2)),
    "sideways": np.ascontiguousarray(np.rot90(face())),
    "wide": picture(200, 480, (120, 100, 150, 0.3)),
    "tall": picture(400, 200, (100, 200, 150, 0.3)),
    "at the edge": face()[:, 80:],
    "two": np.hstack([face(), face(0.8)]),
    "six": np.vstack([np.hstack([face(0.1 * n), face(0.2 * n), face(0.3 * n)]) for n in (1, 2)]),
    "nobody": np.random.default_rng(0).integers(0, 255, (120, 200, 3), dtype=np.uint8),
}


@pytest.fixture(scope="module")
def reference():
    """Return mediapipe's own way from a frame to landmarks in pixels."""
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    from avspeech.roi.face_model import find_face_model

    options = vision.FaceLandmarkerOptions(BaseOptions(model_asset_path=str(find_face_model())), num_faces=4)
    with vision.FaceLandmarker.create_from_options(options) as landmarker:

        def detect(frame):
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
            faces, size = landmarker.detect(image).face_landmarks, frame.shape[1::-1]
            return [np.array([(point.x, point.y) for point in one]) * size for one in faces]

        yield detect


@pytest.mark.parametrize("name", PICTURES)
def test_landmarks_are_those_of_mediapipe(finder, reference, name):
    ours, theirs = finder.detect(PICTURES[name]), reference(PICTURES[name])
    share = 0.005 if name == "upside down" else 0.001  # of a face's height; the networks were trained on upright faces
    assert len(ours) == len(theirs)
    for our_J2, their_J2 in zip(ours, theirs, strict=True):
        assert our_J2.shape == (478, 2) and our_J2.dtype == np.float32
        assert np.linalg.norm(our_J2 - their_J2, axis=1).mean() < share * np.ptp(their_J2, axis=0).max()


def test_a_finder_serves_threads_at_once(finder):
    alone = {name: finder.detect(frame) for name, frame in PICTURES.items()}
    with ThreadPoolExecutor(4) as pool:
        for name, faces in zip(PICTURES, pool.map(finder.detect, PICTURES.values()), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(alone[name], faces, strict=True))
