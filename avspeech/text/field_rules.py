"""Normalisation rules behind published error rates, one function each.

``fairseq`` and ``muavic`` are the rules of MuAViC (Anwar et al. 2023, arXiv:2303.00628) and Whisper-Flamingo
(Rouditchenko et al. 2024, arXiv:2406.10082), written from the behaviour of their code; the tokens are sacrebleu's
``13a``. ``whisper`` is OpenAI's (Radford et al. 2023, arXiv:2212.04356), from the openai-whisper package. Unlike
``basic``, none brings the text to NFC first, because the originals do not.
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
    """Return the lower-case tokens of sacrebleu's ``13a`` without those that are punctuation throughout.

    ``13a`` knows ASCII punctuation only, so an inverted question mark, an ellipsis, a low quote or Arabic
    punctuation stays attached to its word and makes it another word; apostrophes stay, symbols ($, +) are tokens.
    All languages alike: vowel marks of Arabic stay.
    """
    return " ".join(_tokens(text)).lower()


def muavic(text: str) -> str:
    """Return the text normalised like the labels of MuAViC's languages other than English.

    After the steps of ``fairseq``, only word characters, blanks and ``'`` stay; then both apostrophes of each pair are
    removed. That is meant for quotes, but two elisions are a pair too: ``L'homme qu'elle`` gives ``lhomme quelle``,
    while ``L'homme`` alone keeps its apostrophe. Combining marks are no word characters in Python, so Arabic loses its
    vowel marks, and letters with separate accents (NFD) lose the accents.
    """
    bare = _NEITHER_WORD_NOR_APOSTROPHE.sub("", " ".join(_tokens(text)))
    return " ".join(_BETWEEN_APOSTROPHES.sub(r"\1", bare).lower().split())


def whisper(text: str, language: str | None) -> str:
    """Return the text after OpenAI's normaliser: the English one for ``en``, the basic one otherwise.

    The English one spells numbers in digits, British words the American way and contractions out, and drops what is
    in brackets. The basic one turns marks into blanks, so that a vowelled Arabic word falls apart.
    The published code that offers this rule (Whisper-Flamingo's) divides the errors by the words of the
    reference *before* normalisation; here, as under any other rule, by those after it.
    """
    return " ".join(_whisper_normalizer(language == "en")(text).split())


def _tokens(text: str) -> list[str]:
    tokens = _13A(text).split()
    return [token for token in tokens if any(unicodedata.category(letter)[0] != "P" for letter in token)]


@cache
def _whisper_normalizer(english: bool) -> Callable[[str], str]:
    from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer  # takes seconds, so at the first use

    return EnglishTextNormalizer() if english else BasicTextNormalizer()
