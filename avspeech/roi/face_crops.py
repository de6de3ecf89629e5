"""Cut whole faces as the published detectors of active speakers want them: 112x112 grey, not turned.

The crop of TalkNet and LR-ASD (Liao et al. 2024): the box's half side is its longer half, box and
centre are medians over 13 frames; a square of 1.4 times the half side, 0.4 times the half side below the box's centre,
goes to 112 pixels; outside the picture is the grey level 110.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy.ndimage import median_filter

from avspeech.media.reading import read_pictures
from avspeech.roi.faces import Face
from avspeech.roi.lips import FaceSpan
from avspeech.roi.mouth import crop_mouth
from avspeech.roi.sizes import FACE_SIZE

_SIDE, _LOWER = 1.4, 0.4  # side of the crop, and shift of its centre, in half sides of the box
_MEDIAN_FRAMES = 13
_OUTSIDE = 110  # grey level


def face_placements(boxes_T4: np.ndarray, changes: Sequence[int] = ()) -> np.ndarray:
    """Return the maps from frame to crop pixels, (T, 2, 3), both counted from the corner, of a tracked box.

    Medians end at ``changes``, the frames at which the picture's size changes.
    """
    left_T, top_T, right_T, bottom_T = boxes_T4.T.astype(np.float64)
    half_T = np.maximum(right_T - left_T, bottom_T - top_T) / 2
    steady_T3 = np.stack([half_T, (left_T + right_T) / 2, (top_T + bottom_T) / 2], axis=1)
    runs = [median_filter(run_T3, (_MEDIAN_FRAMES, 1), mode="nearest") for run_T3 in np.split(steady_T3, changes)]
    half_T, x_T, y_T = np.concatenate(runs).T
    placed_T23 = np.zeros((len(boxes_T4), 2, 3))
    placed_T23[:, 0, 0] = placed_T23[:, 1, 1] = FACE_SIZE / (_SIDE * np.maximum(half_T, 1))
    centre_T2 = np.stack([x_T, y_T + _LOWER * half_T], axis=1)
    placed_T23[:, :, 2] = FACE_SIZE / 2 - placed_T23[:, :1, 0] * centre_T2
    return placed_T23


def crop_face(frame_HW: np.ndarray, matrix_23: np.ndarray) -> np.ndarray:
    """Return one crop, (112, 112) uint8, of a grey frame and a map of ``face_placements``."""
    return crop_mouth(frame_HW, matrix_23, FACE_SIZE, _OUTSIDE)


def read_face_crops(
    video: str | Path, faces: Sequence[Face], spans: Sequence[FaceSpan]
) -> Iterator[tuple[FaceSpan, np.ndarray]]:
    """Yield each span with its ``face_THW``, uint8 (T, 112, 112), once its last frame is read, in one pass.

    Spans lie within the video; beyond a face's own span its nearest placement is used.
    """
    placed = {span.face: face_placements(faces[span.face].boxes_T4, faces[span.face].changes) for span in spans}
    waiting = sorted(spans, key=lambda span: span.first)
    running: list[tuple[FaceSpan, list[np.ndarray]]] = []
    for index, picture in enumerate(read_pictures(video, [])):
        while waiting and waiting[0].first <= index:
            running.append((waiting.pop(0), []))
        for span, crops in running:
            place = np.clip(index - faces[span.face].first, 0, len(placed[span.face]) - 1)
            crops.append(crop_face(picture.grey(), placed[span.face][place]))
        yield from [(span, np.stack(crops)) for span, crops in running if span.end == index + 1]
        running = [(span, crops) for span, crops in running if span.end > index + 1]
        if not waiting and not running:
            return
