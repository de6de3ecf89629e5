"""What the verb refuses before anything starts, and what it offers."""

from pathlib import Path

import pytest

from avspeech import app
from avspeech.manifest import Utterance, write_manifest
from avspeech.page.layout import Shelf, choose_examples


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_mb": 0.0}, "max_mb=0.0 must be a number above 0"),
        ({"port": 70_000}, "port=70000 must lie in 1..65535"),
        ({"noise_manifest": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"examples": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"models": " , "}, "no model came, wanted at least one name or path; see --models"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(given, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # no demo lies here
    values = {name: Path(value) if str(value).endswith(".jsonl") else value for name, value in given.items()}
    with pytest.raises(SystemExit) as ended:
        app.main(**values)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_examples_are_of_as_many_languages_as_there_are(tmp_path):
    languages = {"a": "en", "b": "en", "c": "es", "d": None}
    lines = [Utterance(name, video=tmp_path / f"{name}.mp4", language=code) for name, code in languages.items()]
    write_manifest(tmp_path / "test.jsonl", lines)
    assert [one.id for one in choose_examples(tmp_path / "test.jsonl", 2)] == ["a", "c"]
    assert [one.id for one in choose_examples(tmp_path / "test.jsonl", 9)] == ["a", "c", "d", "b"]


def test_a_model_is_loaded_once_and_only_if_it_is_offered():
    loaded = []
    shelf = Shelf(["one", "two", "one"], lambda name: loaded.append(name) or name)  # type: ignore[arg-type]
    assert shelf.names == ["one", "two"] and loaded == []
    assert shelf.take("two") == shelf.take("two") == "two" and loaded == ["two"]
    with pytest.raises(ValueError, match="'/secret' came, wanted one of one, two"):
        shelf.take("/secret")
    assert loaded == ["two"]


def test_the_demos_clips_and_voices_are_those_of_its_run(tmp_path, monkeypatch):
    monkeypatch.setenv("AVSPEECH_DEMO", str(tmp_path))
    clip = Utterance("clip", video=tmp_path / "clip.mp4", audio=tmp_path / "clip.wav")
    for name in ("test.jsonl", "corpus/babble_test.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_manifest(tmp_path / name, [clip])
    served = []
    monkeypatch.setattr(app, "serve", lambda *given: served.append(given))
    app.main()
    shelf, noises, *_, clips, _ = served[0]
    assert [one.id for one in clips] == ["clip"] and "babble" in noises.kinds and shelf.names == ["demo"]
