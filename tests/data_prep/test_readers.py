"""What every corpus reader promises, on the imitations of ``corpus_trees``."""

import os
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from avspeech.files import read_lines
from avspeech.manifest import read_manifest
from data_prep.corpora.reader import run, write_corpus
from data_prep.corpora.tree import SOUNDS, VIDEOS, speakers_apart
from tests.data_prep import corpus_trees, talk_trees
from tests.data_prep.corpus_trees import add
from tests.refusals import raises

TREES = corpus_trees.TREES | talk_trees.TREES
FAMILY = pytest.mark.parametrize("name", sorted(TREES))


def read(name, root):
    """Return the corpus of an imitation; options that are relative paths start at its root."""
    options = {key: root / one if isinstance(one, Path) else one for key, one in TREES[name].options.items()}
    return TREES[name].module.read(root, **options)


def made(name, root):
    root.mkdir()
    TREES[name].make(root)
    return read(name, root)


def media_of(root):
    files = (Path(here, file) for here, _, files in os.walk(root, followlinks=True) for file in files)
    return {path for path in files if path.suffix.lower() in VIDEOS | SOUNDS}


def utterances_of(corpus):
    return [one for utterances in corpus.splits.values() for one in utterances]


def facts_of(corpus):
    """Return what must not depend on where files are and how their endings are written."""
    return {
        (split, one.id, one.text, one.language, one.speaker, one.words, one.start_s, one.end_s)
        for split, utterances in corpus.splits.items()
        for one in utterances
    }


@FAMILY
def test_every_clip_is_an_utterance_or_a_loss_with_its_reason(name, tmp_path):
    corpus = made(name, tmp_path / "root")
    assert {split: len(utterances) for split, utterances in corpus.splits.items()} == TREES[name].sizes
    used = {path for one in utterances_of(corpus) for path in (one.video, one.audio, one.mouth)} - {None}
    lost = {tmp_path / "root" / loss.what for loss in corpus.losses}
    media = media_of(tmp_path / "root")
    assert used <= media and not used & lost
    stems = {path.stem for path in lost}  # a sound in another folder is lost with its clip
    assert [path for path in media - used - lost if not lost & set(path.parents) and path.stem not in stems] == []
    reasons = dict(TREES[name].losses)
    for loss in corpus.losses:
        (end,) = (end for end in reasons if loss.what.endswith(end))
        assert loss.reason == reasons.pop(end), loss
    assert not reasons


@FAMILY
def test_ids_are_unique_splits_are_disjoint_and_the_corpus_is_named(name, tmp_path):
    corpus = made(name, tmp_path / "root")
    utterances = utterances_of(corpus)
    assert max(Counter(one.id for one in utterances).values()) == 1
    assert {one.corpus for one in utterances} == {corpus.name}
    keys = [{(one.video or one.mouth, one.start_s) for one in split} for split in corpus.splits.values()]
    assert sum(map(len, keys)) == len(set().union(*keys)) == len(utterances)
    speakers = [{one.speaker for one in split} - {None} for split in corpus.splits.values()]
    assert not TREES[name].speakers_apart or sum(map(len, speakers)) == len(set().union(*speakers))
    for one in utterances:  # times of words count from the utterance's start
        end_s = float("inf") if one.end_s is None else one.end_s - (one.start_s or 0)
        assert all(0 <= word.start_s <= word.end_s <= end_s for word in one.words or ())
        assert one.words is None or one.text == " ".join(word.text for word in one.words)


@FAMILY
def test_the_command_writes_the_same_bytes_again_and_prints_the_licence(name, tmp_path, capsys):
    made(name, tmp_path / "root")
    folders = tmp_path / "one", tmp_path / "root" / "other"  # the second is below the root: it is not read
    for folder in (*folders, folders[1]):
        run(partial(read, name, tmp_path / "root"), tmp_path / "root", folder)
    wanted = {f"{split}.jsonl" for split in TREES[name].sizes} | {"losses.jsonl"}
    assert {path.name for path in folders[0].iterdir()} == wanted
    told = capsys.readouterr()
    assert told.out.count(TREES[name].module.LICENCE) == 3 and len(TREES[name].module.LICENCE) > 20
    assert all(f"for {reason}" in told.err for reason in TREES[name].losses.values())
    for split, number in TREES[name].sizes.items():
        one, other = (read_manifest(folder / f"{split}.jsonl", check_files=True) for folder in folders)
        assert one == other and len(one) == number
    assert read_lines(folders[0] / "losses.jsonl") == read_lines(folders[1] / "losses.jsonl")
    shutil.copytree(folders[0], tmp_path / "before")
    run(partial(read, name, tmp_path / "root"), tmp_path / "root", folders[0])
    for path in folders[0].iterdir():
        assert path.read_bytes() == (tmp_path / "before" / path.name).read_bytes()


@FAMILY
def test_linked_folders_and_capital_endings_are_read_alike(name, tmp_path):
    plain = facts_of(made(name, tmp_path / "root"))
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in sorted((tmp_path / "root").iterdir()):
        target = path.rename(tmp_path / f"far_{path.name}") if path.is_dir() else path
        (moved / path.name).symlink_to(target)
    assert facts_of(read(name, moved)) == plain
    for path in media_of(moved):
        path.rename(path.with_suffix(path.suffix.upper()))
    if TREES[name].module.__name__ not in NAME_THEIR_FILES:
        assert facts_of(read(name, moved)) == plain


NAME_THEIR_FILES = {"data_prep.corpora.huggingface"}
"""Readers of lists that spell the whole names of files."""


@FAMILY
def test_a_folder_that_is_none_or_holds_nothing_is_said(name, tmp_path):
    made(name, tmp_path / "root")
    for root in (tmp_path / "none", add(tmp_path / "a_file")):
        raises(SystemExit, rf"{root}.*wanted an existing folder", run, partial(read, name, root), root, tmp_path)
    (tmp_path / "empty").mkdir()
    raises(SystemExit, r"empty\b", run, partial(read, name, tmp_path / "empty"), tmp_path / "empty", tmp_path / "out")


@pytest.mark.parametrize("mark", ["steps.json", "rois.jsonl"])
def test_clips_that_were_made_below_the_root_are_no_part_of_the_corpus(mark, tmp_path):
    before = made("grid", tmp_path / "root")
    add(tmp_path / "root" / "prepared" / mark)
    add(tmp_path / "root" / "prepared" / "lips" / "s1" / "bbaf1n.mp4", "a mouth, larger than the video that it is of")
    assert read("grid", tmp_path / "root") == before


def test_what_was_found_is_told_with_notes_and_counts(tmp_path, capsys):
    corpus = made("grid", tmp_path / "root")
    corpus.notes.append("no official split")
    write_corpus(corpus, tmp_path / "root", tmp_path / "out")
    told = capsys.readouterr()
    assert "no official split" in told.out and "3 utterances" in told.out
    assert "left out: 1 for missing text" in told.err


def test_speakers_are_chosen_by_their_names_alone():
    clips = [f"s{number % 20}" for number in range(100)]
    chosen = speakers_apart(clips, 12, seed=0)
    assert len(chosen) == 3 and chosen == speakers_apart(reversed(clips), 12, seed=0)
    assert chosen != speakers_apart(clips, 12, seed=1)
    assert speakers_apart([*clips, "s20"], 12, seed=0) <= chosen | {"s20"}
    assert len(speakers_apart(clips, 1000, seed=0)) == 19 and not speakers_apart(["s1"] * 9, 3, seed=0)
