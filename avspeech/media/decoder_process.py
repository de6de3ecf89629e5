"""What a confined child does: decode the file that it was given open, and send what comes of it.

It has a socket to the process that asked, the open file, and the ring through which frames and sound go back. It
answers in JSON: the other side must not unpickle what a captured decoder writes.
"""

import gc
import json
import mmap
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, is_dataclass
from functools import lru_cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from avspeech.media.container import Handed, handed
from avspeech.media.errors import MediaError
from avspeech.media.formats import CODECS, DECODERS, DEMUXERS, PIXEL_FORMATS, STILLS
from avspeech.media.sandbox import Limits, confine, die_with
from avspeech.media.sound import is_silence

HEADER_BYTES = 4096
"""Of the ring; its first 8 bytes count the bytes that were read, also if they were read before: a sign of life."""
RING_BYTES = HEADER_BYTES + 3 * 2**29
"""Room of three of the largest pictures; pages that nothing is written to take no memory."""
ROOM = 2**21
"""Bytes that are used again and again, or three pictures if these are larger."""
BATCH, BATCH_S = 8, 0.05
"""Messages that are sent at once, as every change between the processes costs; and the longest that one waits."""
UNSOUGHT = 2**24  # pixels that are sent between two searches for garbage
PIECE = 2**18  # samples of sound in a slot
COPIED, REFUSED, REQUEST, STARTED = b"c", b"n", b"r", b"s"
MAX_MESSAGE = 2**20  # bytes
MOST_REPEATS = 250  # of a picture in one message


def packed(message: dict[str, Any]) -> bytes:
    text = json.dumps(message).encode()
    return len(text).to_bytes(4, "little") + text


def receive_message(receive: Callable[[int], bytes]) -> dict[str, Any] | None:
    """Return a message, None at the end; ``receive`` returns up to that many bytes. ValueError: it is no message."""
    length = int.from_bytes(_exactly(receive, 4), "little")
    if length > MAX_MESSAGE:
        raise ValueError(f"a message of {length} bytes")
    message = json.loads(_exactly(receive, length) or "null")
    if message is not None and not isinstance(message, dict):
        raise ValueError(f"a message that is a {type(message).__name__}")
    return message


def _exactly(receive: Callable[[int], bytes], length: int) -> bytes:
    """Return so many bytes; none if the other side ended before."""
    text = b""
    while len(text) < length:
        if not (more := receive(length - len(text))):
            return b""
        text += more
    return text


def decode_one(server: int, job_fd: int, media_fd: int, ring_fd: int) -> None:
    """Confine this process, call the function that was asked for, and send what it gives."""
    die_with(server)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _close_all_but(job_fd, media_fd, ring_fd)
    job = socket.socket(fileno=job_fd)
    ring, is_confined = _Ring(job, mmap.mmap(ring_fd, RING_BYTES)), False
    while (request := ring.request()) is not None:  # more than one, but of the same file
        limits, notes = Limits(**request["limits"]), []
        try:
            module, name = request["function"].split(":")
            function, path = getattr(import_module(module), name), Path(request["path"])
            if not is_confined:
                _hand(path, media_fd, ring.memory, limits)
                confine(limits, os.fstat(media_fd).st_size)
                is_confined = True
            handed[path].file.seek(0)
            told = {} if request["kind"] == "value" else {"notes": notes}
            _SENDERS[request["kind"]](ring, function(path, **request["options"], **told), limits)
            end = {}
        except BaseException as error:
            end = _failure(error, limits)
        ring.send(end | {"notes": notes})
        ring.flush()


def _hand(path: Path, media_fd: int, memory: mmap.mmap, limits: Limits) -> None:
    options = {"format_whitelist": ",".join(DEMUXERS), "codec_whitelist": ",".join(DECODERS)}
    options |= {"max_streams": str(limits.streams)}
    name = path.with_suffix("") if path.suffix.lower() in STILLS else path
    handed[path] = Handed(_File(media_fd, str(name), memory), options, CODECS)


