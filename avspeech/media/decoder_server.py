"""The server of ``confined``: it forks a child for every file.

It imports the decoders and nothing else, and reads no media. A fork of it takes milliseconds, a new interpreter a third
of a second, and a fork of a process with torch and mediapipe in it and their threads may hang.
"""

import gc
import os
import pkgutil
import selectors
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module

import av

from avspeech.media.decoder_process import REFUSED, STARTED, decode_one

_NUMPY = [f"numpy.{name}" for name in ("ma", "fft", "linalg", "polynomial", "random")]
_MODULES = ("avspeech.media.audio", "avspeech.media.video", "encodings.idna", *_NUMPY)  # numpy loads its parts late


def serve(control_fd: int) -> None:
    """Fork a child for every four descriptors that arrive, until the other side of the socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other side's to handle
    signal.signal(signal.SIGCHLD, lambda *_: None)
    control, (woken, wake) = socket.socket(fileno=control_fd), os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for module in (*_MODULES, *_modules_of_av()):
        import_module(module)
    gc.freeze()  # so that children do not copy these pages
    waiting: dict[int, socket.socket] = {}  # by child, who wants to know of its end
    with selectors.DefaultSelector() as selector:
        for source in (control, woken):
            selector.register(source, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is control:
                    byte, descriptors, _, _ = socket.recv_fds(control, 1, 4)
                    if not byte:
                        for pid in waiting:
                            os.kill(pid, signal.SIGKILL)
                        return
                    try:
                        pid, status = _start(descriptors)
                    except OSError:
                        _refuse(descriptors)
                        continue
                    waiting[pid] = status
                    with suppress(OSError):
                        status.sendall(STARTED)
                    selector.register(status, selectors.EVENT_READ, pid)
                elif key.fileobj is woken:
                    os.read(woken, 4096)
                    for pid, code in _ended():
                        with waiting.pop(pid) as status, suppress(OSError):
                            with suppress(KeyError):
                                selector.unregister(status)
                            status.sendall(code.to_bytes(4, "little"))
                elif key.data in waiting:  # the other side closed it: nobody wants this file any more
                    selector.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)


def _refuse(descriptors: list[int]) -> None:
    """Say that no process can be started, and close what came."""
    if len(descriptors) == 4:
        with suppress(OSError):
            os.write(descriptors[3], REFUSED)
    for descriptor in descriptors:
        os.close(descriptor)


def _modules_of_av() -> list[str]:
    """Return what PyAV imports when it meets a kind of stream: a child can import nothing."""
    names = [module.name for module in pkgutil.walk_packages(av.__path__, "av.")]
    return [name for name in names if name not in ("av.__main__", "av.datasets")]


def _start(descriptors: list[int]) -> tuple[int, socket.socket]:
    """Fork a child with all descriptors but the last, on which its end is told."""
    if len(descriptors) < 4:  # there was no room for all of them
        raise OSError("too few descriptors")
    server = os.getpid()
    if (pid := os.fork()) == 0:
        try:
            decode_one(server, *descriptors[:3])
        finally:
            os._exit(0)
    for descriptor in descriptors[:3]:
        os.close(descriptor)
    return pid, socket.socket(fileno=descriptors[3])


def _ended() -> Iterator[tuple[int, int]]:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            yield ended
