"""Score what any system heard, ours or not, and report it as ``avspeech.evaluate`` does.

    python -m avspeech.evaluation.score grid.jsonl --manifest test.jsonl --noise_plan plan.jsonl --out_dir OUT_DIR
    python -m avspeech.evaluation.score 'audio, clean=a.txt' 'audio+video, babble 0 dB=b.trn' --manifest test.jsonl ...
    python -m avspeech.evaluation.score hyp.csv --condition 'audio, babble 0 dB' --manifest test.jsonl ...

Reads   hypotheses (formats: avspeech/evaluation/hypotheses.py), the manifest with the reference texts, and the noise
        plan that the system was tested with: its hash lets ``avspeech.evaluation.compare`` see that noise was the same.
Writes  OUT_DIR/results.json, hypotheses.jsonl, failures.jsonl, report.md, report.html, images/.

A file is of one condition, named before it (``LABEL=FILE``) or by ``--condition``, or its lines say theirs. Every
condition needs a hypothesis of every utterance; ``--missing`` says what else to do. Nothing is listened to: that the
system heard this noise is the word of whoever scores it.
"""

import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from tempfile import TemporaryDirectory
from typing import Any

from avspeech.evaluation.conditions import CLEAN, MODALITIES, OWN, Condition, EvaluationConfig
from avspeech.evaluation.conditions_file import read_conditions
from avspeech.evaluation.grid import Unreadable, evaluate_grid
from avspeech.evaluation.hypotheses import FORMATS, OutsideHypothesis, parse_label, read_hypotheses
from avspeech.evaluation.report import write_report
from avspeech.evaluation.results import Results, write_results
from avspeech.evaluation.text_lines import FileFault
from avspeech.files import file_sha256
from avspeech.manifest import Utterance, hash_test_set, read_manifest
from avspeech.noise.plan import NoisePlan
from avspeech.noise.plan_records import without_hints
from avspeech.text.normalize import RULES, check_rule

MISSING = ("error", "deletions", "skip")
Heard = Mapping[Condition, Mapping[str, OutsideHypothesis]]


@dataclass(frozen=True)
class GivenGrid(EvaluationConfig):
    """A grid that is a list of conditions, not a product: a system need not have been tested under all."""

    listed: tuple[Condition, ...] = ()

    def grid(self) -> list[Condition]:
        return list(self.listed)


def score_hypotheses(
    files: Sequence[tuple[Path, str | None]],
    manifest: Path,
    name: str,
    plan: Path | None = None,
    conditions: Path | None = None,
    normalization: str | None = None,
    seed: int | None = None,
    format: str | None = None,
    missing: str = "error",
) -> Results:
    """Return the results of a system from its hypotheses.

    Args:
        files: with the label of the condition that each is of; None where the lines say it.
        manifest: JSON lines with text.
        name: of the system in the results.
        plan: noise plan that the system was tested with.
        conditions: YAML of the grid, from which seed, normalisation and metric come, too. None takes any condition.
        normalization: rule of ``avspeech.text.normalize``; None is the YAML's, ``basic`` without one.
        seed: of the intervals, and of shuffled videos; None is the YAML's, without one the plan's, or 0.
        format: of all files; None goes by their names.
        missing: an utterance without hypothesis is an ``error``, or one in which nothing was heard (``deletions``), or
            not scored (``skip``).

    Raises:
        ValueError: something of the above is not there, does not fit together, or cannot be read; see
            ``read_hypotheses`` for the files.
    """
    if missing not in MISSING:
        raise ValueError(f"missing={missing!r} must be one of {', '.join(MISSING)}")
    base = EvaluationConfig() if conditions is None else read_conditions(conditions)
    rule = normalization or base.normalization
    check_rule(rule)
    utterances = read_manifest(manifest, require=("text",))
    noise_plan = None if plan is None else NoisePlan.read(plan)
    if seed is None:
        seed = noise_plan.seed if noise_plan is not None and conditions is None else base.seed
    grid = [] if conditions is None else base.grid()
    heard = _read_all(files, {one.id for one in utterances}, {one.decoded_as: None for one in grid}, format)
    if noise_plan is not None and plan is not None:
        _check_plan(heard, noise_plan, plan, utterances, manifest)
    texts, num_missing = _complete(heard, utterances, missing)
    streams = dict.fromkeys((OWN, *(condition.video_stream for condition in heard)))
    config = GivenGrid(
        modalities=tuple(name for name in MODALITIES if any(condition.modality == name for condition in heard)),
        video_streams=tuple(streams),
        seed=seed,
        normalization=rule,
        metric=base.metric,
        listed=tuple(_rows(heard, grid, list(streams))),
    )
    identity: dict[str, Any] = {
        "hypotheses": [{"file": path.name, "sha256": file_sha256(path)} for path, _ in files],
        "manifest": manifest.name,
        "manifest_sha256": file_sha256(manifest),
        "test_set_sha256": hash_test_set(utterances),
        "noise_plan_sha256": noise_plan and noise_plan.sha256,
        "noise_rule": noise_plan and noise_plan.rule,
        "noises": without_hints(noise_plan.noises) if noise_plan else _unstated(heard),
        "missing": missing,
        "n_missing": num_missing,
        "versions": {"python": python_version(), "avspeech": version("avspeech"), "jiwer": version("jiwer")},
        "command": shlex.join(["python", "-m", "avspeech.evaluation.score", *sys.argv[1:]]),
    }
    with TemporaryDirectory() as scratch:  # nothing was decoded here, so nothing is kept for another run
        results = evaluate_grid(
            _with_languages(utterances, heard),
            config,
            lambda wanted, condition: [texts[condition][one.id] for one in wanted],
            scratch,
            name,
            identity,
            {"task": base.task},
        )
    runs = [{key: value for key, value in run.items() if key != "decoding_seconds"} for run in results.runs]
    return replace(results, runs=runs)


