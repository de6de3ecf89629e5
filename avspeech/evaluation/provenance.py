"""Origin of results: hashes, versions and commands, also in words for a report."""

import os
import platform
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from avspeech.evaluation.bootstrap import MANY_UNITS
from avspeech.evaluation.conditions import WRONG_SPEAKER
from avspeech.evaluation.results import Results
from avspeech.files import file_sha256
from avspeech.manifest import Utterance, hash_test_set
from avspeech.noise.plan import NoisePlan, without_hints

PACKAGES = ("avspeech", "torch", "numpy", "scipy", "av", "opencv-python", "jiwer", "openai-whisper")
METHODS = {
    "bootstrap-t": "studentised bootstrap",
    "jackknife-t": "studentised bootstrap, not narrower than the jackknife with Student's t",
    "too-few-units": "from two or three of them, which hardly show a spread",
    "few-errors": "where errors are few, not narrower than the exact Poisson interval",
    "no-spread": "where all have the same rate, as wide as for no error",
    "one-unit": "from one alone, the exact Poisson interval",
}
_FILES = (
    ("model", "model_file", "model_sha256"),
    ("manifest", "manifest", "manifest_sha256"),
    ("test set", "", "test_set_sha256"),
    ("noise plan", "", "noise_plan_sha256"),
)
_SETTINGS = {
    "n_utterances_given": "{} utterances",
    "seed": "seed {}",
    "noise_rule": "noise mixed by the rule {}",
    "normalization": "words compared after the rule {}",
    "method": "decoded by {}",
    "beam_size": "beam of {}",
    "task": "task {}",
}


class Fact(NamedTuple):
    name: str
    value: str
    hash: str | None = None


def identify_data(manifest: Path, utterances: Sequence[Utterance], plan: NoisePlan | None) -> dict[str, Any]:
    """Return hashes of the test set and facts about its noise, for ``runs`` in results.json."""
    return {
        "manifest": manifest.name,
        "manifest_sha256": file_sha256(manifest),
        "test_set_sha256": hash_test_set(utterances),
        "noise_plan_sha256": plan and plan.sha256,
        "noise_rule": plan and plan.rule,
        "noises": without_hints(plan.noises) if plan else {},
    }


def identify_run(
    model: Path, manifest: Path, utterances: Sequence[Utterance], plan: NoisePlan | None, device: str
) -> dict[str, Any]:
    """Return what decides a model's transcripts: hashes, noises, versions, the command."""
    machine = {"system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"}
    kind = torch.device(device).type
    machine["device"] = torch.cuda.get_device_name(device) if kind == "cuda" else kind
    return {
        "model_file": model.name,
        "model_sha256": file_sha256(model),
        **identify_data(manifest, utterances, plan),
        "shares_test_speakers": list(plan.shares_test_speakers) if plan else [],
        "versions": {**versions(PACKAGES), **machine},
        "command": command_line("avspeech.evaluate"),
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def command_line(module: str) -> str:
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def describe_run(run: Mapping[str, Any]) -> list[Fact]:
    """Return a summary of an entry of ``runs``; missing keys are left out."""
    files = [Fact(name, str(run.get(file_key) or ""), run.get(hash_key)) for name, file_key, hash_key in _FILES]
    facts = [fact for fact in files if fact.value or fact.hash]
    settings = [words.format(run[key]) for key, words in _SETTINGS.items() if run.get(key) is not None]
    facts.append(Fact("settings", ", ".join(settings)))
    if versions := run.get("versions"):
        facts.append(Fact("environment", ", ".join(f"{name} {value}" for name, value in versions.items())))
    if seconds := run.get("decoding_seconds"):
        facts.append(Fact("time to decode", f"{sum(seconds.values()):.0f} s, {len(seconds)} conditions"))
    return facts


def all_facts(value: Any, prefix: str = "") -> list[Fact]:
    """Return everything in an entry of ``runs``; the names of nested facts are joined by dots."""
    if isinstance(value, Mapping):
        return [fact for key, inner in value.items() for fact in all_facts(inner, f"{prefix}.{key}" if prefix else key)]
    is_hash = prefix.endswith("sha256") and isinstance(value, str)
    return [Fact(prefix, "" if is_hash else str(value), value if is_hash else None)]


def describe_intervals(results: Results) -> str:
    """Return one sentence about the units and methods of the 95 % intervals."""
    units: dict[str, list[int]] = {}
    for row in results.conditions:
        units.setdefault(row.wer_95_unit, []).append(row.wer_95_units)
    over = " or ".join(f"{_span(counts)} {unit}{'s' * (max(counts) > 1)}" for unit, counts in units.items())
    methods = Counter(row.wer_95_method for row in results.conditions)
    how = "; ".join(METHODS.get(method, method) for method, _ in methods.most_common())
    return f"95 % intervals are over {over}: {how}."


def _span(counts: list[int]) -> str:
    return f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"


def warnings_of(results: Results) -> list[str]:
    """Return reasons to doubt the figures, one sentence each."""
    found = []
    speakers = [row.wer_95_units for row in results.conditions if row.wer_95_unit == "speaker"]
    if speakers and min(speakers) < MANY_UNITS:
        found.append(
            f"Few speakers: intervals rest on {_span(speakers)}. Below {MANY_UNITS} an interval is itself uncertain; "
            "take it as a hint."
        )
    if len(speakers) < len(results.conditions):
        found.append(
            f"{'Some intervals' if speakers else 'Intervals'} are over utterances, because fewer than two "
            "speakers are known: they cover other sentences, not other speakers."
        )
    noises = [(name, noise, run) for run in results.runs for name, noise in run.get("noises", {}).items()]
    if shared := {
        name
        for name, noise, run in noises
        if name in run.get("shares_test_speakers", ()) or noise.get("shares_test_speakers")
    }:
        found.append(
            f"Speakers of the test set may be heard in {', '.join(sorted(shared))}: compare these figures only with "
            "figures in such noise."
        )
    speaker_of = {line.id: line.speaker for line in results.hypotheses}
    wrong = [line for line in results.hypotheses if line.video_stream == WRONG_SPEAKER and line.video_of is not None]
    if same := sum(speaker_of.get(line.video_of or "") == line.speaker for line in wrong):
        found.append(
            f"The wrong speaker is the right one in {same} of {len(wrong)} transcripts: the test set has or names "
            "no other speaker, so another utterance of the same one was shown."
        )
    return found
