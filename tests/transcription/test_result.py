"""A transcript survives JSON as it is, and reads as a text."""

import json
from dataclasses import replace

import pytest

from avspeech.decoding.word_times import TimedWord
from avspeech.transcription.result import FORMAT, Segment, Transcript

WORDS = (TimedWord("¿qué", 1.2, 1.5, 0.25), TimedWord("tal?", 1.5, 1.0 + 2 / 3, 1 / 3))
FIRST = Segment(1.2, 1.68, "¿qué tal?", "audio+video", WORDS, -0.1, "es", 0.9, None, None)
SECOND = Segment(3.0, 4.04, "", "audio", (), 0.0, None, 0.0, None, "no face: sound alone")
WHOLE = Transcript("a clip.mp4", 5.0, "demo", "audio+video", (FIRST, SECOND), "es", 0.5, ("No face was found: ...",))


@pytest.mark.parametrize("transcript", [WHOLE, Transcript("empty.wav", 0.0, "demo", "audio")])
def test_json_gives_the_same_transcript_back(transcript):
    record = transcript.to_json()
    assert Transcript.from_json(record) == transcript
    assert Transcript.from_json(json.loads(json.dumps(record, allow_nan=False))) == transcript
    assert record["format"] == FORMAT and record["text"] == transcript.text


def test_the_text_is_that_of_all_segments_and_names_speakers_where_there_are_several():
    assert WHOLE.text == "¿qué tal?" and WHOLE.words == WORDS
    assert replace(WHOLE, segments=(FIRST, replace(SECOND, text="bien"))).text == "¿qué tal? bien"
    one, two = (replace(FIRST, text=f"{number}", speaker=f"speaker {number}") for number in (1, 2))
    assert replace(WHOLE, segments=(one, SECOND, two)).text == "speaker 1: 1\nspeaker 2: 2"
    nobody = replace(SECOND, text="bien")  # nobody's face was seen there; its label was once "None"
    assert replace(WHOLE, segments=(one, nobody, two)).text == "speaker 1: 1\nbien\nspeaker 2: 2"


@pytest.mark.parametrize(
    "change",
    [
        {"format": FORMAT + 1},
        {"format": None},
        {"segments": None},
        {"segments": [{"start_s": 0}]},
        {"segments": ["text"]},
        {"segments": [{**FIRST.__dict__, "words": [{"txt": "a"}]}]},
        {"unknown": 1},
        {"notes": 3},
    ],
)
def test_what_is_no_transcript_is_refused(change):
    with pytest.raises(ValueError, match="transcribe the file again"):
        Transcript.from_json({**WHOLE.to_json(), **change})
    for record in ([], "text", None, {}):
        with pytest.raises(ValueError, match=r"its format is \w+"):
            Transcript.from_json(record)
