"""Folders of videos, MuAViC and parquet: what is particular to each; ``test_readers`` has what all promise."""

import pyarrow as pa
import pytest
from pyarrow import parquet

from avspeech.files import read_lines
from avspeech.manifest import read_manifest
from data_prep.corpora import folder, huggingface, muavic
from data_prep.corpora.huggingface import Columns
from tests.data_prep.corpus_trees import add
from tests.data_prep.talk_trees import MP4, WAV, make_folder, make_muavic, make_parquet
from tests.refusals import raises


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def by_id(corpus):
    return {one.id: one for utterances in corpus.splits.values() for one in utterances}


def test_a_folder_has_spans_of_each_language_and_sounds_beside(root):
    make_folder(root)
    found = by_id(folder.read(root, language="fr"))
    assert set(found) == {"test/plain", "test/talk.de/0001", "test/talk.de/0003", "test/talk.en/0001",
                          "train/other/0001", "train/other/0003"}  # fmt: skip
    plain, anna = found["test/plain"], found["test/talk.de/0003"]
    assert (plain.text, plain.language, plain.audio, plain.end_s) == ("some words", "fr", root / "test/plain.wav", None)
    assert (anna.text, anna.language, anna.start_s, anna.end_s) == ("How are you?", "de", 5.0, 6.0)
    assert anna.speaker == "test/talk/ANNA" and anna.audio == anna.video == root / "test/talk.mp4"
    only = folder.read(root, language="fr", languages=("de", "fr"), untranscribed=True)
    assert {one.id for one in by_id(only).values()} == set(found) - {"test/talk.en/0001"} | {"alone"}
    assert [loss.what for loss in only.losses if loss.reason == "not asked for"] == ["test/talk.en.vtt"]


def test_names_with_dots_are_names(root):
    for name in ("Mr.mp4", "Mr.Fox.mp4", "v1.2.mp4", "talk.mp4"):
        add(root / name)
    for name, text in {"Mr.Fox.txt": "fox", "Mr.de.txt": "herr", "v1.2.txt": "two", "talk.pt-BR.txt": "fala"}.items():
        add(root / name, text)
    found = {one.id: (one.text, one.language) for one in by_id(folder.read(root)).values()}
    assert found == {"Mr.Fox": ("fox", None), "Mr": ("herr", "de"), "v1.2": ("two", None), "talk": ("fala", "pt")}


def test_muavic_has_crops_or_spans_of_talks_with_talks_as_speakers(root):
    make_muavic(root)
    crop = by_id(muavic.read(root))["es/a/a_0000"]
    assert crop.mouth == crop.video == root / "muavic/es/video/train/a/a_0000.mp4" and crop.crop == "official"
    assert (crop.text, crop.language, crop.speaker, crop.start_s) == ("Hola", "es", "a", None)
    assert by_id(muavic.read(root))["en/tea/00001"].text == "good morning"
    raw = by_id(muavic.read(root, pictures="raw"))["es/a/a_0003"]
    assert (raw.start_s, raw.end_s, raw.mouth) == (9.0, 9.5, None)
    assert raw.video == root / "mtedx/video/es/train/a.mp4" and raw.audio == root / "mtedx/es-es/data/train/wav/a.flac"
    lost = {loss.detail for loss in muavic.read(root, pictures="raw").losses if loss.reason == "missing video"}
    assert "gone/gone_0000, not found on YouTube" in lost
    english = muavic.read(root, languages=("en",))
    assert list(by_id(english)) == ["en/tea/00001"]
    assert {loss.what for loss in english.losses if loss.reason == "not asked for"} == {"muavic/es/video",
                                                                                       "mtedx/video/es"}  # fmt: skip
    raises(ValueError, r"wanted one for language it", muavic.read, root, languages=("it",))
    assert set(by_id(muavic.read(root / "muavic"))) == {"en/tea/00001"}  # without mTEDx's lists; crops are not listed


