"""Imitations of corpora of long recordings, and of data sets in parquet; see ``corpus_trees``."""

from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from data_prep.corpora import folder, huggingface, muavic
from tests.data_prep.corpus_trees import Tree, add

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Hello</i> there

2
00:00:03,000 --> 00:00:04,000
[music]

3
00:00:05,000 --> 00:00:06,000
ANNA: How are
you?

4
00:00:07,000 --> 00:00:09,000
One

5
00:00:07,500 --> 00:00:08,500
Two

6
00:00:11,000 --> 00:00:10,000
Three

7
00:00:12 --> 13
Four
"""


def make_folder(root: Path) -> None:
    for name in ("test/talk.mp4", "test/plain.mov", "train/other.mkv", "alone.mp4", "test/talk.webm", "train/none.mp4"):
        add(root / name)
    add(root / "test/talk.de.srt", SRT)
    add(root / "test/talk.en.vtt", "WEBVTT\n\n00:01.500 --> 00:02.000\n<v Anna>Hi</v>\n")
    add(root / "test/talk.en.txt", "Hi")
    add(root / "test/plain.txt", "some\nwords ")
    add(root / "test/plain.wav")
    add(root / "train/other.srt", SRT.split("\n4\n")[0])
    add(root / "train/none.vtt", "WEBVTT\n")
    add(root / "lost.srt", SRT)
    add(root / "single.flac")
    (root / "bad.mp4").write_bytes(b"")
    add(root / "bad.txt", "nothing")
    add(root / "train/latin.mp4")
    (root / "train/latin.txt").write_bytes(b"caf\xe9")


FOLDER_LOSSES = {
    "alone.mp4": "missing text",
    "talk.webm": "same clip, other file",
    "talk.de.srt, cue 2": "empty text",
    "talk.de.srt, cue 4": "overlapping cues",
    "talk.de.srt, cue 5": "overlapping cues",
    "talk.de.srt, cue 6": "ends before it starts",
    "talk.de.srt, cue 7": "unreadable text",
    "talk.en.txt": "same clip, other file",
    "other.srt, cue 2": "empty text",
    "none.vtt": "empty text",
    "none.mp4": "missing text",
    "lost.srt": "missing video",
    "single.flac": "sound of its own",
    "bad.mp4": "empty file",
    "latin.txt": "unreadable text",
    "latin.mp4": "missing text",
}


def make_muavic(root: Path) -> None:
    """Spanish with crops and talks, some lost on the way; German without the talks; English by its manifest alone."""
    add(root / "mtedx/not_found_videos.txt", "gone\n")
    listed = {
        "train": [("a_0000", "a", 0, 4), ("a_0001", "a", 4, 5), ("a_0002", "a", 5, 9), ("a_0003", "a", 9, 9.5),
                  ("b_0000", "b", 1, 2), ("gone_0000", "gone", 1, 2), ("a_0004", "a", 12, 11)],
        "valid": [("c_0000", "c", 0, 1)],
        "test": [("d_0000", "d", 0, 1)],
    }  # fmt: skip
    texts = {"train": ["Hola", "(Aplausos)", "sin vídeo", "sin audio", "vacío", "otro", "al revés"]}
    for split, rows in listed.items():
        lines = [" ".join(map(str, row)) for row in rows] + (["a_0005 a"] if split == "train" else [])
        said = [*texts.get(split, ["Uno"]), *(["mal"] if split == "train" else ["dos"] * (split == "valid"))]
        add(root / f"mtedx/es-es/data/{split}/txt/segments", "\n".join(lines))
        add(root / f"mtedx/es-es/data/{split}/txt/{split}.es", "\n".join(said))
        for segment, talk, *_ in rows:
            add(root / f"mtedx/es-es/data/{split}/wav/{talk}.flac")
            if talk != "gone":
                add(root / f"mtedx/video/es/{split}/{talk}.mp4")
            if segment != "a_0003":
                add(root / f"muavic/es/audio/{split}/{talk}/{segment}.wav")
            if segment not in ("a_0002", "gone_0000"):
                add(root / f"muavic/es/video/{split}/{talk}/{segment}.mp4", "" if segment == "b_0000" else "crop")
    add(root / "mtedx/video/es/test/unknown.mp4")
    add(root / "muavic/es/video/test/d/d_0099.mp4")
    rows = [f"{name}\t/far/{name}.mp4\t/far/{name}.wav\t-1\t16000" for name in ("tea/00001", "tea/00002")]
    add(root / "muavic/en/train_avsr.tsv", "\n".join(["/", *rows]))
    add(root / "muavic/en/train_avsr.en", "good morning\nand goodbye")
    add(root / "muavic/en/video/train/tea/00001.mp4")
    add(root / "muavic/en/audio/train/tea/00001.wav")


CROP_LOSSES = {
    "mtedx/video/es": "not asked for",
    "video/train/a/a_0001.mp4": "empty text",
    "audio/train/a/a_0002.wav": "missing video",
    "video/train/a/a_0003.mp4": "missing sound",
    "train/b/b_0000.mp4": "empty file",
    "audio/train/gone/gone_0000.wav": "missing video",
    "train/txt/segments, line 8": "unreadable text",
    "valid/c/c_0000.mp4": "missing text",
    "d_0099.mp4": "not of the layout",
    "en/train_avsr.tsv, line 3": "missing video",
    "mtedx/es-es": "sound of its own",
}
RAW_LOSSES = {
    "muavic/es/video": "not asked for",
    "muavic/en/video": "not asked for",
    "train/txt/segments, line 2": "empty text",
    "train/txt/segments, line 6": "missing video",
    "train/txt/segments, line 7": "ends before it starts",
    "train/txt/segments, line 8": "unreadable text",
    "valid/txt/segments, line 1": "missing text",
    "valid/c.mp4": "not of the layout",
    "wav/gone.flac": "missing video",
    "unknown.mp4": "not of the layout",
    "en/train_avsr.tsv, line 2": "missing video",
    "en/train_avsr.tsv, line 3": "missing video",
    "muavic/es/audio": "sound of its own",
    "muavic/en/audio": "sound of its own",
}

MP4, WAV = b"\0\0\0\x20ftypisom, a clip", b"RIFF\x24\0\0\0WAVE, a sound"


def make_parquet(root: Path) -> None:
    """As nguyenvulebinh/av-vox2: bytes for the clip, a struct for the sound; damage in single rows and a whole file."""
    sound = {"bytes": WAV, "path": None}
    rows = [
        ("id1", "v", "1", MP4 + b"1", sound, "good morning", "en"),
        ("id1", "v", "2", MP4 + b"2", {"bytes": WAV, "path": "a.flac"}, " hola\n", "es"),
        ("id1", "v", "1", MP4, sound, "again", "en"),
        ("id1", "v", "3", MP4, sound, "", "en"),
        ("id1", "v", "4", None, sound, "no clip", "en"),
        ("id1", "v", "5", MP4, {"bytes": None, "path": "gone.wav"}, "no sound", "en"),
        ("..", "v", "6", MP4, sound, "elsewhere", "en"),
        ("id1", "v", "7", MP4 + b"7", {"bytes": None, "path": "beside/7.wav"}, "there", None),
    ]
    names = ("spk_id", "video_id", "part_id", "lip_video", "audio", "text", "text_lang")
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) | {"en_dataset": True} for row in rows])
    (root / "data").mkdir()
    parquet.write_table(table, root / "data/dev-00000-of-00002.parquet", row_group_size=4)
    parquet.write_table(
        table.slice(0, 1).set_column(0, "spk_id", pa.array(["id2"])), root / "data/test-00000-of-00001.parquet"
    )
    whole = (root / "data/test-00000-of-00001.parquet").read_bytes()
    (root / "data/dev-00001-of-00002.parquet").write_bytes(whole[:-100])
    add(root / "beside/7.wav")
    add(root / "beside/8.mp4")


PARQUET_LOSSES = {
    "dev-00000-of-00002.parquet, row 2": "duplicate id",
    "dev-00000-of-00002.parquet, row 3": "empty text",
    "dev-00000-of-00002.parquet, row 4": "no bytes and no file",
    "dev-00000-of-00002.parquet, row 5": "no bytes and no file",
    "dev-00000-of-00002.parquet, row 6": "not usable as an id",
    "dev-00001-of-00002.parquet": "unreadable file",
    "8.mp4": "not of the layout",
}
TREES = {
    "folder": Tree(folder, make_folder, {"test": 4, "train": 2}, FOLDER_LOSSES),
    "huggingface": Tree(huggingface, make_parquet, {"dev": 3, "test": 1}, PARQUET_LOSSES, {"media_dir": Path("media")}),
    "muavic": Tree(muavic, make_muavic, {"train": 3, "test": 1}, CROP_LOSSES),
    "muavic_raw": Tree(muavic, make_muavic, {"train": 4, "test": 1}, RAW_LOSSES, {"pictures": "raw"}),
}
