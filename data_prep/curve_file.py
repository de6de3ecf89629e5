"""Append-only JSON lines of a training's curve; they survive a kill.

Lightning's CSVLogger rewrites its file for each new metric and empties it when a run resumes.
"""

import json
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from data_prep.restartable_training import CURVE


class CurveFile(Logger):
    """Append the metrics of a training to ``curve.jsonl`` in the existing folder ``save_dir``."""

    name = version = ""  # pyright: ignore[reportAssignmentType]

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self._folder = save_dir

    @property
    def save_dir(self) -> str:  # Lightning also writes the composed configuration there
        return self._folder

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a line; ``update`` counts from 1."""
        assert step is not None
        values = {key: float(value) for key, value in metrics.items() if key != "epoch"}
        with (Path(self._folder) / CURVE).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"update": step + 1, **values}) + "\n")

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Do nothing: config.yaml has them."""