def test_muavics_manifest_serves_where_the_lists_of_mtedx_are_gone(root):
    add(root / "es/test.tsv", "/\ntest/d/d_0000\tv\ta\t-1\t-1\nd_0001\tv\ta\t25\t16000\n")
    add(root / "es/test.es", "uno\ndos\n")
    for name in ("d_0000", "d_0001"):
        add(root / f"es/video/test/d/{name}.mp4")
        add(root / f"es/audio/test/d/{name}.wav")
    assert {one.id: one.text for one in by_id(muavic.read(root)).values()} == {
        "es/d/d_0000": "uno",
        "es/d/d_0001": "dos",
    }


def test_parquet_becomes_files_that_a_restart_keeps(root, tmp_path):
    make_parquet(root)
    huggingface.main(root, tmp_path / "out", name="vox2", language="de", crop="official")
    one, two, three = read_manifest(tmp_path / "out/dev.jsonl", require=("video", "audio", "mouth"), check_files=True)
    assert (one.video.read_bytes(), one.audio.read_bytes()) == (MP4 + b"1", WAV)
    assert one.mouth == one.video == tmp_path / "out/media/video/id1/v/1.mp4" and one.crop == "official"
    assert (one.speaker, one.language, two.language, three.language) == ("id1", "en", "es", "de")
    assert (two.text, two.audio.suffix, three.audio) == ("hola", ".flac", root / "beside/7.wav")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) == 3 + 4 + 3 and not (tmp_path / "v").exists()
    one.video.write_bytes(MP4 + b"x")
    (tmp_path / "out/media/video/id1/v/2.part.mp4").write_bytes(b"cut")
    before = two.video.stat().st_mtime_ns
    huggingface.main(root, tmp_path / "out", name="vox2", language="de", crop="official")
    assert one.video.read_bytes() == MP4 + b"1" and two.video.stat().st_mtime_ns == before
    (row,) = (line for line in read_lines(tmp_path / "out/losses.jsonl") if line["reason"] == "empty text")
    assert row["what"] == "data/dev-00000-of-00002.parquet, row 3"
    found = by_id(huggingface.read(root, tmp_path / "more", untranscribed=True, cropped=False))
    assert found["id1/v/3"].text is None and found["id1/v/3"].mouth is None


def test_other_columns_are_named_and_wrong_ones_refused(root, tmp_path):
    table = pa.table({"clip": [MP4] * 3, "words": [b"a", " b\u00fc".encode(), b"\xff"], "label": [1, 2, 3]})
    parquet.write_table(table, root / "train.parquet")
    columns = Columns("clip", None, "words", None, None, ())
    found = by_id(huggingface.read(root, tmp_path / "media", columns, language="en"))
    assert list(found) == ["train/000000", "train/000001"] and found["train/000001"].text == "bü"
    assert found["train/000000"].audio == found["train/000000"].video
    message = r"train\.parquet has columns clip, words, label, wanted lip_video, audio, text.*--columns\.video"
    raises(ValueError, message, huggingface.read, root, tmp_path / "media")
    raises(ValueError, "column label: int64 came, wanted bytes", huggingface.read, root, tmp_path / "media",
           Columns("label", None, "words", None, None, ()))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/dev-00003-of-00109.parquet", "dev"),
        ("default/test/0003.parquet", "test"),
        ("valid.parquet", "valid"),
        ("data/train-00000-of-00001-626ef6daba04670e.parquet", "train"),
        ("train-clean-00001-of-00002.parquet", "train-clean"),
    ],
)
def test_the_split_is_in_the_name(name, split, tmp_path):
    assert huggingface.split_of(tmp_path / name) == split


def test_memory_stays_flat_however_long_a_file_is(root, tmp_path):
    def peak(rows):
        ids = pa.array([str(row) for row in range(rows)])
        clips = pa.array([MP4 + bytes(100_000)] * rows)
        table = pa.table({"id": ids, "clip": clips})
        parquet.write_table(table, root / "train.parquet", row_group_size=20, compression="none", use_dictionary=False)
        del clips, table
        before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
        pa.set_memory_pool(pool)
        try:
            corpus = huggingface.read(root, tmp_path / "m", Columns("clip", None, None, None, None, ("id",)),
                                      untranscribed=True)  # fmt: skip
        finally:
            pa.set_memory_pool(before)
        assert len(by_id(corpus)) == rows
        return pool.max_memory()

    assert peak(120) < 1.2 * peak(40) < 10_000_000  # a group of rows has 2 MB
