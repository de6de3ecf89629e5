"""Merging of several evaluations, and checks that their results are comparable."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.results import Results

SAME_FOR_COMPARISON = ("manifest_sha256", "noise_plan_sha256", "seed", "normalization")
_REMEDIES = {
    "manifest_sha256": "evaluate both on the same manifest",
    "test_set_sha256": "evaluate both on the same utterances and texts",
    "noise_plan_sha256": "evaluate both with the same noise plan (--noise_plan)",
    "normalization": "evaluate both with the same normalization in the conditions YAML",
    "task": "evaluate both with the same task in the conditions YAML",
}


def merge_results(several: Sequence[Results], pick: Mapping[str, str] | None = None) -> Results:
    """Return the results of several evaluations as one; ``ValueError``: they differ or repeat a row.

    ``pick`` keeps one model of a modality, such as ``{"audio": "audio_only"}``; other modalities keep all models.
    """
    pick = pick or {}
    runs = [run for results in several for run in results.runs]
    need_same_samples([(f"model {run['model']}", run) for run in runs])
    rows = [row for results in several for row in results.conditions]
    for modality, model in pick.items():
        models = sorted({row.model for row in rows if row.modality == modality})
        if model not in models:
            names = ", ".join(models) or "none"
            raise ValueError(f"pick: model {model!r} has no {modality!r} rows; models that have are: {names}")
    rows = [row for row in rows if pick.get(row.modality, row.model) == row.model]
    run_of = {run["model"]: run for run in runs}
    times = Counter((row.model, row.condition, row.language) for row in rows)
    for model, condition, language in (key for key in times if times[key] > 1):
        raise ValueError(
            f"two results have a row for model {model!r}, {condition.label}, {language}; "
            "give the models different names (--name) or leave one result out"
        )
    first: dict[str, str] = {}
    for row in rows:
        if row.condition.is_drawn:
            other = first.setdefault(row.video_stream, row.model)
            need_same_pictures(row.condition, *((f"model {name}", run_of[name]) for name in (other, row.model)))
    lines = [line for results in several for line in results.hypotheses]
    return Results(
        rows,
        [run for run in runs if run["model"] in {row.model for row in rows}],
        [line for line in lines if pick.get(line.modality, line.model) == line.model],
        [failure for results in several for failure in results.failures],
    )


def need_same_samples(runs: Sequence[tuple[str, Mapping[str, Any]]], also: Sequence[str] = ()) -> None:
    """Check that runs, each with its name for the message, have the same utterances, noise, scoring and ``also`` keys.

    The hash of the test set replaces the manifest's if both runs have it. Without a noise plan, the seed and the
    settings of shared noises must be equal. ``ValueError``: a value differs.
    """
    for (first, earlier), (other, later) in combinations(runs, 2):
        for key, value, different in _facts(earlier, later, also):
            if value != different:
                raise ValueError(
                    f"{first} was evaluated with {key}={value}, {other} with {different}: such rows cannot be "
                    f"compared; {_REMEDIES.get(key, 'evaluate both with the same conditions')}"
                )


def _facts(one: Mapping[str, Any], other: Mapping[str, Any], also: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    planned = [run.get("noise_plan_sha256") is not None for run in (one, other)]
    noisy = [plan or bool(run.get("noises")) for plan, run in zip(planned, (one, other), strict=True)]
    for key in (*SAME_FOR_COMPARISON, *also):
        if key == "manifest_sha256" and "test_set_sha256" in one and "test_set_sha256" in other:
            key = "test_set_sha256"
        if key == "noise_plan_sha256" and not all(noisy):
            continue  # one run has no noise to compare
        if key == "seed" and any(planned):
            continue
        yield key, one.get(key), other.get(key)
    if not any(planned):
        for name in sorted(set(one.get("noises", {})) & set(other.get("noises", {}))):
            yield f"noises.{name}", one["noises"][name], other["noises"][name]


def need_same_pictures(condition: Condition, *runs: tuple[str, Mapping[str, Any]]) -> None:
    """Raise ``ValueError`` if the condition's video is drawn and two runs, each with its name, differ in the seed."""
    (one, first), (other, second) = runs
    if condition.is_drawn and first["seed"] != second["seed"]:
        raise ValueError(
            f"{one} was shown {condition.video_stream} with seed={first['seed']}, {other} with {second['seed']}, so "
            "other pictures; evaluate both with the same seed in the conditions YAML"
        )
