"""Manifests of any folder of videos with texts beside them: .txt, or subtitles .srt and .vtt.

    python -m data_prep.corpora.folder videos data/mine --language en

Reads   videos anywhere below the root, and files beside them by name. Of talk.mp4, talk.wav (or .flac, .m4a, ...) is
        the sound, talk.txt the text of the whole video, and each cue of talk.srt or talk.vtt an utterance from
        ``start_s`` to ``end_s`` (rules: data_prep/corpora/cues.py). talk.de.srt and talk.en.srt are in languages of
        their own, and both give utterances; ``--languages`` leaves out others. Of several texts in one language the
        first of .vtt, .srt, .txt is taken.
Writes  <split>.jsonl, where a folder train, valid, val, dev or test names a split, otherwise all.jsonl; losses.jsonl.
A restart replaces whole manifests.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli

from avspeech.files import read_text
from avspeech.manifest import Utterance
from data_prep.corpora.cues import read_cues
from data_prep.corpora.reader import Corpus, run
from data_prep.corpora.tree import (
    BAD_TEXT,
    EMPTY,
    MISSING_TEXT,
    NO_TEXT,
    NOT_ASKED,
    OTHER_FILE,
    SOUNDS,
    VIDEOS,
    Tree,
    fault,
)

LICENCE = "your own: those who are seen and heard, and whoever recorded them, must have agreed"
TEXTS = (".vtt", ".srt", ".txt")
SPLITS = ("train", "valid", "val", "dev", "test")


def read(
    root: Path,
    language: str | None = None,
    languages: tuple[str, ...] = (),
    name: str | None = None,
    untranscribed: bool = False,
) -> Corpus:
    """Return the utterances of a folder; arguments as of ``main``."""
    corpus = name or root.resolve().name
    tree = Tree(corpus, LICENCE, root, TEXTS)
    texts = _texts_by_video(tree, language)
    for stem, video in _videos(tree).items():
        given = {"video": video, "audio": tree.beside(video, SOUNDS) or video, "corpus": corpus}
        spoken = texts.get(stem, {})
        tree.use(given["audio"], *(paths[0] for paths in spoken.values()))
        if damaged := next((path for path in (video, given["audio"]) if fault(path)), None):
            tree.lose(damaged, fault(damaged) or EMPTY)
            tree.use(video)
        elif untranscribed and not spoken:
            tree.add(_split(tree, video), Utterance(stem, **given, language=language))
        elif not spoken:
            tree.lose(video, MISSING_TEXT, f"wanted {video.stem}.txt, .srt or .vtt beside it, or --untranscribed true")
        added = 0
        for code, (path, *others) in spoken.items() if damaged is None else ():
            for other in others:
                tree.lose(other, OTHER_FILE, f"{path.name} is taken")
            if languages and code not in languages:
                tree.lose(path, NOT_ASKED, f"language {code}")
                continue
            own = stem if len(spoken) == 1 else f"{stem}.{code or 'unknown'}"
            for utterance in _utterances(tree, path, own, stem, given | {"language": code}):
                added += tree.add(_split(tree, video), utterance)
        if spoken and not added and not damaged:
            tree.lose(video, MISSING_TEXT, "no text beside it gives an utterance")
    return tree.finish("a text beside it")


def _videos(tree: Tree) -> dict[str, Path]:
    """Return the videos by name without ending; of several the first, the others are lost."""
    taken: dict[str, Path] = {}
    for video in tree.of(VIDEOS):
        if (first := taken.setdefault("/".join(tree.parts(video)), video)) != video:
            tree.lose(video, OTHER_FILE, f"{first.name} is taken")
    return taken


def _split(tree: Tree, video: Path) -> str:
    return next((part.lower() for part in tree.parts(video)[:-1] if part.lower() in SPLITS), "all")


def _texts_by_video(tree: Tree, language: str | None) -> dict[str, dict[str | None, list[Path]]]:
    """Return the texts by the video's name and by language, the best first."""
    videos = {"/".join(tree.parts(path)) for path in tree.of(VIDEOS)}
    found: dict[str, dict[str | None, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(tree.of(TEXTS), key=lambda path: (TEXTS.index(path.suffix.lower()), path)):
        stem, code = "/".join(tree.parts(path)), language
        plain, _, tag = stem.rpartition(".")
        if stem not in videos and re.fullmatch(r"[a-zA-Z]{2,3}([-_][\w-]+)?", tag):
            stem, code = plain, re.split("[-_]", tag.lower())[0]
        if stem in videos:
            found[stem][code].append(path)
    return found


def _utterances(tree: Tree, path: Path, own: str, stem: str, given: dict[str, Any]) -> Iterator[Utterance]:
    """Yield the utterances of a text; what it holds besides is lost."""
    with tree.losing(path, BAD_TEXT):
        if path.suffix.lower() == ".txt":
            if text := " ".join(read_text(path).split()):
                yield Utterance(own, **given, text=text)
            else:
                tree.lose(path, NO_TEXT)
            return
        cues, lost = read_cues(path)
        for number, reason, detail in lost:
            tree.lose(f"{path.relative_to(tree.root).as_posix()}, cue {number}", reason, detail)
        if not cues and not lost:
            tree.lose(path, NO_TEXT, "no cue in it")
        for cue in cues:
            speaker = cue.speaker and f"{stem}/{cue.speaker}"  # "Speaker 1" is somebody else in another video
            said = {"text": cue.text, "speaker": speaker, "start_s": cue.start_s, "end_s": cue.end_s}
            yield Utterance(f"{own}/{cue.number:04}", **(given | said))


def main(
    root: Path,
    out_dir: Path,
    language: str | None = None,
    languages: tuple[str, ...] = (),
    name: str | None = None,
    untranscribed: bool = False,
) -> None:
    """Write the manifests of a folder of videos.

    Args:
        root: folder of the videos.
        out_dir: folder of the manifests.
        language: ISO 639-1 code of texts whose name has none.
        languages: leave out texts in other languages; empty takes all.
        name: name of the corpus; null is the folder's.
        untranscribed: also take videos without a text, for pre-training.
    """
    run(lambda: read(root, language, languages, name, untranscribed), root, out_dir)


if __name__ == "__main__":
    auto_cli(main)
