"""Decode one stream of a file on the clock of all its streams: shared by video.py and audio.py.

Time 0 is the earlier of the first video and audio timestamps: sample ``640 * n`` belongs to frame ``n``. Files joined
end to end and clocks that restart follow on from each other, sound and picture together; ``clock.py`` has the rules.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from av.container import InputContainer

from avspeech.media.clock import LONGEST_GAP_S, STEP_AHEAD_S, STEP_BACK_S, UNPROVEN_GAP_S, Mended, Stamps, mend
from avspeech.media.container import (
    Kind,
    check_codec,
    declared_end,
    file_parts,
    find_stream,
    guard,
    no_track,
    open_media,
    require_stream,
)
from avspeech.media.errors import MediaError
from avspeech.media.parts import Part

log = logging.getLogger(__name__)

MAX_LOST = 0.2
"""Largest share of packets that do not decode; more is an error."""
_KINDS = ("video", "audio")
_NAMES = {"video": "picture", "audio": "sound"}


class Timed(NamedTuple):
    """A decoded frame and its time in seconds on the container's clock."""

    time: Fraction
    duration: Fraction
    frame: Any
    aspect: Fraction
    """Width over height of a pixel, by the container; 1 for sound."""


@dataclass(frozen=True)
class Wanted:
    """The track to read, in each recording of a file."""

    kind: Kind
    stream: Any | None
    """In the first recording; None: it has no such track."""
    number: int | None
    """In the others, from 1; None: the default."""
    prepare: Callable[[Any], None]
    """Called with the stream of each recording before it is decoded."""


def find_wanted(
    path: Path,
    container: InputContainer,
    kind: Kind,
    track: int | None = None,
    prepare: Callable[[Any], None] = lambda stream: None,
) -> Wanted:
    """Return the track to read of a file whose first recording is ``container``; errors as ``require_stream``."""
    stream = require_stream(path, container, kind, track)
    if stream is not None:
        with guard(path, f"its {kind} track cannot be read"):
            prepare(stream)
            default = find_stream(container, kind)
            track = None if default is not None and default.index == stream.index else track
    return Wanted(kind, stream, track, prepare)


def origin(path: Path, container: InputContainer) -> Fraction:
    """Return the container's start in seconds, on the clock of its timestamps."""
    with guard(path, "its start time cannot be read"):
        streams = filter(None, (find_stream(container, kind) for kind in _KINDS))
        return min((s.start_time * s.time_base for s in streams if s.start_time is not None), default=Fraction(0))


def decode(
    path: Path,
    container: InputContainer,
    wanted: Wanted,
    start: Fraction,
    notes: list[str] | None = None,
    until: Fraction | None = None,
) -> Iterator[Timed]:
    """Yield the frames of one kind of stream in presentation order, skipping packets that do not decode.

    ``start`` is the container's ``origin``; ``notes`` receives notes on clocks that restart and on concealed damage,
    None logs them. ``until``: the first frame from this time on is the last, and whether the file is whole is not
    checked. MediaError: reading fails, too little decodes, or the file is cut off. NoAudio, NoVideo: no recording in
    the file has a packet of that kind, and another kind has.
    """
    first, *others = file_parts(path)
    reading = _Reading(path, container, wanted.stream, first, start, start, Fraction(0), notes)
    yield from reading.frames(until)
    found = reading.is_filled
    for part in others:
        if until is not None and reading.end >= until:
            return
        with ExitStack() as stack:
            try:
                further = stack.enter_context(open_media(path, part))
            except MediaError as error:
                at = f"A recording in it, from byte {part.begin:,} on, is left out"
                tell(path, notes, f"{at}: it {error.reason}.")
                continue
            end = reading.end
            note = f"A recording that begins at {_seconds(end - start)} is joined to the one before it in the file."
            tell(path, notes, note)
            with guard(path, "a recording in it cannot be read"):
                own = find_stream(further, wanted.kind, wanted.number)
                if own is not None:
                    check_codec(path, own)
                    wanted.prepare(own)
            reading = _Reading(path, further, own, part, start, end, _moved(reading, origin(path, further)), notes)
            yield from reading.frames(until)
            found = found or reading.is_filled
    if not found:
        raise no_track(wanted.kind)(path, f"its {wanted.kind} track is empty; give a file that has one")


