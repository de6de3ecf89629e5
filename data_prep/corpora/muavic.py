"""Manifests of MuAViC: TED talks in nine languages, 1,200 h, cut into sentences.

    python -m data_prep.corpora.muavic data/muavic_root data/muavic --languages '[es,fr]'

Anwar, Shi, Goswami, Hsu, Pino and Wang, "MuAViC: A multilingual audio-visual corpus for robust speech recognition and
robust speech-to-text translation", Interspeech 2023, arXiv:2303.00628. Eight languages are those of mTEDx (Salesky et
al. 2021, arXiv:2102.01757), English is LRS3.

Reads   what get_data.py of github.com/facebookresearch/muavic leaves below its --root-path, or a part of it:
        mtedx/<l>-<l>/data/<split>/txt/segments      lines "segment talk start end", in seconds
        mtedx/<l>-<l>/data/<split>/txt/<split>.<l>   a text for each segment
        mtedx/<l>-<l>/data/<split>/wav/<talk>.flac   sound of the talk
        mtedx/video/<l>/<split>/<talk>.mp4           the talk; YouTube has lost some: mtedx/not_found_videos.txt
        muavic/<l>/audio/<split>/<talk>/<segment>.wav, muavic/<l>/video/<split>/<talk>/<segment>.mp4
                                                     sound and 96x96 mouth crop of the segment
        muavic/<l>/<split>_avsr.tsv, .<l>            AV-HuBERT manifest and texts, also without "_avsr" or in
                                                     muavic_normalized/; read where mtedx/ has no segments: English
Writes  train.jsonl, valid.jsonl, test.jsonl with ``crops``: ``mouth`` and ``video`` are the crops, or raw: ``video`` is
        the talk from ``start_s`` to ``end_s``; losses.jsonl.
A restart replaces whole manifests.

Its crops were cut as AV-HuBERT's, from landmarks that come with it. Where these failed the whole picture was made
96x96, and some users got black crops (issue 23 there): look at the page of ``extract_rois --already_cropped true
--report``, or take the raw talks. A talk has one speaker, who is named by the talk. Texts stay as they are; one that
only names a sound, as "(Applausi)", is left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jsonargparse import auto_cli

from avspeech.files import read_text_lines
from avspeech.manifest import Utterance
from data_prep.corpora.reader import Corpus, run
from data_prep.corpora.tree import BAD_TEXT, MISSING_TEXT, MISSING_VIDEO, NO_TEXT, NOT_ASKED, SOUNDS, VIDEOS, Lost, Tree

LICENCE = (
    "CC BY-NC-ND 4.0 for mTEDx, CC BY-NC 4.0 for what MuAViC adds; English needs LRS3's own licence, "
    "which its authors grant to research institutions"
)
LANGUAGES = ("ar", "de", "el", "en", "es", "fr", "it", "pt", "ru")
SPLITS = ("train", "valid", "test")
MISSING_SOUND, NO_TIMES, BACKWARDS = "missing sound", "no times", "ends before it starts"
Pictures = Literal["crops", "raw"]

_SOUND = re.compile(r"\([^()]*\)|\[[^][]*\]")


@dataclass(frozen=True)
class Segment:
    """A sentence of a talk."""

    source: str
    """File and line that list it."""
    name: str
    """talk/segment; files have the same names."""
    text: str | None
    """None: the file of texts has another number of lines than the list."""
    start_s: float | None = None
    """None: only MuAViC's own manifest lists it, without times."""
    end_s: float | None = None

    @property
    def talk(self) -> str:
        return self.name.rpartition("/")[0]

    @property
    def own(self) -> str:
        return self.name.rpartition("/")[2]


@dataclass(frozen=True)
class Part:
    """One split of one language, and its folders."""

    language: str
    split: str
    muavic: Path
    """Folder of MuAViC's own files, with a folder for each language."""
    mtedx: Path

    @property
    def talks(self) -> Path:
        return self.mtedx / "video" / self.language / self.split

    @property
    def crops(self) -> Path:
        return self.muavic / self.language / "video" / self.split

    @property
    def sounds(self) -> Path:
        return self.muavic / self.language / "audio" / self.split

    @property
    def data(self) -> Path:
        return self.mtedx / f"{self.language}-{self.language}/data/{self.split}"


def read(root: Path, languages: tuple[str, ...] = (), pictures: Pictures = "crops") -> Corpus:
    """Return the utterances of MuAViC; arguments as of ``main``."""
    tree = Tree("muavic", LICENCE, root)
    muavic, mtedx = (root / name if (root / name).is_dir() else root for name in ("muavic", "mtedx"))
    gone = mtedx / "not_found_videos.txt"
    lost_talks = set(read_text_lines(gone)) if gone.is_file() else set()
    mute: set[Path] = set()
    for language in languages or LANGUAGES:
        parts = [Part(language, split, muavic, mtedx) for split in SPLITS]
        if languages and not any(part.data.is_dir() or part.crops.is_dir() for part in parts):
            raise ValueError(f"no {parts[0].data} and no {parts[0].crops}, wanted one for language {language}")
        for part in parts:
            for segment in _segments(tree, part):
                media = _media(tree, part, segment, pictures)
                tree.use(media["audio"])
                mute |= {media["audio"]} - {None} if pictures == "raw" and not media["video"] else set()
                clip = media["mouth"] or media["audio"] if pictures == "crops" else None
                with tree.losing(clip or segment.source):
                    tree.add(part.split, _utterance(language, segment, media, lost_talks))
    for sound in mute:
        tree.lose(sound, MISSING_VIDEO, "its talk")
    _pass_over(tree, muavic, mtedx, pictures, languages or LANGUAGES)
    return tree.finish("a segment that is listed" if pictures == "crops" else "a talk whose segments give utterances")


