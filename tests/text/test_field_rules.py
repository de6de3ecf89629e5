"""The rules of published error rates, against what is known of the code behind them."""

import pytest
from test_normalize import SENTENCES

from avspeech.text.normalize import normalize_for_scoring

RULES = {
    "fairseq": [
        ("en", "Don't STOP-now, (please)!", "don't stop-now please"),
        ("en", "3.5 % of 1,000 - it costs $5.", "3.5 of 1,000 it costs $ 5"),
        ("fr", "L'homme qu'elle a vu — « bonjour »", "l'homme qu'elle a vu bonjour"),
        ("es", "¿Qué tal? ¡Hola, señor…!", "¿qué tal ¡hola señor…"),  # 13a splits ASCII punctuation only
        ("de", "„Guten Tag“, sagte er.", "„guten tag“ sagte er"),
        ("ar", "مَرْحَبًا، كَيْفَ حَالُكَ؟", "مَرْحَبًا، كَيْفَ حَالُكَ؟"),
        ("ru", "Привет, мир! — сказал он.", "привет мир сказал он"),
        ("en", "&quot;Yes&quot; &amp; no", "yes no"),
        ("en", "... — ?!", ""),
    ],
    "muavic": [
        ("fr", "L'homme qu'elle", "lhomme quelle"),  # the apostrophes of two elisions pass for quotes
        ("fr", "L'homme.", "l'homme"),
        ("fr", "l'un, l'autre et l'eau", "lun lautre et l'eau"),
        ("it", "L\u2019acqua è 'buona', no?", "lacqua è buona no"),
        ("es", "¿Qué tal? ¡Hola, señor…!", "qué tal hola señor"),
        ("de", "„Guten Tag“, sagte 2,5 Straße-Mann.", "guten tag sagte 25 straßemann"),
        ("ar", "مَرْحَبًا، كَيْفَ حَالُكَ؟", "مرحبا كيف حالك"),
        ("fr", "e\u0301te\u0301", "ete"),
    ],
    "whisper": [
        ("en", "I can't colour twenty-one [laughs] houses, Mr. Smith!", "i can not color 21 houses mister smith"),
        ("fr", "L'homme qu'elle (rires) a vu", "l homme qu elle a vu"),
        ("es", "¿Qué tal? ¡Hola, señor…!", "qué tal hola señor"),
        (None, "I can't", "i can t"),
    ],
}


@pytest.mark.parametrize(("rule", "case"), [(rule, case) for rule, cases in RULES.items() for case in cases])
def test_each_rule_gives_what_its_original_gives(rule, case):
    language, text, wanted = case
    assert normalize_for_scoring(text, language, rule) == wanted


@pytest.mark.parametrize("rule", ["fairseq", "muavic"])
def test_twice_is_once_whatever_the_language(rule):
    for language, text, _ in SENTENCES:
        once = normalize_for_scoring(text, language, rule)
        assert normalize_for_scoring(once, language, rule) == once
        assert normalize_for_scoring(text, None, rule) == once


def test_whisper_twice_is_once_outside_english():
    for language, text, _ in SENTENCES:
        if language != "en":
            once = normalize_for_scoring(text, language, "whisper")
            assert normalize_for_scoring(once, language, "whisper") == once
