"""Scoring normalisation, sentence by sentence in the nine languages."""

import unicodedata

import pytest

from avspeech.text.normalize import normalize_for_scoring, strip_arabic_marks

SENTENCES = [
    ("en", "It's past experience, based on SIMILAR situations!", "it's past experience based on similar situations"),
    ("en", "'Don\u2019t' stop-now (please) 3.5 %", "don't stop now please 3.5"),
    ("de", "\u201eGuten Tag\u201c, sagte Stra\u00dfe-Mann: 2,5.", "guten tag sagte stra\u00dfe mann 2,5"),
    ("el", "Καλημέρα, πώς ΕΊΣΤΕ;", "καλημέρα πώς είστε"),
    ("es", "¿Qué tal? ¡Hola, señor…!", "qué tal hola señor"),
    ("fr", "L'homme qu'elle a vu — « bonjour »", "l'homme qu'elle a vu bonjour"),
    ("it", "L\u2019acqua è 'buona', no?", "l'acqua è buona no"),
    ("pt", "Não sei—talvez; “oi”", "não sei talvez oi"),
    ("ru", "Привет, мир! — сказал он.", "привет мир сказал он"),
    ("ar", "مَرْحَبًا، كَيْفَ حَالُكَ؟", "مرحبا كيف حالك"),
]


@pytest.mark.parametrize(("language", "text", "wanted"), SENTENCES)
def test_what_is_said_remains(language, text, wanted):
    assert normalize_for_scoring(text, language) == wanted


@pytest.mark.parametrize(("language", "text", "_"), SENTENCES)
def test_twice_is_once_and_composition_does_not_matter(language, text, _):
    once = normalize_for_scoring(text, language)
    assert normalize_for_scoring(once, language) == once
    assert normalize_for_scoring(unicodedata.normalize("NFD", text), language) == once


def test_vowel_marks_go_in_arabic_only_and_letters_with_hamza_stay():
    for marked, bare in (("كَتَبَ", "كتب"), ("الشَّمْس", "الشمس"), ("عـــربي", "عربي"), ("آ أ إ ؤ ئ ء", "آ أ إ ؤ ئ ء")):
        assert strip_arabic_marks(marked) == bare
    assert strip_arabic_marks(unicodedata.normalize("NFD", "آ أ إ")) == "آ أ إ"
    assert strip_arabic_marks("où été") == "où été"
    assert normalize_for_scoring("كَتَبَ", "fa") == "كَتَبَ"


def test_invisible_characters_do_not_split_words_and_only_punctuation_leaves_nothing():
    assert normalize_for_scoring("a\u200bb\u200ec \ufeffd") == "abc d"
    assert normalize_for_scoring("... — ?!") == normalize_for_scoring("") == ""


def test_the_rule_none_keeps_words_as_they_stand():
    assert normalize_for_scoring("  Hello,\n World! ", "en", rule="none") == "Hello, World!"


def test_an_unknown_rule_is_named_in_the_error():
    with pytest.raises(ValueError, match="rule 'strict' came, wanted one of basic, none"):
        normalize_for_scoring("a", "en", rule="strict")


@pytest.mark.parametrize("language", ["tr", "az"])
def test_turkish_letters_i_are_two(language):
    pairs = [
        ("DIŞARI ÇIKIN", "dışarı çıkın"),
        ("İSTANBUL", "istanbul"),
        ("I\u0307ZMİR", "izmir"),
        ("Isı, İsi", "ısı isi"),
    ]
    for upper, lower in pairs:
        assert normalize_for_scoring(upper, language) == normalize_for_scoring(lower, language) == lower
    assert normalize_for_scoring("kızı", language) != normalize_for_scoring("kizi", language)


@pytest.mark.parametrize("language", [None, "en", "de"])
def test_dotted_and_dotless_i_are_one_where_the_language_is_another(language):
    for text in ("ISPARTA", "ısparta", "İSPARTA", "I\u0307sparta", "isparta"):
        assert normalize_for_scoring(text, language) == "isparta"
