"""Every format is valid, says the same, and is read back by somebody else's parser where there is one."""

import csv
import html
import json
import os
import random
from dataclasses import replace
from pathlib import Path

import av
import pytest

import avspeech
from avspeech.decoding.word_times import TimedWord
from avspeech.transcription.captions import captions
from avspeech.transcription.formats import FORMATS, read_transcript, to_srt, to_vtt, write_transcript
from avspeech.transcription.paths import output_stems
from avspeech.transcription.result import FORMAT, Segment, Transcript
from tests.refusals import raises

SENTENCES = {
    "ar": "حفظ الطالب القصيدة كلها", "de": "er legt das Geld in die Schublade", "el": "το παιδί διαβάζει ένα βιβλίο",
    "en": "they moved to a bigger house in May", "es": "¿dónde está la niña?", "fr": "où êtes-vous allés cet été",
    "it": "perché non è così", "pt": "não há pão na mesa", "ru": "они переехали в большой дом",
}  # fmt: skip


def segment(text, start_s, language, speaker=None):
    starts = [(word, start_s + 0.4 * i) for i, word in enumerate(text.split())]
    words = tuple(TimedWord(word, begin_s, begin_s + 0.37, 0.5) for word, begin_s in starts)
    return Segment(start_s, start_s + 3, text, "audio+video", words, -0.25, language, face_share=0.875, speaker=speaker)


SAID = tuple(segment(SENTENCES[code], 4 * i + 0.04, code) for i, code in enumerate(SENTENCES))
NINE = Transcript("talk.mp4", 40.0, "demo", "audio+video", SAID, "en", 0.9, ("no face from 3 s on",))
EMPTY = Transcript("silence.mp4", 3.0, "demo", "audio")
TWO = replace(NINE, segments=(segment("a < b & c > d", 1, "en", "face 1"), segment("no --> yes", 2, "en", "face 2")))
WORDS = (TimedWord("¿qué", 1.2, 1.5, 0.25), TimedWord("tal?", 1.5, 1.0 + 2 / 3, 1 / 3))
FIRST = Segment(1.2, 1.68, "¿qué tal?", "audio+video", WORDS, -0.1, "es", 0.9)
SECOND = Segment(3.0, 4.04, "", "audio", face_share=0.0, note="no face: sound alone")
BLIND = Transcript("a clip.mp4", 5.0, "demo", "audio+video", (FIRST, SECOND), "es", 0.5, ("No face was found: ...",))


def read_cues(path):
    with av.open(str(path)) as container:
        packets = [one for one in container.demux(container.streams.subtitles[0]) if one.size]
        times = [[float(at * one.time_base) for at in (one.pts, one.pts + one.duration)] for one in packets]
        return [(*ends, bytes(one).decode()) for ends, one in zip(times, packets, strict=True)]


@pytest.mark.parametrize("ending", ["srt", "vtt"])
@pytest.mark.parametrize("transcript", [NINE, TWO], ids=["nine", "two"])
def test_ffmpeg_reads_the_same_cues(transcript, ending, tmp_path):
    (path,) = write_transcript(transcript, tmp_path / "talk", [ending])
    cues, read = captions(transcript), read_cues(path)
    assert len(read) == len(cues)
    for cue, (start_s, end_s, text) in zip(cues, read, strict=True):
        assert (start_s, end_s) == pytest.approx((cue.start_s, cue.end_s), abs=1e-6)
        shown = "\n".join(cue.texts)
        assert (html.escape(shown) if ending == "vtt" else shown) in text
        if cue.speaker:
            assert text.startswith(f"<v {cue.speaker}>" if ending == "vtt" else f"{cue.speaker}: ")


def test_srt_and_vtt_to_the_letter():
    transcript = replace(TWO, segments=TWO.segments[:1])
    assert to_srt(transcript) == "1\n00:00:01,000 --> 00:00:03,770\nface 1: a < b & c > d\n"
    assert to_vtt(transcript) == "WEBVTT\n\n00:00:01.000 --> 00:00:03.770\n<v face 1>a &lt; b &amp; c &gt; d</v>\n"
    late = replace(EMPTY, duration_s=40_000.0, segments=(Segment(36_061.0016, 36_062.5, "late", "audio"),))
    assert "10:01:01,002 --> 10:01:02,500" in to_srt(late)


def test_the_text_is_that_of_all_segments_and_names_speakers_where_there_are_several():
    assert BLIND.text == "¿qué tal?" and BLIND.words == WORDS
    assert replace(BLIND, segments=(FIRST, replace(SECOND, text="bien"))).text == "¿qué tal? bien"
    one, two = (replace(FIRST, text=f"{number}", speaker=f"speaker {number}") for number in (1, 2))
    assert replace(BLIND, segments=(one, SECOND, two)).text == "speaker 1: 1\nspeaker 2: 2"
    nobody = replace(SECOND, text="bien")  # nobody's face was seen there; its label was once "None"
    assert replace(BLIND, segments=(one, nobody, two)).text == "speaker 1: 1\nbien\nspeaker 2: 2"


BAD_FIELDS = [
    {"format": FORMAT + 1}, {"format": None}, {"unknown": 1}, {"notes": 3}, {"segments": None}, {"segments": ["text"]},
    {"segments": [{"start_s": 0}]}, {"segments": [{**FIRST.__dict__, "words": [{"txt": "a"}]}]},
]  # fmt: skip


