"""What is no language of a model is refused, with the names that come nearest."""

import pytest

from avspeech.text.languages import check_language
from tests.refusals import raises

pytest.importorskip("whisper", reason="openai-whisper is not installed")


@pytest.mark.parametrize("language", ["Klingon", "klingon", "english", "EN", "en_US", "deutsch", "x", ""])
@pytest.mark.parametrize("known", [("de", "en", "ln"), ()])
def test_what_is_no_code_is_refused(language, known):
    raises(
        ValueError, f"language='{language}' came for m; .*Nearest: .+ \\(.+\\)", check_language, language, known, "m"
    )


def test_the_nearest_names_are_given():
    raises(ValueError, r"it knows de, en. Nearest: en \(english\)", check_language, "Englisch", ("de", "en"), "m")
    raises(ValueError, r"wanted a code of ISO 639.*ln \(lingala\)", check_language, "Klingon", (), "m")


def test_codes_pass():
    check_language("de", ("de", "en"), "m")
    for code in ("en", "tlh", "yue"):  # a model without a list of languages has one only, which it need not name
        check_language(code, (), "m")
