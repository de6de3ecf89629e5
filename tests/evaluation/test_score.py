"""Scoring from outside gives, to the digit, what our own evaluation of the same transcripts gave."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from avspeech.evaluation.results import Results, read_results
from avspeech.evaluation.score import main, score_hypotheses, split_label
from avspeech.evaluation.trn import write_trn
from avspeech.files import file_sha256
from avspeech.manifest import hash_test_set, read_manifest, write_manifest
from avspeech.noise.plan import Mix, NoisePlan, Speech

YAML = "noises: {babble: {kind: babble}}\nsnrs_db: [10, 0, -5]\nvideo_streams: [own, blank, shuffled]\n"


@pytest.fixture
def manifest(tmp_path, utterances) -> Path:
    write_manifest(tmp_path / "test.jsonl", utterances)
    return tmp_path / "test.jsonl"


@pytest.fixture
def ours(evaluate) -> Results:
    return evaluate("ours", video_streams=("own", "blank", "shuffled"))


@pytest.fixture
def grid(tmp_path) -> Path:
    (tmp_path / "grid.yaml").write_text(YAML)
    return tmp_path / "grid.yaml"


@pytest.fixture
def files(tmp_path) -> list[tuple[Path, None]]:
    """The transcripts that ``evaluate("ours")`` writes."""
    return [(tmp_path / "ours" / "hypotheses.jsonl", None)]


@pytest.fixture
def plan(tmp_path, utterances) -> Path:
    return written_plan(tmp_path / "plan.jsonl", [one.id for one in utterances])


def written_plan(path: Path, names: list[str]) -> Path:
    conditions = tuple(("babble", snr_db) for snr_db in (10.0, 0.0, -5.0))
    NoisePlan(
        seed=3,
        rule="avspeech",
        level="clip",
        manifest_sha256="a" * 64,
        noises={"babble": {"kind": "babble", "num_voices": [6, 6]}},
        conditions=conditions,
        shares_test_speakers=(),
        speech={name: Speech(name, 16000, "b" * 64) for name in names},
        mixes={(name, noise, snr_db): Mix(name, noise, snr_db) for name in names for noise, snr_db in conditions},
    ).write(path)
    return path


def export(results: Results, folder: Path, format: str) -> list[tuple[Path, str | None]]:
    """Write the transcripts of each condition to a file of its own."""
    heard: dict[str, list] = {}
    for line in results.hypotheses:
        heard.setdefault(line.condition.label, []).append(line)
    files = [(folder / f"{number}.{format}", label) for number, label in enumerate(heard)]
    for path, label in files:
        if format == "trn":
            write_trn(path, [(line.hypothesis, line.id, line.speaker) for line in heard[label]])
            continue
        pairs = [(line.id, line.hypothesis) for line in heard[label]]
        if format == "jsonl":
            rows = [json.dumps({"id": name, "text": text}) for name, text in pairs]
        else:
            mark = {"csv": ",", "tsv": "\t", "txt": " "}[format]
            rows = [mark.join(pair) for pair in ([] if format == "txt" else [("id", "hypothesis")]) + pairs]
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return files


def figures(results: Results) -> dict:
    return {(row.condition, row.language): replace(row, model="") for row in results.conditions}


@pytest.mark.parametrize("format", ["jsonl", "txt", "trn", "csv", "tsv"])
def test_what_we_export_scores_as_before(tmp_path, manifest, ours, format):
    results = score_hypotheses(export(ours, tmp_path, format), manifest, "again")
    assert figures(results) == figures(ours)
    assert {row.model for row in results.conditions} == {"again"}
    assert [replace(line, model="av") for line in results.hypotheses] == ours.hypotheses


def test_our_own_file_is_a_whole_grid(manifest, ours, files, grid):
    results = score_hypotheses(files, manifest, "again", conditions=grid)
    assert [replace(row, model="av") for row in results.conditions] == ours.conditions
    assert figures(score_hypotheses(files, manifest, "again")) == figures(ours)


def test_a_broken_utterance_is_one_that_is_skipped(manifest, evaluate, files):
    ours = evaluate("ours", broken=["es/2"])
    with pytest.raises(ValueError, match=r"1 of 40 utterances have no hypothesis in 'audio, clean': es/2; add them"):
        score_hypotheses(files, manifest, "again")
    skipped = score_hypotheses(files, manifest, "again", missing="skip")
    assert figures(skipped) == figures(ours)
    assert [(one.id, one.n_conditions) for one in skipped.failures] == [("es/2", 8)]
    counted = score_hypotheses(files, manifest, "again", missing="deletions")
    assert (counted.runs[0]["missing"], counted.runs[0]["n_missing"]) == ("deletions", 8)
    for key, row in figures(counted).items():
        if row.modality != "video" and row.language == "es":
            assert row.deletions == figures(ours)[key].deletions + 5
            assert row.n_utterances == 20


def test_the_run_says_what_was_scored(tmp_path, manifest, ours, plan):
    files = export(ours, tmp_path, "trn")
    (run,) = score_hypotheses(files, manifest, "other", plan, normalization="fairseq").runs
    assert run["model"] == "other"
    assert run["noise_plan_sha256"] == NoisePlan.read(plan).sha256
    assert run["manifest_sha256"] == file_sha256(manifest)
    assert run["test_set_sha256"] == hash_test_set(read_manifest(manifest))
    assert (run["seed"], run["normalization"], run["missing"], run["n_missing"]) == (3, "fairseq", "error", 0)
    assert run["hypotheses"][0] == {"file": "0.trn", "sha256": file_sha256(files[0][0])}
    json.dumps(run)
    assert "decoding_seconds" not in run
    (run,) = score_hypotheses(files, manifest, "other").runs
    assert (run["noise_plan_sha256"], run["noises"]) == (None, {"babble": {"kind": "not stated"}})


def test_seed_rule_and_metric_come_from_the_conditions(manifest, ours, files, grid):
    grid.write_text(YAML + "seed: 7\nscoring: {normalization: none, metric: bleu}\n")
    results = score_hypotheses(files, manifest, "again", conditions=grid)
    assert (results.runs[0]["seed"], results.runs[0]["normalization"]) == (7, "none")
    assert all(row.bleu is not None for row in results.conditions)
    results = score_hypotheses(files, manifest, "again", None, grid, "basic", 8)
    assert (results.runs[0]["seed"], results.runs[0]["normalization"]) == (8, "basic")


def test_some_conditions_are_enough(tmp_path, manifest, ours, grid):
    """Lips in noise are lips in clean speech, also where no YAML says the noises."""
    files = [one for one in export(ours, tmp_path, "txt") if one[1] in ("video, clean", "audio, babble 0 dB")]
    rows = score_hypotheses(files, manifest, "again").conditions
    labels = [row.condition.label for row in rows if row.language == "all"]
    assert labels == ["audio, babble 0 dB", "video, clean", "video, babble 0 dB"]
    rows = score_hypotheses(files, manifest, "again", conditions=grid).conditions
    seen = {"video, clean", *(f"video, babble {snr} dB" for snr in (10, 0, -5))}
    assert {row.condition.label for row in rows} == {"audio, babble 0 dB", *seen}


def test_what_is_in_neither_plan_nor_grid_is_refused(tmp_path, manifest, ours, plan, grid):
    (path, _), *_ = export(ours, tmp_path, "txt")
    score_hypotheses([(path, "audio, babble -5 dB")], manifest, "a", plan)
    line = {"id": "en/0", "text": "a", "modality": "audio", "noise": "babble", "snr_db": 5}
    (tmp_path / "a.jsonl").write_text(json.dumps(line))
    label = "audio, babble 5 dB"
    for file, given, said in (
        ((path, label), {"noise_plan": plan}, rf"0\.txt, line 1: '{label}' is not in the noise plan .*plan\.jsonl"),
        ((path, label), {"conditions": grid}, f"'{label}' is none of the"),
        ((tmp_path / "a.jsonl", None), {"conditions": grid}, rf"a\.jsonl, line 1: '{label}' is not in the grid"),
    ):
        with pytest.raises(ValueError, match=said):
            score_hypotheses([file], manifest, "a", **given)


def test_a_plan_for_other_utterances_is_refused(tmp_path, manifest, ours, utterances):
    files = export(ours, tmp_path, "txt")[:1]
    names = [one.id for one in utterances]
    for wrong in (names[1:], [*names, "en/99"]):
        plan = written_plan(tmp_path / "other.jsonl", wrong)
        with pytest.raises(ValueError, match=r"test\.jsonl and the noise plan .*other\.jsonl differ in 1 utterances"):
            score_hypotheses(files, manifest, "a", plan)


def test_an_utterance_that_the_plan_could_not_read_may_be_skipped(tmp_path, manifest, utterances):
    names = [one.id for one in utterances]
    (tmp_path / "a.txt").write_text("".join(f"{name} bin\n" for name in names[1:]))
    plan = written_plan(tmp_path / "plan.jsonl", names[1:])
    results = score_hypotheses([(tmp_path / "a.txt", "audio, babble 0 dB")], manifest, "a", plan, missing="skip")
    assert [failure.id for failure in results.failures] == names[:1]


def test_the_same_condition_from_two_files_is_refused(tmp_path, manifest, ours):
    (first, label), (second, _), *_ = export(ours, tmp_path, "txt")
    with pytest.raises(ValueError, match=r"1\.txt, line 1: has id 'en/0' in 'audio, clean', as .*0\.txt has already"):
        score_hypotheses([(first, label), (second, label)], manifest, "a")


def test_languages_fill_the_manifest_and_do_not_deny_it(tmp_path, utterances):
    write_manifest(tmp_path / "test.jsonl", [replace(utterances[0], language=None), utterances[20]])
    line = "id,text,modality,language\nen/0,bin blue,audio,{}\nes/0,pon,audio,es\n"
    (tmp_path / "a.csv").write_text(line.format("en"))
    rows = score_hypotheses([(tmp_path / "a.csv", None)], tmp_path / "test.jsonl", "a").conditions
    assert [row.language for row in rows] == ["en", "es", "all"]
    (tmp_path / "a.csv").write_text(line.format("und").replace(",es\n", ",en\n"))
    with pytest.raises(ValueError, match=r"a\.csv, line 3: gives 'es/0' the language 'en'; in the manifest it is 'es'"):
        score_hypotheses([(tmp_path / "a.csv", None)], tmp_path / "test.jsonl", "a")


def test_a_label_may_stand_before_a_file():
    label, path = "audio+video, babble -5 dB", "runs/lr=3/a.txt"
    assert split_label(f"{label}={path}") == (Path(path), label)
    assert split_label(path) == (Path(path), None)
    assert split_label("audio/a.txt") == (Path("audio/a.txt"), None)


def test_the_command_writes_a_report(tmp_path, manifest, ours, plan, capsys):
    files = [f"{label}={path}" for path, label in export(ours, tmp_path, "trn")]
    out = tmp_path / "out"
    main([*files, f"--manifest={manifest}", f"--noise_plan={plan}", f"--out_dir={out}", "--name=other"])
    assert capsys.readouterr().out.strip() == str(out / "report.html")
    assert {path.name for path in out.iterdir()} >= {"results.json", "hypotheses.jsonl", "failures.jsonl", "report.md"}
    assert not (out / "decoded").exists()
    found, expected = ([(row.wer, row.condition) for row in one.rows_of("all")] for one in (read_results(out), ours))
    assert found == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--normalization=words"], "normalization='words': .*basic, none, fairseq, whisper, muavic"),
        (["--format=ctm"], "format 'ctm' came, wanted one of jsonl, kaldi, trn, csv, tsv"),
        (["--condition=audio, clear 0"], "condition 'audio, clear 0' came, wanted one such as"),
        ([], r"0\.txt, line 1: gives no modality"),
        (["--noise_plan=none.jsonl", "--condition=audio, clean"], r"none\.jsonl"),
    ],
)
def test_what_a_user_gets_wrong_ends_with_one_line(tmp_path, manifest, ours, options, message, capsys):
    (path, _), *_ = export(ours, tmp_path, "txt")
    with pytest.raises(SystemExit):
        main([str(path), f"--manifest={manifest}", f"--out_dir={tmp_path / 'out'}", "--name=a", *options])
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]
    assert not (tmp_path / "out").exists()


def test_the_folder_of_the_hypotheses_is_not_overwritten(manifest, ours, files, capsys):
    before = files[0][0].read_bytes()
    with pytest.raises(SystemExit):
        main([str(files[0][0]), f"--manifest={manifest}", f"--out_dir={files[0][0].parent}", "--name=a"])
    assert "would overwrite it; name another" in capsys.readouterr().err
    assert files[0][0].read_bytes() == before