def _unstated(heard: Heard) -> dict[str, Any]:
    """Return what is known of noises that came without a plan."""
    return {name: {"kind": "not stated"} for name in _noises(heard)}


def _noises(heard: Heard) -> list[str]:
    return sorted({condition.noise for condition in heard if not condition.is_clean})


def _read_all(
    files: Sequence[tuple[Path, str | None]],
    known_ids: Collection[str],
    grid: Collection[Condition],
    format: str | None,
) -> dict[Condition, dict[str, OutsideHypothesis]]:
    heard: dict[Condition, dict[str, OutsideHypothesis]] = {}
    for path, label in files:
        condition = None if label is None else parse_label(label, grid)
        for one in read_hypotheses(path, known_ids, condition, format):
            if grid and one.condition not in grid:
                raise FileFault(
                    one.path, one.line, f"{one.condition.label!r} is not in the grid of the conditions YAML"
                )
            first = heard.setdefault(one.condition, {}).setdefault(one.id, one)
            if first is not one:
                raise FileFault(
                    one.path, one.line, f"has id {one.id!r} in {one.condition.label!r}, as {first.path} has already"
                )
    return heard


def _check_plan(heard: Heard, plan: NoisePlan, path: Path, utterances: Sequence[Utterance], manifest: Path) -> None:
    """Refuse noise that is not in the plan, and a plan for other utterances.

    An utterance whose files were broken when the plan was made is not in it, and nothing can have been heard in it.
    """
    for condition, lines in heard.items():
        if not condition.is_clean and (condition.noise, condition.snr_db) not in plan.conditions:
            one = next(iter(lines.values()))
            raise FileFault(one.path, one.line, f"{condition.label!r} is not in the noise plan {path}")
    given = {one.id for one in utterances}
    scored = {name for lines in heard.values() for name in lines}
    if odd := sorted((set(plan.speech) - given) | (scored - set(plan.speech))):
        raise ValueError(
            f"{manifest} and the noise plan {path} differ in {len(odd)} utterances, the first is {odd[0]!r}; "
            "score with the manifest that the plan was made for"
        )


def _complete(
    heard: Heard, utterances: Sequence[Utterance], missing: str
) -> tuple[dict[Condition, dict[str, str | Unreadable]], int]:
    """Return a text for every utterance of every condition, and how many had none."""
    texts: dict[Condition, dict[str, str | Unreadable]] = {}
    count = 0
    for condition, lines in heard.items():
        absent = [one.id for one in utterances if one.id not in lines]
        if absent and missing == "error":
            first = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
            raise ValueError(
                f"{next(iter(lines.values())).path}: {len(absent)} of {len(utterances)} utterances have no hypothesis "
                f"in {condition.label!r}: {first}; add them, or count them as nothing heard (--missing deletions), or "
                "leave them out (--missing skip)"
            )
        texts[condition] = {name: line.text for name, line in lines.items()}
        stand_in = "" if missing == "deletions" else Unreadable("no hypothesis was given")
        texts[condition].update((name, stand_in) for name in absent)
        count += len(absent)
    return texts, count


