"""The side of ``confined`` that asks: one file handed to a confined process, and what comes back, watched.

Nothing that comes back is trusted. Frames and sound are copied out of the shared ring before they are looked at.
"""

import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from avspeech.media.container import check_file
from avspeech.media.decoder_process import (
    COLOUR_TAGS,
    COPIED,
    HEADER_BYTES,
    REFUSED,
    REQUEST,
    RING_BYTES,
    STARTED,
    packed,
    receive_message,
)
from avspeech.media.errors import MediaError, NoAudio, NoVideo
from avspeech.media.formats import PIXEL_FORMATS
from avspeech.media.sandbox import Limits, cpu_limit, lacking
from avspeech.media.video import Orientation, Picture

log = logging.getLogger(__name__)

START_S = 120.0
"""Longest start of the server, which imports the decoders."""
END_S = 5.0
"""Longest wait for the cause of a death."""
TICK_S = 0.5
WAITS = 10
"""Longest time that is waited for one child in all, in times of the processor time that it may take."""
SPARE = 4  # frames whose memory is kept for the next ones
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # A child's memory is new to it, and its first touches cost as much as its decoding: in large pages far less.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.top_pad=8388608",
}
_ERRORS = {one.__name__: one for one in (MediaError, NoAudio, NoVideo)}


class Job:
    """One file in one confined process, from its opening to the end of either. MediaError: it cannot be opened."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.notes: list[str] = []
        self.path, self._limits = path, limits
        self._came, self._copied, self._waited_s = memoryview(b""), 0, 0.0
        self._spare: list[av.VideoFrame] = []
        check_file(path)
        with ExitStack() as stack:
            try:
                media = stack.enter_context(path.open("rb", buffering=0))
            except OSError as error:
                raise MediaError(path, f"cannot be opened: {error.strerror}") from error
            self._file = os.fstat(media.fileno())
            self._ring = _new_ring()
            stack.callback(os.close, self._ring)
            self._socket, theirs = socket.socketpair()
            stack.enter_context(self._socket)
            with theirs:
                self._status = stack.enter_context(_start_child(path, [theirs.fileno(), media.fileno(), self._ring]))
            media.close()
            self._stack = stack.pop_all()

    def close(self) -> None:
        """End the child: the server sees that nobody listens, and kills it."""
        self._stack.close()

    def __del__(self) -> None:
        with suppress(AttributeError):  # it was never open
            self.close()

    def may_read(self, path: Path, limits: Limits) -> bool:
        """Return whether this child has that file, unchanged."""
        with suppress(OSError, ValueError):
            same = (self.path, self._limits) == (path, limits) and os.path.samestat(path.stat(), self._file)
            return same and path.stat().st_mtime_ns == self._file.st_mtime_ns
        return False

    def answers(self, kind: str, function: str, options: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Yield what a function (``module:name``) gives there. MediaError: it tells of one, dies, or is stopped."""
        request = {"kind": kind, "function": function, "path": str(self.path), "options": options or {}}
        with suppress(OSError):  # a child that is dead already says so below
            self._socket.settimeout(None)
            self._socket.sendall(REQUEST + packed(request | {"limits": asdict(self._limits)}))
        while True:
            message = self._next()
            with self.understanding():
                if "notes" in message:
                    self.notes = [str(note) for note in message["notes"]]
                    if "error" in message:
                        raise _ERRORS[message["error"]](self.path, str(message["reason"]))
                    return
            yield message

    def _next(self) -> dict[str, Any]:
        with self.understanding():
            message = receive_message(self._receive)
        if message is None:
            raise MediaError(self.path, self._cause_of_death())
        return message

    def _receive(self, size: int) -> bytes:
        """Return up to so many bytes of the messages, none after their end."""
        if not self._came:
            with suppress(OSError):  # a child that is dead already says so below
                self._socket.sendall(COPIED * self._copied)
            self._copied = 0
            self._came = memoryview(self._wait())
        part, self._came = self._came[:size], self._came[size:]
        return bytes(part)

    def _wait(self) -> bytes:
        """Return what comes. MediaError: for too long nothing comes, and nothing more of the file is read."""
        patience_s = self._limits.stall_s
        read, moved_s = os.pread(self._ring, 8, 0), time.monotonic()
        self._socket.settimeout(min(TICK_S, patience_s))
        while True:
            asked_s, longest_s = time.monotonic(), WAITS * cpu_limit(self._limits, self._file.st_size)
            if self._waited_s > longest_s:
                raise MediaError(self.path, f"the decoder took more than {longest_s} s and was ended")
            try:
                return self._socket.recv(2**16)
            except ConnectionResetError:  # it died with something of ours unread
                return b""
            except TimeoutError:
                now_s = time.monotonic()
                if (now := os.pread(self._ring, 8, 0)) != read:
                    read, moved_s = now, now_s
                if now_s - moved_s >= patience_s:
                    reason = f"the decoder took more than {patience_s:g} s without a frame and was ended"
                    raise MediaError(self.path, reason) from None
            finally:
                self._waited_s += time.monotonic() - asked_s

    def _cause_of_death(self) -> str:
        self._status.settimeout(END_S)
        try:
            told = self._status.recv(4)
        except OSError:
            told = b""
        if len(told) < 4:
            return "the process that starts decoders ended; try again"
        status = int.from_bytes(told, "little")
        if not os.WIFSIGNALED(status):
            return f"the decoder ended without a word (exit status {os.waitstatus_to_exitcode(status)})"
        number = os.WTERMSIG(status)
        if number == signal.SIGXCPU:
            cpu_s = cpu_limit(self._limits, self._file.st_size)
            return f"the decoder took more than {cpu_s} s of processor time and was ended (SIGXCPU)"
        if number == signal.SIGSYS:
            return (
                "the decoder was ended for a system call that no decoder needs: a socket, a process, a signal (SIGSYS)"
            )
        if number == signal.SIGKILL:
            return "the decoder was killed (SIGKILL, often: out of memory)"
        return f"the decoder crashed ({signal.Signals(number).name})"

    @contextmanager
    def understanding(self) -> Iterator[None]:
        """MediaError where what the decoder sent makes no sense."""
        try:
            yield
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            reason = f"the decoder sent what makes no sense ({type(error).__name__}: {error})"
            raise MediaError(self.path, reason) from error

    def copy(self, at: int, buffers: Sequence[memoryview]) -> None:
        """Fill the buffers from this place of the ring, which may then be used again."""
        size = sum(one.nbytes for one in buffers)
        if not HEADER_BYTES <= at <= RING_BYTES - size or os.preadv(self._ring, buffers, at) != size:
            raise MediaError(self.path, f"the decoder gave {size:,} bytes at once, wanted at most {RING_BYTES:,}")
        self._copied += 1

    def picture(self, message: dict[str, Any]) -> Picture:
        """Return the picture of a message, of a frame of this process's own."""
        width, height, kind = message["frame"]
        stretched, same = message["size"]
        pixels = self._limits.pixels
        if kind not in PIXEL_FORMATS or not (0 < width * height <= pixels and 0 < stretched * same <= 4 * pixels):
            raise ValueError(f"a picture of {width}x{height} for {stretched}x{same}, {kind}")
        frame = self._spare.pop() if self._spare else None
        if frame is None or (frame.width, frame.height, frame.format.name) != (width, height, kind):
            frame = av.VideoFrame(width, height, kind)
        self.copy(message["at"], [memoryview(plane) for plane in frame.planes])
        for tag, value in zip(COLOUR_TAGS, message["colours"], strict=True):
            setattr(frame, tag, int(value))
        orientation = Orientation(*map(bool, message["orientation"]))
        times = [Fraction(int(over), int(under)) for over, under in message["times"]]
        if len([float(time) for time in times]) != 3:
            raise ValueError(f"{len(times)} times of a picture")
        return Picture(self.path, _Frame(frame, self._spare), (stretched, same), orientation, times)


