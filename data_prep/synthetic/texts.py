"""The commands and sentences, their references, and their partition into disjoint sets.

Commands have five slots in fixed order, like GRID's, and 30 words a language; all combinations are grammatical. Words
of a slot differ visibly in closures, rounding, lip biting or length (``tests/data_prep/test_synthetic_speech.py``).
``texts/<language>.txt`` has about 100 everyday sentences, one a line, with capitals and punctuation. A reference is
lower case without punctuation (apostrophes inside words stay) or Arabic vowel marks, which only the speech needs.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from itertools import accumulate, pairwise, product
from pathlib import Path

from avspeech.files import read_text_lines

LANGUAGES = ("en", "ar", "de", "el", "es", "fr", "it", "pt", "ru")
FOLDER = Path(__file__).parent / "texts"
SHARES = {"train": 0.70, "valid": 0.08, "test": 0.14, "babble_test": 0.08}
"""Share of the texts by set; training babble uses the training texts."""
ARABIC_MARKS = re.compile("[\u064b-\u065f\u0670\u0640]")  # vowel marks, superscript alif, and the stretching tatweel
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*['’]?")

COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "en": (
        ("move", "carry", "watch", "follow", "show", "buy"),
        ("two", "four", "five", "six", "some", "many"),
        ("blue", "purple", "white", "yellow", "silver", "gold"),
        ("boxes", "flowers", "shoes", "maps", "tomatoes", "guitars"),
        ("now", "please", "tomorrow", "forever", "slowly", "again"),
    ),
    "es": (
        ("mueve", "busca", "abre", "sigue", "compra", "pinta"),
        ("cinco", "seis", "ocho", "nueve", "once", "mil"),
        ("cajas", "flores", "mapas", "zapatos", "puertas", "huevos"),
        ("grises", "fuertes", "simples", "enormes", "rosas", "marrones"),
        ("ahora", "mañana", "siempre", "luego", "pronto", "aquí"),
    ),
}


def all_commands(language: str) -> list[str]:
    """Return all 7776 sentences of a language. ValueError for an unknown language."""
    if language not in COMMANDS:
        known = ", ".join(COMMANDS)
        raise ValueError(f"the command grammar knows {known}, not {language!r}; use text=sentences for others")
    return [" ".join(words) for words in product(*COMMANDS[language])]


def read_sentences(language: str) -> list[str]:
    """Return the sentences of a language as spoken. ValueError for a language without a file."""
    path = FOLDER / f"{language}.txt"
    if not path.is_file():
        raise ValueError(f"no sentences for language {language!r}; there are {', '.join(LANGUAGES)} in {FOLDER}")
    lines = (unicodedata.normalize("NFC", line.strip()) for line in read_text_lines(path))
    return [line for line in lines if line]


def tokens_of(text: str, language: str) -> list[tuple[str, int, int]]:
    """Return the reference's words, each with start and end of its source in ``text`` (characters)."""
    tokens = []
    for token in re.finditer(r"\S+", unicodedata.normalize("NFC", text)):
        letters = ARABIC_MARKS.sub("", token.group()) if language == "ar" else token.group()
        if word := "".join(WORD.findall(letters)).lower().replace("’", "'"):
            tokens.append((word, token.start(), token.end()))
    return tokens


def reference_of(text: str, language: str) -> str:
    """Return the reference of a spoken text."""
    return " ".join(word for word, _, _ in tokens_of(text, language))


def partition(texts: Sequence[str], language: str) -> dict[str, list[str]]:
    """Split texts into disjoint sets by the hash of their references, for every seed and order; at least ten texts."""
    by_reference = {reference_of(text, language): text for text in texts}
    if len(by_reference) < 10:
        num_texts = f"{len(by_reference)} different texts in {language!r}"
        raise ValueError(f"{num_texts}: at least 10 are needed for disjoint sets")
    ranked = sorted(by_reference, key=lambda reference: hashlib.sha256(reference.encode()).digest())
    ends = [round(share * len(ranked)) for share in accumulate(SHARES.values(), initial=0.0)]
    spans = zip(SHARES, pairwise(ends), strict=True)
    return {name: [by_reference[reference] for reference in ranked[start:end]] for name, (start, end) in spans}
