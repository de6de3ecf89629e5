"""Files of an evaluation: exact keys, whole or not at all, merging."""

import json
from dataclasses import replace
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator

from avspeech.evaluation.config import Scoring
from avspeech.evaluation.results import Results, merge_results, read_results, write_results
from tests.refusals import raises

ROW_KEYS = [
    "model", "modality", "noise", "snr_db", "language", "n_utterances", "n_words", "wer", "cer", "substitutions",
    "deletions", "insertions", "wer_95", "wer_95_method", "wer_95_units", "wer_95_unit", "video_stream", "bleu",
    "bleu_95", "cer_95",
]  # fmt: skip
LINE_KEYS = [
    "id", "model", "modality", "noise", "snr_db", "language", "reference", "hypothesis", "errors", "video_stream",
    "video_of", "speaker", "n_words",
]  # fmt: skip


@pytest.fixture
def results(evaluate) -> Results:
    return evaluate("", broken=["es/2"])


@pytest.fixture
def audio_only(evaluate) -> Results:
    return evaluate("a", model="audio_only", identity={"model_sha256": "n" * 64}, modalities=("audio",))


def test_files_have_exactly_the_documented_keys(tmp_path, results):
    document = json.loads((tmp_path / "results.json").read_text())
    assert list(document) == ["format", "version", "conditions", "runs"]
    assert (document["format"], document["version"]) == ("avspeech results", 2)
    assert all(list(row) == ROW_KEYS for row in document["conditions"])
    assert {row["snr_db"] for row in document["conditions"] if row["noise"] == "none"} == {None}
    for row in document["conditions"]:
        assert 0 <= row["wer_95"][0] <= row["wer"] <= row["wer_95"][1]
        assert 0 <= row["cer_95"][0] <= row["cer"] <= row["cer_95"][1]
    units = {(row["wer_95_unit"], row["wer_95_units"]) for row in document["conditions"]}
    assert units == {("speaker", 5), ("speaker", 10)}
    (run,) = document["runs"]
    assert {"model", "model_sha256", "manifest", "manifest_sha256", "noises", "seed", "normalization"} <= set(run)
    lines = [json.loads(line) for line in (tmp_path / "hypotheses.jsonl").read_text().splitlines()]
    assert all(list(line) == LINE_KEYS for line in lines)
    assert all(line["speaker"] and line["n_words"] == len(line["reference"].split()) for line in lines)
    assert len(lines) == 40 * 9 - 8  # nine decoded conditions, one clip broken in eight of them
    assert [json.loads(line)["id"] for line in (tmp_path / "failures.jsonl").read_text().splitlines()] == ["es/2"]
    assert not list(tmp_path.glob("*.part*"))


def test_what_is_written_is_read(tmp_path, results, evaluate):
    odd = replace(results.hypotheses[0], hypothesis="one\u2028two\x85three")  # line separators
    results = replace(results, hypotheses=[odd, *results.hypotheses[1:]])
    write_results(tmp_path, results)
    assert read_results(tmp_path) == results
    chosen = {"video_streams": ("own", "blank", "shuffled"), "scoring": Scoring(metric="bleu")}
    assert evaluate(told={"task": "transcribe"}, **chosen) == read_results(tmp_path)
    rows = json.loads((tmp_path / "results.json").read_text())["conditions"]
    assert all(0 <= row["bleu_95"][0] <= row["bleu"] <= row["bleu_95"][1] <= 100 for row in rows)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, results):
    before = (tmp_path / "results.json").read_text()
    broken = replace(results, conditions=[replace(results.conditions[0], wer=float("nan"))])
    raises(ValueError, "JSON", write_results, tmp_path, broken)
    assert (tmp_path / "results.json").read_text() == before


