"""Manifests: what is written is read, and every fault is named with its line and id."""

import json

import pytest

from avspeech.manifest import ManifestError, Utterance, Word, read_manifest, read_tsv, read_units, write_manifest
from tests.refusals import raises


def test_what_is_written_is_read_and_paths_move_with_the_folder(tmp_path):
    here = tmp_path / "here"
    files = {"video": here / "video/a/b.mp4", "audio": tmp_path / "elsewhere.wav"}
    utterance = Utterance("a/b", **files, num_frames=75, text="größe φ", words=(Word("größe", 0.1, 0.5),))
    write_manifest(here / "m.jsonl", [utterance])
    assert read_manifest(here / "m.jsonl") == [utterance]
    here.rename(tmp_path / "there")
    (moved,) = read_manifest(tmp_path / "there/m.jsonl")
    assert (moved.video, moved.audio) == (tmp_path / "there/video/a/b.mp4", tmp_path / "elsewhere.wav")
    assert not list(tmp_path.rglob("*.part"))


FAULTS = {
    "{": "line 2, id '\\?'", '["a"]': "expected a JSON object", '{"video": "x.mp4"}': "'id' is missing",
    '{"id": "b", "vidoe": "x.mp4"}': "id 'b': unknown field vidoe", '{"id": "a"}': "line 1 has the same id",
    '{"id": "b", "num_frames": -3}': "num_frames=-3", '{"id": "b", "words": [["x", 2, 1]]}': "runs from 2.0 to 1.0",
    '{"id": "b", "words": [["x", 2]]}': "line 2, id 'b'", '{"id": "../b"}': "without '..'",
}  # fmt: skip


@pytest.mark.parametrize(("line", "reason"), FAULTS.items())
def test_a_faulty_line_is_named(tmp_path, line, reason):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"id": "a"}) + "\n" + line + "\n")
    with pytest.raises(ManifestError, match=reason) as error:
        read_manifest(path)
    assert "m.jsonl, line 2" in str(error.value)


def test_what_a_step_needs_is_checked(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"id": "a", "video": "gone.mp4"}\n')
    assert len(read_manifest(path, require=["video"])) == 1
    with pytest.raises(ManifestError, match=r"id 'a': video file .*gone\.mp4 does not exist"):
        read_manifest(path, require=["video"], check_files=True)
    raises(ManifestError, "'text' is needed", read_manifest, path, require=["text"])


def test_an_empty_or_missing_manifest_is_an_error(tmp_path):
    (tmp_path / "m.jsonl").write_text("\n\n")
    for name, reason in (("m.jsonl", "no utterance"), ("none.jsonl", "cannot be read")):
        raises(ManifestError, reason, read_manifest, tmp_path / name)


def test_av_huberts_tsv_is_read(tmp_path):
    rows = "test/a/1\t/v/1.mp4\t/a/1.wav\t75\t48000\ntest/a/2\t/v/2.mp4\t/a/2.wav\t50\t32000\n"
    (tmp_path / "train.tsv").write_text(f"/\n{rows}")
    (tmp_path / "train.wrd").write_text("hello there\nbye\n")
    (tmp_path / "train.km").write_text("1 2 3\n4 5\n")
    first, second = read_tsv(tmp_path / "train.tsv", tmp_path / "train.wrd", "en")
    assert (first.id, str(first.mouth), first.num_frames, first.num_samples) == ("test/a/1", "/v/1.mp4", 75, 48000)
    assert (second.text, second.language) == ("bye", "en")
    assert list(read_units(tmp_path / "train.km")) == [[1, 2, 3], [4, 5]]
    (tmp_path / "train.tsv").write_text("/\na\tb\tc\n")
    raises(ManifestError, "line 2, id 'a': expected 5 columns", read_tsv, tmp_path / "train.tsv")
    (tmp_path / "train.tsv").write_text("/\na\tb\tc\t1\t2\n")
    raises(ManifestError, "2 lines", read_tsv, tmp_path / "train.tsv", tmp_path / "train.wrd")
