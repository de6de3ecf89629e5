"""Clips to try the page with, and the models that it offers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock

from avspeech.manifest import Utterance, read_manifest
from avspeech.transcription.speech_model import SpeechModel


class Shelf:
    """The models of a page, each loaded when it is first asked for and then kept.

    Args:
        names: what visitors may choose; nothing else is ever loaded.
        load: gives the model of a name.
    """

    def __init__(self, names: Sequence[str], load: Callable[[str], SpeechModel]) -> None:
        if not names:
            raise ValueError("no model came, wanted at least one name or path; see --models")
        self.names = list(dict.fromkeys(names))
        self._load, self._loaded, self._lock = load, {}, Lock()

    def take(self, name: str) -> SpeechModel:
        """Return a model.

        Raises:
            ValueError: the page does not offer it, or it cannot be loaded.
        """
        if name not in self.names:
            raise ValueError(f"model {name!r} came, wanted one of {', '.join(self.names)}")
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            return self._loaded[name]


def choose_examples(manifest: Path, count: int = 2) -> list[Utterance]:
    """Return the first clips with a video of a manifest, of as many languages as there are.

    Raises:
        ValueError: it cannot be read, or a line has no video.
    """
    utterances = read_manifest(manifest, require=("video",))
    first_of: dict[str | None, Utterance] = {}
    for one in utterances:
        first_of.setdefault(one.language, one)
    rest = [one for one in utterances if one is not first_of[one.language]]
    return [*first_of.values(), *rest][:count]
