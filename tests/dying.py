"""For tests: run a command in a fork that dies, as by kill -9, at its n-th change of a folder or at a moment."""

import os
import random
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import cv2
import torch

from tests.data_prep.killing import is_running

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_WHOLE = (".mp4", ".safetensors", ".png", ".html", ".md", ".srt", ".txt", ".km")
"""Endings of files that are written once."""
_TIMES = re.compile(rb'"(fit|assign|train|wall_s)": [0-9.]+')
DIED = 99


def _forked() -> int:
    cv2.setNumThreads(1)  # a fork has no threads, and OpenCV and torch would wait for them
    torch.set_num_threads(1)
    return os.fork()


def live(command: Callable[[], object], folder: Path, deadly: int = 0, log: Path = Path(os.devnull)) -> tuple[int, int]:
    """Run ``command`` in a fork; return its exit status, ``DIED`` if killed, and its number of changes of ``folder``.

    It dies before its change number ``deadly``, from 1; 0: never. A death before one change is one after the last.
    """
    read_end, write_end = os.pipe()
    if (pid := _forked()) == 0:
        _die_at(deadly, str(folder), write_end)
        _run(command, log)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        count = len(pipe.read())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), count


def _run(command: Callable[[], object], log: Path) -> NoReturn:
    """Call the command in this forked process, which ends."""
    status = 1
    try:
        with log.open("a") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        command()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def _die_at(deadly: int, folder: str, write_end: int) -> None:
    count = 0

    def changes(event: str, arguments: tuple) -> bool:
        if event == "open":
            path, mode, flags = arguments
            writes = any(letter in mode for letter in "wax+") if mode else bool(flags & _WRITING)
            return writes and str(path).startswith(folder)
        return event in _CHANGES and any(str(one).startswith(folder) for one in arguments[:2])

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if changes(event, arguments):
            count += 1
            os.write(write_end, b".")
            if count == deadly:
                os._exit(DIED)

    sys.addaudithook(hook)


def survives_writes(command: Callable[[], object], folder: Path) -> None:
    """Let the command die before each of its changes of ``folder``, and start it again."""
    log = folder.with_suffix(".log")
    whole, writes = _undisturbed(command, folder, log)
    assert writes >= 4, "the command writes elsewhere"
    died = 0
    for deadly in range(1, writes + 1):
        _emptied(folder)
        status, _ = live(command, folder, deadly)
        assert status in (DIED, 0)  # 0: it changed less often than the first run, and ended
        died += status == DIED
        _ends_alike(command, folder, whole, log)
    assert died >= 0.9 * writes


def survives_moments(command: Callable[[], object], folder: Path, number: int = 20, seed: int = 0) -> None:
    """Kill the command at random moments, and start it again."""
    log, begin = folder.with_suffix(".log"), time.monotonic()
    whole, _ = _undisturbed(command, folder, log)
    lasts_s, moments, killed = time.monotonic() - begin, random.Random(seed), 0
    for _ in range(number):
        _emptied(folder)
        if (pid := _forked()) == 0:
            _run(command, log)
        time.sleep(moments.uniform(0, lasts_s))
        killed += is_running(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        _ends_alike(command, folder, whole, log)
    assert killed > number / 2


def _undisturbed(command: Callable[[], object], folder: Path, log: Path) -> tuple[dict[str, bytes], int]:
    _emptied(folder)
    status, writes = live(command, folder, log=log)
    assert status == 0, log.read_text()
    return contents(folder), writes


def _ends_alike(command: Callable[[], object], folder: Path, whole: dict[str, bytes], log: Path) -> None:
    for name, content in contents(folder).items():
        assert ".part" in name or not name.endswith(_WHOLE) or content == whole[name], f"{name} is half-written"
    assert live(command, folder, log=log)[0] == 0, log.read_text()
    assert contents(folder) == whole


def contents(folder: Path) -> dict[str, bytes]:
    """Return each file's bytes by its place in ``folder``, measured times left out."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".log"]
    return {str(path.relative_to(folder)): _TIMES.sub(b"", path.read_bytes()) for path in files}


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
