"""Run the steps of a recipe once each; a killed run resumes to the same result.

A step is a set of parallel commands and their output files. ``RUN/steps.json`` records its inputs: arguments,
configuration values, SHA-256 of argument files. A finished step is skipped; changed inputs are refused by name.
A command with ``--trainer.default_root_dir`` is a training and resumes from a checkpoint (restartable_training.py).
"""

import contextlib
import fcntl
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeVar

import jsonargparse
import yaml
from tqdm import tqdm

from avspeech.files import file_sha256, write_json
from data_prep.restartable_training import forget, read_curve, restartable, training_folder, write_curve

Recipe = TypeVar("Recipe")
Commands = Mapping[str, Sequence[str]]

ROOT = Path(__file__).parents[1]
LEASH = Path(__file__).with_name("leash.py")
PATIENCE_S = 20
"""Seconds that a new run waits for the children of a killed one; they usually need milliseconds."""


class RecipeError(ValueError):
    """Unusable recipe; the message names the file and the key."""


class StepError(ValueError):
    """The inputs of a step have changed."""


@dataclass(frozen=True)
class Step:
    """Commands that run once."""

    name: str
    commands: Commands
    """Python arguments by log name, run in parallel. Options are written ``--key=value``."""
    makes: Sequence[Path]
    """Files of the finished step."""
    before: Commands = field(default_factory=dict)
    """Parallel commands that run first and do not change the result."""
    may_change: Sequence[str] = ()
    """Options that do not change the result."""
    temporary: Path | None = None
    """Folder to remove after the step."""


def read_recipe(kind: type[Recipe], path: Path) -> Recipe:
    """Read a dataclass from YAML. RecipeError if the file or a key is missing, unknown or of a wrong type."""
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind)
    values = _read_yaml(path)
    try:
        return kind(**vars(parser.instantiate_classes(parser.parse_object(values))))
    except (ValueError, TypeError, jsonargparse.ArgumentError) as error:
        raise RecipeError(f"{path}: {' '.join(str(error).split())}") from error


def run_steps(
    folder: Path, steps: Iterable[Step], threads: int | None = None, checkpoint_every: int = 500
) -> dict[str, dict[str, Any]]:
    """Run the steps in order; return ``wall_s``, ``cpu_s``, ``peak_gib`` of each. One run at a time locks ``folder``.

    A generator of ``steps`` advances after each finished one. ``threads`` sets ``OMP_NUM_THREADS`` (None: the libraries
    decide). ``checkpoint_every`` is in updates. StepError: the inputs of a recorded step have changed.
    """
    folder = folder.resolve()
    with claim(folder) as lock:
        return {step.name: _run_step(step, folder, lock, threads, checkpoint_every) for step in steps}


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the records of all started steps in a run's folder."""
    path = folder / "steps.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _run_step(step: Step, folder: Path, lock: TextIO, threads: int | None, checkpoint_every: int) -> dict[str, Any]:
    facts, records = made_from(step, folder), read_records(folder)
    there = records.get(step.name)
    places = list(filter(None, map(training_folder, step.commands.values())))
    if there is not None:
        done = there["done"] and all(path.exists() for path in step.makes)
        if done or any((place / name).exists() for place in places for name in ("checkpoints", "curve.csv")):
            _check_same(step, folder, there["made_from"], facts)
        if done:
            print(f"{step.name}: done before")
            return there
    print(step.name, flush=True)
    if there is None:  # checkpoints of an unknown recipe
        for place in places:
            forget(place)
    record: dict[str, Any] = {"made_from": facts, "done": False}
    write_json(folder / "steps.json", records | {step.name: record})
    start_s, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    for commands in filter(None, (step.before, step.commands)):
        _run_commands(step.name, commands, folder, lock, threads, checkpoint_every)
    if missing := [path for path in step.makes if not path.exists()]:
        sys.exit(f"step '{step.name}' ended without {missing[0]}; see {folder / 'logs'}")
    if step.temporary is not None and step.temporary.exists():
        shutil.rmtree(step.temporary)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime
    record |= {"done": True, "wall_s": round(time.monotonic() - start_s, 1), "cpu_s": round(cpu_s, 1)}
    record["peak_gib"] = round(now.ru_maxrss / 2**20, 2)
    write_json(folder / "steps.json", records | {step.name: record})
    return record


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings flat, by dotted names; lists, empty mappings and ``noises`` stay values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value and key.rpartition(".")[2] != "noises":
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def settings_of(command: Sequence[str]) -> dict[str, Any]:
    """Return a command's settings by dotted names; later ``--config`` files and arguments win.

    Raises RecipeError if a configuration file is missing or no YAML.
    """
    settings: dict[str, Any] = {}
    for place, argument in enumerate(command):
        key, _, value = argument.partition("=")
        if key == "--config":
            settings |= flatten(_read_yaml(Path(value)))
        elif key.startswith("--"):
            settings |= flatten({key[2:]: yaml.safe_load(value)})
        else:
            settings[f"argument {place}"] = argument
    return settings


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path} holds no mapping of keys to values")
    return values