def _with_languages(utterances: Sequence[Utterance], heard: Heard) -> list[Utterance]:
    """Take the languages that the manifest leaves open from the hypotheses; one that it denies is an error."""
    language_of = {one.id: one.language for one in utterances}
    for lines in heard.values():
        for name, line in lines.items():
            said = line.language
            if said in (None, "und"):
                continue
            known = language_of[name]
            if known is None:
                language_of[name] = said
            elif said != known:
                raise FileFault(line.path, line.line, f"says language {said!r} of {name!r}, which is {known!r}")
    return [replace(one, language=language_of[one.id]) for one in utterances]


def _rows(heard: Heard, grid: Sequence[Condition], streams: Sequence[str]) -> list[Condition]:
    """Return the rows in the order of the report; ``video`` has one for each noise, as in any evaluation."""
    if grid:
        return [condition for condition in grid if condition.decoded_as in heard]
    noises = dict.fromkeys([(CLEAN, None), *((one.noise, one.snr_db) for one in heard)])
    repeated = [
        Condition("video", *noise, one.video_stream) for one in heard if not one.keeps_audio for noise in noises
    ]
    rows = dict.fromkeys([*heard, *repeated])
    return sorted(
        rows, key=lambda one: (MODALITIES.index(one.modality), streams.index(one.video_stream), not one.is_clean)
    )


def split_label(argument: str) -> tuple[Path, str | None]:
    """Return file and label of ``LABEL=FILE`` or ``FILE``; a label starts with a modality."""
    label, equals, file = argument.partition("=")
    if equals and label.split(", ")[0] in MODALITIES:
        return Path(file), label
    return Path(argument), None


def main(args: Sequence[str] | None = None) -> None:
    """Parse the command line (or ``args``); an own parser because several files come without a flag."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(description="Score the hypotheses of any system and report them as an evaluation.")
    parser.add_argument(
        "hypotheses",
        type=str,
        nargs="+",
        metavar="[LABEL=]FILE",
        help="file of hypotheses; a label before it, such as 'audio+video, babble 0 dB=b0.trn', says its condition",
    )
    parser.add_argument("--manifest", type=Path, required=True, help="JSON lines with the reference texts")
    parser.add_argument("--out_dir", type=Path, required=True, help="folder of the results")
    parser.add_argument("--name", type=str, required=True, help="of the system in the results")
    parser.add_argument("--noise_plan", type=Path | None, help="noise plan that the system was tested with")
    parser.add_argument("--conditions", type=Path | None, help="YAML of the grid; by default any condition is taken")
    parser.add_argument("--condition", type=str | None, help="label of the condition of the files without a label")
    parser.add_argument("--normalization", type=str | None, help=f"one of {', '.join(RULES)}; by default the YAML's")
    parser.add_argument("--seed", type=int | None, help="of the intervals; by default the YAML's, the plan's, or 0")
    parser.add_argument(
        "--format", type=str | None, help=f"one of {', '.join(FORMATS)}; by default by the file's ending"
    )
    parser.add_argument(
        "--missing",
        type=str,
        default="error",
        help="what an utterance without hypothesis is: an error, nothing heard (deletions), or left out (skip)",
    )
    options = parser.parse_args(args)
    files = [split_label(argument) for argument in options.hypotheses]
    files = [(path, options.condition if label is None else label) for path, label in files]
    try:
        kept = (options.out_dir / "hypotheses.jsonl").resolve()
        if any(path.resolve() == kept for path, _ in files):
            raise ValueError(f"--out_dir {options.out_dir} holds {kept.name} and would overwrite it; name another")
        results = score_hypotheses(
            files,
            options.manifest,
            options.name,
            options.noise_plan,
            options.conditions,
            options.normalization,
            options.seed,
            options.format,
            options.missing,
        )
        write_results(options.out_dir, results)
        print(write_report(options.out_dir, options.out_dir))
    except ValueError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