def test_a_folder_without_results_is_named(tmp_path):
    raises(ValueError, r"holds no results\.json; make it with python -m avspeech\.evaluate", read_results, tmp_path)
    (tmp_path / "results.json").write_text('{"conditions": [')
    with pytest.raises(ValueError, match=r"results\.json and the files beside it cannot be read \(JSONDecodeError"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (["conditions", 3, "wer"], "much", r"results\.json: conditions\[3\]\.wer: 'much' is not of type 'number'"),
        (["conditions", 0, "wer"], -0.1, r"conditions\[0\]\.wer: -0\.1 is less than the minimum of 0"),
        (["conditions", 2, "wer_95"], [0.1], r"conditions\[2\]\.wer_95: \[0\.1\] is too short"),
        (["conditions", 1, "wer_95_unit"], "talk", r"conditions\[1\]\.wer_95_unit: 'talk' is not one of"),
        (["conditions", 1, "n_words"], ..., r"conditions\[1\]: .*'n_words' is a required property"),
        (["conditions", 0, "wre"], 0.1, r"conditions\[0\]: .*\('wre' was unexpected\)"),
        (["runs", 0, "seed"], None, r"runs\[0\]\.seed: None is not of type 'integer'"),
        (["runs", 0, "noise_plan_sha256"], ..., r"runs\[0\]: .*'noise_plan_sha256' is a required property"),
        (["runs"], ..., r"the document: .*'runs' is a required property"),
        (["format"], "other results", r"format: 'avspeech results' was expected"),
    ],
)
def test_what_does_not_fit_the_schema_is_named_by_its_place(tmp_path, results, place, value, said):
    inner = document = json.loads((tmp_path / "results.json").read_text())
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    if value is ...:
        del inner[place[-1]]
    (tmp_path / "results.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=said) as error:
        read_results(tmp_path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("version", [None, 1, 3])
def test_another_version_is_refused(tmp_path, results, version):
    document = json.loads((tmp_path / "results.json").read_text()) | {"version": version}
    if version is None:  # as version 1 was written
        del document["version"], document["format"]
    (tmp_path / "results.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=f"has version {version or 1} of the results format, this avspeech reads 2; "):
        read_results(tmp_path)


def test_what_does_not_fit_the_schema_is_not_written(tmp_path, results):
    runs = [{key: value for key, value in results.runs[0].items() if key != "manifest_sha256"}]
    with pytest.raises(ValueError, match=r"runs\[0\]: .*'manifest_sha256' is a required property"):
        write_results(tmp_path / "new", replace(results, runs=runs))
    assert not (tmp_path / "new").exists()


def test_the_schema_is_itself_a_schema():
    schema = json.loads(files("avspeech.evaluation").joinpath("results.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    assert set(schema["$defs"]["row"]["properties"]) == set(ROW_KEYS) == set(schema["$defs"]["row"]["required"])


def test_picked_rows_come_from_the_picked_model(results, audio_only):
    merged = merge_results([results, audio_only], pick={"audio": "audio_only"})
    models = {(row.modality, row.model) for row in merged.conditions}
    assert models == {("audio", "audio_only"), ("video", "av"), ("audio+video", "av")}
    assert {(line.modality, line.model) for line in merged.hypotheses} == models
    assert [run["model"] for run in merged.runs] == ["av", "audio_only"]


def test_all_rows_stay_without_a_pick_and_a_model_without_rows_leaves_the_runs(results, audio_only):
    assert len(merge_results([results, audio_only]).conditions) == len(results.conditions) + len(audio_only.conditions)
    assert [run["model"] for run in merge_results([results, audio_only], pick={"audio": "av"}).runs] == ["av"]


PLAN = {"noise_plan_sha256": "p", "test_set_sha256": "t"}


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ({}, {}, None),
        ({}, {"noises": {}}, None),  # clean only: nothing contradicts
        ({}, {"manifest_sha256": "x"}, r"model av was evaluated with manifest_sha256=a.* model other with x"),
        ({}, {"noises": {"babble": {"kind": "white"}}}, r"noises\.babble"),
        ({}, {"seed": 4}, "seed=0, model other with 4"),
        ({}, {"noise_plan_sha256": "p"}, "noise_plan_sha256=None, model other with p.*the same noise plan"),
        (PLAN, PLAN | {"seed": 3, "manifest_sha256": "elsewhere"}, None),  # wherever the manifest lies
        (PLAN, PLAN | {"test_set_sha256": "u"}, "test_set_sha256=t, model other with u"),
        (PLAN, PLAN | {"noise_plan_sha256": "q"}, "noise_plan_sha256=p, model other with q"),
        (PLAN, PLAN | {"noise_plan_sha256": None, "noises": {}}, None),
    ],
)
def test_rows_of_other_samples_are_not_merged(evaluate, ours, theirs, said):
    one = evaluate("one", identity=ours)
    other = evaluate("other", model="other", identity=theirs, seed=theirs.get("seed", 0))
    if said is None:
        assert merge_results([one, other]).conditions
        return
    raises(ValueError, said, merge_results, [one, other])


def test_the_same_row_twice_and_a_pick_without_rows_are_errors(results, audio_only):
    raises(ValueError, "two results have a row for model 'av', audio, clean", merge_results, [results, results])
    with pytest.raises(ValueError, match="model 'audio' has no 'audio' rows; models that have are: audio_only, av"):
        merge_results([results, audio_only], pick={"audio": "audio"})
    raises(ValueError, "models that have are: none", merge_results, [audio_only], pick={"video": "av"})
