"""trn files: what is written is read, what sclite would take otherwise does not get through."""

import re
import shlex
from pathlib import Path

import pytest
from sclite import needs_sclite, run_sclite

from avspeech.evaluation.error_rate import count_errors, total
from avspeech.evaluation.outside import FileFault, read_trn
from avspeech.evaluation.results import read_results
from avspeech.evaluation.trn import export_trn, main, write_trn
from tests.refusals import raises

ODD_NAMES = ["a b", "a(b)", "x/y.mp4", "ü-1", "50%20", "-", "a_b-c", "%28", "語", ";;x"]
ODD_TEXTS = ["", "{ a / b }", "@", "(uh) (x-y)", ";; no comment", "** neither", "50% %20 %7B", "a\u200bb é\u0301"]
ODD_TEXTS += ["A / b"]


def test_what_is_written_is_read(tmp_path):
    lines = [(text, name, name) for name in ODD_NAMES for text in ODD_TEXTS[:1]]
    lines += [(text, f"u{number}", "s-1") for number, text in enumerate(ODD_TEXTS)]
    write_trn(tmp_path / "a.trn", lines)
    read = list(read_trn(tmp_path / "a.trn"))
    assert [(line.text, *line.ids, line.speaker) for line in read] == lines
    assert [line.number for line in read] == list(range(2, 2 + len(lines)))
    assert not list(tmp_path.glob("*.part*"))


def test_white_space_becomes_one_blank_and_no_speaker_has_a_name(tmp_path):
    write_trn(tmp_path / "a.trn", [(" one\u00a0two\n three\u2028", "u", None)])
    assert [(line.text, line.speaker) for line in read_trn(tmp_path / "a.trn")] == [("one two three", "unknown")]


def test_an_id_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a\.trn: id 'u' came twice"):
        write_trn(tmp_path / "a.trn", [("a", "u", None), ("b", "u", "other")])
    assert not (tmp_path / "a.trn").exists()


def test_a_foreign_file_is_read_as_it_stands(tmp_path):
    text = ";; a comment (x)\none 50%20 @ (uh) (s1-u-1)\n\n ( s1_u2 )\n** (y)\nthree (-u3)\r\n"
    (tmp_path / "a.trn").write_text(text)
    lines = [(line.text, line.ids, line.number) for line in read_trn(tmp_path / "a.trn")]
    assert lines == [("one 50%20 (uh)", ("u-1", "s1-u-1"), 2), ("", ("s1_u2",), 4), ("three", ("-u3",), 6)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one (s-u)\ntwo\n", r"a\.trn, line 2: ends without an id"),
        ("one ()\n", r"a\.trn, line 1: ends without an id"),
        ("one (s-u(1))\n", r"a\.trn, line 1: ends without an id"),
        ("one { two / @ } (s-u)\n", r"a\.trn, line 1: has alternatives"),
        ("one (s-u)\ncaf\udce9 (s-v)\n", r"a\.trn, line 2: byte 0xe9 is no UTF-8"),
    ],
)
def test_a_faulty_line_is_named(tmp_path, text, message):
    (tmp_path / "a.trn").write_bytes(text.encode(errors="surrogateescape"))
    raises(FileFault, message, list, read_trn(tmp_path / "a.trn"))


@pytest.fixture
def folder(tmp_path, evaluate):
    evaluate("av", broken=["es/2"])
    return tmp_path / "av"


def test_each_condition_is_exported(folder, tmp_path):
    reference, *hypotheses = export_trn(folder, tmp_path / "trn")
    assert reference.name == "ref.trn"
    assert len(hypotheses) == 9
    assert "hyp.audio+video_babble_-5_dB.trn" in [path.name for path in hypotheses]
    assert "pon el gato rojo aquí (s3-es%2F3)\n" in reference.read_text()
    (row,) = [row for row in read_results(folder).rows_of("all") if row.condition.label == "audio, clean"]
    heard, spoken = (
        {line.ids[0]: line.text for line in read_trn(path)}
        for path in (tmp_path / "trn" / "hyp.audio_clean.trn", reference)
    )
    assert set(spoken) - set(heard) == {"es/2"}
    assert total(count_errors(spoken[name], text) for name, text in heard.items()).wer == row.wer


@needs_sclite
def test_sclite_finds_our_rate_for_each_condition(folder, tmp_path, capsys):
    main(folder, tmp_path / "trn", normalized=True)
    commands = capsys.readouterr().out.splitlines()
    rows = {re.sub(",? ", "_", row.condition.label): row for row in read_results(folder).rows_of("all")}
    assert len(commands) == 9
    for command in commands:
        tool, *arguments = shlex.split(command)
        assert tool == "sclite"
        hypotheses = Path(arguments[arguments.index("-h") + 1])
        sums = run_sclite(arguments, hypotheses)
        row = rows[hypotheses.name.removeprefix("hyp.").removesuffix(".trn")]
        assert (sums.num_texts, sums.num_words) == (row.n_utterances, row.n_words)
        assert sums.errors == row.substitutions + row.deletions + row.insertions
        assert len(sums.speakers) == 10


def test_normalised_texts_are_those_that_were_compared(folder, tmp_path):
    lines = (folder / "hypotheses.jsonl").read_text().replace("bin blue at f two now", "Bin blue, at F two now!")
    (folder / "hypotheses.jsonl").write_text(lines)
    raw, *_ = export_trn(folder, tmp_path / "raw")
    compared, *_ = export_trn(folder, tmp_path / "compared", normalized=True)
    assert next(read_trn(raw)).text == "Bin blue, at F two now!"
    assert next(read_trn(compared)).text == "bin blue at f two now"


def test_the_model_has_to_be_one(folder, tmp_path):
    with pytest.raises(ValueError, match="holds no transcripts of 'other', only of av"):
        export_trn(folder, tmp_path / "trn", model="other")
    with pytest.raises(SystemExit, match=r"out_dir .*hypotheses\.jsonl cannot be made a folder: File exists"):
        main(folder, folder / "hypotheses.jsonl")
    line = (folder / "hypotheses.jsonl").read_text().splitlines()[0]
    with (folder / "hypotheses.jsonl").open("a") as file:
        print(line.replace('"av"', '"audio_only"'), file=file)
    raises(SystemExit, "holds transcripts of audio_only, av; name one with --model", main, folder, tmp_path / "trn")
    assert not (tmp_path / "trn").exists()
