"""Run ``avspeech.train fit`` so that a killed training resumes to the same result.

Lightning saves a checkpoint before it reports that update's metrics, and a kill in between would lose them.
So a training resumes from the last checkpoint followed by a report.
"""

import contextlib
import csv
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avspeech.files import read_text_lines, written_whole

CURVE = "curve.jsonl"


def training_folder(command: Sequence[str]) -> Path | None:
    """Return the folder of a training; None for another command."""
    option = "--trainer.default_root_dir="
    return next((Path(argument.removeprefix(option)) for argument in command if argument.startswith(option)), None)


def restartable(command: Sequence[str], settings: Mapping[str, Any], checkpoint_every: int) -> list[str]:
    """Return a training's command with its logger, checkpoints and the checkpoint to resume from.

    ``settings`` are the command's, by dotted names; other callbacks are kept. ``checkpoint_every`` is in updates.
    """
    folder = training_folder(command)
    assert folder is not None
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = last_sure_checkpoint(folder)
    if checkpoint is None:
        forget(folder)
    else:  # a killed training may have left half a line
        os.truncate(folder / CURVE, (folder / CURVE).read_bytes().rfind(b"\n") + 1)
    logger = {"class_path": "data_prep.curve_file.CurveFile", "init_args": {"save_dir": str(folder)}}
    ours = {
        "dirpath": str(folder / "checkpoints"),
        "filename": "{step}",
        "every_n_train_steps": checkpoint_every,
        **{"monitor": "step", "mode": "max", "save_top_k": 2, "save_last": False},  # 2: the last may lack a report
        "enable_version_counter": False,  # one that was saved before is replaced by the same
    }
    theirs = [one for one in settings.get("trainer.callbacks") or [] if "ModelCheckpoint" not in str(one)]
    callbacks = [*theirs, {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": ours}]
    return [
        *command,
        f"--trainer.logger={json.dumps(logger)}",
        f"--trainer.callbacks={json.dumps(callbacks)}",
        *["--trainer.enable_checkpointing=true", "--trainer.enable_progress_bar=false"],
        *([] if checkpoint is None else [f"--ckpt_path={checkpoint}"]),
    ]


def forget(folder: Path) -> None:
    for name in (CURVE, "curve.csv"):
        (folder / name).unlink(missing_ok=True)
    if (folder / "checkpoints").exists():
        shutil.rmtree(folder / "checkpoints")


def last_sure_checkpoint(folder: Path) -> Path | None:
    """Return the last checkpoint followed by a report of a later update, or None."""
    reported = max(read_curve(folder), default=0)
    there = {int(path.stem.removeprefix("step=")): path for path in (folder / "checkpoints").glob("step=*.ckpt")}
    sure = [update for update in there if update < reported]
    return there[max(sure)] if sure else None


def read_curve(folder: Path) -> dict[int, dict[str, float]]:
    """Return the metrics of each update over all starts; later reports win."""
    curve: dict[int, dict[str, float]] = {}
    for line in read_text_lines(folder / CURVE) if (folder / CURVE).exists() else ():
        with contextlib.suppress(json.JSONDecodeError):  # the last line of a running training may be half there
            values = json.loads(line)
            curve.setdefault(values.pop("update"), {}).update(values)
    return dict(sorted(curve.items()))


def write_curve(folder: Path) -> None:
    """Write curve.csv, one line per reported update; the file marks the end of a training."""
    curve = read_curve(folder)
    names = sorted({name for values in curve.values() for name in values})
    with written_whole(folder / "curve.csv") as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["update", *names])
        writer.writeheader()
        writer.writerows({"update": update, **values} for update, values in curve.items())
