"""Manifests of LRS2-BBC: 224 h of British television.

    python -m data_prep.corpora.lrs2 data/lrs2 data/lrs2/manifests

Afouras, Chung, Senior, Vinyals and Zisserman, "Deep audio-visual speech recognition", TPAMI 2018, arXiv:1809.02108.

Reads   main/<broadcast>/<clip>.mp4 and pretrain/..., anywhere below the root (mvlrs_v1/), texts of the same folders and
        names (.txt), and the official lists train.txt, val.txt, test.txt and pretrain.txt in the root, in a folder of
        it or in ``lists``. A line of test.txt is "<broadcast>/<clip> NF" or "... MV"; the mark does not count.
Writes  train.jsonl, valid.jsonl, test.jsonl with word times where the texts have them; losses.jsonl.
A restart replaces whole manifests.

Clips of pretrain are cut as those of LRS3 (``lrs.py``), and go to train. The broadcast is named as the speaker: who
speaks is not known.
"""

from functools import partial
from pathlib import Path

from jsonargparse import auto_cli

from avspeech.files import read_text_lines
from data_prep.corpora.lrs import LONGEST_S, PAUSE_S, add_clip, check_cutting, texts_by_clip
from data_prep.corpora.reader import Corpus, run
from data_prep.corpora.tree import ABSENT, NOT_ASKED, TWICE, UNLISTED, Tree

LICENCE = "an agreement with the BBC, signed by a university or research organisation, for research only"
LAYOUT = "main or pretrain, a folder for each broadcast, and clips in it"
LISTS = {"test.txt": "test", "val.txt": "valid", "train.txt": "train"}
Name = tuple[str, ...]


def main(
    root: Path,
    out_dir: Path,
    lists: Path | None = None,
    pretrain: bool = True,
    longest_s: float = LONGEST_S,
    pause_s: float = PAUSE_S,
) -> None:
    """Write the manifests of LRS2.

    Args:
        root: folder of the corpus.
        out_dir: folder of the manifests.
        lists: folder of train.txt, val.txt, test.txt and pretrain.txt; null looks in ROOT and its folders.
        pretrain: also take pretrain (195 h).
        longest_s: seconds from which on a clip of pretrain is cut.
        pause_s: longest pause in seconds that is not cut.
    """
    run(partial(read, root, lists, pretrain, longest_s, pause_s), root, out_dir)


def read(
    root: Path,
    lists: Path | None = None,
    pretrain: bool = True,
    longest_s: float = LONGEST_S,
    pause_s: float = PAUSE_S,
) -> Corpus:
    """Return the corpus; options as ``main``. ValueError: no folder, no lists, or an option out of range."""
    check_cutting(longest_s, pause_s)
    tree = Tree("lrs2", LICENCE, root, (".txt",))
    clips = tree.clips(lambda parts: parts[-3:] if len(parts) >= 3 and parts[-3] in ("main", "pretrain") else None)
    listed = _listed(tree, lists)
    if clips and not any(part == "main" for part, *_ in listed):
        raise ValueError(f"no {', '.join(LISTS)} in {lists or root}; put the official lists there, or name --lists")
    texts, has_list = texts_by_clip(tree), any(part == "pretrain" for part, *_ in listed)
    for name, video in clips.items():
        split = listed.pop(name, "train" if name[0] == "pretrain" and not has_list else None)
        if split is None or (name[0] == "pretrain" and not pretrain):
            tree.lose(video, UNLISTED if split is None else NOT_ASKED)
            tree.use(texts.get(name))
            continue
        longest = longest_s if name[0] == "pretrain" else float("inf")
        add_clip(tree, split, video, texts.get(name), longest, pause_s)
    for name in listed:
        tree.lose("/".join(name), ABSENT)
    return tree.finish(LAYOUT)


def _listed(tree: Tree, folder: Path | None) -> dict[Name, str]:
    """Return the split of each clip of the lists, test before valid before train."""
    splits: dict[Name, str] = {}
    for file, split in (LISTS | {"pretrain.txt": "train"}).items():
        places = [tree.root, *sorted({path.parent for path in tree.files if path.parent.parent == tree.root})]
        found = next((one / file for one in ([folder] if folder else places) if (one / file).is_file()), None)
        if found is None:
            continue
        tree.use(found)
        for line in filter(str.split, read_text_lines(found)):
            name = ("pretrain" if file == "pretrain.txt" else "main", *line.split()[0].removesuffix(".mp4").split("/"))
            if splits.setdefault(name, split) != split:
                tree.lose("/".join(name), TWICE, f"in {file} too, taken as {splits[name]}")
    return splits


if __name__ == "__main__":
    auto_cli(main)
