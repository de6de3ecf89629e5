"""The sentences, their references, and their partition into disjoint sets.

``texts/<language>.txt`` has about 100 everyday sentences, one a line, with capitals and punctuation. A reference is
lower case without punctuation (apostrophes inside words stay) or Arabic vowel marks, which only the speech needs.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

LANGUAGES = ("en", "ar", "de", "el", "es", "fr", "it", "pt", "ru")
FOLDER = Path(__file__).parent / "texts"
SHARES = {"train": 0.70, "valid": 0.08, "test": 0.14, "babble_test": 0.08}
"""Share of the texts by set; training babble uses the training texts."""
ARABIC_MARKS = re.compile("[\u064b-\u065f\u0670\u0640]")  # vowel marks, superscript alif, and the stretching tatweel
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*['’]?")


def read_sentences(language: str) -> list[str]:
    """Return the sentences of a language as spoken. ValueError for a language without a file."""
    path = FOLDER / f"{language}.txt"
    if not path.is_file():
        raise ValueError(f"no sentences for language {language!r}; there are {', '.join(LANGUAGES)} in {FOLDER}")
    lines = (unicodedata.normalize("NFC", line.strip()) for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def tokens_of(text: str, language: str) -> list[tuple[str, int, int]]:
    """Return the reference's words, each with start and end of its source in ``text`` (characters)."""
    marked = unicodedata.normalize("NFC", text)
    tokens = []
    for token in re.finditer(r"\S+", marked):
        letters = ARABIC_MARKS.sub("", token.group()) if language == "ar" else token.group()
        word = "".join(WORD.findall(letters)).lower().replace("’", "'")
        if word:
            tokens.append((word, token.start(), token.end()))
    return tokens


def reference_of(text: str, language: str) -> str:
    """Return the reference of a spoken text."""
    return " ".join(word for word, _, _ in tokens_of(text, language))


def partition(texts: Sequence[str], language: str) -> dict[str, list[str]]:
    """Split texts into disjoint sets by the hash of their references, for every seed and order; at least ten texts."""
    by_reference = {reference_of(text, language): text for text in texts}
    if len(by_reference) < 10:
        raise ValueError(
            f"{len(by_reference)} different texts in {language!r}: at least 10 are needed for disjoint sets"
        )
    ranked = [by_reference[reference] for reference in sorted(by_reference, key=_hash)]
    sets: dict[str, list[str]] = {}
    start, share = 0, 0.0
    for name in SHARES:
        share += SHARES[name]
        end = round(share * len(ranked))
        sets[name] = ranked[start:end]
        start = end
    return sets


def _hash(reference: str) -> bytes:
    return hashlib.sha256(reference.encode()).digest()
