"""Score the hypotheses of any system, and report them as ``avspeech.evaluate`` does.

    python -m avspeech.evaluation.score grid.jsonl --manifest test.jsonl --noise_plan plan.jsonl --out_dir OUT_DIR
    python -m avspeech.evaluation.score 'audio, clean=a.txt' 'audio+video, babble 0 dB=b.trn' --manifest test.jsonl ...
    python -m avspeech.evaluation.score hyp.csv --condition 'audio, babble 0 dB' --manifest test.jsonl ...

Reads   hypotheses (avspeech/evaluation/outside.py), the manifest with the reference texts, and the noise plan of the
        system's test, whose hash lets ``avspeech.evaluation.compare`` check that noise was the same.
Writes  OUT_DIR/results.json, hypotheses.jsonl, failures.jsonl, report.md, report.html, images/.

The condition comes from ``LABEL=FILE``, ``--condition`` or the lines; nothing checks that the system was given it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser

from avspeech.evaluation.conditions import CLEAN, MODALITIES, OWN, Condition
from avspeech.evaluation.config import EvaluationConfig, read_conditions
from avspeech.evaluation.grid import Unreadable, score_transcripts
from avspeech.evaluation.outside import OutsideHypothesis, parse_label, read_hypotheses
from avspeech.evaluation.provenance import command_line, identify_data, versions
from avspeech.evaluation.report import write_report
from avspeech.evaluation.results import UNKNOWN_LANGUAGE, Results, write_results
from avspeech.files import file_sha256
from avspeech.manifest import Utterance, read_manifest
from avspeech.noise.plan import NoisePlan

Missing = Literal["error", "deletions", "skip"]
Heard = Mapping[Condition, Mapping[str, OutsideHypothesis]]


def score_hypotheses(
    files: Sequence[tuple[Path, str | None]],
    manifest: Path,
    name: str,
    noise_plan: Path | None = None,
    conditions: Path | None = None,
    normalization: str | None = None,
    seed: int | None = None,
    format: str | None = None,
    missing: Missing = "error",
) -> Results:
    """Return the results of a system from its hypotheses; ``ValueError`` as in ``read_hypotheses``.

    Args:
        files: each with the label of its condition; None: the lines give it.
        manifest: JSON lines with text.
        name: name of the system in the results.
        noise_plan: frozen noise that the system was tested with.
        conditions: YAML of grid, seed, normalisation and metric. None takes any condition.
        normalization: basic, none, fairseq, whisper, muavic; None is the YAML's, ``basic`` without one.
        seed: seed of intervals and shuffled videos; None is the YAML's, without one the plan's, or 0.
        format: format of all files: jsonl, kaldi, trn, csv or tsv; None goes by their names.
        missing: an utterance without hypothesis is an ``error``, an empty one (``deletions``) or left out (``skip``).
    """
    base = EvaluationConfig() if conditions is None else read_conditions(conditions)
    scoring = base.scoring if normalization is None else replace(base.scoring, normalization=normalization)
    utterances = read_manifest(manifest, require=("text",))
    plan = None if noise_plan is None else NoisePlan.read(noise_plan)
    if seed is None:
        seed = plan.seed if plan is not None and conditions is None else base.seed
    grid = [] if conditions is None else base.grid()
    heard = _read_all(files, {one.id for one in utterances}, {one.decoded_as: None for one in grid}, format)
    if plan is not None:
        _check_plan(heard, plan, noise_plan, utterances, manifest)
    texts, num_missing = _complete(heard, utterances, missing)
    run: dict[str, Any] = {
        "model": name,
        "hypotheses": [{"file": path.name, "sha256": file_sha256(path)} for path, _ in files],
        **identify_data(manifest, utterances, plan),
        "missing": missing,
        "n_missing": num_missing,
        "versions": versions(("avspeech", "jiwer")),
        "command": command_line("avspeech.evaluation.score"),
        "seed": seed,
        "task": base.decoding.task,
    }
    if plan is None:
        run["noises"] = {one.noise: {"kind": "not stated"} for one in heard if not one.is_clean}
    return score_transcripts(_with_languages(utterances, heard), texts, _rows(heard, grid), run, scoring)


def _read_all(
    files: Sequence[tuple[Path, str | None]],
    known_ids: Collection[str],
    grid: Collection[Condition],
    format: str | None,
) -> Heard:
    heard: dict[Condition, dict[str, OutsideHypothesis]] = {}
    for path, label in files:
        condition = None if label is None else parse_label(label, grid)
        for one in read_hypotheses(path, known_ids, condition, format):
            if grid and one.condition not in grid:
                raise one.row.fault(f"{one.condition.label!r} is not in the grid of the conditions YAML")
            first = heard.setdefault(one.condition, {}).setdefault(one.id, one)
            if first is not one:
                raise one.row.fault(f"has id {one.id!r} in {one.condition.label!r}, as {first.row.path} has already")
    return heard


def _check_plan(
    heard: Heard, plan: NoisePlan, path: Path | None, utterances: Sequence[Utterance], manifest: Path
) -> None:
    """Refuse noise that is not in the plan, and a plan for other utterances (it lacks unreadable ones)."""
    for condition, lines in heard.items():
        if not condition.is_clean and (condition.noise, condition.snr_db) not in plan.conditions:
            raise next(iter(lines.values())).row.fault(f"{condition.label!r} is not in the noise plan {path}")
    given = {one.id for one in utterances}
    scored = {name for lines in heard.values() for name in lines}
    if odd := sorted((set(plan.speech) - given) | (scored - set(plan.speech))):
        differ = f"{manifest} and the noise plan {path} differ in {len(odd)} utterances, the first is {odd[0]!r}"
        raise ValueError(f"{differ}; score with the manifest that the plan was made for")


def _complete(
    heard: Heard, utterances: Sequence[Utterance], missing: Missing
) -> tuple[dict[Condition, list[str | Unreadable]], int]:
    texts: dict[Condition, list[str | Unreadable]] = {}
    count = 0
    stand_in = "" if missing == "deletions" else Unreadable("no hypothesis was given")
    for condition, lines in heard.items():
        absent = [one.id for one in utterances if one.id not in lines]
        if absent and missing == "error":
            path, first = next(iter(lines.values())).row.path, ", ".join(absent[:5] + ["..."] * (len(absent) > 5))
            lacking = (
                f"{len(absent)} of {len(utterances)} utterances have no hypothesis in {condition.label!r}: {first}"
            )
            remedy = "count them as empty (--missing deletions), or leave them out (--missing skip)"
            raise ValueError(f"{path}: {lacking}; add them, {remedy}")
        texts[condition] = [lines[one.id].text if one.id in lines else stand_in for one in utterances]
        count += len(absent)
    return texts, count


def _with_languages(utterances: Sequence[Utterance], heard: Heard) -> list[Utterance]:
    language_of = {one.id: one.language for one in utterances}
    for line in (line for lines in heard.values() for line in lines.values()):
        if line.language in (None, UNKNOWN_LANGUAGE):
            continue
        known = language_of[line.id] = language_of[line.id] or line.language
        if line.language != known:
            why = f"gives {line.id!r} the language {line.language!r}; in the manifest it is {known!r}"
            raise line.row.fault(why)
    return [replace(one, language=language_of[one.id]) for one in utterances]


def _rows(heard: Heard, grid: Sequence[Condition]) -> list[Condition]:
    """Return the conditions in the report's order; ``video`` is repeated for each noise."""
    if grid:
        return [condition for condition in grid if condition.decoded_as in heard]
    streams = list(dict.fromkeys((OWN, *(condition.video_stream for condition in heard))))
    noises = dict.fromkeys([(CLEAN, None), *((one.noise, one.snr_db) for one in heard)])
    repeated = [
        replace(one, noise=noise[0], snr_db=noise[1]) for one in heard if not one.keeps_audio for noise in noises
    ]
    return sorted(
        dict.fromkeys([*heard, *repeated]),
        key=lambda one: (MODALITIES.index(one.modality), streams.index(one.video_stream), not one.is_clean),
    )


