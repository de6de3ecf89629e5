"""Open a media file, find its time origin, decode one stream: shared by video.py and audio.py.

Time 0 is the earlier of the first video and audio timestamps: sample ``640 * n`` belongs to frame ``n``. On broken
files PyAV raises UnicodeDecodeError and others too, so every call into it, and no other code, runs under ``guard``.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple

import av
import av.error
import av.logging
from av.container import InputContainer
from av.stream import Disposition

from avspeech.media.errors import MediaError, NoAudio, NoVideo

log = logging.getLogger(__name__)

MAX_LOST = 0.2  # largest share of undecodable packets; more is an error
MAX_JUMP_S = 60  # longest step between two timestamps in seconds; more is an error
DURATION_IS_A_GUESS = set("aac ac3 amr dts eac3 h264 hevc latm m4v mp3 mpeg mpegts mpegvideo".split())  # noqa: SIM905
"""Formats whose duration FFmpeg only estimates, so it does not show that a file is cut off."""


@contextmanager
def guard(path: Path, doing: str) -> Iterator[None]:
    """Turn any exception into ``MediaError``; only for calls into PyAV."""
    try:
        yield
    except MediaError:
        raise
    except av.error.FFmpegError as error:
        raise MediaError(path, f"{doing}: {error.strerror or error}") from error
    except Exception as error:
        raise MediaError(path, f"{doing}: {type(error).__name__}: {error}") from error


@contextmanager
def open_media(path: str | Path) -> Iterator[InputContainer]:
    """Open a file for reading. MediaError: it is missing, empty or no media."""
    try:
        size = (path := Path(path)).stat().st_size
    except (OSError, ValueError) as error:
        raise MediaError(path, f"cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if not path.is_file():
        raise MediaError(path, "is no file")
    if size == 0:
        raise MediaError(path, "is empty (0 bytes); copy or download it again")
    _check_riff(path, size)
    with guard(path, "is not a media file that FFmpeg can open"):
        options = {"protocol_whitelist": "file"}  # a playlist named .mp4 must not reach the network
        container = av.open(f"file:{path}", metadata_errors="replace", container_options=options)
    try:
        yield container
    finally:
        container.close()


def _check_riff(path: Path, size: int) -> None:
    """Compare an avi or wav header's size with the file's: FFmpeg accepts a cut file. Pipes store 0 or the maximum."""
    with guard(path, "cannot be read"), path.open("rb") as file:
        header = file.read(8)
    if header[:4] != b"RIFF":
        return
    declared = int.from_bytes(header[4:], "little") + 8
    if declared < 0xFFFFFFFF and declared - size > declared / 100:
        reason = f"has {size} bytes, its header says {declared}: the file is cut off; copy or download it again"
        raise MediaError(path, reason)


def find_stream(container: InputContainer, kind: Literal["video", "audio"], track: int | None = None) -> Any | None:
    """Return the stream to read, or None: the best, or by number from 1. A cover picture does not count."""

    def usable(stream: Any) -> bool:
        return stream.codec_context is not None and not int(stream.disposition) & int(Disposition.attached_pic)

    streams = [stream for stream in container.streams if stream.type == kind]
    if track is not None:
        return next(filter(usable, streams[track - 1 : track] if track > 0 else []), None)
    best = container.streams.best(kind)
    return next(filter(usable, [*([] if best is None else [best]), *streams]), None)


def require_stream(
    path: Path, container: InputContainer, kind: Literal["video", "audio"], track: int | None = None
) -> Any:
    """Return the stream to read, by number from 1 if given. NoVideo, NoAudio: none. MediaError: no such number."""
    with guard(path, f"its {kind} track cannot be read"):
        stream = find_stream(container, kind, track)
        sounds = _sound_tracks(container) if stream is None and kind == "audio" else ()
    if stream is None and track is not None and sounds:
        listing = "; ".join(str(one) for one in sounds)
        raise MediaError(path, f"sound track {track} was asked for and cannot be read; choose one of: {listing}")
    if stream is None:
        missing = NoVideo if kind == "video" else NoAudio
        raise missing(path, f"has no {kind} track; give a file that has one")
    return stream


def origin(path: Path, container: InputContainer) -> Fraction:
    """Return the container's start in seconds, on the clock of its timestamps."""
    with guard(path, "its start time cannot be read"):
        streams = filter(None, (find_stream(container, "video"), find_stream(container, "audio")))
        return min((s.start_time * s.time_base for s in streams if s.start_time is not None), default=Fraction(0))


class Timed(NamedTuple):
    """A decoded frame and its time in seconds on the container's clock."""

    time: Fraction
    duration: Fraction
    frame: Any


