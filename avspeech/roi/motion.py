"""Move the lips between the pictures of a source that shows 8 to 22 a second.

Reading at 25 fps holds each picture until the next, half a source period late on average. A crop between two pictures
is instead made of both, each moved along the optical flow to the frame's time and weighted by its nearness. Measured
in experiments/2026-11-slow-pictures.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import NamedTuple

import cv2
import numpy as np

from avspeech.timebase import FRAME_RATE

SLOWEST = 8
"""Pictures a second below which two of them no longer tell the motion between: the earlier one is held."""
MOST_HELD = 2 * FRAME_RATE // SLOWEST  # frames in memory of a picture that is held for longer, and so not moved
AT_ONCE_S = 1 / 22
"""Seconds between two pictures up to which nothing is made between them: at 24 a second it gains nothing."""


class Shown(NamedTuple):
    """The crops of one picture, in the frames that hold it."""

    time_s: float
    until_s: float
    first: int
    crops: list[np.ndarray]


def moving(crops: Iterable[np.ndarray], shown_T2: np.ndarray, first: int = 0) -> Iterator[np.ndarray]:
    """Yield ``mouth_HW``, uint8, of frames ``first``, ``first`` + 1, ...: those between two pictures made of both.

    ``shown_T2``: seconds from and until which the source shows each frame's picture. A source of 22 or more pictures a
    second passes unchanged, as do gaps longer than 1 / ``SLOWEST`` s.
    """
    before, shown = None, None
    timed = zip(shown_T2[first:].tolist(), crops, strict=False)
    for (time_s, until_s), same in groupby(timed, key=lambda one: one[0]):
        while crops_held := [crop_HW for _, crop_HW in islice(same, MOST_HELD)]:
            after = Shown(time_s, until_s, first, crops_held)
            first += len(crops_held)
            if shown is not None:
                yield from _moved(before, shown, after)
            before, shown = shown, after
    if shown is not None:
        yield from _moved(before, shown, None)


def _moved(before: Shown | None, shown: Shown, after: Shown | None) -> Iterator[np.ndarray]:
    """Yield the crops of ``shown``, moved towards the picture before or after by the time of each frame."""
    flows: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for frame, crop_HW in enumerate(shown.crops, start=shown.first):
        late_s = frame / FRAME_RATE - shown.time_s
        earlier, later = (shown, after) if late_s > 0 else (before, shown)
        if earlier is None or later is None or not _joined(earlier, later):
            yield crop_HW
            continue
        other, gap_s = later if earlier is shown else earlier, later.time_s - earlier.time_s
        other_HW = other.crops[0 if other is after else -1]
        if id(other) not in flows:
            flows[id(other)] = _flow(crop_HW, other_HW), _flow(other_HW, crop_HW)
        yield _between(crop_HW, other_HW, *flows[id(other)], min(abs(late_s) / gap_s, 1.0))


def _joined(one: Shown, other: Shown) -> bool:
    """Return True if the second follows the first in the source, after a time in which motion is worth making."""
    return one.until_s == other.time_s and AT_ONCE_S < other.time_s - one.time_s <= 1.02 / SLOWEST


def _flow(from_HW: np.ndarray, to_HW: np.ndarray) -> np.ndarray:
    """Return the motion of each pixel, float32 (H, W, 2): dense inverse search (Kroeger et al. 2016)."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    return search.calc(from_HW, to_HW, None)  # type: ignore[call-overload]


def _between(
    one_HW: np.ndarray, other_HW: np.ndarray, there_HW2: np.ndarray, back_HW2: np.ndarray, share: float
) -> np.ndarray:
    """Return the picture at ``share`` of the way from one to the other."""
    y_HW, x_HW = np.indices(one_HW.shape, np.float32)
    moved = []
    for picture_HW, flow_HW2, way in ((one_HW, there_HW2, share), (other_HW, back_HW2, 1 - share)):
        maps = x_HW - np.float32(way) * flow_HW2[..., 0], y_HW - np.float32(way) * flow_HW2[..., 1]
        moved.append(cv2.remap(picture_HW, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    return cv2.addWeighted(moved[0], 1 - share, moved[1], share, 0)
