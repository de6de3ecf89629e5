"""Decoders that misbehave, to be called in place of the house's own in a confined process."""

import contextlib
import ctypes
import gc
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np

from avspeech.media import video
from avspeech.media.container import handed


def crash(path, notes):
    yield next(video.read_pictures(path, notes))
    ctypes.string_at(0)


def abort(path, notes):
    os.abort()
    yield


def hang(path, notes):
    yield next(video.read_pictures(path, notes))
    time.sleep(3600)


def lively(path, notes):
    while True:
        time.sleep(0.1)
        handed[path].file._read += 1
    yield


def burn(path, notes):
    while True:
        pass
    yield


def ask_for_10_gib(path, notes):
    yield np.ones(10 * 2**30, np.uint8)


def ask_for_10_gib_of_the_c_library(path, notes):
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    raise RuntimeError(f"malloc gave {libc.malloc(ctypes.c_size_t(10 * 2**30))}")
    yield


def write_a_file(path, notes):
    Path(f"{path}.written").write_text("here")
    yield


def write_to_what_is_open(path, notes):
    os.pwrite(handed[path].file.descriptor, b"here", 0)
    yield


def read_another_file(path, notes):
    Path("/etc/hostname").read_text()
    yield


def read_the_same_file_by_name(path, notes):
    path.read_bytes()
    yield


def open_a_socket(path, notes):
    socket.create_connection(("127.0.0.1", 9))
    yield


def fork(path, notes):
    os.fork()
    yield


def start_a_program(path, notes):
    subprocess.run(["/bin/true"], check=True)
    yield


def kill_the_parent(path, notes):
    os.kill(os.getppid(), signal.SIGKILL)
    yield


def run_its_own_code(path, notes):
    import mmap

    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    yield


def leave(path, notes):
    os._exit(3)
    yield


def fail(path, notes):
    raise ZeroDivisionError("a slip")
    yield


def endless(path, notes):
    picture = next(video.read_pictures(path, notes))
    while True:
        yield picture


def nonsense(path, notes):
    _answer(b'{"frame": ["wide", -1, []], "at": 1e99}')


def huge_message(path, notes):
    _answer(b"", length=2**31)


def not_at_all(path, notes):
    _answer(b"\xff\xfe")


def nest(path, notes):
    _answer(b"[" * 900_000)


def _answer(text: bytes, length: int | None = None) -> None:
    """Write to the other side as a captured decoder may, and end."""
    sockets = [one for one in gc.get_objects() if isinstance(one, socket.socket) and one.fileno() >= 0]
    for one in sockets:
        with contextlib.suppress(OSError):
            one.sendall((len(text) if length is None else length).to_bytes(4, "little") + text)
    os._exit(0)
