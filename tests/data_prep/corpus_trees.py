"""Imitations of published corpora: their folders, texts and lists, with damage as it is found in them.

Media files are a few bytes: corpus readers do not decode. A new corpus is one ``Tree`` in ``TREES``.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from data_prep.corpora import avhubert, grid, lombard_grid, lrs2, lrs3, lrw, voxceleb2

ALIGN = "0 17750 sil\n17750 22500 bin\n22500 27000 blue\n27000 28000 at\n28000 28500 sp\n28500 31000 f\n31000 74500 sil"


class Tree(NamedTuple):
    """An imitation of a corpus."""

    module: ModuleType
    make: Callable[[Path], object]
    """Write the tree into a folder that exists; no two media files have the same name."""
    sizes: Mapping[str, int]
    """Number of utterances of each split."""
    losses: Mapping[str, str]
    """Reason by the end of the path, or by the id, of what is lost."""
    options: Mapping[str, Any] = {}
    """Of the module's ``read``; paths are below the folder."""
    speakers_apart: bool = True
    """No speaker is in two splits."""


def add(path: Path, content: str = "a few bytes") -> Path:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def make_grid(root: Path) -> None:
    for speaker, name in (("s1", "bbaf1n"), ("s1", "bbaf2n"), ("s20", "bbaf3n"), ("s20", "bbaf4n"), ("s20", "bbaf5n")):
        add(root / speaker / f"{name}.mpg")
        add(root / "align" / speaker / f"{name}.align", ALIGN)
    add(root / "s1" / "bbaf6n.mp4")
    add(root / "s20" / "bbaf3n.mp4")
    (root / "s20" / "bbaf4n.mpg").write_bytes(b"")
    add(root / "align" / "s20" / "bbaf5n.align", "0 1000 sil\n")
    add(root / "align" / "s20" / "bbaf7n.align", ALIGN)
    add(root / "audio" / "s1" / "bbaf1n.wav")


GRID_LOSSES = {
    "s1/bbaf6n.mp4": "missing text",
    "s20/bbaf3n.mpg": "same clip, other file",
    "s20/bbaf4n.mpg": "empty file",
    "s20/bbaf5n.mpg": "empty text",
    "s20/bbaf7n.align": "missing video",
    "audio": "sound of its own",
}


def lrs_text(text: str, words: str = "", boxes: bool = False) -> str:
    """Return a text file of LRS2 or LRS3; ``words`` are "WORD start end" between semicolons."""
    lines = [
        f"Text:  {text}",
        "Conf:  5",
        *(["Ref:   0Fi83BHQsMA", "", "FRAME \tX \tY \tW \tH", "000001 1 2 3 4"] * boxes),
    ]
    rows = [f"{row.strip()} 5.5" for row in words.split(";")] if words else []
    return "\n".join([*lines, "", *(["WORD START END ASDSCORE", *rows] if rows else []), ""])


LONG = "HELLO 0.5 1.0; YOU 1.2 1.5; THERE 9.03 9.5; AGAIN 9.6 10.0; AND 14.0 14.2; BYE 14.7 15.1"
"""Pauses of 7.5 and 4 s are cut; of 0.5 s too."""


def make_lrs3(root: Path) -> None:
    def clip(name: str, text: str) -> None:
        add(root / f"{name}.mp4")
        add(root / f"{name}.txt", text)

    for talk, number in (("a", 3), ("b", 2), ("c", 2)):
        for clip_number in range(number):
            clip(f"trainval/{talk}/0000{clip_number}", lrs_text("HELLO {NS} YOU", boxes=True))
    clip("test/d/00009", lrs_text("GOOD BYE"))
    clip("pretrain/e/00001", lrs_text("HELLO YOU", "HELLO 0.5 1.0; YOU 1.2 14.9", boxes=True))
    clip("pretrain/e/00002", lrs_text("HELLO YOU THERE AGAIN AND BYE", LONG))
    for talk in "abc":
        clip(f"pretrain/{talk}/0000{ord(talk)}", lrs_text("HELLO", "HELLO 0 1"))
    clip("pretrain/e/00003", lrs_text("HELLO YOU", "HELLO 0.5 1.0; YOU"))
    clip("pretrain/e/00004", "HELLO YOU")
    clip("test/d/00005", lrs_text("{LG}"))
    (root / "test/d/00006.mp4").touch()
    add(root / "README.txt", "all about it")
    add(root / "test/d/00006.txt", lrs_text("HELLO"))
    add(root / "test/d/00007.txt", lrs_text("HELLO"))
    add(root / "test/d/00008.mp4")
    add(root / "spare/00010.mp4")
    add(root / "lrs3-valid.id", "trainval/b/00001\ntrainval/gone/00001\n")


