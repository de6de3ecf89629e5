"""Normalisation of references and hypotheses before scoring.

``basic``, ours, ignores case, punctuation and Arabic vowel marks; ``none`` compares words as they are. The others are
those of published results; see ``field_rules``.
"""

import re
import unicodedata

from avspeech.text import field_rules

RULES = ("basic", "none", "fairseq", "whisper", "muavic")

# Vowel and reading marks of Arabic script. U+0653 to U+0655 (madda, hamza) are part of a letter and stay.
_ARABIC_MARKS = re.compile(
    r"[\u0610-\u061a\u0640\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed]"
)
_TURKIC_I = str.maketrans("I\u0130", "\u0131i")
_ANY_I = str.maketrans("\u0131\u0130", "ii")
_APOSTROPHES = str.maketrans("\u2018\u2019\u02bc\uff07", "''''")


def normalize_for_scoring(text: str, language: str | None = None, rule: str = "basic") -> str:
    """Return the text as words between single blanks; it may be empty.

    Args:
        language: ISO 639-1; ``basic`` strips the vowel marks of ``ar`` and knows the two letters i of ``tr`` and
            ``az``, ``whisper`` has its own rule for ``en``.
        rule: ``basic``: NFC, lower case, punctuation and symbols become blanks, except an apostrophe between letters
            (don't, l'homme) and a point or comma between digits (3.5). ``none``: only white space is tidied.
            Others: see ``field_rules``. ValueError: there is no such rule.
    """
    if rule == "none":
        return " ".join(text.split())
    if rule == "whisper":
        return field_rules.whisper(text, language)
    if rule == "fairseq":
        return field_rules.fairseq(text)
    if rule == "muavic":
        return field_rules.muavic(text)
    if rule != "basic":
        raise ValueError(f"normalization rule {rule!r} came, wanted one of {', '.join(RULES)}")
    text = unicodedata.normalize("NFC", text).translate(_APOSTROPHES)
    text = lower(text, language)
    if language == "ar":
        text = strip_arabic_marks(text)
    return " ".join("".join(_keep(text, place) for place in range(len(text))).split())


def lower(text: str, language: str | None = None) -> str:
    """Return text in NFC in lower case; capital and small letters i of Turkish and Azerbaijani stay pairs.

    In other languages, also where none is known, the dotless i and the dotted I are an i: the capital of one is the
    small letter's of the other.
    """
    return text.translate(_TURKIC_I if language in ("tr", "az") else _ANY_I).lower()


def strip_arabic_marks(text: str) -> str:
    """Return the text in NFC without Arabic vowel marks, doubling marks and tatweel."""
    return _ARABIC_MARKS.sub("", unicodedata.normalize("NFC", text))


def _keep(text: str, place: int) -> str:
    """Return the character, a blank for punctuation, or nothing for an invisible character."""
    letter = text[place]
    category = unicodedata.category(letter)
    if category[0] in "LNM":
        return letter
    if category == "Cf":  # zero-width joiners and direction marks: no word boundary
        return ""
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    inside_word = letter == "'" and before.isalpha() and after.isalpha()
    inside_number = letter in ".," and before.isdigit() and after.isdigit()
    return letter if inside_word or inside_number else " "


def text_language(language: str, task: str | None) -> str:
    """Return the language of the texts, for normalisation: Whisper translates into English only."""
    return "en" if task == "translate" else language


def check_rule(rule: str) -> None:
    """Raise a ValueError if there is no such rule, ImportError if its package is missing; for a configuration."""
    if rule not in RULES:
        raise ValueError(f"normalization={rule!r}: wanted one of {', '.join(RULES)}")
    normalize_for_scoring("", "", rule)
