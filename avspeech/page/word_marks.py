"""Where two transcripts differ, word by word."""

from dataclasses import dataclass

from avspeech.evaluation.error_rate import align_words
from avspeech.text.normalize import normalize_for_scoring


@dataclass(frozen=True)
class WordMark:
    """A word of a transcript as it is shown, and how it compares with another transcript."""

    text: str
    """As it stands in the transcript; empty where only the other one has a word."""
    kind: str
    """``equal``, ``different``, ``extra`` (the other has nothing here) or ``missing`` (only the other has a word)."""
    other: str = ""
    """The other's word, in the form in which words are compared; empty for ``extra``."""


_KINDS = {"equal": "equal", "substitute": "different", "insert": "extra", "delete": "missing"}


def mark_words(text: str, other: str, language: str | None = None) -> list[WordMark]:
    """Return the words of ``text``, each compared with those of ``other``, and what is missing from it, in order.

    Words are compared as error rates are counted, without case and punctuation. What has no letters is equal to
    nothing and shown unmarked.
    """
    shown = [(word, _comparable(word, language)) for word in text.split()]
    compared = " ".join(key for _, key in shown if key)
    others = " ".join(key for key in (_comparable(word, language) for word in other.split()) if key)
    marks: list[WordMark] = []
    place = 0
    for edit in align_words(others, compared):
        while edit.hypothesis and not shown[place][1]:
            marks.append(WordMark(shown[place][0], "equal"))
            place += 1
        marks.append(WordMark(shown[place][0] if edit.hypothesis else "", _KINDS[edit.kind], edit.reference))
        place += bool(edit.hypothesis)
    return marks + [WordMark(word, "equal") for word, _ in shown[place:]]


def _comparable(word: str, language: str | None) -> str:
    """Return a word without case and punctuation, always as one word: ``well-known`` is not torn apart."""
    return normalize_for_scoring(word, language).replace(" ", "")