def decode(
    path: Path, container: InputContainer, stream: Any, start: Fraction, notes: list[str] | None = None
) -> Iterator[Timed]:
    """Yield the frames of one stream in presentation order, skipping packets that do not decode.

    ``start`` is the container's ``origin``; ``notes`` receives a note on concealed damage, None logs it. MediaError:
    reading fails, too little decodes, timestamps jump beyond ``MAX_JUMP_S``, or the file is cut off.
    """
    num_packets = num_lost = num_corrupt = num_frames = 0
    end = file_end = start
    declared, of_file = _declared_end(container, stream)
    tracks = [s for s in container.streams if s.type in ("video", "audio")] if of_file else [stream]
    packets = container.demux(tracks)
    while True:
        with guard(path, f"cannot be read past {_seconds(end)}"):
            packet = next(packets, None)
        if packet is None:
            break
        if packet.pts is not None and packet.time_base is not None:
            file_end = max(file_end, (packet.pts + (packet.duration or 0)) * packet.time_base)
        if packet.stream.index != stream.index:
            continue
        num_packets += packet.size > 0
        try:
            with guard(path, "a packet does not decode"):
                frames: Any = packet.decode()
        except MediaError as error:
            num_lost += packet.size > 0
            log.debug("%s", error)
            continue
        for frame in frames:
            with guard(path, "a frame has no readable time"):
                time, duration = _time(frame, stream, end)
            if abs(time - end) > MAX_JUMP_S:
                raise MediaError(path, f"{stream.type} time jumps from {_seconds(end)} to {_seconds(time)}; remux it")
            end = max(end, time + duration)
            num_frames += 1
            num_corrupt += bool(frame.is_corrupt)
            yield Timed(time, duration, frame)
    if num_frames == 0:
        raise MediaError(path, f"no {stream.type} frame decodes ({num_lost} of {num_packets} packets are damaged)")
    if num_lost > MAX_LOST * num_packets:
        raise MediaError(path, f"{num_lost} of {num_packets} {stream.type} packets do not decode: the file is damaged")
    if num_lost or num_corrupt:
        note = (
            f"{num_lost} of {num_packets} {stream.type} packets do not decode, {num_corrupt} of {num_frames} "
            "frames are flagged corrupt; FFmpeg concealed what it could"
        )
        if notes is None:
            log.warning("%s: %s", path, note)
        else:
            notes.append(note)
    end, what = (file_end, "media") if of_file else (end, stream.type)
    if declared is not None and declared - end > Fraction(1, 2) + declared / 100:
        raise MediaError(
            path,
            f"{what} data end at {_seconds(end)}, the container says {_seconds(declared)}: "
            "the file is cut off; copy or download it again",
        )


def _time(frame: Any, stream: Any, end: Fraction) -> tuple[Fraction, Fraction]:
    """Return a frame's time and duration (at most ``MAX_JUMP_S``) in s; without a timestamp it follows the last."""
    base = frame.time_base or stream.time_base
    if stream.type == "audio":
        duration = Fraction(frame.samples, frame.sample_rate)
    else:
        duration = frame.duration * base if frame.duration else 1 / Fraction(stream.average_rate or 25)
    time = end if frame.pts is None else frame.pts * base
    return time, min(duration, Fraction(MAX_JUMP_S))


def _declared_end(container: InputContainer, stream: Any) -> tuple[Fraction | None, bool]:
    """Return the end by the track's header (False), or else by the file's (True); None where it is not reliable."""
    if DURATION_IS_A_GUESS & set(container.format.name.split(",")):
        return None, False
    if stream.duration is not None and stream.time_base is not None:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base, False
    if container.duration is None:
        return None, False
    return Fraction((container.start_time or 0) + container.duration, av.time_base), True


def _seconds(time: Fraction) -> str:
    return f"{float(time):.2f} s"


@dataclass(frozen=True)
class SoundTrack:
    """A sound track by its header."""

    number: int
    """From 1, in the file's order; ``read_audio`` takes it."""
    codec: str
    channels: int
    """0 where the codec cannot be decoded."""
    language: str | None
    title: str | None
    is_default: bool
    """True for the track that is read when no number is given."""

    def __str__(self) -> str:
        sound = f"{self.channels} channel{'' if self.channels == 1 else 's'}" if self.channels else "cannot be decoded"
        about = [self.language, self.codec, sound, "default" if self.is_default else None]
        title = f' "{self.title}"' if self.title else ""
        return f"{self.number}{title} ({', '.join(filter(None, about))})"


def _sound_tracks(container: InputContainer) -> tuple[SoundTrack, ...]:
    default, tracks = find_stream(container, "audio"), []
    for number, stream in enumerate((one for one in container.streams if one.type == "audio"), start=1):
        codec: Any = stream.codec_context
        language = stream.metadata.get("language")
        tracks.append(
            SoundTrack(
                number,
                codec_name(container, stream),
                0 if codec is None else codec.channels,
                None if language == "und" else language,
                stream.metadata.get("title"),
                default is not None and stream.index == default.index,
            )
        )
    return tuple(tracks)


def codec_name(container: Any, stream: Any) -> str:
    """Return the name of a stream's codec, or its four letters where FFmpeg does not know them."""
    if stream.codec_context is not None:
        return stream.codec_context.codec.canonical_name
    before = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)  # PyAV tells the name of a codec without decoder nowhere else
    try:
        listing = container.dumps_format()
    finally:
        av.logging.set_level(before)
    found = re.search(rf"Stream #0:{stream.index}\b.*?: (?:Video|Audio): (\w+)(?: \(([^ )]+) /)?", listing)
    name, letters = found.groups() if found else ("none", None)
    return (letters or "unknown") if name == "none" else name


@dataclass(frozen=True)
class Tracks:
    """The tracks of a file by its headers."""

    has_video: bool
    """A cover picture does not count."""
    has_audio: bool
    duration_s: float | None
    """Duration that the container states, or None."""
    promised_s: float | None = None
    """``duration_s``, or None where it is an estimate from the bit rate."""
    sounds: tuple[SoundTrack, ...] = ()
    """All sound tracks, also those that cannot be decoded."""


def find_tracks(path: str | Path) -> Tracks:
    """Return the tracks of a file; nothing is decoded, so a damaged track counts. MediaError: no media file."""
    path = Path(path)
    with open_media(path) as container, guard(path, "its headers cannot be read"):
        has_video, has_audio = (find_stream(container, kind) is not None for kind in ("video", "audio"))
        duration_s = None if container.duration is None else container.duration / av.time_base
        estimated = (DURATION_IS_A_GUESS - {"mpeg", "mpegts"}) & set(container.format.name.split(","))
        return Tracks(has_video, has_audio, duration_s, None if estimated else duration_s, _sound_tracks(container))
