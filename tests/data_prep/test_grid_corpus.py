"""GRID trees of every layout become manifests with words and their times."""

import os
from pathlib import Path

import pytest

from avspeech.manifest import Word, read_manifest
from data_prep.corpora.grid import main, read_align
from tests.refusals import raises

ALIGN = "0 17750 sil\n17750 22500 bin\n22500 27000 blue\n27000 28000 at\n28000 28500 sp\n28500 31000 f\n31000 74500 sil"


def add(path: Path, content: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_times_are_seconds_silence_is_dropped_and_a_bad_alignment_names_its_file(tmp_path):
    add(tmp_path / "a.align", ALIGN)
    words = read_align(tmp_path / "a.align")
    assert words[0] == Word("bin", 0.71, 0.9)
    assert [word.text for word in words] == ["bin", "blue", "at", "f"]
    for content in ("1000 bin\n", "a b bin\n", "0 74500 sil\n", "2000 1000 bin\n"):
        add(tmp_path / "bad.align", content)
        raises(ValueError, r"bad\.align", read_align, tmp_path / "bad.align")


def test_a_tree_of_several_speakers_keeps_equal_names_apart_and_reports_clips_without_alignment(tmp_path, capsys):
    """As distributed: s1/bbaf2n.mpg and align/s1/bbaf2n.align; speakers say some of the same sentences."""
    for speaker in ("s1", "s20"):
        add(tmp_path / speaker / "bbaf2n.mpg")
        add(tmp_path / "align" / speaker / "bbaf2n.align", ALIGN.replace("bin", f"bin{speaker}"))
    add(tmp_path / "s20" / "lonely.mpg")
    main(tmp_path, tmp_path / "out")
    one, other = read_manifest(tmp_path / "out" / "all.jsonl", require=("video", "text"), check_files=True)
    assert (one.id, one.speaker, one.text) == ("s1/bbaf2n", "s1", "bins1 blue at f")
    assert (other.id, other.speaker, other.text) == ("s20/bbaf2n", "s20", "bins20 blue at f")
    assert one.video == tmp_path / "s1" / "bbaf2n.mpg"
    assert "no lonely.align of speaker s20" in capsys.readouterr().err
    add(tmp_path / "single" / "s1" / "good.mp4")
    add(tmp_path / "single" / "s1" / "good.align", ALIGN)
    main(tmp_path / "single", tmp_path / "one")  # a single speaker: names suffice
    assert [utterance.id for utterance in read_manifest(tmp_path / "one" / "all.jsonl")] == ["good"]


def test_a_table_gives_files_and_splits_and_an_empty_tree_is_an_error(tmp_path):
    raises(SystemExit, "no clip in", main, tmp_path, tmp_path / "out")
    for name in "abc":
        add(tmp_path / "align" / f"{name}.align", ALIGN)
    header = "id\tpath\twords\tn_frames\tduration\tspeaker\tsplit\toriginal\tnotes\n"
    rows = [f"{name}\tvideo/{name}.mp4\t\t75\t3.0\ts1\t{split}\t{original}\t\n" for name, split, original in (
        ("a", "train", "mpg/a.mpg"), ("b", "valid", ""), ("c", "test", ""))]  # fmt: skip
    add(tmp_path / "manifest.tsv", header + "".join(rows))
    main(tmp_path, tmp_path / "out")
    for name, split in (("a", "train"), ("b", "valid"), ("c", "test")):
        (utterance,) = read_manifest(tmp_path / "out" / f"{split}.jsonl")
        assert (utterance.id, utterance.speaker, utterance.video) == (name, "s1", tmp_path / "video" / f"{name}.mp4")
    main(tmp_path, tmp_path / "mpg", videos="mpg")
    assert [path.name for path in (tmp_path / "mpg").iterdir()] == ["train.jsonl"]


def test_a_name_that_is_no_id_costs_its_clip_alone(tmp_path, capsys):
    for name in ("good", "x"):
        add(tmp_path / f"{name}.align", ALIGN)
    rows = "".join(f"{name}\tvideo/{name}.mp4\ts1\n" for name in ("../x", "", "good"))
    add(tmp_path / "manifest.tsv", f"id\tpath\tspeaker\n{rows}")
    main(tmp_path, tmp_path / "out")
    assert [utterance.id for utterance in read_manifest(tmp_path / "out" / "all.jsonl")] == ["good"]
    assert capsys.readouterr().err.count("left out: ") == 2


@pytest.mark.skipif("AVSPEECH_SHARED" not in os.environ, reason="AVSPEECH_SHARED names no folder with GRID clips")
def test_the_real_corpus(tmp_path):
    main(Path(os.environ["AVSPEECH_SHARED"]) / "data" / "grid_s1", tmp_path)
    for split, count in (("train", 600), ("valid", 40), ("test", 60)):
        utterances = read_manifest(tmp_path / f"{split}.jsonl", require=("video", "audio", "text"), check_files=True)
        assert len(utterances) == count
        assert all(len(u.words) == 6 and u.words[-1].end_s <= 3 for u in utterances)