def split_label(argument: str) -> tuple[Path, str | None]:
    """Return file and label of ``LABEL=FILE`` or ``FILE``; a label starts with a modality."""
    label, equals, file = argument.partition("=")
    return (Path(file), label) if equals and label.split(", ")[0] in MODALITIES else (Path(argument), None)


def main(args: Sequence[str] | None = None) -> None:
    """Parse ``args`` or the command line; ``auto_cli`` cannot take several files without a flag."""
    parser = ArgumentParser(description="Score the hypotheses of any system and report them as an evaluation.")
    about = "file of hypotheses; a label before it, such as 'audio+video, babble 0 dB=b0.trn', gives its condition"
    parser.add_argument("hypotheses", type=str, nargs="+", metavar="[LABEL=]FILE", help=about)
    parser.add_argument("--out_dir", type=Path, required=True, help="folder of the results")
    parser.add_argument("--condition", type=str | None, help="label of the condition of the files without a label")
    parser.add_function_arguments(score_hypotheses, as_group=False, skip={"files"})
    options = parser.parse_args(args).as_dict()
    labelled, out_dir, condition = map(options.pop, ("hypotheses", "out_dir", "condition"))
    files = [split_label(argument) for argument in labelled]
    try:
        kept = (out_dir / "hypotheses.jsonl").resolve()
        if any(path.resolve() == kept for path, _ in files):
            raise ValueError(f"--out_dir {out_dir} holds {kept.name} and would overwrite it; name another")
        results = score_hypotheses([(path, label or condition) for path, label in files], **options)
        write_results(out_dir, results)
        print(write_report(out_dir, out_dir))
    except ValueError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
