"""MediaPipe's canonical face mesh: 468 points in cm, 898 triangles.

The face model file (``face_landmarker.task``, a zip; Apache-2.0) holds it as a protobuf message: x, y, z, u, v of each
vertex, three indices of each triangle. The landmarker detects drawn faces whose features follow this mesh.
"""

import struct
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from avspeech.roi.face_model import find_face_model

METADATA = "geometry_pipeline_metadata_landmarks.binarypb"

# Landmark indices, in order along each curve; "right" is the subject's right, the image's left.
UPPER_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LOWER_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
UPPER_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
FACE_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152)
FACE_OVAL += (148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_BROW = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)
LEFT_BROW = (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)
RIGHT_CORNER, LEFT_CORNER, CHIN, NOSE_BASE = 61, 291, 152, 2


@cache
def load_mesh(path: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the vertices, (468, 3) in cm (x to the image's right, y up, z forwards), and the triangles, (898, 3).

    None takes the file of ``find_face_model``. ValueError if the file has no such mesh.
    """
    path = find_face_model() if path is None else path
    try:
        with zipfile.ZipFile(path) as archive:
            message = archive.read(METADATA)
        mesh = max((value for _, value in _fields(message) if isinstance(value, bytes)), key=len)
        parts = list(_fields(mesh))
        floats = [struct.unpack("<f", value)[0] for _, value in parts if isinstance(value, bytes) and len(value) == 4]
        whole = [(field, value) for field, value in parts if isinstance(value, int)]
        (index_field, _), *_ = Counter(field for field, _ in whole).most_common(1)
        vertices = np.array(floats).reshape(-1, 5)[:, :3]
        triangles = np.array([value for field, value in whole if field == index_field]).reshape(-1, 3)
    except (KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
        wanted = f"a face_landmarker.task with {METADATA}"
        raise ValueError(f"{path} holds no face mesh ({error}); expected {wanted}") from error
    if len(vertices) != 468 or triangles.max() >= 468:
        raise ValueError(f"{path}: {len(vertices)} vertices, expected the canonical mesh of 468")
    return vertices, triangles


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of a protobuf message: int for a varint, else bytes."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while position < len(message):
        tag = varint()
        wire = tag & 7
        if wire == 0:
            yield tag >> 3, varint()
        elif wire in (1, 2, 5):
            size = varint() if wire == 2 else {1: 8, 5: 4}[wire]
            yield tag >> 3, message[position : position + size]
            position += size
        else:
            raise ValueError(f"protobuf wire type {wire}")
