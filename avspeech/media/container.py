"""Open a media file and find its tracks.

On broken files PyAV raises UnicodeDecodeError and others too, so every call into it, and no other code, runs under
``guard``.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import av
import av.error
import av.logging
from av.container import InputContainer
from av.stream import Disposition

from avspeech.media.errors import MediaError, NoAudio, NoVideo
from avspeech.media.parts import MAX_PARTS, Part, Window, find_parts
from avspeech.media.stated import check_size, pipe_sizes, stated_seconds

DURATION_IS_A_GUESS = set("aac ac3 amr dts eac3 h264 hevc latm m4v mp3 mpeg mpegts mpegvideo".split())  # noqa: SIM905
"""Formats whose duration FFmpeg only estimates, so it does not show that a file is cut off."""


FILE_LENGTH_ONLY = {"matroska", "webm", "flv"}
"""Formats that state no length of a track; FFmpeg gives the file's in its place."""
OTHERS = "--safe_decoding false opens others"
LACKS = ("There is no sound:", "There is no picture:")
Kind = Literal["video", "audio"]
_KINDS: tuple[Kind, ...] = get_args(Kind)


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


class Handed(NamedTuple):
    """An open file and what of FFmpeg may read it, in a process that may open no file itself (``decoder_process``)."""

    file: Any
    """With ``read``, ``seek``, ``tell`` and ``name``."""
    options: dict[str, str]
    codecs: frozenset[str]
    """Canonical names."""


handed: dict[Path, Handed] = {}
"""Read in place of the files of these paths."""


@contextmanager
def open_media(path: str | Path, part: Part | None = None) -> Iterator[InputContainer]:
    """Open a file, or one of its ``file_parts``, for reading. MediaError: it is missing, empty or no media."""
    given, parts = handed.get(path := Path(path)), file_parts(path)
    part = part or parts[0]
    kinds = "FFmpeg can open" if given is None else f"safe decoding can open (common formats; {OTHERS})"
    with _opened(path) as file, ExitStack() as stack:
        with guard(path, "cannot be read"):
            check_size(path, file, part)
            sizes = pipe_sizes(file, part)
        with guard(path, f"is not a media file that {kinds}"):
            source: Any = f"file:{path}"
            if len(parts) > 1 or sizes:
                source = Window(file, part, sizes)
            elif given is not None:
                source = given.file
                source.seek(0)
            options = {"protocol_whitelist": "file"}  # a playlist named .mp4 must not reach the network
            options |= {} if given is None else given.options
            container: Any = av.open(source, "r", metadata_errors="replace", container_options=options)
        stack.callback(container.close)
        yield container


