"""Whatever the words, cues keep their rules: sizes, times, order, and not a letter lost."""

from itertools import pairwise

import numpy as np
import pytest

from avspeech.decoding.word_times import TimedWord
from avspeech.transcription.captions import MAX_COLUMNS, MAX_S, MIN_S, captions, columns
from avspeech.transcription.result import Segment, Transcript

LETTERS = {"en": "abcdefghij", "ru": "абвгдежзий", "el": "αβγδεζηθικ", "ar": "ابتثجحخدذر", "hi": "कखगघचछजझटठ"}
LETTERS |= {"zh": "你好世界天地人和大小"}


def transcript_of(*segments, duration_s=60.0):
    return Transcript("clip.mp4", duration_s, "m", "audio+video", tuple(segments))


def texts(*segments):
    return [cue.texts for cue in captions(transcript_of(*segments))]


def spoken(text, start_s=1.0, word_s=0.3, gaps=None, speaker=None, language="en"):
    """Return a segment whose words follow each other, ``gaps`` = {word index: silence before it}."""
    words, at = [], start_s
    for index, word in enumerate(text.split()):
        at += (gaps or {}).get(index, 0.0)
        words.append(TimedWord(word, at, at + word_s))
        at += word_s
    return Segment(start_s, at, text, "audio+video", tuple(words), language=language, speaker=speaker)


def random_transcript(rng, language, timed, num_speakers):
    segments = []
    for number in range(num_speakers):
        at = float(rng.uniform(0, 2))
        for _ in range(rng.integers(1, 6)):
            words, start_s = [], at
            for _ in range(rng.integers(1, 40)):
                length = rng.geometric(0.2) * (1 + 20 * (rng.random() < 0.02))
                letters = "".join(rng.choice(list(LETTERS[language]), length))
                lasts = float(rng.choice([0.0, rng.uniform(0.02, 0.6), rng.uniform(0.02, 12.0)], p=[0.05, 0.92, 0.03]))
                at += float(rng.choice([0.0, 0.9], p=[0.95, 0.05]))
                sign = rng.choice(["", ",", ".", "?"], p=[0.8, 0.1, 0.07, 0.03])
                words.append(TimedWord(letters + sign, at, at + lasts))
                at += lasts
            text = ("" if language == "zh" else " ").join(word.text for word in words)
            speaker = f"face {number + 1}" if num_speakers > 1 else None
            given = tuple(words) if timed else ()
            segments.append(Segment(start_s, at, text, "audio", given, language=language, speaker=speaker))
            at += float(rng.uniform(0, 1))
    return transcript_of(*segments, duration_s=at)


@pytest.mark.parametrize("language", LETTERS)
@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("num_speakers", [1, 2])
def test_rules_hold_for_any_words(language, timed, num_speakers):
    rng = np.random.default_rng(sum(map(ord, language)) + 2 * timed + num_speakers)
    for _ in range(12):
        transcript = random_transcript(rng, language, timed, num_speakers)
        cues = captions(transcript)
        assert [cue.start_s for cue in cues] == sorted(cue.start_s for cue in cues)
        for speaker in {cue.speaker for cue in cues}:
            own, label = [cue for cue in cues if cue.speaker == speaker], f"{speaker}: " if speaker else ""
            for cue in own:
                assert 1 <= len(cue.texts) <= 2
                assert columns(label + cue.texts[0]) <= MAX_COLUMNS and columns(cue.texts[-1]) <= MAX_COLUMNS
                assert 0 < cue.end_s - cue.start_s <= MAX_S + 1e-6
                assert cue.start_s == round(cue.start_s, 3) and cue.end_s == round(cue.end_s, 3)
            for one, following in pairwise(own):
                assert one.end_s <= following.start_s
                assert one.end_s - one.start_s >= MIN_S - 2e-3 or one.end_s == following.start_s
            said = "".join(one.text for one in transcript.segments if one.speaker == speaker)
            shown = "".join(text for cue in own for text in cue.texts)
            assert "".join(shown.split()) == "".join(said.split())


