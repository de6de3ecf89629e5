"""For tests: kill a process as nobody can prevent, and see its descendants go by themselves."""

import time
from contextlib import suppress
from pathlib import Path


def wait_until(true, process, limit_s=300):
    deadline = time.monotonic() + limit_s
    while not true():
        assert process.poll() is None, "the run has ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children_of(pid):
    """Return the ids of all descendants of a process."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError):  # threads come and go
            found += map(int, path.read_text().split())
    return [*found, *(one for child in found for one in children_of(child))]


def num_threads(pid):
    return len(list(Path(f"/proc/{pid}/task").glob("*")))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def kill(process):
    children = children_of(process.pid)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in children):
        assert time.monotonic() < deadline, "a child outlived its parent"
        time.sleep(0.01)
    return children
