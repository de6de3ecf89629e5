"""The files of a corpus on their way to utterances: what is not used is lost with a reason."""

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from avspeech.files import walk_files
from avspeech.manifest import Utterance
from avspeech.transcription.paths import ENDINGS
from data_prep.corpora.reader import Corpus, Loss

SOUNDS = frozenset(f".{one}" for one in "aac ac3 aif aiff amr caf flac m4a mka mp2 mp3 oga ogg opus wav wma".split())  # noqa: SIM905
"""Endings of files without a picture."""
VIDEOS = frozenset(f".{ending}" for ending in ENDINGS.split()) - SOUNDS
EMPTY, MISSING_TEXT, MISSING_VIDEO = "empty file", "missing text", "missing video"
BAD_TEXT, NO_TEXT = "unreadable text", "empty text"
TWICE, OTHER_FILE = "duplicate id", "same clip, other file"
UNLISTED, ABSENT = "not in any split list", "listed but missing"
NOT_ASKED, STRANGE = "not asked for", "not of the layout"
OWN_SOUND = "sound of its own"
OUTPUTS = {"losses.jsonl", "rois.jsonl", "steps.json"}
"""Files of folders that data_prep wrote to."""
MISSING, UNREADABLE = "missing file", "unreadable file"


class Tree:
    """The files below a folder, and the corpus that grows out of them.

    Files are compared by folder and name without ending; endings in any case. Folders below the root that data_prep
    wrote to (``OUTPUTS``) are not part of it.
    """

    def __init__(self, name: str, licence: str, root: Path, texts: Iterable[str] = ()) -> None:
        """``texts``: endings of the files that describe clips, such as ".txt". ValueError: root is no folder."""
        if not root.is_dir():
            raise ValueError(f"{root} came as the folder of {name}; wanted an existing folder; see --help")
        self.name, self.root, self.texts = name, root, frozenset(texts)
        self._corpus = Corpus(name, licence)
        self._ids: set[str] = set()
        self._used: set[Path] = set()
        self._lost: set[Path] = set()
        unreadable: dict[str, str] = {}
        files = list(walk_files(root, unreadable.setdefault))
        outputs = {path.parent for path in files if path.name in OUTPUTS} - {root}
        self.files = sorted(path for path in files if not outputs & set(path.parents)) if outputs else sorted(files)
        self._by_stem: dict[tuple[Path, str], list[Path]] = {}
        for path in self.files:
            self._by_stem.setdefault((path.parent, path.stem), []).append(path)
        for folder, reason in unreadable.items():
            self.lose(Path(folder), UNREADABLE, reason)

    def of(self, endings: Iterable[str]) -> list[Path]:
        """Return the files with one of these endings, such as ".mp4", in order of their paths."""
        wanted = frozenset(endings)
        return [path for path in self.files if path.suffix.lower() in wanted]

    def beside(self, path: Path, endings: Iterable[str]) -> Path | None:
        """Return the file of the same folder and name with one of these endings, or None."""
        return self.at(path.parent, path.stem, endings)

    def at(self, folder: Path, stem: str, endings: Iterable[str]) -> Path | None:
        """Return a file by its folder, name and possible endings, or None; an empty one only if all are."""
        wanted = frozenset(endings)
        found = [one for one in self._by_stem.get((folder, stem), []) if one.suffix.lower() in wanted]
        return next((one for one in found if not fault(one)), found[0] if found else None)

    def clips(self, name: Callable[[tuple[str, ...]], Hashable | None], ending: str = ".mp4") -> dict[Any, Path]:
        """Return the video of each clip, ``name`` being that of a file by its ``parts``, None for no clip.

        Of several files one is taken: no empty one, then of this ending, then the largest; the others are lost.
        """
        found: dict[Any, list[Path]] = {}
        for path in self.of(VIDEOS):
            if (clip := name(self.parts(path))) is not None:
                found.setdefault(clip, []).append(path)
        return {clip: self.best(files, ending) for clip, files in found.items()}

    def best(self, files: Iterable[Path], ending: str = ".mp4") -> Path:
        """Return the one file of a clip to take, as ``clips``; lose the others."""
        taken, *others = sorted(files, key=lambda path: _rank(path, ending)) if len(files := list(files)) > 1 else files
        for other in others:
            self.lose(other, fault(other) or OTHER_FILE, f"{taken.relative_to(self.root)} was taken")
        return taken

    def parts(self, path: Path) -> tuple[str, ...]:
        """Return the folders between the root and a file, and the file's name without ending."""
        return path.relative_to(self.root).with_suffix("").parts

    def add(self, split: str, utterance: Utterance, *texts: Path | None) -> bool:
        """Take an utterance, made with help of ``texts``; return False if it is lost, for a bad file or its id."""
        self.use(*texts)
        files = list(dict.fromkeys(filter(None, (utterance.video, utterance.audio, utterance.mouth))))
        for path in files:
            if reason := fault(path):
                self.lose(path, reason)
                self.use(*files)
                return False
        if utterance.id in self._ids:
            taken = not files or files[0] in self._used
            self.lose(utterance.id if taken else files[0], TWICE, utterance.id)
            return False
        self._ids.add(utterance.id)
        self._corpus.splits.setdefault(split, []).append(utterance)
        self.use(*files)
        return True

    def use(self, *paths: Path | None) -> None:
        """Note that files have served."""
        self._used.update(filter(None, paths))

    def lose(self, what: Path | str, reason: str, detail: str = "") -> None:
        """Note a loss; a path below the root is told from there on."""
        if isinstance(what, Path):
            self._lost.add(what)
            what = what.relative_to(self.root).as_posix() if what.is_relative_to(self.root) else str(what)
        self._corpus.losses.append(Loss(what, reason, detail))

    @contextmanager
    def losing(self, what: Path | str, reason: str = BAD_TEXT) -> Iterator[None]:
        """Lose what a ValueError or OSError stands for; the block ends there."""
        try:
            yield
        except (ValueError, OSError) as error:
            self.lose(what, error.reason if isinstance(error, Lost) else reason, str(error))

    def note(self, note: str) -> None:
        self._corpus.notes.append(note)

    def finish(self, layout: str) -> Corpus:
        """Return the corpus; files that served no utterance are lost. ``layout``: where its clips are looked for."""
        sounds = []
        for path in self.files:
            ending = path.suffix.lower()
            if path in self._used or path in self._lost:
                continue
            if ending in self.texts:
                if ending != ".txt" or path.parent != self.root:  # README.txt
                    self.lose(path, MISSING_VIDEO)
            elif ending in VIDEOS:
                self.lose(path, STRANGE, f"wanted {layout}")
            elif ending in SOUNDS:
                sounds.append(path)
        self._lose_sounds(sounds)
        self._corpus.losses.sort(key=lambda loss: (loss.what, loss.reason))
        return self._corpus

    def _lose_sounds(self, sounds: list[Path]) -> None:
        """Lose sounds that no clip needs; whole folders of them as one, as of corpora with a second copy of each."""
        seen = {folder for path in {*self.of(VIDEOS), *self._used} for folder in path.parents}
        count: dict[Path, int] = {}
        for path in sounds:
            blind = [folder for folder in path.parents if folder not in seen and folder.is_relative_to(self.root)]
            place = blind[-1] if blind else path
            count[place] = count.get(place, 0) + 1
        for place, number in count.items():
            self.lose(place, OWN_SOUND, f"{number} files; clips have their sound in the video" if number > 1 else "")


class Lost(ValueError):
    """A clip that cannot be used, and its ``reason``, one of those above."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason


def fault(path: Path) -> str | None:
    """Return why a file can be no clip, without decoding it, or None."""
    try:
        return None if path.stat().st_size else EMPTY
    except FileNotFoundError:
        return MISSING
    except OSError:
        return UNREADABLE


def _rank(path: Path, ending: str) -> tuple:
    reason = fault(path)
    return reason is not None, path.suffix.lower() != ending, 0 if reason else -path.stat().st_size, path


def speakers_apart(speakers: Iterable[str], number: int, seed: int) -> set[str]:
    """Return speakers whose clips together are at least ``number``; one name for each clip comes.

    The order in which speakers are taken depends on their name and the seed alone, so a split hardly changes when
    clips are added. Never all speakers.
    """
    counts = Counter(speakers)
    order = sorted(counts, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).hexdigest())
    chosen, total = set(), 0
    for name in order[:-1]:
        if total >= number:
            break
        chosen.add(name)
        total += counts[name]
    return chosen
