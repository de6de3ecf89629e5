"""Faults in time: non-decreasing lists of source frames, one per output frame, so a video needs one frame in memory."""

from collections.abc import Iterable, Iterator

import numpy as np

from avspeech.noise.exact_noise import ExactDraws
from avspeech.timebase import FRAME_RATE

LOST = -1  # in ``shown_T`` where no frame is shown
FREEZE_SHARES = (0.1, 0.2, 0.4, 0.6, 0.8)  # of the frames that repeat the previous one, by severity
FREEZE_FRAMES = (5, 20)  # shortest and longest freeze: 0.2 to 0.8 s
MS_PER_FRAME = 1000 // FRAME_RATE


def shown_frames(kind: str, level: float, num_frames: int, draws: ExactDraws) -> np.ndarray:
    """Return ``shown_T``: each output frame's source index, or ``LOST``.

    ``level`` is per cent of the frames (``drop``), severity (``freeze``) or ms, positive is late (``offset``).
    """
    time_T = np.arange(num_frames)
    if kind == "offset":
        return np.clip(time_T - round(level / MS_PER_FRAME), 0, num_frames - 1)
    if kind == "drop":
        # With the same draws, the frames lost at 25 % are also lost at 50 %.
        time_T[list(draws.shuffled(num_frames))[: round(num_frames * level / 100)]] = LOST
        return time_T
    num_still = min(round(FREEZE_SHARES[int(level) - 1] * num_frames), num_frames - 1)
    still_T = np.concatenate([[False], draw_stretches(num_frames - 1, num_still, *FREEZE_FRAMES, draws)])
    return np.maximum.accumulate(np.where(still_T, 0, time_T))


def draw_stretches(num_frames: int, num_inside: int, shortest: int, longest: int, draws: ExactDraws) -> np.ndarray:
    """Return ``inside_T``, bool: ``num_inside`` frames in random stretches of ``shortest`` to ``longest`` frames.

    The last stretch is cut to the remaining frames; adjacent stretches merge.
    """
    lengths: list[int] = []
    while sum(lengths) < num_inside:
        lengths.append(min(draws.between(shortest, longest), num_inside - sum(lengths)))
    inside_T, taken = np.zeros(num_frames, bool), 0
    places = sorted(draws.between(0, num_frames - num_inside) for _ in lengths)
    for place, length in zip(places, lengths, strict=True):
        inside_T[place + taken : place + taken + length] = True  # after ``place`` frames outside
        taken += length
    return inside_T


def replay(frames: Iterable[np.ndarray], shown_T: np.ndarray, blank: int) -> Iterator[np.ndarray]:
    """Yield the frames that ``shown_T`` (``shown_frames``) lists, uint8; a lost frame has grey ``blank`` everywhere."""
    numbered = enumerate(frames)
    at, frame = next(numbered)
    for place in shown_T:
        while at < place:
            at, frame = next(numbered)
        yield np.full_like(frame, blank) if place == LOST else frame
    for _ in numbered:  # the source's own checks at its end must run
        pass
