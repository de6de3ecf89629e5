"""Cut the mouth of a lone face as its frames come by, so that the file need not be decoded again.

Which face is wanted and where gaps end is known after the last frame only. A crop is therefore kept with its placement,
and used if that is the final one.
"""

import ctypes
import sys
from collections import deque

import numpy as np

from avspeech.media.video import Picture
from avspeech.roi.mouth import crop_picture, crop_rule, placements
from avspeech.roi.track import MIN_OVERLAP, box_of, overlap

MAX_FRAMES = 8000  # crops that are kept (74 MB); a longer file is decoded twice
MAX_HELD_BYTES = 2**27  # of decoded frames that wait for later ones
BATCH = 8  # frames that are placed at once
TRIMMED = 512  # crops after which free memory between them goes back to the system
SAME = 0.05  # most crop pixels between a crop's placement and the final one


class EarlyCrops:
    """Crops by frame, with their placements (``mouth.placements``)."""

    def __init__(self, alignment: str) -> None:
        self.alignment, rule = alignment, crop_rule(alignment)
        self._ahead, self._behind = rule.ahead, max(rule.ahead, rule.behind) + 1
        self._crops: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._waiting: deque[Picture] = deque()
        self._points: list[np.ndarray] = []  # of the frames that wait and ``_behind`` before them
        self._next = 0  # index of the next frame to come
        self._works = True
        self._size, self._extent = (0, 0), 0

    def settle(self, picture: Picture, faces: list[np.ndarray]) -> None:
        """Take the next frame and the points of its faces."""
        self._next += 1
        if not self._works:
            return
        lone = len(faces) == 1
        same_size, self._size = picture.size == self._size, picture.size
        if self._points and not (
            same_size and lone and overlap(box_of(faces[0]), box_of(self._points[-1])) > MIN_OVERLAP
        ):
            self._cut(self._next - 1, 0)
            self._points.clear()
        if not lone:
            return
        self._waiting.append(picture)
        self._points.append(faces[0])
        width, height = picture.size
        self._extent = max(self._extent, width, height)
        held_bytes = 1.5 * width * height * (self._ahead + 2 * BATCH)
        if len(self._crops) >= MAX_FRAMES or held_bytes > MAX_HELD_BYTES:
            self._works = False
            for kept in (self._crops, self._waiting, self._points):
                kept.clear()
        elif len(self._waiting) >= self._ahead + BATCH:
            self._cut(self._next, self._ahead)

    def finish(self) -> None:
        """Cut the frames that wait for no others."""
        self._cut(self._next, 0)
        self._points.clear()

    def get(self, placements_T23: np.ndarray) -> dict[int, np.ndarray]:
        """Return the crops by frame whose placement is that of ``placements_T23``, one per frame of the video."""
        if not self._crops:
            return {}
        frames = list(self._crops)
        apart_N23 = np.abs(placements_T23[frames] - np.stack([placed_23 for placed_23, _ in self._crops.values()]))
        apart_N = (apart_N23[:, :, :2].sum(axis=2) * self._extent + apart_N23[:, :, 2]).max(axis=1)
        return {frame: self._crops[frame][1] for frame, apart in zip(frames, apart_N, strict=True) if apart <= SAME}

    def _cut(self, end: int, left: int) -> None:
        """Cut the waiting frames, the last of which is before ``end``, without the last ``left``."""
        if not self._waiting:
            return
        placed_T23 = placements(np.stack(self._points), self.alignment)[-len(self._waiting) :]
        first = end - len(self._waiting)
        for offset in range(len(self._waiting) - left):
            picture = self._waiting.popleft()
            self._crops[first + offset] = placed_T23[offset], crop_picture(picture, placed_T23[offset])
            if len(self._crops) % TRIMMED == 0:
                trim_heap()
        del self._points[: max(len(self._points) - left - self._behind, 0)]


def trim_heap() -> None:
    """Have glibc give back free memory: what lasts among decoded frames leaves holes of their size when they go."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
