"""What is special to each published corpus: how it is cut, split, named and listed."""

import gzip
import os
from pathlib import Path

import pytest

from avspeech.manifest import Word
from avspeech.timebase import Span
from data_prep.corpora import avhubert, lombard_grid, lrs2, lrs3, lrw, voxceleb2
from data_prep.corpora.grid import spell
from data_prep.corpora.lrs import check_cutting, cut_at_pauses, read_described
from tests.data_prep.corpus_trees import LONG, TREES, add, lrs_text
from tests.refusals import raises

NAMES = (("dev/mp4/id00012/21Uxsk56VDQ/00001", "en"), ("dev/mp4/id00015/0fijmz4vTVU/00003", "fr"))


def made(name, root):
    root.mkdir(exist_ok=True)
    TREES[name].make(root)
    return root


def by_id(corpus):
    return {one.id: (split, one) for split, utterances in corpus.splits.items() for one in utterances}


@pytest.mark.parametrize("name", ["grid", "lrs2", "lrs3", "voxceleb2", "lrw", "lombard_grid"])
def test_a_clip_in_two_files_is_one_clip(name, tmp_path):
    root, module = made(name, tmp_path / "root"), TREES[name].module
    before = module.read(root)
    (_, one), *_ = by_id(before).values()
    one.video.with_suffix(".mkv").write_text("x")
    corpus = module.read(root)
    assert corpus.splits == before.splits
    (loss,) = (loss for loss in corpus.losses if loss not in before.losses)
    assert loss.reason == "same clip, other file" and loss.what.endswith(f"{one.video.stem}.mkv")
    one.video.write_text("")
    assert by_id(module.read(root))[one.id][1].video != one.video


def test_long_clips_are_cut_in_the_middle_of_pauses_at_av_huberts_frames(tmp_path):
    """Edges in seconds by hand: pauses of 1.5 to 9.03, 10 to 14 and 14.2 to 14.7; AV-HuBERT cuts at frame int(25 s)."""
    words = read_described(add(tmp_path / "a.txt", lrs_text("X", LONG))).words
    pieces = cut_at_pauses(words)
    assert [Span.between(piece.start_s, piece.end_s) for piece in pieces] == [
        *(Span(0, int(5.265 * 25)), Span(int(5.265 * 25), 300), Span(300, int(14.45 * 25))),
        Span(int(14.45 * 25), None),
    ]
    assert [" ".join(word.text for word in piece.words) for piece in pieces] == [
        "hello you",
        "there again",
        "and",
        "bye",
    ]
    assert pieces[1].words == (Word("there", 3.79, 4.26), Word("again", 4.36, 4.76))  # from 5.24 s on
    back = [word.start_s + (piece.start_s or 0) for piece in pieces for word in piece.words]
    assert back == pytest.approx([word.start_s for word in words])
    assert cut_at_pauses(words[:-1]) == [] == cut_at_pauses([])  # it ends at 14.2 s
    assert [len(piece.words) for piece in cut_at_pauses(words, pause_s=10)] == [6]
    raises(ValueError, r"longest_s=0, pause_s=0\.4", check_cutting, 0, 0.4)
    raises(ValueError, r"pause_s=0\.01 came; wanted above 0, and 0\.08", check_cutting, 15, 0.01)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("HELLO", "no line begins with 'Text:'"),
        ("Text:  HELLO\n\nWORD START END ASDSCORE\nHELLO 0.5\n", r"line 4: 'HELLO 0\.5' came"),
        ("Text:  HELLO\n\nWORD START END ASDSCORE\nHELLO 2 1 5\n", "line 4: 'HELLO 2 1 5'"),
        ("Text:  A B\n\nWORD START END ASDSCORE\nA 2 3 5\nB 1 4 5\n", "line 5: 'B 1 4 5'"),
    ],
)
def test_a_text_file_that_cannot_be_read_says_where(content, message, tmp_path):
    raises(ValueError, message, read_described, add(tmp_path / "a.txt", content))


def test_marks_are_no_words_and_words_without_times_are_left_out(tmp_path):
    described = read_described(add(tmp_path / "a.txt", lrs_text("WELL {LG} THEN", "WELL 0 1; {LG} 1 2; THEN 2 3")))
    assert described.text == "well then" and [word.text for word in described.words] == ["well", "then"]
    assert read_described(add(tmp_path / "b.txt", lrs_text("WELL", boxes=True))).words == ()


