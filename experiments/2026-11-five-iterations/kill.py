"""Run a recipe of iterations twice, once in one go and once killed at random moments, and compare what came out.

    python experiments/2026-11-five-iterations/kill.py configs/iterations/toy.yaml runs/five \
        data/toy/train.jsonl data/toy/valid.jsonl --kills 3 --seed 0

Writes RUN/whole, RUN/killed and RUN/results.json: when the kills fell, and which files are equal to the byte.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from jsonargparse import auto_cli

ROOT = Path(__file__).parents[2]
COMPARED = ("units/codebook.safetensors", "units/train.km", "units/val.km", "training/curve.csv")
COMPARED += ("training/model.safetensors",)


def start(recipe: Path, run: Path, manifests: list[Path]) -> subprocess.Popen:
    """Start the command that a user types, with its output in a log."""
    run.mkdir(parents=True, exist_ok=True)
    options = [f"--{name}={path}" for name, path in zip(("train", "val"), manifests, strict=True)]
    command = [sys.executable, "data_prep/pretrain_iterations.py", str(recipe), f"--run={run}", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    log = (run.parent / f"{run.name}.log").open("a")
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


def fingerprints(run: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that is compared."""
    files = {f"{folder.name}/{name}": folder / name for folder in sorted(run.glob("iteration*")) for name in COMPARED}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def newest(run: Path) -> str:
    """Return the file of a run that was touched last: what it was busy with."""
    files = [path for path in run.rglob("*") if path.is_file()]
    return str(max(files, key=lambda path: path.stat().st_mtime).relative_to(run)) if files else "nothing yet"


def main(recipe: Path, run: Path, train: Path, val: Path, kills: int = 3, seed: int = 0) -> None:
    """Run, kill, compare.

    Args:
        recipe: YAML of the iterations.
        run: folder of everything that is made.
        train: manifest of the training clips.
        val: manifest of the validation clips.
        kills: how often the second run is killed.
        seed: of the moments.
    """
    run, manifests = run.resolve(), [train.resolve(), val.resolve()]
    begin = time.monotonic()
    if start(recipe, run / "whole", manifests).wait():
        sys.exit(f"the uninterrupted run failed; see {run / 'whole.log'}")
    whole_s = time.monotonic() - begin
    moments = random.Random(seed)
    kills_at = []
    for _ in range(kills):
        process = start(recipe, run / "killed", manifests)
        alive_s = moments.uniform(0.2, 1) * whole_s / (kills + 1)  # so that the run cannot end before its last kill
        time.sleep(alive_s)
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            sys.exit("the run ended before it could be killed; give another seed or fewer kills")
        kills_at.append({"after_s": round(alive_s, 1), "last_touched": newest(run / "killed")})
        print(kills_at[-1], flush=True)
    if start(recipe, run / "killed", manifests).wait():
        sys.exit(f"the last restart failed; see {run / 'killed.log'}")
    one, other = fingerprints(run / "whole"), fingerprints(run / "killed")
    different = [name for name in one if one[name] != other.get(name)]
    result = {"kills": kills_at, "whole_s": round(whole_s, 1), "compared": len(one), "different": different}
    (run / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    sys.exit(1 if different or one.keys() != other.keys() else 0)


if __name__ == "__main__":
    auto_cli(main)
