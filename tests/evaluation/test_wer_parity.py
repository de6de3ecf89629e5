"""Error counts against jiwer itself on texts as they come, and against NIST's sclite."""

import random
import re
from pathlib import Path

import jiwer
import pytest
from sclite import Sums, needs_sclite, run_sclite

from avspeech.evaluation.error_rate import ErrorCounts, count_errors, total
from avspeech.evaluation.trn import write_trn
from avspeech.text.normalize import normalize_for_scoring

ALPHABETS = {
    "Latin": "abcdefghijklmnopqrstuvwxyzàéîøßABC'",
    "Cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяЁ",
    "Greek": "αβγδεζηθικλμνξοπρστυφχψωάέή",
    "Arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهويءأة",
    "Devanagari": "अआइईउकखगघचछजझटठडढतथदधनपफबभमयरलवशसह",
}
MARKS = {"Arabic": "\u064b\u064e\u0651\u0652", "Devanagari": "\u093e\u093f\u0940\u0947\u094d\u0902"}
LATIN_MARKS = "\u0301\u0308\u0327"
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
PLAIN, ODD = (" ", " ", " ", "  ", "    "), ("\u00a0", "\t", "\u2003", "\u3000", " \u00a0 ", "\n")


def word(draw: random.Random, script: str, longest: int = 6) -> str:
    marks, letters = MARKS.get(script, LATIN_MARKS), []
    for _ in range(draw.randrange(1, longest)):
        letters.append(draw.choice(ALPHABETS[script]))
        if draw.random() < 0.1:
            letters.append(draw.choice(marks))
        if draw.random() < 0.02:
            letters.append(draw.choice(INVISIBLE))
    return "".join(letters)


def random_pairs(count: int, seed: int, blanks: tuple[str, ...]) -> list[tuple[str, str]]:
    """Texts of up to 14 words in five scripts and what an erring listener makes of them; some are empty."""
    draw, pairs = random.Random(seed), []
    for number in range(count):
        script = list(ALPHABETS)[number % len(ALPHABETS)]
        words = [word(draw, script) for _ in range(20)]  # few, so that words come again
        reference = [draw.choice(words) for _ in range(draw.randrange(15))]
        rate, hypothesis = draw.choice([0.0, 0.1, 0.3, 0.6, 1.0]), []
        for spoken in reference:
            error = draw.choice("sdi") if draw.random() < rate else ""
            hypothesis += {"": [spoken], "s": [draw.choice(words)], "d": [], "i": [spoken, draw.choice(words)]}[error]
        if not reference and draw.random() < 0.5:
            hypothesis = [draw.choice(words)]
        pairs.append((joined(draw, reference, blanks), joined(draw, hypothesis, blanks)))
    return pairs


def joined(draw: random.Random, words: list[str], blanks: tuple[str, ...]) -> str:
    text = "".join(one + draw.choice(blanks) for one in words)
    return draw.choice(("", *blanks)) + (text if draw.random() < 0.5 else text.strip())


