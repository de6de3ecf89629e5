"""Marks show where transcripts differ as error rates count it, and lose no word."""

import random

import pytest

from avspeech.evaluation.error_rate import count_errors
from avspeech.page.render import mark_words


def kinds(text: str, other: str) -> list[tuple[str, str, str]]:
    return [(mark.text, mark.kind, mark.other) for mark in mark_words(text, other, "en")]


def test_each_kind_of_difference():
    assert kinds("set red now please", "set blue now") == [
        ("set", "equal", "set"), ("red", "different", "blue"), ("now", "equal", "now"), ("please", "extra", ""),
    ]  # fmt: skip
    assert kinds("set now", "set blue now")[1] == ("", "missing", "blue")


def test_case_and_punctuation_are_shown_and_not_compared():
    assert kinds("Set, RED – now!", "set red now") == [
        ("Set,", "equal", "set"), ("RED", "equal", "red"), ("–", "equal", ""), ("now!", "equal", "now"),
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "other"), [("", ""), ("", "set"), ("set", ""), ("...", "..."), ("...", "set")])
def test_empty_texts(text, other):
    shown = [mark for mark in mark_words(text, other) if mark.text]
    assert " ".join(mark.text for mark in shown) == text


def test_every_word_is_shown_and_marks_are_the_errors():
    rng = random.Random(0)
    for _ in range(300):
        text, other = (" ".join(rng.choices(["a", "b,", "C", "-"], k=rng.randrange(6))) for _ in range(2))
        marks = mark_words(text, other)
        assert [mark.text for mark in marks if mark.text] == text.split()
        plain = [" ".join(one.lower().replace(",", "").replace("-", "").split()) for one in (other, text)]
        assert sum(mark.kind != "equal" for mark in marks) == count_errors(*plain).word_errors
