"""Run an experiment from corpus to report: the demo, or any other recipe of the same kind.

    python experiments/demo/run.py
    python experiments/demo/run.py --recipe experiments/2026-11-grid-s1/recipe.yaml --run runs/grid --data GRID_ROOT

Reads   a recipe (experiments/demo/recipe.py says what it means) and, where the recipe names it, the user's corpus.
Writes  RUN/report.html, RUN/results.json, RUN/times.json and one log for each command.
Stop it and start it again: finished steps are skipped, a training goes on from its last checkpoint.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from jsonargparse import auto_cli
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs without the package's editable install

from experiments.demo.recipe import ROOT, Recipe, Step, plan
from experiments.demo.report import read_metrics, summary, write_demo_report


def run_step(step: Step, run: Path) -> None:
    """Run the commands of a step side by side; show the trainings' progress, or let a lone command show its own.

    A training writes its model file with every checkpoint, so only ``times.json`` says that it is done.
    """
    # One thread each: a model this small trains no faster on two, and the recognisers run side by side.
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    quiet = step.training_steps is not None or len(step.commands) > 1
    running = {}
    for name, command in step.commands.items():
        if step.training_steps is not None and (run / name / "checkpoints/last.ckpt").exists():
            command = [*command, f"--ckpt_path={run / name / 'checkpoints/last.ckpt'}"]
            keep_curve(run / name)
        log = (run / "logs" / f"{name}.log").open("a") if quiet else None
        running[name] = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        _wait(step, running, run)
    except BaseException:
        for process in running.values():
            process.terminate()
        raise


def _wait(step: Step, running: dict[str, subprocess.Popen], run: Path) -> None:
    bars = {}
    if step.training_steps is not None:
        bars = {
            name: tqdm(total=step.training_steps, desc=f"  {name}", position=place, unit="update")
            for place, name in enumerate(running)
        }
    while True:
        states = {name: process.poll() for name, process in running.items()}
        for name, bar in bars.items():
            bar.n = step.training_steps if states[name] == 0 else last_step(run / name)
            bar.refresh()
        if failed := [name for name, state in states.items() if state]:
            for bar in bars.values():
                bar.close()
            log = run / "logs" / f"{failed[0]}.log"
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""
            sys.exit(f"{tail}\n\nstep '{step.name}' failed: {failed[0]} ended with {states[failed[0]]}; see {log}")
        if all(state == 0 for state in states.values()):
            break
        time.sleep(1.0)
    for bar in bars.values():
        bar.close()


def keep_curve(training: Path) -> None:
    """Put the curve of a stopped training aside; Lightning's logger starts a new file and deletes the old one."""
    if (training / "metrics.csv").exists():
        number = len(list(training.glob("metrics.*.csv")))
        (training / "metrics.csv").rename(training / f"metrics.{number}.csv")


def last_step(training: Path) -> int:
    """Return the last update that a training has logged."""
    return max((step for step, _ in read_metrics(training)), default=0)


def main(
    recipe: Path = Path(__file__).parent / "recipe.yaml", run: Path = Path("runs/demo"), data: Path | None = None
) -> None:
    """Run an experiment.

    Args:
        recipe: YAML of the experiment.
        run: folder of everything it makes.
        data: the user's corpus, for recipes that read one.
    """
    settings = Recipe.read(recipe)
    run = run.resolve()
    steps = plan(settings, run, None if data is None else data.resolve())
    (run / "logs").mkdir(parents=True, exist_ok=True)
    claim(run, recipe)
    times_file = run / "times.json"
    times: dict[str, dict[str, float]] = json.loads(times_file.read_text()) if times_file.exists() else {}
    for number, step in enumerate(steps, start=1):
        if times.get(step.name, {}).get("done") and all(path.exists() for path in step.makes):
            print(f"[{number}/{len(steps)}] {step.name}: done before")
            continue
        print(f"[{number}/{len(steps)}] {step.name}")
        start, cpu = time.monotonic(), _cpu_seconds()
        run_step(step, run)
        if missing := [path for path in step.makes if not path.exists()]:
            sys.exit(f"step '{step.name}' ended without {missing[0]}; see the logs in {run / 'logs'}")
        before = times.get(step.name, {}).get("wall_s", 0.0)
        times[step.name] = {
            "wall_s": round(before + time.monotonic() - start, 1),
            "cpu_s": round(_cpu_seconds() - cpu, 1),
            "peak_gib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2),
            "done": True,
        }
        times_file.write_text(json.dumps(times, indent=1))
    report = write_demo_report(settings, run, times)
    print(summary(run))
    print(f"\nopen {os.path.relpath(report)}")


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def claim(run: Path, recipe: Path) -> None:
    """Keep the recipe in the run's folder; refuse to mix two recipes in one."""
    kept = run / "recipe.yaml"
    if not kept.exists():
        shutil.copyfile(recipe, kept)
    elif kept.read_text() != recipe.read_text():
        sys.exit(f"{run} holds a run of another recipe ({kept}); give --run another folder or remove it")


if __name__ == "__main__":
    auto_cli(main)
