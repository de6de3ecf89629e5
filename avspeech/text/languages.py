"""Codes of languages, and what somebody meant who gave none."""

import difflib
import re
from collections.abc import Collection


def check_language(language: str, known: Collection[str], who: str) -> None:
    """Raise ValueError if ``language`` is not among ``known`` codes; where these are none, if it is no ISO 639 code.

    ``who`` knows them. The message names the nearest languages.
    """
    if language in known or (not known and re.fullmatch("[a-z]{2,3}", language)):
        return
    names = _names()
    ways = {way: code for code in known or names for way in (code, names.get(code, code))}
    near = difflib.get_close_matches(language.lower(), ways, 3, cutoff=0)
    nearest = ", ".join(dict.fromkeys(f"{ways[way]} ({names.get(ways[way], ways[way])})" for way in near))
    knows = f"it knows {', '.join(known)}" if known else "wanted a code of ISO 639 such as en"
    raise ValueError(f"language={language!r} came for {who}; {knows}" + (f". Nearest: {nearest}" if near else ""))


def _names() -> dict[str, str]:
    """Return English names by code; none without openai-whisper, which has the list."""
    try:
        from whisper.tokenizer import LANGUAGES  # takes seconds, so only for a message
    except ImportError:
        return {}
    return dict(LANGUAGES)