LRS3_LOSSES = {
    "pretrain/e/00003.mp4": "unreadable text",
    "pretrain/e/00004.mp4": "unreadable text",
    "test/d/00005.mp4": "empty text",
    "test/d/00006.mp4": "empty file",
    "test/d/00007.txt": "missing video",
    "test/d/00008.mp4": "missing text",
    "spare/00010.mp4": "not of the layout",
    "trainval/gone/00001": "listed but missing",
}


def make_lrs2(root: Path) -> None:
    names = (
        "main/11/00001",
        "main/11/00002",
        "main/12/00003",
        "main/13/00004",
        "pretrain/14/00005",
        "pretrain/14/00006",
    )
    for name in (*names, "main/15/00007", "pretrain/15/00008"):
        add(root / "mvlrs_v1" / f"{name}.mp4")
        words = LONG if name.endswith("5") else "HELLO 0 1"
        add(root / "mvlrs_v1" / f"{name}.txt", lrs_text("HELLO", words))
    add(root / "mvlrs_v1" / "main/11/00002.txt", lrs_text(""))
    add(root / "train.txt", "11/00001\n11/00002\n")
    add(root / "val.txt", "12/00003\n12/00009\n")
    add(root / "test.txt", "13/00004 NF\n")
    add(root / "pretrain.txt", "14/00005\n14/00006\n")


LRS2_LOSSES = {
    "main/11/00002.mp4": "empty text",
    "main/15/00007.mp4": "not in any split list",
    "pretrain/15/00008.mp4": "not in any split list",
    "main/12/00009": "listed but missing",
}


def make_voxceleb2(root: Path) -> None:
    for name in ("id00012/21Uxsk56VDQ/00001", "id00012/21Uxsk56VDQ/00002", "id00015/0fijmz4vTVU/00003"):
        add(root / "dev/mp4" / f"{name}.mp4")
        add(root / "dev/aac" / f"{name}.m4a")
    add(root / "vox2_test_mp4/mp4/id00017/01dfn2spqyE/00004.mp4")
    add(root / "vox2_test_mp4/mp4/id00017/01dfn2spqyE/00005.mp4", "")
    add(root / "dev/mp4/id00019/spare.mp4")
    add(root / "dev/mp4/id00012/21Uxsk56VDQ/00001.avi")
    add(root / "languages.csv", "file,language\nid00012/21Uxsk56VDQ,en\nid00017,English\nid00015/x,fr\nid00099,de\n")


VOXCELEB2_LOSSES = {
    "dev/aac": "sound of its own",
    "00001.avi": "same clip, other file",
    "00005.mp4": "empty file",
    "spare.mp4": "not of the layout",
    "id00015/0fijmz4vTVU/00003.mp4": "not asked for",
    "id00015/x": "listed but missing",
    "id00099": "listed but missing",
}


def make_lrw(root: Path) -> None:
    for word, split, number in (
        ("ABOUT", "train", 1),
        ("ABOUT", "train", 2),
        ("WORLD", "val", 3),
        ("WORLD", "test", 4),
    ):
        stem = root / "lipread_mp4" / word / split / f"{word}_0000{number}"
        add(stem.with_suffix(".mp4"))
        add(stem.with_suffix(".txt"), f"Disk reference: 1\nClip start: 1.0 seconds\nDuration: 0.{number} seconds\n")
    add(root / "lipread_mp4/ABOUT/train/ABOUT_00002.txt", "")
    add(root / "lipread_mp4/ABOUT/train/ABOUT_00005.txt", "Duration: 0.3 seconds")
    add(root / "lipread_mp4/ABOUT/train/ABOUT_00006.mp4", "")
    add(root / "lipread_mp4/ABOUT/ABOUT_00007.mp4")


LRW_LOSSES = {
    "ABOUT_00005.txt": "missing video",
    "ABOUT_00006.mp4": "empty file",
    "ABOUT_00007.mp4": "not of the layout",
}


