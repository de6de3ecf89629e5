"""Files of an evaluation: exact keys, whole or not at all, merging."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_transcriber import IDENTITY, FakeTranscriber

from avspeech.evaluation.conditions import EvaluationConfig
from avspeech.evaluation.grid import evaluate_grid
from avspeech.evaluation.results import Results, merge_results, read_results, write_results, write_text

ROW_KEYS = [
    "model", "modality", "noise", "snr_db", "language", "n_utterances", "n_words", "wer", "cer", "substitutions",
    "deletions", "insertions", "wer_95", "video_stream", "bleu", "bleu_95",
]  # fmt: skip
LINE_KEYS = [
    "id", "model", "modality", "noise", "snr_db", "language", "reference", "hypothesis", "errors", "video_stream",
    "video_of",
]  # fmt: skip


@pytest.fixture
def results(tmp_path, utterances, config) -> Results:
    return evaluate_grid(utterances, config, FakeTranscriber(broken=["es/2"]), tmp_path / "av", "av", IDENTITY)


@pytest.fixture
def audio_only(tmp_path, utterances, config) -> Results:
    config = replace(config, modalities=("audio",))
    identity = IDENTITY | {"model_sha256": "n" * 64}
    return evaluate_grid(utterances, config, FakeTranscriber(), tmp_path / "a", "audio_only", identity)


def test_files_have_exactly_the_documented_keys(tmp_path, results):
    write_results(tmp_path, results)
    document = json.loads((tmp_path / "results.json").read_text())
    assert list(document) == ["conditions", "runs"]
    assert all(list(row) == ROW_KEYS for row in document["conditions"])
    clean = [row for row in document["conditions"] if row["noise"] == "none"]
    assert clean
    assert all(row["snr_db"] is None for row in clean)
    assert all(0 <= row["wer_95"][0] <= row["wer"] <= row["wer_95"][1] <= 1 for row in document["conditions"])
    (run,) = document["runs"]
    assert {"model", "model_sha256", "manifest", "manifest_sha256", "noises", "seed", "normalization"} <= set(run)
    lines = [json.loads(line) for line in (tmp_path / "hypotheses.jsonl").read_text().splitlines()]
    assert all(list(line) == LINE_KEYS for line in lines)
    assert len(lines) == 40 * 9 - 8  # nine decoded conditions, one clip broken in eight of them
    assert [json.loads(line)["id"] for line in (tmp_path / "failures.jsonl").read_text().splitlines()] == ["es/2"]
    assert not list(tmp_path.glob("*.part*"))


def test_what_is_written_is_read(tmp_path, results):
    write_results(tmp_path, results)
    assert read_results(tmp_path) == results


def test_streams_and_bleu_are_written_and_read(tmp_path, utterances, config):
    config = replace(config, video_streams=("own", "blank", "shuffled"), metric="bleu")
    results = evaluate_grid(utterances, config, FakeTranscriber(), tmp_path, "av", IDENTITY, config.whisper_settings)
    write_results(tmp_path, results)
    assert read_results(tmp_path) == results
    rows = json.loads((tmp_path / "results.json").read_text())["conditions"]
    assert all(0 <= row["bleu_95"][0] <= row["bleu"] <= row["bleu_95"][1] <= 100 for row in rows)


def test_files_from_before_streams_and_bleu_are_read(tmp_path, results):
    write_results(tmp_path, results)
    document = json.loads((tmp_path / "results.json").read_text())
    for row in document["conditions"]:
        for name in ("video_stream", "bleu", "bleu_95"):
            del row[name]
    del document["runs"][0]["metric"]
    (tmp_path / "results.json").write_text(json.dumps(document))
    lines = [json.loads(line) for line in (tmp_path / "hypotheses.jsonl").read_text().splitlines()]
    old = [{name: value for name, value in line.items() if not name.startswith("video_")} for line in lines]
    (tmp_path / "hypotheses.jsonl").write_text("".join(json.dumps(line) + "\n" for line in old))
    read = read_results(tmp_path)
    assert (read.conditions, read.hypotheses) == (results.conditions, results.hypotheses)


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[2].glob("experiments/*/results.json")), ids=lambda path: path.parent.name
)
def test_results_of_experiments_are_read_still(path):
    document = json.loads(path.read_text())
    if "conditions" not in document or "runs" not in document:
        pytest.skip("is no evaluation's file")
    results = read_results(path.parent)
    assert results.conditions
    assert {row.video_stream for row in results.conditions} == {"own"}


def test_a_transcript_with_a_line_separator_is_one_line(tmp_path, results):
    odd = replace(results.hypotheses[0], hypothesis="one\u2028two\x85three")
    write_results(tmp_path, replace(results, hypotheses=[odd]))
    assert read_results(tmp_path).hypotheses == [odd]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, results):
    write_results(tmp_path, results)
    before = (tmp_path / "results.json").read_text()
    broken = replace(results, conditions=[replace(results.conditions[0], wer=float("nan"))])
    with pytest.raises(ValueError, match="JSON"):
        write_results(tmp_path, broken)
    assert (tmp_path / "results.json").read_text() == before


def test_a_file_has_its_name_only_once_it_is_whole(tmp_path, monkeypatch):
    def stopped(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "results.json", "text")
    assert not (tmp_path / "results.json").exists()


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"holds no results\.json; make it with python -m avspeech\.evaluate"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text('{"conditions": [{"model": "m"}]}')
    with pytest.raises(ValueError, match="KeyError: 'wer_95'"):
        read_results(tmp_path)


def test_picked_rows_come_from_the_picked_model(results, audio_only):
    merged = merge_results([results, audio_only], pick={"audio": "audio_only"})
    models = {(row.modality, row.model) for row in merged.conditions}
    assert models == {("audio", "audio_only"), ("video", "av"), ("audio+video", "av")}
    assert {(line.modality, line.model) for line in merged.hypotheses} == models
    assert [run["model"] for run in merged.runs] == ["av", "audio_only"]


def test_without_picking_all_rows_stay(results, audio_only):
    merged = merge_results([results, audio_only])
    assert len(merged.conditions) == len(results.conditions) + len(audio_only.conditions)


def test_a_model_without_rows_is_dropped_from_the_runs(results, audio_only):
    merged = merge_results([results, audio_only], pick={"audio": "av"})
    assert [run["model"] for run in merged.runs] == ["av"]


def test_rows_of_other_samples_are_not_merged(tmp_path, utterances, results):
    def other(**identity) -> Results:
        config = EvaluationConfig(modalities=("audio",), seed=identity.pop("seed", 0))
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return evaluate_grid(utterances, config, FakeTranscriber(), folder, "other", IDENTITY | identity)

    merge_results([results, other()])
    merge_results([results, other(noises={})])  # clean only: nothing contradicts
    with pytest.raises(ValueError, match=r"model av was evaluated with manifest_sha256=a.* model other with x"):
        merge_results([results, other(manifest_sha256="x")])
    with pytest.raises(ValueError, match=r"noises\.babble"):
        merge_results([results, other(noises={"babble": {"kind": "white"}})])
    with pytest.raises(ValueError, match="seed=0, model other with 4"):
        merge_results([results, other(seed=4)])


def test_the_same_row_twice_and_a_pick_without_rows_are_errors(results, audio_only):
    with pytest.raises(ValueError, match="two results have a row for model 'av', audio, clean"):
        merge_results([results, results])
    with pytest.raises(ValueError, match="model 'audio' has no 'audio' rows; models that have are: audio_only, av"):
        merge_results([results, audio_only], pick={"audio": "audio"})
    with pytest.raises(ValueError, match="models that have are: none"):
        merge_results([audio_only], pick={"video": "av"})