def _close_all_but(*kept: int) -> None:
    """Close everything else, standard input and output too: the server's sockets are not for a decoder."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    edges = [2, *sorted(kept), 2**16]
    for below, above in pairwise(edges):
        os.closerange(below + 1, above)


def _failure(error: BaseException, limits: Limits) -> dict[str, Any]:
    """Return the message that tells of an error, named as on the other side."""
    cause = error.__cause__ or error
    if isinstance(cause, MemoryError):
        reason = f"the decoder asked for more than {limits.memory_gib:g} GiB of memory"
    elif isinstance(error, MediaError):
        return {"error": type(error).__name__, "reason": error.reason}
    elif isinstance(error, PermissionError):
        reason = f"the decoder tried what a decoder may not do: {error}"
    else:
        reason = f"the decoder failed: {type(error).__name__}: {error}"
    return {"error": "MediaError", "reason": reason[: MAX_MESSAGE // 16]}


class _File:
    """The open file as PyAV reads it; its name is for FFmpeg, which looks at endings."""

    def __init__(self, descriptor: int, name: str, memory: mmap.mmap) -> None:
        self.name, self.descriptor = name, descriptor
        self._read = np.frombuffer(memory, np.int64, count=1)

    def read(self, size: int) -> bytes:
        data = os.read(self.descriptor, size)
        self._read += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self.descriptor, offset, whence)

    def tell(self) -> int:
        return os.lseek(self.descriptor, 0, os.SEEK_CUR)


class _Ring:
    """Shared memory, used in turn, and the messages that go with it.

    A byte from the other side says that the oldest part was copied out, and may be used again.
    """

    def __init__(self, job: socket.socket, memory: mmap.mmap) -> None:
        self.job, self.memory = job, memory
        self._next = HEADER_BYTES
        self._used: deque[tuple[int, int]] = deque()
        self._batch, self._sent_s = [], 0.0

    def room(self, size: int) -> tuple[int, np.ndarray]:
        """Return so many bytes and where they start; wait until they are free."""
        start = self._next
        if start + size > HEADER_BYTES + max(ROOM, 3 * size):
            start = HEADER_BYTES
        end = start + -(-size // 64) * 64
        while any(first < end and start < last for first, last in self._used):
            self.flush()
            if not (copied := self.job.recv(BATCH)):
                os._exit(0)  # the other side is gone
            self._forget(len(copied))
        self._used.append((start, end))
        self._next = end
        return start, np.frombuffer(self.memory, np.uint8, size, start)

    def _forget(self, count: int) -> None:
        for _ in range(count):
            self._used.popleft()

    def request(self) -> dict[str, Any] | None:
        """Return what is asked for next, None at the end."""
        while (byte := self.job.recv(1)) == COPIED:
            self._forget(1)
        return receive_message(self.job.recv) if byte == REQUEST else None

    def send(self, message: dict[str, Any]) -> None:
        self._batch.append(packed(message))
        if len(self._batch) >= BATCH or time.monotonic() - self._sent_s > BATCH_S:
            self.flush()

    def flush(self) -> None:
        if self._batch:
            self.job.sendall(b"".join(self._batch))
        self._batch, self._sent_s = [], time.monotonic()


def _send_pictures(ring: _Ring, pictures: Iterable[Any], limits: Limits) -> None:
    shown, again, unsought = None, 0, 0
    for count, picture in enumerate(pictures, start=1):
        if count > limits.frames:
            raise MediaError("", f"has more than {limits.frames:,} frames, the limit of the safe decoder")
        if picture is shown and again < MOST_REPEATS:
            again += 1
            continue
        if again:
            ring.send({"again": again})
        again = int(picture is shown)
        if picture is not shown:
            _send_picture(ring, picture, limits)
        shown = picture
        unsought += picture.size[0] * picture.size[1]
        if unsought > UNSOUGHT:
            gc.collect()  # PyAV's frames and their side data hold each other
            unsought = 0
    if again:
        ring.send({"again": again})


def _send_picture(ring: _Ring, picture: Any, limits: Limits) -> None:
    frame = picture._frame
    width, height = frame.width, frame.height
    if width * height > limits.pixels:
        raise MediaError("", f"has pictures of {width}x{height}, wanted at most {limits.pixels:,} pixels")
    facts = {
        "size": picture._size,
        "orientation": picture._orientation,
        "times": [(time.numerator, time.denominator) for time in picture._times],
        "colours": [int(getattr(frame, name)) for name in COLOUR_TAGS],
    }
    fits = frame.format.name in PIXEL_FORMATS and all(plane.line_size > 0 for plane in frame.planes)
    frame = frame if fits else frame.reformat(format="rgb24")
    planes = _layout(width, height, frame.format.name)
    sizes = [height * line for height, line in planes]
    at, memory = ring.room(sum(sizes))
    start = 0
    for plane, size, (rows, line) in zip(frame.planes, sizes, planes, strict=True):
        source = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        target, width_bytes = memory[start : start + size].reshape(rows, line), min(line, plane.line_size)
        target[:, :width_bytes] = source[:rows, :width_bytes]
        start += size
    ring.send({"frame": [width, height, frame.format.name], "at": at, **facts})


COLOUR_TAGS = ("color_range", "colorspace", "color_trc", "color_primaries")


@lru_cache(maxsize=4)
def _layout(width: int, height: int, kind: str) -> list[tuple[int, int]]:
    """Return rows and bytes a row of every plane of a new frame."""
    planes = av.VideoFrame(width, height, kind).planes
    return [(plane.buffer_size // plane.line_size, plane.line_size) for plane in planes]


def _send_sound(ring: _Ring, sound: np.ndarray | Iterable[np.ndarray | float | None], limits: Limits) -> None:
    """Send the pieces of ``audio.read_pieces``, or a whole array."""
    for long_S in [sound] if isinstance(sound, np.ndarray) else sound:
        if not isinstance(long_S, np.ndarray):
            ring.send({"anew": True} if long_S is None else {"divisor": long_S})
            continue
        if is_silence(long_S):
            ring.send({"silence": len(long_S)})
            continue
        for start in range(0, len(long_S), PIECE):
            piece_S = np.asarray(long_S[start : start + PIECE], np.float32)
            at, memory = ring.room(piece_S.nbytes)
            memory.view(np.float32)[:] = piece_S
            ring.send({"samples": len(piece_S), "at": at})


def _send_value(ring: _Ring, value: Any, limits: Limits) -> None:
    ring.send({"value": asdict(value) if is_dataclass(value) and not isinstance(value, type) else value})


_SENDERS = {"pictures": _send_pictures, "sound": _send_sound, "value": _send_value}