def _moved(before: "_Reading", own: Fraction) -> Fraction:
    """Return what is added to the times of a recording that begins at ``own``: nothing new where its clock runs on."""
    runs_on = -STEP_BACK_S <= own + before.moved - before.end <= STEP_AHEAD_S
    return before.moved if runs_on else before.end - own


def measure_duration(path: str | Path) -> float:
    """Return the seconds from first to last packet, all recordings of a file together.

    Headers are not trusted: browser recordings state no length. Nothing is decoded. MediaError: it is no media file.
    """
    path, reading, start = Path(path), None, Fraction(0)
    for part in file_parts(path):
        with open_media(path, part) as container:
            own = origin(path, container)
            start = own if reading is None else start
            begin, moved = (own, Fraction(0)) if reading is None else (reading.end, _moved(reading, own))
            reading = _Reading(path, container, None, part, start, begin, moved, [])
            for _ in reading.frames():
                pass
    return 0.0 if reading is None else float(reading.end - start)


def tell(path: Path, notes: list[str] | None, note: str) -> None:
    """Add a note once: sound and picture find the same."""
    if notes is None:
        log.warning("%s: %s", path, note)
    elif note not in notes:
        notes.append(note)


def _seconds(time: Fraction) -> str:
    return f"{float(time):.2f} s"