def check_file(path: Path) -> None:
    """MediaError: it is missing, empty, or no file."""
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise MediaError(path, f"cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if not path.is_file():
        raise MediaError(path, "is no file")
    if size == 0:
        raise MediaError(path, "is empty (0 bytes); copy or download it again")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Give the bytes of a file; what was ``handed`` stays open, where it was: FFmpeg may be reading it."""
    if (given := handed.get(path)) is not None:
        place = given.file.tell()
        yield given.file
        given.file.seek(place)
        return
    with guard(path, "cannot be read"):
        file = path.open("rb")
    with file:
        yield file


def file_parts(path: Path) -> tuple[Part, ...]:
    """Return the files that were joined end to end to make this one, as bytes of it; nearly always one."""
    if path not in handed:
        check_file(path)
    with guard(path, "cannot be read"):
        if (given := handed.get(path)) is not None:
            parts = _parts_of(given.file)
        else:
            state = path.stat()
            parts = _parts(path, state.st_mtime_ns, state.st_size)
    if len(parts) > MAX_PARTS:
        raise MediaError(path, f"holds more than {MAX_PARTS} recordings that were joined; split it")
    return parts


@lru_cache(maxsize=16)
def _parts(path: Path, changed: int, size: int) -> tuple[Part, ...]:
    with path.open("rb") as file:
        return find_parts(file)


@lru_cache(maxsize=1)
def _parts_of(file: Any) -> tuple[Part, ...]:
    return find_parts(file)


def find_stream(container: InputContainer, kind: Kind, track: int | None = None) -> Any | None:
    """Return the stream to read, or None: the best, or by number from 1. A cover picture does not count."""

    def usable(stream: Any) -> bool:
        return stream.codec_context is not None and not int(stream.disposition) & int(Disposition.attached_pic)

    streams = [stream for stream in container.streams if stream.type == kind]
    if track is not None:
        return next(filter(usable, streams[track - 1 : track] if track > 0 else []), None)
    best = container.streams.best(kind)
    return next(filter(usable, [*([] if best is None else [best]), *streams]), None)


def require_stream(path: Path, container: InputContainer, kind: Kind, track: int | None = None) -> Any | None:
    """Return the stream to read, by number from 1 if given; None if only a recording that is joined to it has it.

    NoVideo, NoAudio: none. MediaError: no such number.
    """
    with guard(path, f"its {kind} track cannot be read"):
        stream = find_stream(container, kind, track)
        sounds = _sound_tracks(container) if stream is None and kind == "audio" else ()
        undecodable = None if stream is not None else _undecodable(container, kind)
    if stream is None and any(_has(path, part, kind, track) for part in file_parts(path)[1:]):
        return None
    if stream is None and track is not None and sounds:
        listing = "; ".join(str(one) for one in sounds)
        raise MediaError(path, f"sound track {track} was asked for and cannot be read; choose one of: {listing}")
    if undecodable is not None:
        raise no_track(kind)(path, f"its {kind} track cannot be decoded: {undecodable}; convert it")
    if stream is None:
        raise no_track(kind)(path, f"has no {kind} track; give a file that has one")
    check_codec(path, stream)
    return stream


def _has(path: Path, part: Part, kind: Kind, track: int | None) -> bool:
    with suppress(MediaError), open_media(path, part) as container, guard(path, "its tracks cannot be read"):
        return find_stream(container, kind, track) is not None
    return False


def check_codec(path: Path, stream: Any) -> None:
    """MediaError: the file was ``handed``, and its codec is none of those that may read it."""
    if (given := handed.get(path)) is None:
        return
    if (codec := stream.codec_context.codec.canonical_name) not in given.codecs:
        kind = stream.type
        reason = f"its {kind} track is {codec}, which safe decoding does not open; convert it ({OTHERS})"
        raise MediaError(path, reason)


def no_track(kind: str) -> type[MediaError]:
    """Return the error that says that a kind of track is missing."""
    return NoVideo if kind == "video" else NoAudio


def _undecodable(container: InputContainer, kind: str) -> str | None:
    """Return the name of the codec of a track that FFmpeg cannot decode, or None."""
    unknown = (one for one in container.streams if one.type == kind and one.codec_context is None)
    return next((codec_name(container, one) for one in unknown), None)


def declared_end(path: Path, container: InputContainer, stream: Any | None = None) -> tuple[Fraction | None, bool]:
    """Return the end by the track's header (False), or else by the file's (True); None where it is not reliable."""
    names = set(container.format.name.split(","))
    if {"mp3", "aac"} & names:
        with _opened(path) as file, guard(path, "cannot be read"):
            seconds = stated_seconds(file)
        return None if seconds is None else Fraction(seconds), False
    if DURATION_IS_A_GUESS & names:
        return None, False
    stream = None if FILE_LENGTH_ONLY & names else stream
    if stream is not None and stream.duration is not None and stream.time_base is not None:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base, False
    if container.duration is None:
        return None, False
    return Fraction((container.start_time or 0) + container.duration, av.time_base), True


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
    """Duration that the container states, or None; of joined recordings the sum."""
    promised_s: float | None = None
    """``duration_s``, or None where it is an estimate from the bit rate."""
    sounds: tuple[SoundTrack, ...] = ()
    """All sound tracks, also those that cannot be decoded."""
    undecodable: tuple[tuple[str, str], ...] = ()
    """Kinds ("video", "audio") that are missing only because FFmpeg cannot decode them, and the name of the codec."""

    @property
    def lacks(self) -> tuple[str, str]:
        """How to say that there is no sound, and no picture: ``LACKS``, or that FFmpeg does not know the codec."""
        codecs = dict(self.undecodable)
        sound, picture = (codecs.get(kind) for kind in ("audio", "video"))
        return (
            LACKS[0] if sound is None else f"The sound cannot be decoded: {sound};",
            LACKS[1] if picture is None else f"The picture cannot be decoded: {picture};",
        )


def find_tracks(path: str | Path) -> Tracks:
    """Return the tracks of a file; nothing is decoded, so a damaged track counts. MediaError: no media file.

    Of recordings that were joined, the tracks of any.
    """
    path = Path(path)
    first, *others = file_parts(path)
    tracks = [_tracks_of(path, first)]
    for part in others:
        with suppress(MediaError):  # the decoder leaves it out too
            tracks.append(_tracks_of(path, part))
    sounds = {one.number: one for every in reversed(tracks) for one in every.sounds}
    found = {"video": any(one.has_video for one in tracks), "audio": any(one.has_audio for one in tracks)}
    names = {kind: name for every in reversed(tracks) for kind, name in every.undecodable if not found[kind]}
    return Tracks(
        found["video"],
        found["audio"],
        _sum(one.duration_s for one in tracks),
        _sum(one.promised_s for one in tracks),
        tuple(sounds[number] for number in sorted(sounds)),
        tuple(names.items()),
    )


def _sum(seconds: Iterable[float | None]) -> float | None:
    known = list(seconds)
    return None if None in known else sum(filter(None, known))


def _tracks_of(path: Path, part: Part) -> Tracks:
    with open_media(path, part) as container, guard(path, "its headers cannot be read"):
        found: dict[Kind, Any] = {kind: one for kind in _KINDS if (one := find_stream(container, kind)) is not None}
        names = {kind: _undecodable(container, kind) for kind in _KINDS if kind not in found}
        duration_s = None if container.duration is None else container.duration / av.time_base
        estimated = (DURATION_IS_A_GUESS - {"mpeg", "mpegts"}) & set(container.format.name.split(","))
        sounds = _sound_tracks(container)
        filled = _filled(container, found)
    return Tracks(
        "video" in filled,
        "audio" in filled,
        duration_s,
        None if estimated else duration_s,
        sounds,
        tuple((kind, name) for kind, name in names.items() if name is not None),
    )


def _filled(container: InputContainer, found: dict[Kind, Any]) -> set[str]:
    """Return the kinds of track that have packets; a single one counts without a look."""
    filled: set[str] = set()
    if len(found) < 2:
        return set(found)
    with suppress(Exception):  # damage is for the decoder to tell
        for packet in container.demux([*found.values()]):
            filled |= {packet.stream.type} if packet.size else set()
            if len(filled) == len(found):
                break
    return filled or set(found)