def _media(tree: Tree, part: Part, segment: Segment, pictures: Pictures) -> dict[str, Any]:
    """Return the files of a segment, None for those that are missing."""
    if pictures == "raw":
        talk = tree.at(part.talks, segment.talk, VIDEOS)
        return {"video": talk, "audio": tree.at(part.data / "wav", segment.talk, SOUNDS) or talk}
    crop = tree.at(part.crops / segment.talk, segment.own, VIDEOS)
    sound = tree.at(part.sounds / segment.talk, segment.own, SOUNDS)
    return {"video": crop, "audio": sound, "mouth": crop, "crop": "official"}


def _utterance(language: str, segment: Segment, media: dict[str, Any], lost_talks: set[str]) -> Utterance:
    """Return the utterance of a segment. Lost if it has none."""
    if segment.text is None:
        raise Lost(MISSING_TEXT, "the list and the texts beside it have different numbers of lines")
    if not re.search(r"\w", _SOUND.sub("", segment.text)):
        raise Lost(NO_TEXT, segment.text)
    if media["video"] is None:
        raise Lost(MISSING_VIDEO, f"{segment.name}{', not found on YouTube' if segment.talk in lost_talks else ''}")
    if media["audio"] is None:
        raise Lost(MISSING_SOUND, segment.name)
    said: dict[str, Any] = {"text": segment.text, "language": language, "speaker": segment.talk, "corpus": "muavic"}
    said |= {} if media.get("mouth") else _span(segment)
    return Utterance(f"{language}/{segment.name}", **media, **said)


def _span(segment: Segment) -> dict[str, float]:
    start_s, end_s = segment.start_s, segment.end_s
    if start_s is None or end_s is None:
        raise Lost(NO_TIMES, "raw talks need mtedx/<l>-<l>/data/<split>/txt/segments; for English read LRS3 itself")
    if not 0 <= start_s < end_s:
        raise Lost(BACKWARDS, f"{start_s} to {end_s} s")
    return {"start_s": start_s, "end_s": end_s}


def _segments(tree: Tree, part: Part) -> Iterator[Segment]:
    """Yield what the list of a part names, with texts."""
    own = part.muavic / part.language
    stems = (own / f"{part.split}_avsr", own / part.split, own / "muavic_normalized" / part.split)
    lists = {part.data / "txt/segments": part.data / f"txt/{part.split}.{part.language}"}
    lists |= {stem.with_name(f"{stem.name}.tsv"): stem.with_name(f"{stem.name}.{part.language}") for stem in stems}
    found = next((one for one in lists if one.is_file()), None)
    if found is None:
        return
    rows = list(enumerate(read_text_lines(found), start=1))[found.suffix == ".tsv" :]  # a tsv begins with its root
    texts = read_text_lines(lists[found]) if lists[found].is_file() else []
    for place, (number, line) in enumerate(rows):
        source = f"{found.relative_to(tree.root).as_posix()}, line {number}"
        text = " ".join(texts[place].split()) if len(texts) == len(rows) else None
        try:
            name, times = _parse(line, part.split)
            yield Segment(source, name, text, *times)
        except ValueError:
            wanted = "id, video, audio, frames, samples in tabs" if found.suffix == ".tsv" else "segment talk start end"
            tree.lose(source, BAD_TEXT, f"{line!r} came, wanted '{wanted}'")


def _parse(line: str, split: str) -> tuple[str, tuple[float, ...]]:
    """Return talk/segment and, of mTEDx's segments, start and end in seconds. ValueError if the line is not valid."""
    if "\t" in line:
        name = line.split("\t")[0].strip("/").removeprefix(f"{split}/")
        return name if "/" in name else f"{name.rpartition('_')[0]}/{name}", ()
    segment, talk, start, end = line.split()
    return f"{talk}/{segment}", (float(start), float(end))


def _pass_over(tree: Tree, muavic: Path, mtedx: Path, pictures: Pictures, languages: tuple[str, ...]) -> None:
    """Say which folders of videos are not needed: the other kind of pictures, other languages."""
    folders = {muavic / one / "video": (one, "crops") for one in LANGUAGES}
    folders |= {mtedx / "video" / one: (one, "raw") for one in LANGUAGES}
    for folder, (language, kind) in folders.items():
        if folder.is_dir() and (language not in languages or kind != pictures):
            tree.lose(folder, NOT_ASKED, f"--languages {list(languages)} --pictures {pictures}")
            tree.use(*(path for path in tree.of(VIDEOS) if folder in path.parents))


def main(root: Path, out_dir: Path, languages: tuple[str, ...] = (), pictures: Pictures = "crops") -> None:
    """Write the manifests of MuAViC.

    Args:
        root: folder that holds muavic/ and mtedx/, or one of the two.
        out_dir: folder of the manifests.
        languages: codes, such as es and fr; empty takes all that are there.
        pictures: MuAViC's own mouth crops, or raw: the talks, from which extract_rois cuts the mouth.
    """
    run(lambda: read(root, languages, pictures), root, out_dir)


if __name__ == "__main__":
    auto_cli(main)
