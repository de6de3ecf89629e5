"""Normalisation rules behind published error rates.

``fairseq`` and ``muavic``: MuAViC (Anwar et al. 2023, arXiv:2303.00628) and Whisper-Flamingo (Rouditchenko et al. 2024,
arXiv:2406.10082), with sacrebleu's ``13a`` tokens. ``whisper``: OpenAI's (Radford et al. 2023, arXiv:2212.04356). None
normalises to NFC, because the originals do not.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache

from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

_NEITHER_WORD_NOR_APOSTROPHE = re.compile(r"[^\w\s']")
_BETWEEN_APOSTROPHES = re.compile(r"'([^']*)'")
_13A = Tokenizer13a()


def fairseq(text: str) -> str:
    """Return the lower-case ``13a`` tokens of sacrebleu, without tokens of punctuation only.

    Only ASCII punctuation is split off: ``¿``, ``…``, Arabic punctuation and vowel marks and apostrophes stay in their
    word; symbols ($, +) are tokens.
    """
    return " ".join(_tokens(text)).lower()


def muavic(text: str) -> str:
    """Return the text normalised like MuAViC's labels of languages other than English.

    After ``fairseq``, only word characters, blanks and ``'`` stay (not combining marks: Arabic vowels, NFD accents),
    then both apostrophes of each pair are removed. Two elisions are a pair too: ``L'homme qu'elle`` gives
    ``lhomme quelle``.
    """
    bare = _NEITHER_WORD_NOR_APOSTROPHE.sub("", " ".join(_tokens(text)))
    return " ".join(_BETWEEN_APOSTROPHES.sub(r"\1", bare).lower().split())


def whisper(text: str, language: str | None) -> str:
    """Return the text after OpenAI's normaliser: the English one for ``en``, the basic one otherwise.

    English: numbers in digits, American spelling, no contractions, brackets dropped. Basic: marks become blanks, which
    splits vowelled Arabic words. Whisper-Flamingo's code divides errors by the words *before* normalisation, we do not.
    """
    return " ".join(_whisper_normalizer(language == "en")(text).split())


def _tokens(text: str) -> list[str]:
    tokens = _13A(text).split()
    return [token for token in tokens if any(unicodedata.category(letter)[0] != "P" for letter in token)]


@cache
def _whisper_normalizer(english: bool) -> Callable[[str], str]:
    from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer  # takes seconds, so at the first use

    return EnglishTextNormalizer() if english else BasicTextNormalizer()
