"""Hypotheses of other systems: five formats, conditions by field and by label, and one line for whatever is wrong."""

import json
import re
from pathlib import Path

import pytest

from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.config import EvaluationConfig, read_conditions
from avspeech.evaluation.outside import ENDINGS, FORMATS, FileFault, parse_label, read_hypotheses
from tests.refusals import raises

CLEAN = Condition("audio")
HEARD = {"en/1": "bin blue", "es/2": "pon  el “gato”, aquí", "en/3": ""}
FILES = {
    "a.jsonl": "\n".join(json.dumps({"id": name, "hypothesis": text}) for name, text in HEARD.items()),
    "b.jsonl": "\n".join(json.dumps({"text": text, "id": name}) for name, text in HEARD.items()) + "\n\n",
    "a.txt": "en/1 bin blue\nes/2\tpon  el “gato”, aquí\r\n\nen/3\n",
    "text": "en/1 bin blue\nes/2 pon  el “gato”, aquí\nen/3 ",
    "a.trn": "bin blue (s1-en/1)\npon  el “gato”, aquí (es/2)\n (en/3)\n",
    "a.csv": 'id,hypothesis\nen/1,bin blue\nes/2,"pon  el “gato”, aquí"\nen/3,\n',
    "b.csv": '\ufefftext,id,language\r\nbin blue,en/1,\r\n"pon  el “gato”, aquí",es/2,es\r\n,en/3,\r\n',
    "a.tsv": "id\ttext\nen/1\tbin blue\nes/2\tpon  el “gato”, aquí\nen/3\t\n",
}


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("name", FILES)
def test_every_format_says_the_same(tmp_path, name):
    path = written(tmp_path, name, FILES[name])
    found = read_hypotheses(path, [*HEARD, "more"], CLEAN)
    assert {one.id: one.text.split() for one in found} == {name: text.split() for name, text in HEARD.items()}
    assert {one.condition for one in found} == {CLEAN}
    assert [one.language for one in found] == [None, "es" if name == "b.csv" else None, None]
    other = path.rename(tmp_path / "renamed.dat")
    assert len(read_hypotheses(other, HEARD, CLEAN, "kaldi" if name == "text" else ENDINGS[Path(name).suffix])) == 3


def test_a_format_has_to_be_known_and_a_file_to_be_there(tmp_path):
    raises(FileFault, r"a\.txt: cannot be read: No such file", read_hypotheses, tmp_path / "a.txt", HEARD, CLEAN)
    with pytest.raises(FileFault, match=r"a\.dat: the name ends in none of \.jsonl, .*--format"):
        read_hypotheses(tmp_path / "a.dat", HEARD)
    with pytest.raises(ValueError, match=f"format 'ctm' came, wanted one of {', '.join(FORMATS)}"):
        read_hypotheses(tmp_path / "a.ctm", HEARD, format="ctm")


def test_lines_say_their_condition(tmp_path):
    lines = [
        {"id": "en/1", "hypothesis": "a", "modality": "audio"},
        {"id": "en/1", "hypothesis": "b", "modality": "audio+video", "noise": "babble", "snr_db": 0},
        {"id": "en/1", "hypothesis": "c", "modality": "audio+video", "video_stream": "blank", "snr_db": None},
    ]
    expected = [CLEAN, Condition("audio+video", "babble", 0.0), Condition("audio+video", video_stream="blank")]
    path = written(tmp_path, "a.jsonl", "\n".join(map(json.dumps, lines)))
    assert [one.condition for one in read_hypotheses(path, HEARD)] == expected
    table = "id,modality,noise,snr_db,video_stream,text\nen/1,audio,,,,a\nen/1,audio+video,babble,0,,b\n"
    path = written(tmp_path, "a.csv", table + "en/1,audio+video,clean,,blank,c\n")
    assert [one.condition for one in read_hypotheses(path, HEARD)] == expected


