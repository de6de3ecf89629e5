"""Captions of any script: letters that are there, words in the order they are read, one of them marked."""

import logging
from itertools import count

import numpy as np
import pytest

from avspeech.transcription.captions import CaptionWord, Cue
from avspeech.transcription.lettering import MARKED, Lettering, find_font, in_order_of_sight


def cue_of(*lines, speaker=None):
    clock = count()  # a word lasts a second
    rows = [tuple(CaptionWord(word, at := float(next(clock)), at + 1) for word in line.split()) for line in lines]
    return Cue(0.0, float(next(clock)), tuple(rows), speaker)


def marked_columns(patch):
    near_HW = np.abs(patch.colour_HWC.astype(int) - np.array(MARKED)).sum(axis=2) < 60
    return np.flatnonzero(near_HW.any(axis=0))


def ink(patch):
    return patch.colour_HWC.astype(int).max(axis=2) > 100


@pytest.mark.parametrize("text", ["they moved house", "они переехали сюда", "το παιδί διαβάζει", "حفظ الطالب القصيدة"])
def test_the_mark_goes_from_word_to_word_as_the_script_does(text):
    lettering = Lettering(text, 600, 24)
    places = [marked_columns(lettering.cues([cue_of(text)], time_s)).mean() for time_s in (0.5, 1.5, 2.5)]
    assert places == sorted(places, reverse=text.startswith("ح"))
    assert not len(marked_columns(lettering.cues([cue_of(text)], 7.0)))


ORDERS = {  # words of the other direction keep theirs
    "one two three": "one two three", "ا ب ج": "ج ب ا", "ا one two ب": "ب one two ا", "one ا ب two": "one ب ا two",
    "ا 12 34 ب": "ب 34 12 ا", "12 ا": "ا 12", "12 34": "12 34",
}  # fmt: skip


@pytest.mark.parametrize(("line", "seen"), ORDERS.items())
def test_words_stand_in_the_order_of_the_line(line, seen):
    words = [(CaptionWord(word, 0, 0), MARKED) for word in line.split()]
    assert [word.text for word, _ in in_order_of_sight(words)] == seen.split()


def test_arabic_letters_are_joined():
    lettering = Lettering("كلها", 600, 40)
    if not lettering.joins:
        pytest.skip("Pillow finds no FriBidi library here")
    joined = ink(lettering.label("كلها")).any(axis=0)
    apart = ink(lettering.label("ك\u200cل\u200cه\u200cا")).any(axis=0)  # zero-width non-joiners keep them apart
    assert joined.sum() < 0.9 * apart.sum()


def test_without_raqm_letters_stand_in_order_and_a_warning_says_so(monkeypatch, caplog):
    monkeypatch.setattr("PIL.features.check", lambda feature: feature != "raqm")
    with caplog.at_level(logging.WARNING):
        lettering = Lettering("كلها abc", 600, 40)
    assert "FriBidi" in caplog.text
    word = ink(lettering.label("ككا"))
    tall = np.flatnonzero(word.sum(axis=0) > 0.4 * word.shape[0])  # the stroke of alef, the last letter, at the left
    assert tall.min() < np.flatnonzero(word.any(axis=0)).min() + 6
    assert (ink(lettering.label("abc")) == ink(lettering.label("abc"))).all()


def test_the_font_at_hand_has_the_letters_of_nine_languages_and_those_that_no_font_has_are_told(caplog):
    nine = "حفظ الطالب القصيدة، Schlüssel παιδί hello ¿niña? où perché pão ёжик 0-9 …"
    assert find_font(nine).name == "DejaVuSans.ttf"
    with caplog.at_level(logging.WARNING):
        assert find_font("a\U00012000\U000e0041 𒀀").name == "DejaVuSans.ttf"  # cuneiform
    assert "\U00012000" in caplog.text and "drawn as boxes" in caplog.text


def test_a_long_line_gets_smaller_letters_and_fits():
    patch = Lettering("W" * 42, 300, 30).cues([cue_of("W" * 42)], 9.0)
    assert patch.size[0] <= 300 and ink(patch).any(axis=0)[5:-5].any()


def test_two_lines_and_a_label_take_their_room():
    lettering = Lettering("a b c face 1:", 600, 24)
    one, two = lettering.cues([cue_of("a b c")], 9.0), lettering.cues([cue_of("a b", "c")], 9.0)
    labelled = lettering.cues([cue_of("a b c", speaker="face 1")], 9.0)
    assert two.size[1] > 1.5 * one.size[1] and labelled.size[0] > 2 * one.size[0]


@pytest.mark.parametrize(("left", "top"), [(-20, -10), (90, 60), (10, 10), (200, 200), (-500, 0)])
def test_what_lies_outside_the_frame_is_cut_off(left, top):
    patch = Lettering("word", 600, 24).label("word")
    frame_HWC = np.full((80, 120, 3), 200, np.uint8)
    patch.lay_over(frame_HWC, left, top)
    wide_HWC = np.full((1080, 1320, 3), 200, np.uint8)
    patch.lay_over(wide_HWC, left + 600, top + 500)
    assert (frame_HWC == wide_HWC[500:580, 600:720]).all()
