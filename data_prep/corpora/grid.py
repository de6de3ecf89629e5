"""Manifests of the GRID corpus: six-word commands, 3 s each, 34 speakers.

    python -m data_prep.corpora.grid data/grid data/grid

Cooke, Barker, Cunningham and Shao, "An audio-visual corpus for speech perception and automatic speech recognition",
JASA 120(5), 2006; CC BY 4.0.

Reads   videos (.mpg or .mp4) and alignments (.align) anywhere below the root, matched by speaker folder (s1 ... s34)
        and name; an optional manifest.tsv in the root lists files, speakers and splits.
Writes  train.jsonl, valid.jsonl and test.jsonl, or all.jsonl without splits.
A restart replaces whole manifests.
"""

import csv
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from jsonargparse import auto_cli

from avspeech.files import read_text_lines, walk_files
from avspeech.manifest import Utterance, Word, write_manifest

UNITS_PER_SECOND = 25_000
"""Time unit of alignments is 1/25000 s; 1000 units are one video frame."""
SILENCES = {"sil", "sp"}


def main(root: Path, out_dir: Path, videos: Literal["mp4", "mpg"] | None = None) -> None:
    """Write the manifests of a GRID tree.

    Args:
        root: folder of the corpus.
        out_dir: folder of the manifests.
        videos: file type where a clip has both; null takes mp4 if there are any.
    """
    splits: dict[str, list[Utterance]] = defaultdict(list)
    failures = []
    clips = list(find_clips(root, videos))
    alignments = {(speaker_of(path, root), path.stem): path for path in _of_ending(root, "align")}
    several_speakers = len({speaker for _, _, speaker, _ in clips}) > 1
    for name, video, speaker, split in clips:
        align = alignments.get((speaker, name)) or alignments.get((None, name))
        try:
            if align is None:
                raise ValueError(f"no {name}.align of speaker {speaker} below {root}")
            words = read_align(align)
            own = f"{speaker}/{name}" if several_speakers else name  # speakers' names repeat
            facts = {"text": " ".join(word.text for word in words), "language": "en", "words": words}
            splits[split].append(Utterance(own, video, audio=video, speaker=speaker, **facts))
        except ValueError as error:  # a bad file or name is data
            failures.append(f"{video}: {error}")
    for split, utterances in splits.items():
        write_manifest(out_dir / f"{split}.jsonl", utterances)
        print(f"{len(utterances)} utterances in {out_dir / split}.jsonl")
    for failure in failures:
        print(f"left out: {failure}", file=sys.stderr)
    if not splits:
        sys.exit(f"no clip in {root}: wanted .mpg or .mp4 videos and their .align files below it")


def read_align(path: Path) -> tuple[Word, ...]:
    """Return the words of an alignment with times, without silence. ValueError if a line or the file is not valid."""
    words = []
    lines = enumerate(read_text_lines(path), start=1)
    for number, line in ((number, line) for number, line in lines if line.strip()):
        try:
            start, end, text = line.split()
            word = Word(text, int(start) / UNITS_PER_SECOND, int(end) / UNITS_PER_SECOND)
            if word.end_s < word.start_s:
                raise ValueError("it ends before it starts")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {line!r} came, wanted 'start end word' in 1/25000 s") from error
        if text not in SILENCES:
            words.append(word)
    if not words:
        raise ValueError(f"{path} holds no word")
    return tuple(words)


def speaker_of(path: Path, root: Path) -> str | None:
    """Return the folder s1, s2, ... between root and file, or None."""
    names = [part for part in path.relative_to(root).parts[:-1] if re.fullmatch(r"s\d+", part)]
    return names[-1] if names else None


def find_clips(root: Path, videos: str | None) -> Iterator[tuple[str, Path, str | None, str]]:
    """Yield name, video, speaker and split of each clip, from manifest.tsv or the folders."""
    if (root / "manifest.tsv").is_file():
        for row in csv.DictReader(read_text_lines(root / "manifest.tsv"), delimiter="\t"):
            if name := row["original"] if videos == "mpg" else row["path"]:
                yield row["id"], root / name, row.get("speaker") or None, row.get("split") or "all"
        return
    if videos is None:
        videos = "mp4" if _of_ending(root, "mp4") else "mpg"
    for path in _of_ending(root, videos):
        yield path.stem, path, speaker_of(path, root), "all"


def _of_ending(root: Path, ending: str) -> list[Path]:
    """Return the files below a folder, linked folders too, with this ending in any case."""
    return sorted(path for path in walk_files(root) if path.suffix.lower() == f".{ending}")


if __name__ == "__main__":
    auto_cli(main)
