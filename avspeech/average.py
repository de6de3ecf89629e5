"""Average the weights of a training's last or best checkpoints into one model file.

    python -m avspeech.average RUN/model.safetensors RUN/checkpoints OUT.safetensors --last 5

Keep the checkpoints with ``save_top_k`` of ModelCheckpoint (-1: all).
"""

import sys
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli
from torch import Tensor

from avspeech.models.files import load_model, save_model


def mean_weights(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of floating-point tensors, taken in float64; others are those of the last state."""
    mean = dict(states[-1])
    for name, one in mean.items():
        if one.is_floating_point():
            mean[name] = (sum(state[name].double() for state in states) / len(states)).to(one.dtype)  # type: ignore[union-attr]
    return mean


def choose(folder: Path, last: int | None, best: int | None) -> list[Path]:
    """Return the ``last`` checkpoints of a folder by update, or the ``best`` by the metric that they were kept for."""
    found = []
    for path in sorted(folder.glob("*.ckpt")):
        checkpoint = _read(path)
        scores = [float(one["current_score"]) for one in checkpoint["callbacks"].values() if one.get("current_score")]
        found.append((checkpoint["global_step"], scores[0] if scores else None, path))
    found = list({step: (step, score, path) for step, score, path in found}.values())  # last.ckpt is one of them
    wanted = last or best
    if (last is None) == (best is None) or not wanted or wanted < 1:
        raise ValueError(f"last={last} and best={best} came, wanted one of them, at least 1")
    if best is not None and any(score is None for _, score, _ in found):
        raise ValueError(f"a checkpoint in {folder} has no score; set monitor of ModelCheckpoint, or give --last")
    if len(found) < wanted:
        raise ValueError(f"{folder} has checkpoints of {len(found)} updates, wanted {wanted}; set save_top_k")
    found.sort(key=lambda one: one[0] if best is None else -one[1])  # type: ignore[operator]
    return [path for _, _, path in found[-wanted:]]


def _read(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def main(model: Path, checkpoints: Path, out: Path, last: int | None = None, best: int | None = None) -> None:
    """Average checkpoints.

    Args:
        model: model file of the training, for the sizes.
        checkpoints: folder with Lightning's .ckpt files.
        out: model file to write.
        last: number of checkpoints, the latest.
        best: number of checkpoints, those with the lowest metric.
    """
    try:
        chosen = choose(checkpoints, last, best)
        averaged = load_model(model)
        states = [_read(path)["state_dict"] for path in chosen]
        averaged.load_state_dict({name.removeprefix("model."): one for name, one in mean_weights(states).items()})
        save_model(out, averaged)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(f"the mean of {', '.join(path.name for path in chosen)} is {out}")


if __name__ == "__main__":
    auto_cli(main)
