"""What a preview shows of each face that is transcribed: where it is, its lips, and the crop that the model gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from avspeech.roi.faces import Face
from avspeech.roi.mouth import STABLE
from avspeech.roi.track import FrameStatus

if TYPE_CHECKING:
    from avspeech.transcription.streams import Stretch  # whose Streams gives these views

_UPPER_LIP, _LOWER_LIP = slice(len(STABLE), len(STABLE) + 11), slice(len(STABLE) + 11, len(STABLE) + 20)
"""The lips' outer edges among a ``Face``'s points, each from the right corner of the mouth on."""


@dataclass(frozen=True)
class FaceView:
    """One speaker in every frame of a file; the face may be another one from stretch to stretch."""

    box_T4: np.ndarray
    """float32, left, top, right, bottom in pixels of the frames of ``read_frames``; NaN where there is no face."""
    lips_TK2: np.ndarray
    """float32, the closed outline of the lips, x and y in the same pixels; NaN where there is no face."""
    status_T: np.ndarray
    """uint8, a ``FrameStatus`` per frame."""
    mouths: tuple[tuple[int, np.ndarray], ...] = ()
    """The first frame of each stretch whose lips are read, and its lip crop (frames, H, W), uint8 grey; by time."""
    speaker: str | None = None
    """Label, where several faces are transcribed."""

    def __post_init__(self) -> None:
        num_frames = len(self.status_T)
        if self.box_T4.shape != (num_frames, 4) or self.lips_TK2.shape[::2] != (num_frames, 2):
            raise ValueError(
                f"boxes {self.box_T4.shape} and lips {self.lips_TK2.shape} came with {num_frames} statuses; wanted "
                "(T, 4), (T, K, 2) and T, of one file"
            )


def face_views(faces: Sequence[Face], stretches: Sequence[Stretch], num_frames: int) -> tuple[FaceView, ...]:
    """Return a view of each speaker, in the order of labels; without a face there is none.

    Between two stretches the face of the earlier one stays in view.

    Args:
        faces: all of the file.
        stretches: of the file; each names its face by its place among ``faces``.
        num_frames: of the file, at 25 Hz.
    """
    views = []
    for speaker in sorted({one.speaker or "" for one in stretches if one.face is not None}):
        own = sorted((one for one in stretches if (one.speaker or "") == speaker), key=lambda one: one.start)
        box_T4 = np.full((num_frames, 4), np.nan, np.float32)
        lips_TK2 = np.full((num_frames, 20, 2), np.nan, np.float32)
        status_T = np.full(num_frames, FrameStatus.MISSING, np.uint8)
        starts = [0, *(one.start for one in own[1:]), num_frames]
        for one, (start, end) in zip(own, pairwise(starts), strict=True):
            if one.face is None:
                continue
            face = faces[one.face]
            first, last = max(start, face.first), min(end, face.end)
            inside = np.arange(first, last)
            inside = inside[face.status_T[inside - face.first] != FrameStatus.MISSING]
            points_TN2 = face.points_TN2[inside - face.first]
            box_T4[inside], status_T[inside] = face.boxes_T4[inside - face.first], face.status_T[inside - face.first]
            lips_TK2[inside] = np.concatenate([points_TN2[:, _UPPER_LIP], points_TN2[:, _LOWER_LIP][:, ::-1]], axis=1)
        mouths = tuple((one.start, one.mouth_THW) for one in own if one.mouth_THW is not None)
        views.append(FaceView(box_T4, lips_TK2, status_T, mouths, speaker or None))
    return tuple(views)