class _Reading:
    """A container on its way through the decoder.

    It follows on at ``begin``, and ``moved`` seconds are added to its times.
    """

    def __init__(
        self,
        path: Path,
        container: InputContainer,
        stream: Any | None,
        part: Part,
        start: Fraction,
        begin: Fraction,
        moved: Fraction,
        notes: list[str] | None,
    ) -> None:
        self.path, self.container, self.stream, self.part, self.notes = path, container, stream, part, notes
        self.start, self.begin, self.moved = start, begin, moved
        self.num_lost, self.aspect = 0, Fraction(1)
        with guard(path, "its tracks cannot be read"):
            if stream is not None and stream.type == "video":
                self.aspect = Fraction(stream.sample_aspect_ratio or 1)
            self.tracks = [one for one in container.streams if one.type in _KINDS]
            self.stamps = {one.index: Stamps(one.time_base or Fraction(1), keep=False) for one in self.tracks}
        self.mended: Mended | None = None

    @property
    def own_end(self) -> Fraction | None:
        """End of the packets of all sound and pictures on the container's mended clock; None without any."""
        return max((one.end for one in self.stamps.values() if one.end is not None), default=None)

    @property
    def end(self) -> Fraction:
        return self.begin if self.own_end is None else self.own_end + self.moved

    @property
    def is_filled(self) -> bool:
        """True if the stream has packets, or nothing in the container has."""
        return self.stream is not None and (self.stamps[self.stream.index].count > 0 or self.own_end is None)

    def frames(self, until: Fraction | None = None) -> Iterator[Timed]:
        """Yield the stream's frames, up to one at ``until`` or later, and check that what was read is whole."""
        num_frames = num_corrupt = 0
        end = self.begin
        declared, of_file = declared_end(self.path, self.container, self.stream)
        for packet in self._packets():
            for frame in self._decoded(packet):
                with guard(self.path, "a frame has no readable time"):
                    time, duration = self._time(frame, end, declared)
                if abs(time - end) > LONGEST_GAP_S:
                    reason = f"{packet.stream.type} time jumps from {_seconds(end)} to {_seconds(time)}; remux it"
                    raise MediaError(self.path, reason)
                end = max(end, time + duration)
                num_frames += 1
                num_corrupt += bool(frame.is_corrupt)
                yield Timed(time, duration, frame, self.aspect)
                if until is not None and time >= until:
                    self._check_decoded(self.stream, num_frames, num_corrupt)
                    return
        if self.stream is not None:
            self._check_decoded(self.stream, num_frames, num_corrupt)
            self._check_whole(declared, self.own_end if of_file else end - self.moved, of_file)

    def _packets(self) -> Iterator[Any]:
        """Yield the packets of all streams with mended times."""
        packets, number = self.container.demux(self.tracks), 0
        while True:
            try:
                packet = next(packets, None)
            except Exception:  # the end is worked out only here: it takes longer than the packet
                with guard(self.path, f"cannot be read past {_seconds(self.end)}"):
                    raise
            if packet is None:
                return
            if packet.size:
                self._mend(packet, number)
                number += 1
            yield packet

    def _mend(self, packet: Any, number: int) -> None:
        """Change a packet's times, where the file's clock needs it."""
        index = packet.stream.index
        stamps = self.stamps[index]
        if self.mended is None and stamps.is_odd(packet):
            self.mended = self._look_ahead()
        if self.mended is not None:
            shift = self.mended.shift(index, stamps.count)
            packet.dts = None if shift is None or packet.dts is None else packet.dts + shift
            packet.pts = None if shift is None or packet.pts is None else packet.pts + shift
        stamps.add(number, packet)

    def _look_ahead(self) -> Mended:
        """Read the times of the whole file, and tell what is wrong with them."""
        with open_media(self.path, self.part) as container, guard(self.path, "its time stamps cannot be read"):
            streams = {index: Stamps(stamps.base) for index, stamps in self.stamps.items()}
            for number, packet in enumerate(container.demux([container.streams[index] for index in streams])):
                if packet.size:
                    streams[packet.stream.index].add(number, packet)
            is_mpeg = bool({"mpeg", "mpegts"} & set(container.format.name.split(",")))
            mended = mend(streams, declared_end(self.path, container)[0], is_mpeg)
        for time in mended.restarts:
            at = _seconds(time + self.moved - self.start)
            tell(self.path, self.notes, f"The recording's clock restarts at {at}; what follows is joined on.")
        for index, time in mended.alone:
            name, at = _NAMES[self.container.streams[index].type], _seconds(time + self.moved - self.start)
            tell(self.path, self.notes, f"The time stamps of the {name} jump at {at} and were not followed.")
        return mended

    def _decoded(self, packet: Any) -> list[Any]:
        if self.stream is None or packet.stream.index != self.stream.index:
            return []
        try:
            with guard(self.path, "a packet does not decode"):
                return packet.decode()
        except MediaError as error:
            self.num_lost += packet.size > 0
            log.debug("%s", error)
            return []

    def _time(self, frame: Any, end: Fraction, declared: Fraction | None) -> tuple[Fraction, Fraction]:
        """Return a frame's time and duration in seconds; without a timestamp it follows the last one's ``end``."""
        stream: Any = self.stream
        base = frame.time_base or stream.time_base
        time = end if frame.pts is None else frame.pts * base + self.moved
        if stream.type == "audio":
            return time, Fraction(frame.samples, frame.sample_rate)
        duration = frame.duration * base if frame.duration else 1 / Fraction(stream.average_rate or 25)
        return time, min(duration, max(UNPROVEN_GAP_S, (declared or 0) + self.moved - time))

    def _check_decoded(self, stream: Any, num_frames: int, num_corrupt: int) -> None:
        if not self.is_filled:
            return
        num_packets = self.stamps[stream.index].count
        lost = f"{self.num_lost} of {num_packets}"
        if num_frames == 0:
            raise MediaError(self.path, f"no {stream.type} frame decodes ({lost} packets are damaged)")
        if self.num_lost > MAX_LOST * num_packets:
            raise MediaError(self.path, f"{lost} {stream.type} packets do not decode: the file is damaged")
        if self.num_lost or num_corrupt:
            frames = f"{num_corrupt} of {num_frames} frames are flagged corrupt"
            note = f"{lost} {stream.type} packets do not decode, {frames}; FFmpeg concealed what it could"
            tell(self.path, self.notes, note)

    def _check_whole(self, declared: Fraction | None, end: Fraction | None, of_file: bool) -> None:
        if declared is not None and end is not None and declared - end > Fraction(1, 2) + declared / 100:
            what = "media" if of_file else self.stream.type if self.stream is not None else ""
            reason = f"{what} data end at {_seconds(end)}, the container says {_seconds(declared)}"
            raise MediaError(self.path, f"{reason}: the file is cut off; copy or download it again")
