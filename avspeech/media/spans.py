"""Read a part of a long recording: the same frames and samples as that part of all of it has.

Where the container's index lists every packet, as in mp4 and mov files that are no fragments, reading begins at a key
frame before the part; other files are decoded from their start, and what comes before is dropped as it comes. Only the
noise that AAC decoders make up themselves, in place of noise that was not stored, is another after a jump.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from av.container import InputContainer

from avspeech.media.container import file_parts, guard
from avspeech.media.decode import Timed, Wanted, decode
from avspeech.media.errors import MediaError, NoAudio, NoVideo
from avspeech.media.placing import Placed
from avspeech.timebase import FRAME_RATE, SAMPLE_RATE, Span, frames_to_samples

PREROLL_S = 1
"""Sound that is decoded before a part, so that decoder and resampler have settled; pictures are sought so much earlier,
as a key frame is shown later than it is decoded."""
MAX_MISSING = FRAME_RATE // 2
"""Frames by which a part may reach beyond the end of its recording."""


def decode_part(
    path: Path,
    container: InputContainer,
    track: Wanted,
    start: Fraction,
    notes: list[str] | None,
    wanted: Fraction,
    until: Fraction | None,
) -> tuple[Iterator[Timed], bool]:
    """Return frames as ``decode``, and whether they begin shortly before ``wanted``; else they begin at the start."""
    sought = seek(path, container, track.stream, start, wanted)
    frames = decode(path, container, track, start, notes, until)
    return (_checked(path, frames, wanted) if sought else frames), sought


def seek(path: Path, container: InputContainer, stream: Any, start: Fraction, wanted: Fraction) -> bool:
    """Let decoding begin ``PREROLL_S`` before a time, ``start`` being the container's ``origin``.

    False: nothing was done, as the times of what would be left out are not sure.
    """
    if wanted - start <= PREROLL_S or "mov" not in container.format.name.split(",") or len(file_parts(path)) > 1:
        return False
    with guard(path, "its index cannot be read"):
        tracks = [one for one in container.streams if one.type in ("video", "audio")]
        if not all(0 < one.frames == len(one.index_entries) for one in tracks):
            return False
        container.seek(int((wanted - PREROLL_S) / stream.time_base), stream=stream)
    return True


def _checked(path: Path, frames: Iterator[Timed], wanted: Fraction) -> Iterator[Timed]:
    """Yield the frames after a ``seek``. MediaError: there is none, or the first comes later than wanted."""
    try:
        first = next(frames, None)
    except (NoAudio, NoVideo):  # no packet
        first = None
    if first is None:
        raise MediaError(path, f"has no data at {float(wanted):.2f} s: the file is cut off; copy or download it again")
    if first.time > wanted:
        raise MediaError(path, f"its index leads to {float(first.time):.2f} s, wanted {float(wanted):.2f} s; remux it")
    yield first
    yield from frames


def check_reached(path: Path, count: int, span: Span) -> str | None:
    """Return a note on a part of ``count`` frames that lacks a few at its end. MediaError: many, or it has none."""
    missing = 0 if span.end is None else span.end - span.first - count
    begin_s, end_s = span.first / FRAME_RATE, (span.first + count) / FRAME_RATE
    if not count or missing > MAX_MISSING:
        ends = f"ends at {end_s:g} s" if count else f"ends before {begin_s:g} s"
        part = f"{begin_s:g} s to {'its end' if span.end is None else f'{span.end / FRAME_RATE:g} s'}"
        raise MediaError(path, f"{ends}, wanted is the part from {part}; mend start_s and end_s in the manifest")
    return f"The part that begins at {begin_s:g} s ends {missing} frames early, with the file." if missing else None


class SoundPart:
    """Which samples of a recording make a part of it. All times count from the recording's start."""

    def __init__(self, span: Span | None) -> None:
        self.span = Span(0, None) if span is None else span
        self.begin_s = max(self.span.first // FRAME_RATE - PREROLL_S, 0)
        """Whole seconds, at which every rate has a sample."""

    @property
    def until_s(self) -> Fraction | None:
        """Time up to which sound is needed; a resampler looks ahead."""
        return None if self.span.end is None else Fraction(self.span.end, FRAME_RATE) + PREROLL_S

    def placed(self, pieces: Iterable[Placed], skipped_s: int) -> Iterator[Placed]:
        """Yield samples from ``begin_s`` on, at their positions from there; ``skipped_s`` were not decoded."""
        for position, mono_S, rate in pieces:
            position -= (self.begin_s - skipped_s) * rate
            if position >= 0 or len(mono_S := mono_S[-position:]):
                yield Placed(max(position, 0), mono_S, rate)

    def cut(self, pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the part, from sound at 16 kHz that begins at ``begin_s``."""
        place, first = self.begin_s * SAMPLE_RATE, frames_to_samples(self.span.first)
        end = inf if self.span.end is None else frames_to_samples(self.span.end)
        for piece_S in pieces:
            wanted_S = piece_S[: int(max(end - place, 0))] if end - place < len(piece_S) else piece_S
            yield wanted_S[max(first - place, 0) :]
            place += len(piece_S)
