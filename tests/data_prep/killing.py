"""For tests: kill a process as nobody can prevent, and see its descendants go by themselves."""

import time
from pathlib import Path


def wait_until(true, process, limit_s=300):
    deadline = time.monotonic() + limit_s
    while not true():
        assert process.poll() is None, "the run has ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children_of(process):
    """Return the ids of all descendants of a process."""
    children = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found, waiting = [], [process.pid]
    while waiting:
        new = children.get(waiting.pop(), [])
        found += new
        waiting += new
    return found


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def kill(process):
    """Kill a run as nobody can prevent, and see its children go by themselves."""
    children = children_of(process)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in children):
        assert time.monotonic() < deadline, "a child outlived its parent"
        time.sleep(0.01)
    return children
