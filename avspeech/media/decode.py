"""Decode one stream of a file on the clock of all its streams: shared by video.py and audio.py.

Time 0 is the earlier of the first video and audio timestamps: sample ``640 * n`` belongs to frame ``n``. Files joined
end to end and clocks that restart follow on from each other, sound and picture together; ``clock.py`` has the rules.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from av.container import InputContainer

from avspeech.media.clock import LONGEST_GAP_S, UNPROVEN_GAP_S, Mended, Stamps, mend
from avspeech.media.container import check_codec, declared_end, file_parts, find_stream, guard, no_track, open_media
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


def origin(path: Path, container: InputContainer) -> Fraction:
    """Return the container's start in seconds, on the clock of its timestamps."""
    with guard(path, "its start time cannot be read"):
        streams = filter(None, (find_stream(container, kind) for kind in _KINDS))
        return min((s.start_time * s.time_base for s in streams if s.start_time is not None), default=Fraction(0))


def decode(
    path: Path,
    container: InputContainer,
    stream: Any,
    start: Fraction,
    notes: list[str] | None = None,
    until: Fraction | None = None,
) -> Iterator[Timed]:
    """Yield the frames of one stream in presentation order, skipping packets that do not decode.

    ``start`` is the container's ``origin``; ``notes`` receives notes on clocks that restart and on concealed damage,
    None logs them. ``until``: the first frame from this time on is the last, and whether the file is whole is not
    checked. MediaError: reading fails, too little decodes, or the file is cut off. NoAudio, NoVideo: the stream has no
    packet, and another one has.
    """
    first, *others = file_parts(path)
    reading = _Reading(path, container, stream, first, start, Fraction(0), notes)
    yield from reading.frames(until)
    kind, number, threads = stream.type, _number(container, stream), stream.codec_context.thread_count
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
                own = find_stream(further, kind, number)
                if own is not None:
                    check_codec(path, own)
                    own.codec_context.thread_count = threads
            reading = _Reading(path, further, own, part, start, end - origin(path, further), notes)
            yield from reading.frames(until)


def measure_duration(path: str | Path) -> float:
    """Return the seconds from first to last packet, all recordings of a file together.

    Headers are not trusted: browser recordings state no length. Nothing is decoded. MediaError: it is no media file.
    """
    path, start, end = Path(path), None, None
    for part in file_parts(path):
        with open_media(path, part) as container:
            own = origin(path, container)
            start = own if start is None else start
            reading = _Reading(path, container, None, part, start, (own if end is None else end) - own, [])
            for _ in reading.frames():
                pass
            end = reading.end
    return 0.0 if start is None or end is None else float(end - start)


def _number(container: InputContainer, stream: Any) -> int | None:
    """Return the number of a sound or picture track from 1; None for the default."""
    default = find_stream(container, stream.type)
    if default is not None and default.index == stream.index:
        return None
    return [one.index for one in container.streams if one.type == stream.type].index(stream.index) + 1


def tell(path: Path, notes: list[str] | None, note: str) -> None:
    """Add a note once: sound and picture find the same."""
    if notes is None:
        log.warning("%s: %s", path, note)
    elif note not in notes:
        notes.append(note)


def _seconds(time: Fraction) -> str:
    return f"{float(time):.2f} s"


class _Reading:
    """A container on its way through the decoder; ``moved`` seconds are added to its times."""

    def __init__(
        self,
        path: Path,
        container: InputContainer,
        stream: Any | None,
        part: Part,
        start: Fraction,
        moved: Fraction,
        notes: list[str] | None,
    ) -> None:
        self.path, self.container, self.stream, self.part, self.notes = path, container, stream, part, notes
        self.start, self.moved = start, moved
        self.num_lost = 0
        with guard(path, "its tracks cannot be read"):
            self.tracks = [one for one in container.streams if one.type in _KINDS]
            self.stamps = {one.index: Stamps(one.time_base or Fraction(1), keep=False) for one in self.tracks}
        self.mended: Mended | None = None

    @property
    def own_end(self) -> Fraction | None:
        """End of the packets of all sound and pictures on the container's mended clock; None without any."""
        return max((one.end for one in self.stamps.values() if one.end is not None), default=None)

    @property
    def end(self) -> Fraction:
        return self.start if self.own_end is None else self.own_end + self.moved

    def frames(self, until: Fraction | None = None) -> Iterator[Timed]:
        """Yield the stream's frames, up to one at ``until`` or later, and check that what was read is whole."""
        num_frames = num_corrupt = 0
        end = self.start
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
                yield Timed(time, duration, frame)
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
        num_packets = self.stamps[stream.index].count
        if num_packets == 0 and self.own_end is not None:
            if self.moved:
                return
            raise no_track(stream.type)(self.path, f"its {stream.type} track is empty; give a file that has one")
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
