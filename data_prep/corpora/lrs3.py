"""Manifests of LRS3-TED: 433 h of TED talks in English.

    python -m data_prep.corpora.lrs3 data/lrs3 data/lrs3/manifests --valid_ids lrs3-valid.id

Afouras, Chung and Zisserman, "LRS3-TED: a large-scale dataset for visual speech recognition", 2018, arXiv:1809.00496.

Reads   pretrain/<talk>/<clip>.mp4, trainval/..., test/..., anywhere below the root, and texts of the same folders and
        names (.txt), beside them or in another tree.
Writes  train.jsonl, valid.jsonl, test.jsonl with word times where the texts have them; losses.jsonl.
A restart replaces whole manifests.

Clips of pretrain whose last word ends at 15 s or later are cut in the middle of pauses of more than 0.4 s, as AV-HuBERT
does (``lrs.py``): utterances <clip>_0, <clip>_1, ... are parts of one file. The talk is named as the speaker. The test
set is the official one. There is no official validation set: AV-HuBERT's is a list of 1,200 clips of trainval
(avhubert/preparation/data/lrs3-valid.id of github.com/facebookresearch/av_hubert), which shares talks with its training
set. Without a list, whole talks are drawn from trainval, and what pretrain has of them is left out.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path

from jsonargparse import auto_cli

from avspeech.files import read_text_lines
from data_prep.corpora.lrs import LONGEST_S, PAUSE_S, add_clip, check_cutting, texts_by_clip
from data_prep.corpora.reader import Corpus, run
from data_prep.corpora.tree import ABSENT, NOT_ASKED, Tree, speakers_apart

LICENCE = "an agreement with the University of Oxford, for research only; the talks are CC BY-NC-ND 4.0 (TED)"
LAYOUT = "pretrain, trainval or test, a folder for each talk, and clips in it"
SETS = ("pretrain", "trainval", "test")
VALID_IDS = "lrs3-valid.id"
OF_VALID = "talk of the validation set"


def main(
    root: Path,
    out_dir: Path,
    valid_ids: Path | None = None,
    num_valid: int = 1200,
    seed: int = 0,
    pretrain: bool = True,
    longest_s: float = LONGEST_S,
    pause_s: float = PAUSE_S,
) -> None:
    """Write the manifests of LRS3.

    Args:
        root: folder of the corpus.
        out_dir: folder of the manifests.
        valid_ids: file with one clip a line, such as trainval/0Fi83BHQsMA/00002; null takes ROOT/lrs3-valid.id if it
            is there, else draws talks.
        num_valid: least number of clips of a validation set that is drawn.
        seed: of the draw.
        pretrain: also take pretrain (433 h instead of 30 h).
        longest_s: seconds from which on a clip of pretrain is cut.
        pause_s: longest pause in seconds that is not cut.
    """
    run(partial(read, root, valid_ids, num_valid, seed, pretrain, longest_s, pause_s), root, out_dir)


def read(
    root: Path,
    valid_ids: Path | None = None,
    num_valid: int = 1200,
    seed: int = 0,
    pretrain: bool = True,
    longest_s: float = LONGEST_S,
    pause_s: float = PAUSE_S,
) -> Corpus:
    """Return the corpus; options as ``main``. ValueError: no folder, no list, or an option out of range."""
    check_cutting(longest_s, pause_s)
    tree = Tree("lrs3", LICENCE, root, (".txt",))
    clips = tree.clips(lambda parts: parts[-3:] if len(parts) >= 3 and parts[-3] in SETS else None)
    valid, talks = _choose_valid(tree, clips, valid_ids, num_valid, seed)
    texts = texts_by_clip(tree)
    for name, video in clips.items():
        part, talk, _ = name
        if part == "pretrain" and (talk in talks or not pretrain):
            tree.lose(video, OF_VALID if pretrain else NOT_ASKED, "" if pretrain else "--pretrain false")
            tree.use(texts.get(name))
            continue
        split = "test" if part == "test" else "valid" if "/".join(name) in valid or talk in talks else "train"
        longest = longest_s if part == "pretrain" else float("inf")
        add_clip(tree, split, video, texts.get(name), longest, pause_s)
    return tree.finish(LAYOUT)


def _choose_valid(
    tree: Tree, clips: Collection[tuple[str, ...]], valid_ids: Path | None, num_valid: int, seed: int
) -> tuple[set[str], set[str]]:
    """Return the ids of the validation set, or the talks that make it."""
    names = {"/".join(clip) for clip in clips}
    if valid_ids is None and (tree.root / VALID_IDS).is_file():
        valid_ids = tree.root / VALID_IDS
    if valid_ids is not None:
        if not valid_ids.is_file():
            raise ValueError(f"valid_ids={valid_ids} is no file; give a list of clips, or none to draw talks")
        listed = {line.strip().removesuffix(".mp4") for line in read_text_lines(valid_ids) if line.strip()}
        for name in sorted(listed - names):
            tree.lose(name, ABSENT, valid_ids.name)
        return listed, set()
    talks = speakers_apart([talk for part, talk, _ in clips if part == "trainval"], num_valid, seed)
    what = f"{len(talks)} talks of trainval, drawn with seed {seed}, and leaves out what pretrain has of them"
    tree.note(f"No list of validation clips ({VALID_IDS}): valid is {what}.")
    return set(), talks


if __name__ == "__main__":
    auto_cli(main)