def made_from(step: Step, folder: Path) -> dict[str, Any]:
    """Return the inputs of a step: settings by command and name, SHA-256 of files."""

    def fact(value: Any) -> Any:
        # unlike Path.is_file, this takes a text that is too long for a name
        if isinstance(value, str) and os.path.isfile(value) and Path(value) not in step.makes:  # noqa: PTH113
            return f"{Path(value).name}, SHA-256 {file_sha256(value)[:16]}"
        return value.replace(str(folder), "RUN") if isinstance(value, str) else value

    return {
        name: {key: fact(value) for key, value in settings_of(command).items() if key not in step.may_change}
        for name, command in step.commands.items()
    }


def _check_same(step: Step, folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    def short(value: Any) -> str:
        text = json.dumps(value)
        return text if len(text) < 80 else text[:40] + '..."'

    changed = []
    for name in sorted(before | now):
        old, new = before.get(name, {}), now.get(name, {})
        for key in sorted(key for key in old | new if old.get(key) != new.get(key)):
            changed.append(f"{name}: {key} was {short(old.get(key))}, is now {short(new.get(key))}")
    if changed:
        made = ", ".join(map(str, step.makes))
        raise StepError(
            f"step '{step.name}' in {folder} was made from something else ({'; '.join(changed)}). Take the "
            f"change back, give another --run, or remove what the step made to make it again: {made}"
        )


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[TextIO]:
    """Lock a run's folder; wait briefly for the children of a killed run."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    sys.exit(f"another run works in {folder}; wait for its end, or give another --run")
                time.sleep(0.05)
        yield lock


def _run_commands(
    step: str, commands: Commands, folder: Path, lock: TextIO, threads: int | None, checkpoint_every: int
) -> None:
    """Run commands in parallel; show the progress of trainings, or a single command's own output."""
    (folder / "logs").mkdir(exist_ok=True)
    running: dict[str, subprocess.Popen] = {}
    bars: dict[str, tuple[tqdm, Path]] = {}
    with contextlib.ExitStack() as stack:
        for name, command in commands.items():
            place = training_folder(command)
            if place and (place / "curve.csv").exists():
                continue  # this training has ended, another of the step has not
            if place:
                settings = settings_of(command)
                look = {"desc": f"  {name}", "position": len(bars), "unit": "update", "mininterval": 1}
                bars[name] = stack.enter_context(tqdm(total=settings.get("trainer.max_steps"), **look)), place
                command = restartable(command, settings, checkpoint_every)
            quiet = place or len(commands) > 1
            log = stack.enter_context((folder / f"logs/{name}.log").open("a")) if quiet else None
            running[name] = stack.enter_context(start(command, log, lock, threads))
        while running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                next(iter(running.values())).wait(timeout=0.5)
            for bar, place in bars.values():
                bar.update(max(read_curve(place), default=0) - bar.n)
            for name in [name for name, process in running.items() if process.poll() is not None]:
                if status := running.pop(name).returncode:
                    path = folder / f"logs/{name}.log"
                    tail = [*path.read_text(errors="replace").splitlines()[-15:], "", ""] if path.exists() else []
                    see = path if path.exists() else "above"
                    sys.exit("\n".join(tail) + f"step '{step}' failed: {name} ended with status {status}; see {see}")
                if name in bars:
                    write_curve(bars[name][1])


@contextlib.contextmanager
def start(
    command: Sequence[str], log: TextIO | None, lock: TextIO, threads: int | None = None
) -> Iterator[subprocess.Popen]:
    """Start Python with arguments in a process that dies with this one; kill it if the block ends early.

    ``log`` receives its output (None: the terminal). It inherits ``lock``, so that a new run waits for orphans.
    """
    if log is not None:
        print("$ python", *command, file=log, flush=True)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": path}
    environment |= {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    streams = {"stdin": subprocess.PIPE, "stdout": log, "stderr": log, "pass_fds": [lock.fileno()]}
    arguments = [sys.executable, "-S", str(LEASH), sys.executable, *command]
    process = subprocess.Popen(arguments, env=environment, start_new_session=True, **streams)
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()