def tidy(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def same_as_jiwer(counts: ErrorCounts, words: jiwer.WordOutput, characters: jiwer.CharacterOutput) -> bool:
    found = (counts.substitutions, counts.deletions, counts.insertions, counts.wer, counts.num_words)
    wanted = (words.substitutions, words.deletions, words.insertions, words.wer, sum(map(len, words.references)))
    return found == wanted and counts.cer == characters.cer


@pytest.mark.parametrize("blanks", [PLAIN, PLAIN + ODD], ids=["blanks", "any white space"])
def test_pairs_in_five_scripts_agree_with_jiwer_to_the_digit(blanks):
    pairs = random_pairs(1500, seed=len(blanks), blanks=blanks)
    # jiwer takes plain blanks as they come; of other white space it makes letters of a word
    texts = pairs if blanks == PLAIN else [(tidy(reference), tidy(hypothesis)) for reference, hypothesis in pairs]
    counts = [count_errors(*pair) for pair in pairs]
    for pair, text, found in zip(pairs, texts, counts, strict=True):
        characters = jiwer.process_characters(tidy(pair[0]), tidy(pair[1]))
        assert same_as_jiwer(found, jiwer.process_words(*text), characters), pair
    references, hypotheses = map(list, zip(*texts, strict=True))
    assert total(counts).wer == jiwer.wer(references, hypotheses)
    assert total(counts).cer == jiwer.cer([tidy(one) for one in references], [tidy(one) for one in hypotheses])
    empty = [counts for (reference, _), counts in zip(texts, counts, strict=True) if not reference.strip()]
    assert len(empty) > 30
    assert {one.word_errors for one in empty} == {0, 1}


def test_every_white_space_parts_words_and_nothing_invisible_does():
    assert count_errors("one two", "one\u00a0two") == count_errors("one two", "one two")
    assert jiwer.wer("one two", "one\u00a0two") == 1.0  # why texts are tidied before jiwer sees them
    assert count_errors("one two", "one\u200b two").substitutions == 1
    assert count_errors("onetwo", "one\u200btwo").num_words == 1


def test_a_mark_makes_another_word_until_texts_are_normalised():
    composed, apart = "caf\u00e9", "cafe\u0301"
    assert count_errors(composed, apart).substitutions == 1
    assert count_errors(*(normalize_for_scoring(text) for text in (composed, apart))).word_errors == 0


def test_what_is_empty_counts_as_stated():
    """One utterance and a corpus of it; the same as jiwer's own figures."""
    for reference, hypothesis, rate in (("", "", 0.0), ("", "one two", 2.0), ("one two", "", 1.0)):
        assert count_errors(reference, hypothesis).wer == jiwer.wer(reference, hypothesis) == rate
        assert total([count_errors(reference, hypothesis)]).wer == jiwer.wer([reference], [hypothesis]) == rate
    assert count_errors("", "ab c").cer == jiwer.cer("", "ab c") == 4.0
    corpus = [("", "uh uh"), ("a b c d", "a b c d"), ("e", "")]  # two insertions, a deletion, five reference words
    assert total(count_errors(*pair) for pair in corpus).wer == 3 / 5
    references, hypotheses = map(list, zip(*corpus, strict=True))
    assert jiwer.wer(references, hypotheses) == 3 / 5


def scored(folder: Path, pairs: list[tuple[str, str]]) -> tuple[ErrorCounts, Sums]:
    """Return what we count and what sclite counts."""
    for name, texts in zip(("ref", "hyp"), zip(*pairs, strict=True), strict=True):
        lines = [(text, f"é ({number})/x", f"s-{number % 7}") for number, text in enumerate(texts)]
        write_trn(folder / f"{name}.trn", lines)
    reference, hypotheses = folder / "ref.trn", folder / "hyp.trn"
    options = ["-i", "spu_id", "-s", "-e", "utf-8", "-o", "rsum"]
    sums = run_sclite(["-r", reference, "trn", "-h", hypotheses, "trn", *options], hypotheses)
    assert sums.num_texts == len(pairs)
    assert sums.speakers == tuple(f"s%2D{number}" for number in range(7))
    return total(count_errors(*pair) for pair in pairs), sums


@needs_sclite
@pytest.mark.parametrize("rule", ["basic", "fairseq", "none"])
def test_real_transcripts_agree_with_sclite_to_the_digit(tmp_path, rule):
    """Of Whisper and of trained models on GRID and on synthetic clips in nine languages: their wrong ones."""
    lines = (Path(__file__).parent / "real_pairs.tsv").read_text(encoding="utf-8").split("\n")[:-1]
    rows = [line.split("\t") for line in lines]
    pairs = [tuple(normalize_for_scoring(text, language, rule) for text in texts) for language, *texts in rows]
    counts, sums = scored(tmp_path, pairs)
    assert sums.num_words == counts.num_words > 3000
    assert sums.errors == counts.word_errors > 1000


@needs_sclite
def test_random_pairs_agree_with_sclite_within_a_tenth_of_a_point(tmp_path):
    pairs = random_pairs(5000, seed=1, blanks=PLAIN + ODD)
    counts, sums = scored(tmp_path, pairs)
    assert sums.num_words == counts.num_words
    assert abs(sums.errors / sums.num_words - counts.wer) < 0.001


@needs_sclite
def test_where_sclite_differs_it_counts_more(tmp_path):
    """Texts that have nothing to do with each other but their few words: the difference grows, one way."""
    draw = random.Random(0)
    pairs = [tuple(" ".join(draw.choices("abcdefghij", k=draw.randrange(40))) for _ in range(2)) for _ in range(1000)]
    counts, sums = scored(tmp_path, pairs)
    assert 0 < sums.errors / sums.num_words - counts.wer < 0.006


@needs_sclite
def test_an_empty_side_counts_with_sclite_as_with_us(tmp_path):
    pairs = [("", "uh uh"), ("a b c d", "a b c d"), ("e", ""), ("", ""), ("f", "f"), ("g", "g"), ("h", "h")]
    _, sums = scored(tmp_path, pairs)
    assert (sums.num_words, sums.substitutions, sums.deletions, sums.insertions) == (8, 0, 1, 2)
