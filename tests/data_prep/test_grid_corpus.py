"""GRID trees of every layout become manifests with words and their times."""

import os
from pathlib import Path

import pytest

from avspeech.manifest import Word, read_manifest
from data_prep.corpora.grid import main, read, read_align
from tests.data_prep.corpus_trees import ALIGN, add
from tests.refusals import raises


def test_times_are_seconds_silence_is_dropped_and_a_bad_alignment_names_its_file(tmp_path):
    words = read_align(add(tmp_path / "a.align", ALIGN))
    assert words[0] == Word("bin", 0.71, 0.9)
    assert [word.text for word in words] == ["bin", "blue", "at", "f"]
    for content in ("1000 bin\n", "a b bin\n", "0 74500 sil\n", "2000 1000 bin\n"):
        raises(ValueError, r"bad\.align", read_align, add(tmp_path / "bad.align", content))


def test_a_tree_of_several_speakers_keeps_equal_names_apart_and_reports_clips_without_alignment(tmp_path):
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
    (loss,) = read(tmp_path).losses
    assert (loss.what, loss.reason) == ("s20/lonely.mpg", "missing text") and "s20" in loss.detail
    add(tmp_path / "single" / "s1" / "good.mp4")
    add(tmp_path / "single" / "s1" / "good.align", ALIGN)
    main(tmp_path / "single", tmp_path / "one")  # a single speaker: names suffice
    assert [utterance.id for utterance in read_manifest(tmp_path / "one" / "all.jsonl")] == ["good"]


def test_each_clip_is_found_whatever_its_ending_and_is_one_clip(tmp_path):
    """Found: a tree of 108 clips in .mpg, three of them also in .mp4, gave 3 utterances."""
    for name in ("a", "b", "c"):
        add(tmp_path / "s2" / f"{name}.mpg")
        add(tmp_path / "s2" / f"{name}.align", ALIGN)
    add(tmp_path / "s2" / "b.mp4")
    (tmp_path / "s2" / "c.mp4").touch()  # a copy that failed
    corpus = read(tmp_path)
    assert [utterance.video.name for utterance in corpus.splits["all"]] == ["a.mpg", "b.mp4", "c.mpg"]
    assert [(loss.what, loss.reason) for loss in corpus.losses] == [
        ("s2/b.mpg", "same clip, other file"),
        ("s2/c.mp4", "empty file"),
    ]
    assert [one.video.name for one in read(tmp_path, videos="mpg").splits["all"]] == ["a.mpg", "b.mpg", "c.mpg"]


def test_a_table_gives_files_and_splits(tmp_path):
    for name in "abc":
        add(tmp_path / "align" / f"{name}.align", ALIGN)
        add(tmp_path / "video" / f"{name}.mp4")
    add(tmp_path / "mpg" / "original.mpg")
    add(tmp_path / "video" / "unlisted.mp4")
    header = "id\tpath\twords\tn_frames\tduration\tspeaker\tsplit\toriginal\tnotes\n"
    rows = [f"{name}\tvideo/{name}.mp4\t\t75\t3.0\ts1\t{split}\t{original}\t\n" for name, split, original in (
        ("a", "train", "mpg/original.mpg"), ("b", "valid", ""), ("c", "test", ""), ("gone", "test", ""))]  # fmt: skip
    add(tmp_path / "manifest.tsv", header + "".join(rows))
    corpus = read(tmp_path)
    for name, split in (("a", "train"), ("b", "valid"), ("c", "test")):
        (utterance,) = corpus.splits[split]
        assert (utterance.id, utterance.speaker, utterance.video) == (name, "s1", tmp_path / "video" / f"{name}.mp4")
    assert {(loss.what, loss.reason) for loss in corpus.losses} == {
        ("mpg/original.mpg", "same clip, other file"),
        ("video/unlisted.mp4", "not in any split list"),
        ("gone", "listed but missing"),
    }
    original = read(tmp_path, videos="mpg")
    assert original.splits["train"][0].video == tmp_path / "mpg" / "original.mpg" and len(original.splits["test"]) == 1
    add(tmp_path / "manifest.tsv", "clip\nx\n")
    raises(ValueError, r"manifest\.tsv has columns clip; wanted id and path", read, tmp_path)


def test_a_name_that_is_no_id_costs_its_clip_alone(tmp_path):
    for name in ("good", "x"):
        add(tmp_path / f"{name}.align", ALIGN)
        add(tmp_path / f"{name}.mp4")
    rows = "".join(f"{name}\t{path}.mp4\ts1\n" for name, path in (("../x", "x"), ("", "x"), ("good", "good")))
    add(tmp_path / "manifest.tsv", f"id\tpath\tspeaker\n{rows}")
    corpus = read(tmp_path)
    assert [utterance.id for utterance in corpus.splits["all"]] == ["good"]
    assert [loss.what for loss in corpus.losses if loss.what == "x.mp4"]


@pytest.mark.skipif("AVSPEECH_SHARED" not in os.environ, reason="AVSPEECH_SHARED names no folder with GRID clips")
def test_the_real_corpus(tmp_path):
    main(Path(os.environ["AVSPEECH_SHARED"]) / "data" / "grid_s1", tmp_path)
    for split, count in (("train", 600), ("valid", 40), ("test", 60)):
        utterances = read_manifest(tmp_path / f"{split}.jsonl", require=("video", "audio", "text"), check_files=True)
        assert len(utterances) == count
        assert all(len(u.words) == 6 and u.words[-1].end_s <= 3 for u in utterances)
