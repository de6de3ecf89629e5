"""Run an experiment from corpus to report: the demo, or any other recipe of the same kind.

    python experiments/demo/run.py
    python experiments/demo/run.py --recipe experiments/2026-11-grid-s1/recipe.yaml --run runs/grid --data GRID_ROOT

Reads   a recipe (experiments/demo/recipe.py) and, where the recipe names it, the user's corpus.
Writes  RUN/report.html, RUN/results.json, RUN/steps.json and, in RUN/logs, a log for each command.
Stop it and start it again: finished steps are skipped, a training goes on from a checkpoint.
"""

import os
import sys
from pathlib import Path

from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs without the package's editable install

from data_prep.pipeline import RecipeError, StepError, read_recipe, run_steps
from experiments.demo.recipe import Recipe, plan
from experiments.demo.report import summary, write_demo_report


def main(
    recipe: Path = Path(__file__).parent / "recipe.yaml", run: Path = Path("runs/demo"), data: Path | None = None
) -> None:
    """Run an experiment.

    Args:
        recipe: YAML of the experiment.
        run: folder of everything it makes.
        data: the user's corpus, for recipes that read one.
    """
    settings, run = read_recipe(Recipe, recipe), run.resolve()
    steps = plan(settings, run, None if data is None else data.resolve())
    # One thread each: a model this small trains no faster on two, and the recognisers run side by side.
    records = run_steps(run, steps, threads=1)
    report = write_demo_report(settings, run, records)
    print(summary(run))
    print(f"\nopen {os.path.relpath(report)}")


if __name__ == "__main__":
    try:
        auto_cli(main)
    except (RecipeError, StepError) as error:  # a user's mistake ends with its message alone
        sys.exit(str(error))