def test_without_a_list_lrs3_draws_talks_and_keeps_them_out_of_pretrain(tmp_path):
    root = made("lrs3", tmp_path / "root")
    (root / "lrs3-valid.id").unlink()
    corpus = lrs3.read(root, num_valid=3)
    valid = {one.speaker for one in corpus.splits["valid"]}
    assert valid and not valid & {one.speaker for split in ("train", "test") for one in corpus.splits[split]}
    assert len(corpus.splits["valid"]) >= 3
    lost = {loss.what.split("/")[1] for loss in corpus.losses if loss.reason == "talk of the validation set"}
    assert lost == valid and "drawn with seed 0" in corpus.notes[0]
    assert lrs3.read(root, num_valid=3).splits == corpus.splits
    drawn = (lrs3.read(root, num_valid=1, seed=seed).splits["valid"][0].speaker for seed in range(9))
    assert len(set(drawn)) > 1
    add(tmp_path / "ids", "trainval/a/00000.mp4\n")
    listed = lrs3.read(root, valid_ids=tmp_path / "ids", pretrain=False)
    assert [one.id for one in listed.splits["valid"]] == ["trainval/a/00000"]
    assert {one.id.split("/")[0] for one in listed.splits["train"]} == {"trainval"}
    assert sum(loss.reason == "not asked for" for loss in listed.losses) == 7
    raises(ValueError, r"valid_ids=.*none is no file", lrs3.read, root, valid_ids=tmp_path / "none")


def test_texts_of_lrs3_may_be_in_a_tree_of_their_own(tmp_path):
    add(tmp_path / "videos/trainval/a/00001.mp4")
    add(tmp_path / "texts/lrs3_v0.4/trainval/a/00001.txt", lrs_text("HELLO"))
    corpus = lrs3.read(tmp_path)
    assert [one.text for one in corpus.splits["train"]] == ["hello"] and not corpus.losses


def test_lrs2_needs_its_lists_and_the_test_set_comes_first(tmp_path):
    root = made("lrs2", tmp_path / "root")
    (tmp_path / "lists").mkdir()
    for path in root.glob("*.txt"):
        path.rename(tmp_path / "lists" / path.name)
    raises(ValueError, r"no test\.txt, val\.txt, train\.txt in .*root; put", lrs2.read, root)
    add(tmp_path / "lists" / "train.txt", "11/00001\n13/00004\n")
    corpus = lrs2.read(root, lists=tmp_path / "lists", pretrain=False)
    found = by_id(corpus)
    assert {name: split for name, (split, _) in found.items()} == {
        "main/11/00001": "train", "main/12/00003": "valid", "main/13/00004": "test"}  # fmt: skip
    assert ("main/13/00004", "duplicate id") in {(loss.what, loss.reason) for loss in corpus.losses}
    (tmp_path / "lists" / "pretrain.txt").unlink()
    assert {"pretrain/15/00008", "pretrain/14/00005_3"} < by_id(lrs2.read(root, lists=tmp_path / "lists")).keys()


def test_a_gzipped_list_and_tables_of_every_shape_tell_languages_of_voxceleb2(tmp_path):
    for name, _ in NAMES:
        add(tmp_path / "root" / f"{name}.mp4")
    with gzip.open(tmp_path / "vox-en.id.gz", "wt") as file:
        file.write("dev/id00012/21Uxsk56VDQ/00001\ntest/id09999/21Uxsk56VDQ/00001\n")
    corpus = voxceleb2.read(tmp_path / "root", id_lists={"en": tmp_path / "vox-en.id.gz"}, only=("en",))
    assert [(one.id, one.language, one.speaker) for one in corpus.splits["train"]] == [
        ("dev/id00012/21Uxsk56VDQ/00001", "en", "id00012")
    ]
    assert {loss.reason for loss in corpus.losses} == {"not asked for", "listed but missing"}
    tables = (
        "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4\ten\nid00015/0fijmz4vTVU/00003.wav\tfr\n",
        "VIDEO,frames,language\n21Uxsk56VDQ,75,English\n0fijmz4vTVU,75,French\n",
        "id00012-21Uxsk56VDQ-00001 en\nid00015-0fijmz4vTVU-00003 fr\n",
        "id00012,en\nid00015/0fijmz4vTVU,fr\nid00015,de\n",
    )
    for number, content in enumerate(tables):
        corpus = voxceleb2.read(tmp_path / "root", table=add(tmp_path / f"{number}.csv", content))
        assert [one.language for one in corpus.splits["train"]] == ["en", "fr"], content
        assert not corpus.losses
    odd = voxceleb2.read(tmp_path / "root", table=add(tmp_path / "odd.csv", "id00012,en\nid00015,klingonese\n"))
    assert [one.language for one in odd.splits["train"]] == ["en", None] and "klingonese" in odd.losses[0].detail
    raises(ValueError, "came without languages", voxceleb2.read, tmp_path / "root", only=("en",))
    raises(ValueError, r"none\.csv cannot be read", voxceleb2.read, tmp_path / "root", table=tmp_path / "none.csv")
    apart = voxceleb2.read(tmp_path / "root", num_valid=1)
    assert len(apart.splits["valid"]) == len(apart.splits["train"]) == 1