class _Frame:
    """A frame whose memory is used again when nobody looks at it."""

    def __init__(self, frame: av.VideoFrame, spare: list[av.VideoFrame]) -> None:
        self._frame, self._spare = frame, spare

    def __getattr__(self, name: str) -> Any:
        return getattr(self._frame, name)

    def __del__(self) -> None:
        if sys.getrefcount(self._frame) == 2 and len(self._spare) < SPARE:  # no plane and no array holds it
            self._spare.append(self._frame)


def _new_ring() -> int:
    """Return a descriptor of shared memory without a name, which the other side cannot make shorter."""
    if sys.platform == "linux":
        ring = os.memfd_create("frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(ring, RING_BYTES)
        fcntl.fcntl(ring, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return ring
    with tempfile.TemporaryFile() as file:
        os.ftruncate(file.fileno(), RING_BYTES)
        return os.dup(file.fileno())


_starting = threading.Lock()
_server: tuple[socket.socket, subprocess.Popen[bytes]] | None = None


def _start_child(path: Path, descriptors: list[int]) -> socket.socket:
    """Have the server start a child with these descriptors; return the socket on which its end is told.

    The server is started on first use, or if it has ended.
    """
    global _server
    for _ in range(2):
        with _starting:
            server = _server = _server or _start_server()
        ours, theirs = socket.socketpair()
        with suppress(OSError), theirs:
            ours.settimeout(START_S)
            socket.send_fds(server[0], [STARTED], [*descriptors, theirs.fileno()])
            theirs.close()
            if (answer := ours.recv(1)) == STARTED:
                return ours
            if answer == REFUSED:
                ours.close()
                raise MediaError(path, "this system starts no more processes; decode fewer files at once")
        ours.close()
        with _starting:
            server[0].close()
            server[1].kill()
            server[1].wait()
            _server = None if _server is server else _server
    raise RuntimeError("the process that starts decoders ends at once; see its message above")


def _start_server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start an interpreter that has only the decoders; it ends when our end of its socket is closed."""
    if missing := lacking():
        log.warning("decoders are confined as far as this system can: it has no %s", " and no ".join(missing))
    ours, theirs = socket.socketpair()
    with theirs:
        code = (
            f"import sys; sys.path[:] = {sys.path!r}\n"
            f"from avspeech.media.decoder_server import serve; serve({theirs.fileno()})"
        )
        environment = os.environ | _ENVIRONMENT
        command = [sys.executable, "-c", code]
        return ours, subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)


def _forget_server() -> None:
    """Let a forked process start a server of its own: it must not keep this one alive."""
    global _server, _starting
    if _server is not None:
        _server[0].close()
        _server[1].returncode = 0  # it is not this process's child
    _server, _starting = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_server)
