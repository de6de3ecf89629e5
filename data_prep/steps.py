"""Steps that are done once: each leaves a mark of what it was made from, and one run at a time holds a folder."""

import contextlib
import fcntl
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from avspeech.files import file_sha256, write_json
from data_prep.iterations import flatten

PATIENCE_S = 20
"""How long a new run waits for the children of a killed one to be gone; milliseconds are the rule."""


class StepError(ValueError):
    """A step was made from something else."""


@dataclass(frozen=True)
class Step:
    """Something to do once."""

    name: str
    mark: Path
    """File that says what the step was made from, beside what it made."""
    made_from: dict[str, Any]
    """JSON-ready, everything that decides the outcome, files by their checksums."""
    makes: tuple[Path, ...]
    act: Callable[[], None]
    partial: Path | None = None
    """Folder whose files mean that the step has begun and will go on from there."""


def run_step(step: Step) -> None:
    """Do a step, unless it is done.

    Raises:
        StepError: it was done, or begun, from something else.
    """
    there = json.loads(step.mark.read_text(encoding="utf-8")) if step.mark.exists() else None
    done = there is not None and there["done"] and all(path.exists() for path in step.makes)
    begun = step.partial is not None and step.partial.is_dir() and any(step.partial.iterdir())
    if there is not None and (done or begun):
        _check_same(step, there["made_from"])
    if done:
        print(f"{step.name}: done before")
        return
    print(f"{step.name}: ", end="", flush=True)
    mark = {"made_from": step.made_from, "hash": _hash(step.made_from), "done": False}
    write_json(step.mark, mark)
    start = time.monotonic()
    step.act()
    spent = {"wall_s": round(time.monotonic() - start, 1)}
    write_json(
        step.mark, mark | {"done": True, **spent, "makes": {path.name: file_sha256(path) for path in step.makes}}
    )


def _hash(made_from: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def _check_same(step: Step, before: dict[str, Any]) -> None:
    old, new = flatten(before), flatten(step.made_from)
    changed = [
        f"{key} was {_short(old.get(key))}, is now {_short(new.get(key))}"
        for key in sorted(old | new)
        if old.get(key) != new.get(key)
    ]
    if changed:
        raise StepError(
            f"{step.name} in {step.mark.parent} was made from something else: {'; '.join(changed)}. "
            "Take the change back, give another --run, or remove that folder to make it again"
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:16] + '..."'


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[TextIO]:
    """Hold a run's folder; wait a little for the children of a killed run to be gone."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    sys.exit(f"another run works in {folder}; wait for its end, or give another --run")
                time.sleep(0.05)
        yield lock