def test_a_cue_shows_each_word_while_it_is_said():
    segment = spoken("the quick brown fox jumps over the lazy dog and then it sleeps for the whole of a long afternoon")
    cues = captions(transcript_of(segment))
    shown = [(word.text, word.start_s) for cue in cues for line in cue.lines for word in line]
    assert shown == [(word.text, word.start_s) for word in segment.words]
    for cue in cues:
        for line in cue.lines:
            assert all(cue.start_s <= word.start_s + 1e-3 and word.end_s <= cue.end_s + 1e-3 for word in line)


def test_breaks_at_pauses_sentences_and_segments():
    assert texts(spoken("one two three four", gaps={2: 0.6})) == [("one two",), ("three four",)]
    assert texts(spoken("one two three four", gaps={2: 0.3})) == [("one two three four",)]
    assert texts(spoken("one two three. four five six")) == [("one two three.",), ("four five six",)]
    assert texts(spoken("Yes. Of course it is.")) == [("Yes. Of course it is.",)]
    assert texts(spoken("one two", 1.0), spoken("three four", 1.6)) == [("one two",), ("three four",)]


def test_lines_are_alike_in_length_and_rather_end_at_a_comma():
    first, last = "aaaa bbbb cccc dddd", "ffff gggg hhhh iiii jjjj"
    assert texts(spoken(f"{first} eeee {last}")) == [(f"{first} eeee", last)]
    assert texts(spoken(f"{first}, eeee {last}")) == [(f"{first},", f"eeee {last}")]


def test_a_short_cue_stands_longer_where_there_is_time():
    (cue,) = captions(transcript_of(spoken("yes", word_s=0.1)))
    assert (cue.start_s, cue.end_s) == (1.0, 1.0 + MIN_S)
    (cue,) = captions(transcript_of(spoken("yes", word_s=0.1), duration_s=1.3))
    assert cue.end_s == 1.3
    first, second = captions(transcript_of(spoken("yes", word_s=0.1), spoken("no", start_s=1.4, word_s=0.1)))
    assert first.end_s == 1.4 == second.start_s


def test_words_at_one_moment_and_overlapping_segments_still_follow_each_other():
    cues = captions(transcript_of(spoken("one", word_s=0.0), spoken("two", word_s=0.0), spoken("three", 1.02)))
    assert [cue.texts for cue in cues] == [("one",), ("two",), ("three",)]
    assert all(one.end_s <= two.start_s and one.end_s - one.start_s >= 0.039 for one, two in pairwise(cues))


def test_speakers_may_overlap_each_other():
    cues = captions(transcript_of(spoken("one two three", speaker="face 1"), spoken("no", 1.2, speaker="face 2")))
    assert [(cue.speaker, cue.texts) for cue in cues] == [("face 1", ("one two three",)), ("face 2", ("no",))]
    assert cues[0].end_s > cues[1].start_s


def test_chinese_is_joined_as_its_text_says():
    words = [TimedWord(word, 0.2 * i, 0.2 * i + 0.2) for i, word in enumerate(["你", "好,", "GPU", "世", "界。"])]
    for text, shown in (("你好, GPU世界。", "你好, GPU世界。"), ("", "你好,GPU世界。")):
        assert texts(Segment(0.0, 1.0, text, "audio", tuple(words), language="zh")) == [(shown,)]


def test_text_without_words_gets_its_share_of_the_segment():
    (cue,) = captions(transcript_of(Segment(2.0, 4.0, "aa bbbb cc", "audio")))
    shown = [(word.text, word.start_s, word.end_s) for word in cue.lines[0]]
    assert shown == [("aa", 2.0, 2.5), ("bbbb", 2.5, 3.5), ("cc", 3.5, 4.0)]


def test_marks_take_no_column_and_stay_with_their_letter():
    assert columns("é") == 1 and columns("你好") == 4 and columns("שָׁלוֹם") == 4
    cues = texts(spoken("e\u0301" * 100))
    assert cues and not any(text.startswith("\u0301") for cue in cues for text in cue)


def test_nothing_said_gives_no_cue():
    assert captions(transcript_of()) == []
    assert captions(transcript_of(Segment(0.0, 1.0, "", "audio"), Segment(1.0, 2.0, " \n", "audio"))) == []
