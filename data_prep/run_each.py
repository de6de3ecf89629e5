"""Run a function on every item in worker processes that may crash.

``multiprocessing.Pool`` hangs and ``ProcessPoolExecutor`` gives up when a worker is killed, and decoders crash on
broken files. Here each worker holds one item: a crash returns ``Crash`` for it and starts a new worker.
"""

import contextlib
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any, TypeVar

from avspeech.files import write_lines
from avspeech.workers import die_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")

_SPAWN = get_context("spawn")  # forking a process that has threads (mediapipe, torch) may hang
MAX_FALSE_STARTS = 3


@dataclass(frozen=True)
class Crash:
    """Result of an item whose worker died."""

    why: str


def run_each(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int = 2,
    setup: Callable[[], None] | None = None,
    timeout_s: float | None = None,
) -> Iterator[tuple[Item, Result | Crash]]:
    """Yield (item, result) as they are done, in any order.

    ``function`` and items must be picklable; ``setup`` runs once in each worker. 0 workers run everything in this
    process. ``timeout_s`` limits an item, without the worker's start. RuntimeError: ``function`` or ``setup`` raised,
    or ``MAX_FALSE_STARTS`` workers in a row died at the start.
    """
    if workers == 0:
        if setup is not None:
            setup()
        yield from ((item, function(item)) for item in items)
        return
    waiting, false_starts = iter(items), 0
    crew = [_Worker(function, setup, item) for item in islice(waiting, workers)]
    try:
        while crew:
            for worker in _ready(crew, timeout_s):
                if (answer := worker.take(timeout_s)) is None:
                    false_starts = 0
                    continue
                item, result = answer
                false_starts += not worker.ready
                if false_starts >= MAX_FALSE_STARTS:
                    what = f"{false_starts} workers in a row died while starting"
                    raise RuntimeError(f"{what}; the last on {item!r}: {result}")
                following = list(islice(waiting, 1))
                if following and worker.process.is_alive():
                    worker.give(*following)
                else:
                    worker.stop()
                    crew.remove(worker)
                    crew += [_Worker(function, setup, item) for item in following]
                yield item, result
    finally:
        for worker in crew:
            worker.kill()


def report_failures(listing: Path, failures: list[dict[str, Any]], total: int, max_failed: float) -> None:
    """Write the failures as JSON lines; exit with status 1 if there are too many."""
    write_lines(listing, failures)
    if len(failures) > max_failed * total:
        sys.exit(f"{len(failures)} of {total} failed, more than {max_failed:.0%}: see {listing}")


def _ready(crew: list["_Worker"], timeout_s: float | None) -> list["_Worker"]:
    """Return the workers that answered, died or timed out."""
    started = [worker.started_s for worker in crew if worker.ready]
    patience_s = None if timeout_s is None or not started else max(0, min(started) + timeout_s - time.monotonic())
    waited_for = [thing for worker in crew for thing in (worker.pipe, worker.process.sentinel)]
    woken = connection.wait(waited_for, patience_s)
    return [w for w in crew if w.pipe in woken or w.process.sentinel in woken or w.is_late(timeout_s)]


class _Worker:
    """A process, its pipe and its current item."""

    def __init__(self, function: Callable[[Any], Any], setup: Callable[[], None] | None, item: Any) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_work, args=(theirs, function, setup), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe breaks when the worker dies
        self.ready = False
        self.give(item)

    def give(self, item: Any) -> None:
        self.item, self.started_s = item, time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # dead already: take() reports it
            self.pipe.send((item,))

    def is_late(self, timeout_s: float | None) -> bool:
        return timeout_s is not None and self.ready and time.monotonic() - self.started_s >= timeout_s

    def take(self, timeout_s: float | None) -> tuple[Any, Any] | None:
        """Return (item, result); None if the worker has only just started."""
        try:
            if not self.pipe.poll():
                if self.is_late(timeout_s):
                    self.kill()
                    return self.item, Crash(f"took longer than {timeout_s:g} s")
                self.process.join()  # it was its end that woke us; an answer may still come before the pipe breaks
            kind, value = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return self.item, Crash(f"its worker died: {_cause(self.process.exitcode)}")
        if kind == "bug":
            raise RuntimeError(f"a worker failed on {self.item!r}:\n{value}")
        if kind == "ready":
            self.ready, self.started_s = True, time.monotonic()
            return None
        return self.item, value

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send(None)
        self.pipe.close()
        self.process.join(5)
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def _cause(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exit status {exit_code}"
    name = signal.Signals(-exit_code).name
    return f"{name} (often: out of memory)" if name == "SIGKILL" else name


def _work(pipe: Any, function: Callable[[Any], Any], setup: Callable[[], None] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    die_with_parent()
    try:
        if setup is not None:
            setup()
        pipe.send(("ready", None))
        while (message := pipe.recv()) is not None:
            pipe.send(("result", function(*message)))
    except EOFError:
        return
    except BaseException:
        pipe.send(("bug", traceback.format_exc()))
