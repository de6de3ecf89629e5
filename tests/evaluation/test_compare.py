"""Comparing two evaluations from end to end, and what is refused."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from fake_transcriber import IDENTITY, FakeTranscriber

from avspeech.decoding.config import DecodingConfig
from avspeech.evaluation.compare import compare, main, read_side, to_json
from avspeech.evaluation.compare_tables import to_markdown, to_terminal
from avspeech.evaluation.comparison import paired_rows
from avspeech.evaluation.config import Scoring
from avspeech.evaluation.grid import evaluate_grid
from avspeech.evaluation.paired_tests import holm
from avspeech.evaluation.results import merge_results, read_results, write_results
from avspeech.manifest import Utterance

PLAN = {"noise_plan_sha256": "p" * 64}


@pytest.fixture
def people() -> list[Utterance]:
    """Sixty utterances of thirty speakers in two languages."""
    texts = ["bin blue at f two now", "lay red by k nine soon", "place green in a one again"]
    return [
        Utterance(f"u/{i}", text=texts[i % 3], language="en" if i < 30 else "es", speaker=f"s{i // 2}")
        for i in range(60)
    ]


@pytest.fixture
def evaluated(tmp_path, people, config):
    """Makes the results of a model and returns their folder."""

    def evaluate(name: str, modalities=config.modalities, fake=None, words=people, model=None, **changed) -> Path:
        identity = IDENTITY | PLAN | {"model_sha256": name} | changed.pop("identity", {})
        chosen = replace(config, modalities=modalities, **changed)
        fake = fake or FakeTranscriber()
        results = evaluate_grid(
            words, chosen, fake, tmp_path / name, model or name, identity, {"task": chosen.decoding.task}
        )
        write_results(tmp_path / name, results)
        return tmp_path / name

    return evaluate


class Worse(FakeTranscriber):
    """Adds a word to two utterances in three, too."""

    def _hear(self, utterance, condition, share):
        words = super()._hear(utterance, condition, share)
        return f"{words} um" if int(utterance.id.split("/")[1]) % 3 else words


def run(capsys, *args) -> tuple[int, str, str]:
    capsys.readouterr()  # bars of progress
    try:
        main([str(arg) for arg in args])
        code = 0
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_every_shared_condition_and_language_has_a_row(tmp_path, evaluated, capsys):
    good, bad = evaluated("good"), evaluated("bad", fake=Worse())
    code, out, err = run(
        capsys, good / "results.json", bad, "--out", tmp_path / "c.json", "--markdown", tmp_path / "c.md"
    )
    assert (code, err) == (0, "")
    document = json.loads((tmp_path / "c.json").read_text())
    assert (document["format"], document["version"], document["tests"]) == ("avspeech comparison", 1, 27)
    assert document["a"]["noise_plan_sha256"] == document["b"]["noise_plan_sha256"] == "p" * 64
    rows = document["rows"]
    assert len(rows) == (4 + 1 + 4) * 3  # audio, lips once, both; languages
    assert [row["p_holm"] for row in rows] == pytest.approx(holm([row["p_value"] for row in rows]))
    for row in rows:
        assert row["difference"] == pytest.approx(row["wer_a"] - row["wer_b"])
        assert row["difference_95"][0] <= row["difference"] <= row["difference_95"][1]
    everything = [row for row in rows if row["language"] == "all"]
    assert {(row["unit"], row["units"], row["method"]) for row in everything} == {("speaker", 30, "bootstrap")}
    assert {row["verdict"] for row in everything} == {"better"}
    assert all(row["p_holm"] <= 0.05 and row["matched_pairs_p"] < 0.01 and row["win_rate"] == 1 for row in everything)
    assert all(len(line) <= 120 for line in out.splitlines())
    for text in (out, (tmp_path / "c.md").read_text()):
        assert "babble -5 dB" in text
        assert "better" in text
        assert "30 speakers" in text or "15 to 30 speakers" in text
    assert not list(tmp_path.glob("*.part*"))


def test_rates_are_those_of_the_results_and_differences_those_of_the_test(evaluated):
    good, bad = evaluated("good"), evaluated("bad", fake=Worse())
    rows = compare(read_side("A", good), read_side("B", bad)).rows
    cells = {(row.condition, row.language): row.wer for row in read_results(good).conditions}
    assert all(row.wer_a == pytest.approx(cells[row.condition_a, row.language]) for row in rows)


def test_the_same_system_under_two_names_differs_nowhere(evaluated):
    rows = compare(read_side("A", evaluated("one")), read_side("B", evaluated("two"))).rows
    assert all(row.difference == 0 and row.p_holm == 1 and row.verdict == "no clear difference" for row in rows)


def test_modalities_of_one_evaluation_are_compared(evaluated, capsys):
    folder = evaluated("av")
    code, out, _ = run(capsys, folder, folder, "--modality_a", "audio+video", "--modality_b", "audio")
    assert code == 0
    assert "A: av, audio+video" in out
    assert out.count("-- audio+video : audio\n") == 1
    sides = read_side("A", folder, modality="audio+video"), read_side("B", folder, modality="audio")
    ours = {(row.noise, row.snr_db): row for row in compare(*sides).rows if row.language == "all"}
    report = {row.noise: row for row in paired_rows(read_results(folder)) if row.b[0] == "audio"}
    for noise, row in report.items():
        assert (row.difference.diff, row.difference.p_value) == (ours[noise].difference, ours[noise].p_value)


def test_models_of_one_merged_file_are_chosen_by_name(tmp_path, evaluated, capsys):
    both = merge_results([read_results(evaluated("good")), read_results(evaluated("bad", fake=Worse()))])
    write_results(tmp_path / "both", both)
    code, _, err = run(capsys, tmp_path / "both", tmp_path / "both")
    assert code == 2
    assert "has the models good, bad; choose one with --model_a" in err
    code, out, _ = run(capsys, tmp_path / "both", tmp_path / "both", "--model_a", "bad", "--model_b", "good")
    assert code == 0
    assert "worse" in out


def test_what_only_one_scored_is_left_out_and_counted(evaluated):
    one, other = evaluated("one"), evaluated("other", fake=FakeTranscriber(broken=["u/3", "u/40"]))
    comparison = compare(read_side("A", one), read_side("B", other))
    row = next(row for row in comparison.rows if row.modality_a == "audio" and row.language == "all")
    assert (row.n_utterances, row.n_only_a, row.n_only_b) == (58, 2, 0)
    assert "up to 2 utterances that only A scored, up to 0 that only B did" in to_terminal(comparison)


def test_transcripts_of_version_1_are_counted_again(evaluated):
    one, other = evaluated("one"), evaluated("other", fake=Worse())
    expected = [row.difference for row in compare(read_side("A", one), read_side("B", other)).rows]
    lines = [json.loads(line) for line in (other / "hypotheses.jsonl").read_text().splitlines()]
    old = [{key: value for key, value in line.items() if key not in ("n_words", "speaker")} for line in lines]
    (other / "hypotheses.jsonl").write_text("".join(json.dumps(line) + "\n" for line in old))
    assert [row.difference for row in compare(read_side("A", one), read_side("B", other)).rows] == expected


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"identity": {"noise_plan_sha256": "q" * 64}},
            "noise_plan_sha256=p{64}, B .other. with q{64}.*same noise plan",
        ),
        ({"identity": {"noise_plan_sha256": None}}, "noise_plan_sha256=p{64}, B .other. with None"),
        ({"identity": {"manifest_sha256": "x" * 64}}, "manifest_sha256=a{64}, B .other. with x{64}.*same manifest"),
        ({"scoring": Scoring("none")}, "normalization=basic, B .other. with none.*same normalization"),
        ({"decoding": DecodingConfig(task="translate")}, "task=transcribe, B .other. with translate.*same task"),
    ],
)
def test_what_was_not_measured_on_the_same_thing_is_refused(evaluated, capsys, tmp_path, changed, said):
    one, other = evaluated("one"), evaluated("other", **changed)
    code, out, err = run(capsys, one, other, "--out", tmp_path / "c.json")
    assert (code, out) == (2, "")
    assert err.startswith("not compared: A (one) was evaluated with ")
    with pytest.raises(ValueError, match=said):
        compare(read_side("A", one), read_side("B", other))
    assert not (tmp_path / "c.json").exists()


def test_a_recogniser_that_names_no_task_is_compared_with_a_whisper_that_transcribes(evaluated):
    one, other = evaluated("one"), evaluated("other")
    document = json.loads((one / "results.json").read_text())
    del document["runs"][0]["task"]
    (one / "results.json").write_text(json.dumps(document))
    assert compare(read_side("A", one), read_side("B", other)).rows


def test_other_reference_texts_are_refused(evaluated, people):
    changed = [replace(people[0], text="bin red at f two now"), *people[1:]]
    with pytest.raises(ValueError, match=r"'u/0' has the reference 'bin blue.*' in A and 'bin red.*' in B"):
        compare(read_side("A", evaluated("one")), read_side("B", evaluated("other", words=changed)))


def test_other_stand_ins_for_the_same_video_are_refused(evaluated):
    one, other = (evaluated(f"seed{seed}", video_streams=("own", "shuffled"), seed=seed) for seed in (0, 1))
    with pytest.raises(
        ValueError, match=r"shuffled.*was shown 'u/\d+' in A and 'u/\d+' in B; evaluate both with the same"
    ):
        compare(read_side("A", one), read_side("B", other))


def test_pictures_of_other_seeds_are_refused_where_the_seed_draws_them(evaluated):
    def sides(stream):
        return [
            evaluated(f"{stream}{seed}", ("audio+video",), video_streams=("own", stream), seed=seed) for seed in (0, 1)
        ]

    same = sides("blur-3")
    assert compare(read_side("A", same[0]), read_side("B", same[1])).rows
    assert merge_results([read_results(one) for one in same]).conditions
    other = sides("drop-50")
    with pytest.raises(ValueError, match=r"audio\+video, clean, drop-50 was drawn with seed=0 in A and 1 in B"):
        compare(read_side("A", other[0]), read_side("B", other[1]))
    with pytest.raises(ValueError, match=r"model drop-500 was shown drop-50 with seed=0, drop-501 with 1"):
        merge_results([read_results(one) for one in other])


def test_nothing_in_common_and_the_same_transcripts_are_refused(evaluated, capsys):
    one, other = evaluated("ears", modalities=("audio",)), evaluated("eyes", modalities=("video",))
    code, _, err = run(capsys, one, other)
    assert code == 2
    assert "A has audio, clean (en); audio, clean (es)" in err
    assert "no condition, language and utterance is in both" in err
    code, _, err = run(capsys, one, one / "results.json")
    assert code == 2
    assert "A and B are the same transcripts (ears, audio, clean)" in err


def test_what_cannot_be_read_is_named(tmp_path, evaluated, capsys):
    one = evaluated("one")
    for args, said in (
        ((one, tmp_path / "nowhere"), "holds no results.json"),
        ((one, one / "hypotheses.jsonl"), "B: .*is no results.json; name that file or its folder"),
        ((one, one, "--model_a", "x"), "--model_a x is not in .*it has one"),
        ((one, one, "--modality_b", "lips", "--modality_a", "audio"), "--modality_b lips was not evaluated"),
        ((one, one, "--modality_b", "video"), "only one of --modality_a and --modality_b was given"),
        ((one, evaluated("two"), "--out", one), "--out .*one is a folder, wanted a file; name another"),
        ((one, evaluated("two"), "--markdown", one / "results.json" / "a.md"), "--markdown .* cannot be made a folder"),
    ):
        code, _, err = run(capsys, *args)
        assert code == 2
        assert re.search(said, err), err
    (one / "hypotheses.jsonl").unlink()
    assert "no hypotheses.jsonl beside it" in run(capsys, one, one)[2]


def test_the_table_fits_and_the_documents_hold_numbers_only(evaluated):
    streams = ("own", "blank", "shuffled")
    names = ("a_model_with_a_long_name_that_says_everything", "b")
    sides = [evaluated(name, video_streams=streams) for name in names]
    comparison = compare(read_side("A", sides[0]), read_side("B", sides[1]))
    table = to_terminal(comparison).split("\n\n")[1].splitlines()
    assert max(map(len, table)) <= 120
    json.dumps(to_json(comparison), allow_nan=False)
    assert to_markdown(comparison).count("\n| ") == 2 + len(comparison.rows)


def test_holm_decides_and_not_each_row_alone(evaluated):
    class Slightly(FakeTranscriber):
        def _hear(self, utterance, condition, share):
            words = super()._hear(utterance, condition, share)
            hurt = (
                condition.modality == "audio" and condition.snr_db is None and int(utterance.id.split("/")[1]) % 8 == 0
            )
            return "" if hurt else words

    comparison = compare(read_side("A", evaluated("one")), read_side("B", evaluated("two", fake=Slightly())))
    row = next(
        row for row in comparison.rows if row.modality_a == "audio" and row.snr_db is None and row.language == "all"
    )
    assert row.p_value <= 0.05 < row.p_holm
    assert row.difference_95[1] < 0
    assert row.verdict == "no clear difference"


def test_speakers_decide_what_is_drawn(evaluated, people):
    words = [replace(one, speaker="x") for one in people]
    sides = evaluated("one", words=words), evaluated("two", words=words, fake=Worse())
    row = next(row for row in compare(read_side("A", sides[0]), read_side("B", sides[1])).rows if row.language == "all")
    assert (row.unit, row.units) == ("utterance", 60)
    assert row.method == "bootstrap"
