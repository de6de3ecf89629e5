"""A file or a folder gets its final name only when it is whole, whatever ends the writing."""

import json

import pytest

from avspeech import files
from avspeech.files import read_lines, write_json, write_lines, written_whole


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_file_that_was_not_finished_leaves_the_old_one(tmp_path, error):
    target = tmp_path / "clip.mp4"
    target.write_text("old")
    with pytest.raises(error), written_whole(target) as unfinished:  # noqa: PT012
        unfinished.write_text("half")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"] and target.read_text() == "old"


def test_the_temporary_name_keeps_the_suffix(tmp_path):
    with written_whole(tmp_path / "deep" / "clip.mp4") as unfinished:
        assert unfinished.suffix == ".mp4"
        unfinished.write_text("whole")
    assert (tmp_path / "deep" / "clip.mp4").read_text() == "whole"


@pytest.mark.parametrize("killed", [False, True])
def test_a_folder_is_written_whole_too_whatever_a_killed_run_left(tmp_path, killed):
    if killed:
        (tmp_path / "model.part").mkdir()
        (tmp_path / "model.part" / "left over").write_text("")
    with written_whole(tmp_path / "model") as unfinished:
        unfinished.mkdir()
        (unfinished / "config.json").write_text("{}")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "config.json"]


def test_json_lines_come_back(tmp_path):
    records = [{"text": "one\u2028two"}, {"text": "três"}]
    write_lines(tmp_path / "lines.jsonl", records)
    assert read_lines(tmp_path / "lines.jsonl") == records
    assert read_lines(tmp_path / "absent.jsonl") == []
    write_json(tmp_path / "one.json", records)
    assert json.loads((tmp_path / "one.json").read_text()) == records


def test_a_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert files.file_sha256(tmp_path / "empty").startswith("e3b0c44298fc1c14")


def test_a_place_that_cannot_be_written_is_named_with_its_option(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"--out_dir .* cannot be made a folder"):
        files.make_folder(tmp_path / "file" / "below", "--out_dir")
    with pytest.raises(ValueError, match=r"--out .* is a folder, wanted a file"):
        files.make_place(tmp_path, "--out")


def test_a_name_as_long_as_the_file_system_takes_is_written(tmp_path):
    path = tmp_path / ("y" * 250 + ".json")
    files.write_text(path, "{}")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
