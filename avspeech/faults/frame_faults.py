"""Faults in time: lost frames, a picture that stands still, a picture that comes early or late.

Each is a list of which source frame is on screen when, non-decreasing over time, so that a video of any length passes
with one frame in memory and a clip in memory is indexed by the same list. They are what a network does to a call.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from avspeech.faults.picture_draws import PictureDraws
from avspeech.timebase import FRAME_RATE

LOST = -1
"""Stands in ``shown_T`` where nothing is on screen."""
FREEZE_SHARES = (0.1, 0.2, 0.4, 0.6, 0.8)
"""Share of the frames that repeat the one before, by severity."""
FREEZE_FRAMES = (5, 20)
"""Shortest and longest stand-still that is drawn: 0.2 to 0.8 s."""
MS_PER_FRAME = 1000 // FRAME_RATE


def shown_frames(kind: str, level: float, num_frames: int, draws: PictureDraws) -> np.ndarray:
    """Return ``shown_T``: for each frame the number of the source frame that is seen, or ``LOST``.

    Args:
        kind: ``drop`` (level: per cent of frames), ``freeze`` (severity) or ``offset`` (ms, positive comes late).
        level: of the fault.
        num_frames: length of the clip.
        draws: decides which frames; an offset draws nothing.
    """
    time_T = np.arange(num_frames)
    if kind == "offset":
        return np.clip(time_T - round(level / MS_PER_FRAME), 0, num_frames - 1)
    if kind == "drop":
        shown_T = time_T.copy()
        # The first of one order of all frames: with the same draws, what 25 % lose 50 % lose too.
        shown_T[list(draws.shuffled(num_frames))[: round(num_frames * level / 100)]] = LOST
        return shown_T
    num_still = min(round(FREEZE_SHARES[int(level) - 1] * num_frames), num_frames - 1)
    still_T = np.concatenate([[False], draw_stretches(num_frames - 1, num_still, *FREEZE_FRAMES, draws)])
    return np.maximum.accumulate(np.where(still_T, 0, time_T))


def draw_stretches(num_frames: int, num_inside: int, shortest: int, longest: int, draws: PictureDraws) -> np.ndarray:
    """Return ``inside_T``, bool: ``num_inside`` frames in stretches of drawn length at drawn places.

    The last stretch is cut to what is left, and stretches that fall together are one longer stretch.

    Args:
        num_frames: T.
        num_inside: frames inside of stretches, all together; up to T.
        shortest, longest: frames of one stretch.
        draws: decides.
    """
    lengths: list[int] = []
    while sum(lengths) < num_inside:
        lengths.append(min(draws.between(shortest, longest), num_inside - sum(lengths)))
    num_outside = num_frames - num_inside
    inside_T = np.zeros(num_frames, bool)
    taken = 0
    places = sorted(draws.between(0, num_outside) for _ in lengths)
    for place, length in zip(places, lengths, strict=True):
        inside_T[place + taken : place + taken + length] = True  # after ``place`` frames outside
        taken += length
    return inside_T


def replay(frames: Iterable[np.ndarray], shown_T: np.ndarray, blank: int) -> Iterator[np.ndarray]:
    """Yield what is on screen; a lost frame is a picture of the grey ``blank``.

    Args:
        frames: uint8 of any shape, all alike; as many as ``shown_T`` or more.
        shown_T: non-decreasing but for ``LOST``, as ``shown_frames`` returns it.
        blank: grey level.
    """
    numbered = enumerate(frames)
    at, frame = next(numbered)
    for place in shown_T:
        while at < place:
            at, frame = next(numbered)
        yield np.full_like(frame, blank) if place == LOST else frame
    for _ in numbered:  # whoever counts or checks the source's frames gets to its end
        pass
