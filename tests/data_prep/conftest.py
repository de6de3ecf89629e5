"""Shared: drawn talking faces, their sound, and a face model."""

import numpy as np
import pytest

from tests.roi.conftest import picture


def talking_frames(count: int, step: int = 7) -> list[np.ndarray]:
    return [picture(160, 200, (100 + t % step, 80, 120, 0.5 - 0.5 * np.cos(t / 2))) for t in range(count)]


def sound(count: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(count * 640)).astype(np.float32)


@pytest.fixture(scope="session")
def face_model() -> None:
    pytest.importorskip("ai_edge_litert")
    from avspeech.roi.face_model import FaceModelError, find_face_model

    try:
        find_face_model()
    except FaceModelError as error:
        pytest.skip(str(error))