def test_words_of_lrw_are_in_the_middle_of_their_clips(tmp_path):
    corpus = lrw.read(made("lrw", tmp_path / "root"))
    (word,) = by_id(corpus)["WORLD/val/WORLD_00003"][1].words
    assert word == Word("world", 0.43, 0.73)
    assert by_id(corpus)["ABOUT/train/ABOUT_00002"][1].words is None and corpus.notes[0].startswith("1 clips")


def test_lombard_grid_is_spelled_timed_and_taken_by_view_manner_and_speaker(tmp_path):
    root = made("lombard_grid", tmp_path / "root")
    found = by_id(lombard_grid.read(root))
    one = found["front/s2_l_bbim3a"][1]
    assert one.text == "bin blue in m three again" and one.speaker == "lombard_s2"
    assert one.words[1] == Word("blue", 0.7, 0.9) and one.audio == root / "audio/s2_l_bbim3a.wav"
    assert found["side/s3_p_lgwbzp"][1].words is None  # its alignment is damaged
    assert found["front/s46_p_gbszs_WRONG_sgbszs"][1].text == "set green by s zero soon"
    front = lombard_grid.read(root, view="front", manner="lombard", valid=("s3",), test=("s2",))
    assert {split: [one.id for one in some] for split, some in front.splits.items()} == {"test": ["front/s2_l_bbim3a"]}
    raises(ValueError, "speakers s2 came for valid and for test", lombard_grid.read, root, valid=("s2",), test=("s2",))
    assert spell("bbaf2n") == "bin blue at f two now" and spell("bbaw2n") is spell("bbaf2") is spell("bbaf2nn") is None
    in_milliseconds = add(tmp_path / "a.json", (root / "alignment/s2_l_bbim3a.json").read_text().replace("0.1", "100"))
    assert lombard_grid.read_words(in_milliseconds, one.text) is None


@pytest.mark.skipif("AVSPEECH_SHARED" not in os.environ, reason="AVSPEECH_SHARED names no folder with Lombard GRID")
def test_real_lombard_grid():
    root = Path(os.environ["AVSPEECH_SHARED"]) / "data" / "lombard_grid"
    corpus = lombard_grid.read(root)
    videos = sorted(path for path in root.rglob("*.mp4"))
    assert sorted(one.video for one in corpus.splits["all"]) == videos and not corpus.losses
    assert all(len(one.text.split()) == 6 for one in corpus.splits["all"])


def test_av_huberts_files_are_found_where_they_are_now_and_texts_must_match(tmp_path):
    root = made("avhubert", tmp_path / "root")
    one = avhubert.read(root, corpus="lrs3").splits["train"][1]
    assert (one.id, one.speaker, one.text, one.corpus) == ("short-pretrain/b/2_0", "b", "you", "lrs3")
    assert one.mouth == one.video == root / "video/short-pretrain/b/2_0.mp4"
    assert one.audio == root / "audio/short-pretrain/b/2_0.wav" and (one.num_frames, one.num_samples) == (50, 32_000)
    (root / "video").rename(tmp_path / "moved")
    (root / "audio").rename(tmp_path / "moved" / "audio")
    moved = avhubert.read(root, media=tmp_path / "moved").splits["train"]
    assert moved[1].mouth == tmp_path / "moved/short-pretrain/b/2_0.mp4"
    add(root / "train.wrd", "hello\n")
    raises(ValueError, r"train\.wrd has 1 lines, .*train\.tsv has 5 clips", avhubert.read, root)