@pytest.mark.parametrize("change", BAD_FIELDS)
def test_what_is_no_transcript_is_refused(change):
    raises(ValueError, "transcribe the file again", Transcript.from_json, {**BLIND.to_json(), **change})


@pytest.mark.parametrize("transcript", [NINE, EMPTY, TWO, BLIND], ids=["nine", "empty", "two", "blind"])
def test_json_is_read_back_as_it_was(transcript, tmp_path):
    (path,) = write_transcript(transcript, tmp_path / "talk", ["json"], {"language": None, "beam_size": 5})
    assert read_transcript(path) == transcript
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["version"] == avspeech.__version__ and record["format"] == FORMAT
    assert record["options"] == {"language": None, "beam_size": 5} and record["text"] == transcript.text


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '"text"', '{"format": 1, "segments": 3}', "\ud800"])
def test_other_json_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "other.json"
    path.write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(ValueError, match=r"other\.json is no transcript") as caught:
        read_transcript(path)
    assert "\n" not in str(caught.value)


def test_tsv_has_a_line_for_each_segment(tmp_path):
    odd = segment("a\tb\nc \r\n d", 1.0, None, "face\t1")
    transcript = replace(NINE, segments=(odd, replace(segment("x", 2.0, "en"), face_share=None)))
    (path,) = write_transcript(transcript, tmp_path / "talk", ["tsv"])
    with path.open(encoding="utf-8", newline="") as file:
        header, first, second = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    assert header == ["start_ms", "end_ms", "speaker", "modality", "language", "score", "face_share", "text"]
    assert first == ["1000", "4000", "face 1", "audio+video", "", "-0.2500", "0.875", "a b c d"]
    assert second == ["2000", "5000", "", "audio+video", "en", "-0.2500", "", "x"]


def test_letters_of_nine_languages_are_not_touched(tmp_path):
    for path in write_transcript(NINE, tmp_path / "talk", list(FORMATS)):
        content = path.read_bytes()
        assert b"\r" not in content and not content.startswith(b"\xef\xbb\xbf")
        text = " ".join(content.decode("utf-8").split())
        assert all(sentence in text for sentence in SENTENCES.values()), path


def test_nothing_said_gives_valid_files(tmp_path):
    paths = write_transcript(EMPTY, tmp_path / "new" / "silence", list(FORMATS))
    content = {path.suffix: path.read_text() for path in paths}
    assert content[".txt"] == content[".srt"] == ""
    assert content[".vtt"] == "WEBVTT\n" and content[".tsv"].count("\n") == 1
    assert read_transcript(tmp_path / "new" / "silence.json") == EMPTY
    with av.open(str(tmp_path / "new" / "silence.vtt")) as container:
        assert container.format.name == "webvtt"


def test_names_keep_their_dots_and_files_are_whole_or_not_there(tmp_path, monkeypatch):
    old = tmp_path / "clip.v1.txt"
    old.write_text("old")
    monkeypatch.setitem(FORMATS, "vtt", lambda transcript: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_transcript(TWO, tmp_path / "clip.v1", ["txt", "vtt"])
    assert list(tmp_path.iterdir()) == [old] and old.read_text() == "old"
    assert write_transcript(TWO, tmp_path / "clip.v1", ["txt", "srt", "txt"]) == [old, tmp_path / "clip.v1.srt"]
    assert old.read_text() == TWO.text + "\n" == "face 1: a < b & c > d\nface 2: no --> yes\n"


@pytest.mark.parametrize("formats", [["doc"], ["txt", "SRT"], [], "txt"])
def test_unknown_formats_are_refused_before_anything_is_written(formats, tmp_path):
    raises(ValueError, "wanted a list of txt, srt, vtt, json, tsv", write_transcript, NINE, tmp_path / "talk", formats)
    assert not list(tmp_path.iterdir())


STEMS = {
    "a/clip.mp4 b/talk.mp4": "clip talk", "a/clip.mp4 b/clip.mp4": "a_clip b_clip", "": "",
    "clip.mp4 clip.mkv": "clip.mp4 clip.mkv", "clip.mp4 Clip.mkv": "clip.mp4 Clip.mkv",
    "a/clip.mp4 b/clip.mp4 a/clip.mkv": "a_clip b_clip clip.mkv", "a/clip.mp4 ./a/clip.mp4": "clip clip",
    "x/a/clip.mp4 y/a/clip.mp4 talk.mp4": "x_a_clip y_a_clip talk", "clip.v1.mp4 clip.v2.mp4": "clip.v1 clip.v2",
}  # fmt: skip


@pytest.mark.parametrize(("paths", "stems"), STEMS.items())
def test_outputs_of_different_inputs_have_different_names(paths, stems):
    assert output_stems(paths.split()) == dict(zip(map(Path, paths.split()), stems.split(), strict=True))


def test_names_are_unique_for_any_paths_and_do_not_depend_on_their_order():
    draw = random.Random(0)
    for _ in range(200):
        paths = ["/".join(draw.choices(["a", "b", "a_b", "A", "b_a"], k=draw.randint(0, 4))) for _ in range(12)]
        paths = [str(Path(path) / draw.choice(["a.mp4", "a.mkv", "b_a.mp4", "a_a.mp4", "a"])) for path in paths]
        stems = output_stems(paths)
        assert len({stems[Path(path)].casefold() for path in paths}) == len({os.path.normpath(path) for path in paths})
        draw.shuffle(paths)
        assert output_stems(paths) == stems
