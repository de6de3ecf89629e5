"""Sentences, references and their partition; none of it needs espeak-ng."""

import re
import unicodedata

import pytest

from data_prep.synthetic.texts import COMMANDS, LANGUAGES, all_commands, partition, read_sentences, reference_of
from tests.refusals import raises

SCRIPTS = {"ar": "ARABIC", "el": "GREEK", "ru": "CYRILLIC"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_text_files_are_clean(language):
    sentences = read_sentences(language)
    references = [reference_of(sentence, language) for sentence in sentences]
    assert 95 <= len(sentences) <= 110
    assert len(set(references)) == len(references)
    script = SCRIPTS.get(language, "LATIN")
    for sentence, reference in zip(sentences, references, strict=True):
        assert sentence == unicodedata.normalize("NFC", " ".join(sentence.split()))
        assert 4 <= len(reference.split()) <= 9, sentence
        assert reference == reference.lower()
        for letter in reference.replace(" ", "").replace("'", ""):
            assert unicodedata.name(letter).startswith(script), f"{letter!r} in {sentence!r}"


def test_arabic_is_referenced_without_its_vowel_marks_and_all_with_accents_and_inner_apostrophes_only():
    for sentence in read_sentences("ar"):
        marks = [letter for letter in sentence if unicodedata.combining(letter)]
        assert len(marks) >= len(sentence.split()), f"hardly vocalised: {sentence}"
        assert not any(unicodedata.combining(letter) for letter in reference_of(sentence, "ar"))
    assert reference_of("ذَهَبَ الوَلَدُ إِلَى المَدْرَسَةِ.", "ar") == "ذهب الولد إلى المدرسة"
    assert reference_of("سـلام", "ar") == "سلام"  # the stretching tatweel is no letter
    assert reference_of("¿Dónde está la Señora Ñ?", "es") == "dónde está la señora ñ"
    assert reference_of("Un po' d’acqua, l'aria - ecco!", "it") == "un po' d'acqua l'aria ecco"


@pytest.mark.parametrize("language", LANGUAGES)
def test_partition_is_disjoint_complete_and_independent_of_order(language):
    sentences = read_sentences(language)
    sets = partition(sentences, language)
    assert sorted(sentence for part in sets.values() for sentence in part) == sorted(sentences)
    assert min(map(len, sets.values())) >= 7
    assert partition(sentences[::-1], language) == sets


def test_unknown_languages_and_too_few_texts_are_refused():
    raises(ValueError, r"no sentences for language 'xx'.*en, ar, de", read_sentences, "xx")
    raises(ValueError, "command grammar knows en, es, not 'fr'", all_commands, "fr")
    raises(ValueError, "2 different texts", partition, ["a b", "A b.", "c d"], "en")


@pytest.mark.parametrize("language", COMMANDS)
def test_grammar_is_five_slots_of_different_words(language):
    slots = COMMANDS[language]
    words = [word for slot in slots for word in slot]
    assert len(slots) == 5
    assert len(words) == len(set(words)) == 30
    assert all(re.fullmatch(r"[a-zñáéíóú]+", word) for word in words)
    assert len(set(all_commands(language))) == 6**5