HEAD = "id,hypothesis,modality,noise,snr_db,video_stream\n"
TWO_MODELS = '{"id": "en/1", "text": "a", "model": "av"}\n{"id": "en/3", "text": "a", "model": "other"}'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "en/1 a\nxx/9 b\nxx/8\n", r"a\.txt, line 2: id 'xx/9' is not in the manifest, nor are 1 more"),
        ("a.txt", "en/1 a\n\nen/1 b\n", r"a\.txt, line 3: has id 'en/1' in 'audio, clean', as line 1 has already"),
        ("a.txt", "\n", r"a\.txt: holds no hypothesis"),
        ("a.txt", "en/1 caf\udce9\n", r"a\.txt, line 1: byte 0xe9 is no UTF-8; save the file as UTF-8"),
        ("a.trn", "a (en/1)\nb\n", r"a\.trn, line 2: ends without an id"),
        ("a.trn", "{ a / b } (en/1)\n", r"a\.trn, line 1: has alternatives"),
        ("a.trn", "a (es-en/1)\nb (en/1)\n", r"a\.trn, line 2: has id 'en/1'"),
        ("a.jsonl", '{"id": "en/1", "hypothesis": "a"}\n{"id"', r"a\.jsonl, line 2: is no JSON"),
        ("a.jsonl", '["en/1", "a"]', r"a\.jsonl, line 1: is a JSON list, wanted an object"),
        ("a.jsonl", '{"id": "en/1", "words": "a"}', r"a\.jsonl, line 1: has 'words', known are id, hypothesis, text"),
        ("a.jsonl", '{"id": "en/1"}', r"a\.jsonl, line 1: has 'id', wanted 'id' and 'hypothesis'"),
        ("a.jsonl", '{"id": "en/1", "text": null}', r"a\.jsonl, line 1: has text=None, wanted text"),
        ("a.jsonl", '{"id": 1, "text": "a"}', r"a\.jsonl, line 1: has id=1, wanted text"),
        ("a.jsonl", TWO_MODELS, r"line 2: is of model 'other', others of 'av'"),
        ("a.jsonl", '{"id": "en/1", "text": "a", "language": 1}', r"line 1: language=1 must be a code"),
        ("a.csv", "id,hyp\nen/1,a\n", r"a\.csv, line 2: has 'hyp', known are id, hypothesis"),
        ("a.csv", "id,text,text\nen/1,a,b\n", r"a\.csv, line 1: names a column twice"),
        ("a.csv", 'id,text\nen/1,"a\nb"\nen/3,a,b\n', r"a\.csv, line 4: has 3 columns, the first line 2"),
        ("a.csv", 'id,text\nen/1,"a\n', r"a\.csv, line 2: is no csv"),
        ("a.csv", HEAD + "en/1,a,,babble,0,\n", r"line 2: gives no modality; add it"),
        ("a.csv", HEAD + "en/1,a,sound,,,\n", r"line 2: modality 'sound' must be one of audio"),
        ("a.csv", HEAD + "en/1,a,audio,babble,loud,\n", r"line 2: snr_db='loud' must be a number"),
        ("a.csv", HEAD + "en/1,a,audio,babble,nan,\n", r"line 2: snr_db='nan' must be a number"),
        ("a.csv", HEAD + "en/1,a,audio,../babble,0,\n", r"line 2: noise='\.\./babble' must be a name"),
        ("a.csv", HEAD + "en/1,a,audio,none,5,\n", r"line 2: noise 'none' does not go with snr_db=5"),
        ("a.csv", HEAD + "en/1,a,audio,,,blank\n", r"line 2: video stream 'blank'"),
        ("a.csv", HEAD + "en/1,a,audio,babble,0,\n", r"line 2: is 'audio, babble 0 dB', but .* as 'audio, clean'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_bytes(text.encode(errors="surrogateescape"))
    condition = None if "gives no" in message or (text.startswith(HEAD) and "but" not in message) else CLEAN
    with pytest.raises(FileFault, match=message) as raised:
        read_hypotheses(path, HEARD, condition)
    assert "\n" not in str(raised.value)


def test_an_utterance_that_may_be_two_is_refused(tmp_path):
    path = written(tmp_path, "a.trn", "a (s1-u)\n")
    assert read_hypotheses(path, ["u"], CLEAN)[0].id == "u"
    assert read_hypotheses(path, ["s1-u"], CLEAN)[0].id == "s1-u"
    raises(FileFault, r"line 1: may be utterance 'u' or 's1-u'", read_hypotheses, path, ["u", "s1-u"], CLEAN)


def test_what_the_model_hears_the_same_is_given_once(tmp_path):
    path = written(tmp_path, "a.txt", "en/1 a\n")
    with pytest.raises(FileFault, match="'video, babble 0 dB' is the same to the model as 'video, clean'"):
        read_hypotheses(path, HEARD, Condition("video", "babble", 0.0))


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "configs" / "evaluate").glob("*.yaml")), ids=str)
def test_every_label_of_a_grid_names_its_condition(path):
    grid = read_conditions(path).grid()
    for condition in grid:
        assert parse_label(condition.label) == parse_label(condition.label, grid) == condition


NO_LABELS = [
    "", "audio", "audio clean", "audio, babble 0", "audio, babble x dB", "audio, babble 0.0 dB", "audio, babble inf dB",
    "sound, clean", "audio, a/b 0 dB", "audio, clean, blank video", "audio+video, clean, blank",
]  # fmt: skip


@pytest.mark.parametrize("label", NO_LABELS)
def test_what_is_no_label_is_refused(label):
    raises(ValueError, "came, wanted one such as 'audio, clean'", parse_label, label)


def test_a_label_outside_the_grid_is_answered_with_the_nearest():
    grid, label = EvaluationConfig(modalities=("audio", "audio+video")).grid(), "audio+video, babble 0 dB"
    with pytest.raises(ValueError, match=rf"'{re.escape(label)}' is none of the 2 of the grid; nearest are audio"):
        parse_label(label, grid)