def phones(*times_s: float) -> list[dict]:
    """Return a word of two phones for each time."""
    ends = (("B_B", 0.0), ("IH1_E", 0.1))
    silence = [{"phone": "SIL", "offset": 0.0, "duration": 0.3}]
    return silence + [{"phone": name, "offset": at + more, "duration": 0.1} for at in times_s for name, more in ends]


def make_lombard_grid(root: Path) -> None:
    for view in ("front", "side"):
        add(root / view / "s2_l_bbim3a.mov")
        add(root / view / "s3_p_lgwbzp.mov")
    for stem in ("s2_l_bbim3a", "s3_p_lgwbzp"):
        add(root / "audio" / f"{stem}.wav")
    add(root / "alignment/s2_l_bbim3a.json", json.dumps({"s2_l_bbim3a": phones(0.4, 0.7, 1.0, 1.3, 1.6, 1.9)}))
    add(root / "alignment/s3_p_lgwbzp.json", "{")
    add(root / "front/s46_p_gbszs_WRONG_sgbszs.mov")
    add(root / "front/s27_l_bah2s_WRONG_#sil.mov")
    add(root / "front/s4_l_bbim3.mov")
    add(root / "front/s4_l_bbim3n.mov", "")
    add(root / "back/s4_l_bbim3s.mov")
    add(root / "alignment/s9_l_bbim3a.json", "{}")
    add(root / "audio/s9_l_bbim3a.wav")


LOMBARD_LOSSES = {
    "front/s27_l_bah2s_WRONG_#sil.mov": "empty text",
    "front/s4_l_bbim3.mov": "unreadable text",
    "front/s4_l_bbim3n.mov": "empty file",
    "back/s4_l_bbim3s.mov": "not of the layout",
    "s9_l_bbim3a.json": "missing video",
    "s9_l_bbim3a.wav": "sound of its own",
}


def make_avhubert(root: Path) -> None:
    def row(name: str, video: str, audio: str, lengths: str = "50\t32000") -> str:
        add(root / "video" / f"{video}.mp4") if video else None
        add(root / "audio" / f"{audio}.wav") if audio else None
        places = (f"/old/{kind}/{one or 'x/gone'}" for kind, one in (("video", video), ("audio", audio)))
        return "\t".join(
            [name, *(f"{place}.{end}" for place, end in zip(places, ("mp4", "wav"), strict=True)), lengths]
        )

    rows = [row(name, name, name) for name in ("trainval/a/1", "short-pretrain/b/2_0", "trainval/a/3")]
    add(
        root / "train.tsv",
        "\n".join(["/", *rows, row("trainval/c/4", "", ""), row("trainval/d/5", "trainval/d/5", "", "x\t1"), ""]),
    )
    add(root / "train.wrd", "hello\nyou\n\nthere\nagain\n")
    add(
        root / "test.tsv",
        "\n".join(["/", row("test/e/6", "test/e/6", "test/e/6"), row("test/e/6", "test/e/6", "test/e/6"), ""]),
    )


AVHUBERT_LOSSES = {
    "video/trainval/a/3.mp4": "empty text",
    "/old/video/x/gone.mp4": "missing file",
    "train.tsv, line 6": "unreadable text",
    "video/trainval/d/5.mp4": "not of the layout",
    "test/e/6": "duplicate id",
}

TREES = {
    "grid": Tree(grid, make_grid, {"all": 3}, GRID_LOSSES),
    "lrs3": Tree(lrs3, make_lrs3, {"train": 14, "valid": 1, "test": 1}, LRS3_LOSSES, speakers_apart=False),
    "lrs2": Tree(lrs2, make_lrs2, {"train": 6, "valid": 1, "test": 1}, LRS2_LOSSES),
    "voxceleb2": Tree(
        voxceleb2,
        make_voxceleb2,
        {"train": 2, "test": 1},
        VOXCELEB2_LOSSES,
        {"table": Path("languages.csv"), "only": ("en",)},
    ),
    "lrw": Tree(lrw, make_lrw, {"train": 2, "valid": 1, "test": 1}, LRW_LOSSES),
    "lombard_grid": Tree(lombard_grid, make_lombard_grid, {"all": 5}, LOMBARD_LOSSES),
    "avhubert": Tree(avhubert, make_avhubert, {"train": 2, "test": 1}, AVHUBERT_LOSSES),
}
