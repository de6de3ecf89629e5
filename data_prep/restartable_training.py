"""Run ``avspeech.train fit`` so that it may be killed at any moment and ends as if it had never been.

Lightning saves a checkpoint before it reports the figures of that update, and a kill in between would lose them.
Therefore a training goes on from the last checkpoint after which something was reported: then everything up to it was.
"""

import contextlib
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

ROOT = Path(__file__).parents[1]
LEASH = Path(__file__).with_name("leash.py")
CURVE = "curve.jsonl"


def run_training(
    folder: Path, arguments: Sequence[str], settings: dict[str, Any], checkpoint_every: int, lock: TextIO
) -> None:
    """Train, or go on training; leaves model.safetensors, curve.csv, config.yaml, checkpoints and log.txt.

    Args:
        folder: of this training, absolute; it may hold what a killed one has left.
        arguments: of ``fit``, without folders, checkpoints and loggers.
        settings: what these come to by dotted names; for the callbacks and the length of the run.
        checkpoint_every: in updates.
        lock: the training shares its lock, so that a new run waits until an orphan is gone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _cut_half_line(folder / CURVE)
    checkpoint = last_sure_checkpoint(folder)
    if checkpoint is None:
        (folder / CURVE).unlink(missing_ok=True)  # nothing else tells whether it is of this recipe
    logger = {"class_path": "data_prep.curve_file.CurveFile", "init_args": {"save_dir": str(folder)}}
    command = [
        *[sys.executable, "-m", "avspeech.train", "fit", *arguments],
        f"--trainer.default_root_dir={folder}",
        f"--trainer.logger={json.dumps(logger)}",
        f"--trainer.callbacks={json.dumps(callbacks(folder, settings, checkpoint_every))}",
        *["--trainer.enable_checkpointing=true", "--trainer.enable_progress_bar=false"],
        *([] if checkpoint is None else [f"--ckpt_path={checkpoint}"]),
    ]
    print("from the beginning" if checkpoint is None else f"from {checkpoint.name}")
    with (folder / "log.txt").open("a") as log, on_leash(command, log, lock) as process:
        _show_progress(process, folder, settings.get("trainer.max_steps"))
    if process.returncode:
        tail = (folder / "log.txt").read_text(errors="replace").splitlines()[-15:]
        sys.exit("\n".join(tail) + f"\n\ntraining ended with status {process.returncode}; see {folder / 'log.txt'}")
    write_curve(folder)


@contextlib.contextmanager
def on_leash(command: Sequence[str], log: TextIO, lock: TextIO) -> Iterator[subprocess.Popen]:
    """Start a command that dies with this process, and kill it when the block ends early.

    Args:
        command: what to run; paths in it are relative to the folder of this process.
        log: takes what it prints.
        lock: open file that it inherits.
    """
    print("$", *command, file=log, flush=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        [sys.executable, "-S", str(LEASH), *command],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        pass_fds=[lock.fileno()],
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


def callbacks(folder: Path, settings: dict[str, Any], checkpoint_every: int) -> list[dict[str, Any]]:
    """Return a training's callbacks: those of its configurations, with our checkpoints instead of theirs.

    The last two are kept, because the last may not be sure yet (see above).
    """
    theirs = [one for one in settings.get("trainer.callbacks") or [] if "ModelCheckpoint" not in str(one)]
    ours = {
        "dirpath": str(folder / "checkpoints"),
        "filename": "{step}",
        "every_n_train_steps": checkpoint_every,
        **{"monitor": "step", "mode": "max", "save_top_k": 2},
        "save_last": False,
        "enable_version_counter": False,  # one that was saved before is replaced by the same
    }
    return [*theirs, {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": ours}]


def last_sure_checkpoint(folder: Path) -> Path | None:
    """Return the last checkpoint with a report of a later update; None where there is none."""
    reported = max(read_curve(folder), default=0)
    there = {int(path.stem.removeprefix("step=")): path for path in (folder / "checkpoints").glob("step=*.ckpt")}
    sure = [update for update in there if update < reported]
    return there[max(sure)] if sure else None


def read_curve(folder: Path) -> dict[int, dict[str, float]]:
    """Return what was reported at each update, over all starts; later reports replace earlier ones."""
    curve: dict[int, dict[str, float]] = {}
    if (folder / CURVE).exists():
        for line in (folder / CURVE).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # the last line of a running training may be half there
                values = json.loads(line)
                curve.setdefault(values.pop("update"), {}).update(values)
    return dict(sorted(curve.items()))


def write_curve(folder: Path) -> None:
    """Write curve.csv: one line for each update that something was reported at."""
    curve = read_curve(folder)
    names = sorted({name for values in curve.values() for name in values})
    unfinished = folder / "curve.csv.part"
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["update", *names])
        writer.writeheader()
        writer.writerows({"update": update, **values} for update, values in curve.items())
    unfinished.rename(folder / "curve.csv")


def _cut_half_line(path: Path) -> None:
    if path.exists():
        data = path.read_bytes()
        os.truncate(path, data.rfind(b"\n") + 1)


def _show_progress(process: subprocess.Popen, folder: Path, updates: Any) -> None:
    with tqdm(total=updates if isinstance(updates, int) else None, unit="update", mininterval=1) as progress:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
            progress.update(max(read_curve(folder), default=0) - progress.n)
            if process.returncode is not None:
                return
