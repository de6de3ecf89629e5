"""Every text list that the house reads, with byte order marks and characters that only look like line ends."""

import ast
import codecs
import json
from pathlib import Path

import pytest

from avspeech.evaluation.outside import read_trn
from avspeech.files import read_lines, read_text, read_text_lines, split_lines
from avspeech.manifest import ManifestError, read_manifest, read_tsv, read_units
from data_prep.corpora.grid import read, read_align
from tests.refusals import raises

ODD = "one\u2028two\u0085three\x0bfour\x0cfive\u2029six\x1cseven"
"""A transcript with all that ``str.splitlines`` takes for a line end."""
MARKS = {"none": "utf-8", "UTF-8": "utf-8-sig", "UTF-16": "utf-16", "UTF-16 BE": "utf-16-be"}
ROOT = Path(__file__).parent.parent


@pytest.fixture(params=[(mark, end) for mark in MARKS for end in ("\n", "\r\n")], ids=str)
def save(request, tmp_path):
    """Return ``save(name, lines) -> path``, in each encoding and with each line end."""
    mark, end = request.param

    def save(name: str, lines: list[str]) -> Path:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        start = codecs.BOM_UTF16_BE if mark == "UTF-16 BE" else b""
        (tmp_path / name).write_bytes(start + "".join(line + end for line in lines).encode(MARKS[mark]))
        return tmp_path / name

    return save


def test_manifests(save):
    records = [{"id": "a", "text": ODD}, {"id": "b", "text": "hello"}]
    path = save("a.jsonl", [json.dumps(record, ensure_ascii=False) for record in records])
    assert [(one.id, one.text) for one in read_manifest(path)] == [("a", ODD), ("b", "hello")]
    assert read_lines(path) == records
    assert read_text(path).startswith('{"id": "a"')


def test_tsv_with_transcripts_and_units(save):
    tsv = save("a.tsv", ["root", "/x/1\tv/1.mp4\ta/1.wav\t50\t32000", "/x/2\tv/2.mp4\ta/2.wav\t9\t5760"])
    first, second = read_tsv(tsv, save("a.wrd", [ODD, "hello"]))
    assert (first.id, first.video, first.text) == ("x/1", Path("root/v/1.mp4"), ODD)
    assert (second.num_samples, second.text) == (5760, "hello")
    assert list(read_units(save("a.km", ["1 2 3", "4"]))) == [[1, 2, 3], [4]]


def test_corpora_and_hypotheses(save, tmp_path):
    (word,) = read_align(save("a.align", ["0 25000 bin"]))
    assert (word.text, word.end_s) == ("bin", 1.0)
    save("manifest.tsv", ["id\tpath\tspeaker\tsplit", "a\tb.mp4\ts1\ttest"])
    save("b.mp4", ["a clip"])
    (utterance,) = read(tmp_path).splits["test"]
    assert (utterance.video, utterance.speaker, utterance.text) == (tmp_path / "b.mp4", "s1", "bin")
    (row,) = read_trn(save("a.trn", ["hello\u2028you (s1-a)"]))
    assert row.text.startswith("hello")


def test_only_line_feeds_end_a_line():
    assert split_lines(f"{ODD}\n\nb\rc\r\n\ufeffd\n") == [ODD, "", "b\rc", "d"]
    assert split_lines("") == [] and split_lines("a") == ["a"] and split_lines("\n") == [""]


def test_what_cannot_be_read_is_said(tmp_path):
    (tmp_path / "latin.tsv").write_bytes(b"root\ncaf\xe9\tv\ta\t1\t1\n")
    (tmp_path / "empty.tsv").write_bytes(codecs.BOM_UTF8)
    raises(ManifestError, r"latin\.tsv: cannot be read", read_tsv, tmp_path / "latin.tsv")
    raises(ManifestError, r"empty\.tsv: is empty", read_tsv, tmp_path / "empty.tsv")
    raises(ManifestError, r"none\.km: cannot be read", lambda: list(read_units(tmp_path / "none.km")))
    assert read_text_lines(tmp_path / "empty.tsv") == []


def test_no_other_reader_splits_texts():
    """``splitlines`` stays where a message or a constant is split, not a file."""
    allowed = {"avspeech/hub/official.py", "avspeech/models/files.py", "avspeech/transcription/speech_activity.py"}
    allowed |= {"data_prep/pipeline.py"}  # the end of a log
    found = set()
    for path in (path for folder in ("avspeech", "data_prep") for path in (ROOT / folder).rglob("*.py")):
        names = {node.attr for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)}
        if "splitlines" in names or "readlines" in names:
            found.add(path.relative_to(ROOT).as_posix())
    assert found <= allowed, f"{found - allowed}: use avspeech.files.read_text_lines"
