"""Subtitles become texts with times: markup, sounds and speakers go by stated rules, and no cue goes without a word."""

import pytest

from avspeech.transcription.formats import to_srt, to_vtt
from avspeech.transcription.result import Segment, Transcript
from data_prep.corpora.cues import read_cues
from tests.refusals import raises


def srt(*cues):
    """Return a file of (start, end, text), times in seconds below a minute."""
    times = ["00:00:{:06.3f} --> 00:00:{:06.3f}".format(*cue).replace(".", ",") for cue in cues]
    return "\n".join(f"{place + 1}\n{time}\n{cues[place][2]}\n" for place, time in enumerate(times))


@pytest.fixture
def cues(tmp_path):
    def read(content, ending="srt"):
        (tmp_path / f"a.{ending}").write_text(content, encoding="utf-8")
        return read_cues(tmp_path / f"a.{ending}")

    return read


@pytest.mark.parametrize(
    ("written", "text", "speaker"),
    [
        ("<i>Hello</i> {\\an8}<c.red>there</c>", "Hello there", None),
        ("5 &lt; 7 &amp; more\u00a0\u200e", "5 < 7 & more", None),
        ("[door\nopens] Who is\n(whispers) it?", "Who is it?", None),
        ("♪ la la ♪ so", "so", None),
        ("ANNA: Yes", "Yes", "ANNA"),
        (">> MR. O'NEIL-SMITH: Yes", "Yes", "MR. O'NEIL-SMITH"),
        ("Speaker 1: Yes", "Yes", "Speaker 1"),
        ("SPEAKER_00: Yes", "Yes", "SPEAKER_00"),
        ("- Yes\n- BOB: No", "Yes No", None),
        ("AL: Yes\nBOB: No", "Yes No", None),
        ("At 10:30 he said: go", "At 10:30 he said: go", None),
        ("Note: this stays", "Note: this stays", None),
        ("the point is: stay", "the point is: stay", None),
        ("-5 degrees - maybe", "-5 degrees - maybe", None),
        ("Ευχαριστώ -\nπολύ", "Ευχαριστώ - πολύ", None),
    ],
)
def test_markup_sounds_and_speakers(cues, written, text, speaker):
    (cue,), lost = cues(srt((1, 2, written)))
    assert (cue.text, cue.speaker, cue.start_s, cue.end_s, lost) == (text, speaker, 1.0, 2.0, [])


def test_a_name_that_begins_two_cues_is_a_speaker(cues):
    found, _ = cues(srt((1, 2, "Anna Maria: Yes"), (3, 4, "أحمد: نعم"), (5, 6, "Anna Maria: No"), (7, 8, "أحمد: لا")))
    assert [(cue.speaker, cue.text) for cue in found[::2]] == [("Anna Maria", "Yes"), ("Anna Maria", "No")]
    assert [cue.speaker for cue in found[1::2]] == ["أحمد"] * 2


def test_a_short_overlap_gets_a_border_and_a_long_one_costs_all_that_take_part(cues):
    found, lost = cues(srt((1, 3, "a"), (2.8, 4, "b"), (5, 9, "c"), (6, 7, "d"), (8, 8.5, "e"), (9, 10, "f")))
    assert [(cue.text, cue.start_s, cue.end_s) for cue in found] == [("a", 1, 2.9), ("b", 2.9, 4), ("f", 9, 10)]
    assert [(number, reason) for number, reason, _ in lost] == [(n, "overlapping cues") for n in (3, 4, 5)]
    (one, other), lost = cues(srt((1, 3, "a"), (2.6, 3.4, "b")))
    assert (one.end_s, other.start_s, lost) == (2.8, 2.8, [])
    assert len(cues(srt((1, 3, "a"), (2.59, 3.38, "b")))[1]) == 2  # more than half of the shorter


def test_cues_without_speech_are_lost_with_their_reason(cues):
    content = srt(
        (1, 2, "[music]"), (3, 3, "a"), (5, 4, "b"), (6, 6.05, "c"), (7, 8, "..."), (9, 10, ""), (11, 12, "d")
    )
    found, lost = cues(content + "\n8\n00:00:13 -> 14\n00:00:15,000 --> soon\ne\n")
    assert [cue.text for cue in found] == ["d"]
    reasons = {number: reason for number, reason, _ in lost}
    backwards, short = "ends before it starts", "shorter than a word"
    wanted = {1: "empty text", 2: backwards, 3: backwards, 4: short, 5: "empty text", 6: "empty text"}
    assert reasons == wanted | {8: "unreadable text", 9: "unreadable text"} and len(lost) == 8


def test_captions_that_roll_up_are_read_once(cues):
    rolling = """WEBVTT
Kind: captions

00:00.000 --> 00:02.000 align:start position:0%
 
so<00:00:00.500><c> what</c>

00:02.000 --> 00:02.010
so what

00:02.010 --> 00:04.000
so what
do<00:03.000><c> you think</c>

00:05.000 --> 00:06.000
do you think
yes
"""  # noqa: W293
    found, lost = cues(rolling, "vtt")
    assert [cue.text for cue in found] == ["so what", "do you think", "do you think yes"]
    assert [(number, reason) for number, reason, _ in lost] == [(2, "shorter than a word")]


def test_files_that_are_not_quite_by_the_book(cues, tmp_path):
    crowded = "1\n00:00:01,0 --> 00:00:02,5 X1:10\none\n\ntwo\n2\n00:01:02.250 --> 00:01:03.000\nthree\n"
    found, lost = cues(crowded)
    assert [(cue.text, cue.start_s, cue.end_s) for cue in found] == [("one two", 1.0, 2.5), ("three", 62.25, 63.0)]
    unsorted = cues(srt((5, 6, "b"), (1, 2, "a")))[0]
    assert [(cue.number, cue.text) for cue in unsorted] == [(2, "a"), (1, "b")] and not lost
    note = "WEBVTT\n\nNOTE not said\n\nid 7\n01:00:01.000 --> 01:00:02.000\nsaid\n\nSTYLE\n::cue {}\n"
    assert [(cue.text, cue.start_s) for cue in cues(note, "vtt")[0]] == [("said", 3601.0)]
    (tmp_path / "a.srt").write_bytes(srt((1, 2, "grün")).encode("utf-16"))
    assert read_cues(tmp_path / "a.srt")[0][0].text == "grün"
    (tmp_path / "a.srt").write_bytes(srt((1, 2, "grün")).encode("latin-1"))
    raises(ValueError, "utf-8", read_cues, tmp_path / "a.srt")


def test_subtitles_of_avspeech_itself_come_back(cues):
    words = {"modality": "audio+video", "score": 0.0}
    segments = [Segment(1.0, 2.5, "good <morning>", speaker="Speaker 1", **words), Segment(3.0, 4.0, "hello", **words)]
    transcript = Transcript("a.mp4", 5.0, "model", "auto", segments=tuple(segments))
    for ending, content in (("srt", to_srt(transcript)), ("vtt", to_vtt(transcript))):
        found, lost = cues(content, ending)
        assert [(cue.start_s, cue.end_s, cue.speaker) for cue in found] == [(1.0, 2.5, "Speaker 1"), (3.0, 4.0, None)]
        assert found[1].text == "hello" and not lost
