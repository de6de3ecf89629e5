"""Comparing two evaluations from end to end, and what is refused."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from fake_transcriber import FakeTranscriber
from jsonargparse import auto_cli

from avspeech.evaluation.compare import compare, main, notes_of, read_side, to_json, to_markdown, to_terminal
from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.config import Scoring
from avspeech.evaluation.paired_tests import PairedRow, holm
from avspeech.evaluation.results import merge_results, read_results, write_results
from avspeech.evaluation.tables import paired_rows
from avspeech.manifest import Utterance
from tests.refusals import raises

PLAN = {"noise_plan_sha256": "p" * 64}


@pytest.fixture
def people() -> list[Utterance]:
    """Sixty utterances of thirty speakers in two languages."""
    texts = ["bin blue at f two now", "lay red by k nine soon", "place green in a one again"]
    facts = [{"text": texts[i % 3], "language": "en" if i < 30 else "es", "speaker": f"s{i // 2}"} for i in range(60)]
    return [Utterance(f"u/{i}", **one) for i, one in enumerate(facts)]


@pytest.fixture
def evaluated(tmp_path, people, evaluate):
    """Makes the results of a model and returns their folder."""

    def made(name: str, fake=None, task="transcribe", **changed) -> Path:
        identity = PLAN | {"model_sha256": name} | changed.pop("identity", {})
        evaluate(name, fake, model=name, identity=identity, told={"task": task}, **{"words": people, **changed})
        return tmp_path / name

    return made


class Worse(FakeTranscriber):
    """Adds a word to two utterances in three, too."""

    def _hear(self, utterance, condition, share):
        words = super()._hear(utterance, condition, share)
        return f"{words} um" if int(utterance.id.split("/")[1]) % 3 else words


def run(capsys, *args) -> tuple[int, str, str]:
    capsys.readouterr()  # bars of progress
    try:
        auto_cli(main, args=[str(arg) for arg in args])
        code = 0
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def rows_of(folder_a: Path, folder_b: Path, **chosen) -> list[PairedRow]:
    sides = ({key: value for key, value in chosen.items() if key[-1] == letter} for letter in "ab")
    a, b = ({key[:-2]: value for key, value in side.items()} for side in sides)
    return compare(read_side("A", folder_a, **a), read_side("B", folder_b, **b))


def test_every_shared_condition_and_language_has_a_row(tmp_path, evaluated, capsys):
    good, bad = evaluated("good"), evaluated("bad", fake=Worse())
    files = ("--out", tmp_path / "c.json", "--markdown", tmp_path / "c.md")
    code, out, err = run(capsys, good / "results.json", bad, *files)
    assert (code, err) == (0, "")
    document = json.loads((tmp_path / "c.json").read_text())
    assert (document["format"], document["version"], document["tests"]) == ("avspeech comparison", 1, 27)
    assert document["a"]["noise_plan_sha256"] == document["b"]["noise_plan_sha256"] == "p" * 64
    rows = document["rows"]
    assert len(rows) == (4 + 1 + 4) * 3  # audio, lips once, both; languages
    assert [row["p_holm"] for row in rows] == pytest.approx(holm([row["p_value"] for row in rows]))
    cells = {(row.condition, row.language): row.wer for row in read_results(good).conditions}
    for row in rows:
        condition = Condition(row["modality_a"], row["noise"], row["snr_db"], row["video_stream_a"])
        assert row["wer_a"] == pytest.approx(cells[condition, row["language"]])
        assert row["difference"] == pytest.approx(row["wer_a"] - row["wer_b"])
        assert row["difference_95"][0] <= row["difference"] <= row["difference_95"][1]
    everything = [row for row in rows if row["language"] == "all"]
    assert {(row["unit"], row["units"], row["method"]) for row in everything} == {("speaker", 30, "bootstrap")}
    assert {row["verdict"] for row in everything} == {"better"}
    assert all(row["p_holm"] <= 0.05 and row["matched_pairs_p"] < 0.01 and row["win_rate"] == 1 for row in everything)
    assert all(len(line) <= 120 for line in out.splitlines())
    for text in (out, (tmp_path / "c.md").read_text()):
        assert all(one in text for one in ("babble -5 dB", "better", "15 to 30 speakers"))
    assert not list(tmp_path.glob("*.part*"))


def test_the_same_system_under_two_names_differs_nowhere(evaluated):
    rows = rows_of(evaluated("one"), evaluated("two"))
    assert all(row.difference.diff == 0 and row.p_holm == 1 and row.verdict == "no clear difference" for row in rows)


def test_modalities_of_one_evaluation_are_compared(evaluated, capsys):
    folder = evaluated("av")
    code, out, _ = run(capsys, folder, folder, "--modality_a", "audio+video", "--modality_b", "audio")
    assert code == 0
    assert "A: av, audio+video" in out
    assert out.count("-- audio+video : audio\n") == 1
    rows = rows_of(folder, folder, modality_a="audio+video", modality_b="audio")
    ours = {row.noise: row.difference for row in rows if row.language == "all"}
    assert {row.noise: row.difference for row in paired_rows(read_results(folder)) if row.b[0] == "audio"} == ours


def test_models_of_one_merged_file_are_chosen_by_name(tmp_path, evaluated, capsys):
    both = merge_results([read_results(evaluated("good")), read_results(evaluated("bad", fake=Worse()))])
    write_results(tmp_path / "both", both)
    code, _, err = run(capsys, tmp_path / "both", tmp_path / "both")
    assert code == 2 and "has the models good, bad; choose one with --model_a" in err
    code, out, _ = run(capsys, tmp_path / "both", tmp_path / "both", "--model_a", "bad", "--model_b", "good")
    assert code == 0 and "worse" in out


def test_what_only_one_scored_is_left_out_and_counted(evaluated):
    rows = rows_of(evaluated("one"), evaluated("other", fake=FakeTranscriber(broken=["u/3", "u/40"])))
    row = next(row for row in rows if row.condition_a.modality == "audio" and row.language == "all")
    assert (row.n_utterances, row.n_only_a, row.n_only_b) == (58, 2, 0)
    assert any("up to 2 utterances that only A scored, up to 0 that only B did" in note for note in notes_of(rows))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"identity": {"noise_plan_sha256": "q"}}, "noise_plan_sha256=p{64}, B .other. with q.*same noise plan"),
        ({"identity": {"noise_plan_sha256": None}}, "noise_plan_sha256=p{64}, B .other. with None"),
        ({"identity": {"manifest_sha256": "x"}}, "manifest_sha256=a{64}, B .other. with x.*same manifest"),
        ({"scoring": Scoring("none")}, "normalization=basic, B .other. with none.*same normalization"),
        ({"task": "translate"}, "task=transcribe, B .other. with translate.*same task"),
    ],
)
def test_what_was_not_measured_on_the_same_thing_is_refused(evaluated, capsys, tmp_path, changed, said):
    one, other = evaluated("one"), evaluated("other", **changed)
    code, out, err = run(capsys, one, other, "--out", tmp_path / "c.json")
    assert (code, out) == (2, "")
    assert re.match(f"not compared: A .one. was evaluated with {said}", err)
    assert not (tmp_path / "c.json").exists()


def test_a_recogniser_that_names_no_task_is_compared_with_a_whisper_that_transcribes(evaluated):
    one, other = evaluated("one"), evaluated("other")
    document = json.loads((one / "results.json").read_text())
    del document["runs"][0]["task"]
    (one / "results.json").write_text(json.dumps(document))
    assert rows_of(one, other)


def test_other_reference_texts_are_refused(evaluated, people):
    changed = [replace(people[0], text="bin red at f two now"), *people[1:]]
    with pytest.raises(ValueError, match=r"'u/0' has the reference 'bin blue.*' in A and 'bin red.*' in B"):
        rows_of(evaluated("one"), evaluated("other", words=changed))


def test_other_stand_ins_for_the_same_video_are_refused(evaluated, people):
    streams = {"modalities": ("audio+video",), "video_streams": ("own", "shuffled")}
    one, other = evaluated("one", **streams), evaluated("other", words=people[:50], **streams)
    with pytest.raises(ValueError, match=r"shuffled video, was shown 'u/\d+' in A and 'u/\d+' in B; evaluate both on"):
        rows_of(one, other)


@pytest.mark.parametrize(("stream", "is_drawn"), [("blur-3", False), ("drop-50", True), ("shuffled", True)])
def test_pictures_of_other_seeds_are_refused_where_the_seed_draws_them(evaluated, stream, is_drawn):
    seen = {"modalities": ("audio+video",), "video_streams": ("own", stream)}
    one, other = (evaluated(f"m{seed}", seed=seed, **seen) for seed in (0, 1))
    several = [read_results(one), read_results(other)]
    if not is_drawn:
        assert rows_of(one, other)
        assert merge_results(several).conditions
        return
    raises(ValueError, rf"A .m0. was shown {stream} with seed=0, B .m1. with 1, so their videos", rows_of, one, other)
    raises(ValueError, rf"model m0 was shown {stream} with seed=0, model m1 with 1", merge_results, several)


def test_nothing_in_common_and_the_same_transcripts_are_refused(evaluated, capsys):
    one, other = evaluated("ears", modalities=("audio",)), evaluated("eyes", modalities=("video",))
    for b, said in (
        (other, "A has audio, clean (en); audio, clean (es)"),
        (other, "no condition, language and utterance is in both"),
        (one / "results.json", "A and B are the same transcripts (ears, audio, clean)"),
    ):
        code, _, err = run(capsys, one, b)
        assert code == 2 and said in err


def test_what_cannot_be_read_is_named(tmp_path, evaluated, capsys):
    one = evaluated("one")
    for args, said in (
        ((one, tmp_path / "nowhere"), "holds no results.json"),
        ((one, one / "hypotheses.jsonl"), "B: .*is no results.json; name that file or its folder"),
        ((one, one, "--model_a", "x"), "--model_a x is not in .*it has one"),
        ((one, one, "--modality_b", "lips", "--modality_a", "audio"), "--modality_b lips is not in"),
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
    rows = rows_of(*(evaluated(name, video_streams=streams) for name in ("a_model_with_a_long_name", "b")))
    assert max(map(len, to_terminal(rows).splitlines())) <= 120
    json.dumps([to_json(row) for row in rows], allow_nan=False)
    assert f"\n{to_markdown(rows)}".count("\n| ") == 2 + len(rows)


def test_holm_decides_and_not_each_row_alone(evaluated):
    class Slightly(FakeTranscriber):
        def _hear(self, utterance, condition, share):
            words = super()._hear(utterance, condition, share)
            hurt = condition == Condition("audio") and int(utterance.id.split("/")[1]) % 8 == 0
            return "" if hurt else words

    rows = rows_of(evaluated("one"), evaluated("two", fake=Slightly()))
    row = next(row for row in rows if row.condition_a == Condition("audio") and row.language == "all")
    assert row.difference.p_value <= 0.05 < row.p_holm
    assert row.difference.high < 0
    assert row.verdict == "no clear difference"


def test_speakers_decide_what_is_drawn(evaluated, people):
    words = [replace(one, speaker="x") for one in people]
    rows = rows_of(evaluated("one", words=words), evaluated("two", words=words, fake=Worse()))
    row = next(row for row in rows if row.language == "all")
    assert (row.difference.unit, row.difference.num_units, row.difference.method) == ("utterance", 60, "bootstrap")
