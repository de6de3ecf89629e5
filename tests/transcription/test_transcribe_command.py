"""The command ``avspeech transcribe``: whatever comes in, it gives texts or says in one line why not."""

import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from avspeech import transcribe
from avspeech.media.audio import write_wav
from avspeech.media.video import write_video
from avspeech.models.files import save_model
from avspeech.text.tokenizer import Tokenizer
from avspeech.timebase import SAMPLE_RATE
from avspeech.transcription.cutting import CuttingConfig
from avspeech.transcription.formats import FORMATS, read_transcript
from avspeech.transcription.speech_model import SpeechModel
from tests.hub.small_models import KINDS, recognizer
from tests.roi.conftest import picture
from tests.transcription.broken_media import SECONDS, write_bad_files
from tests.transcription.test_speech_activity import voice


def names(folder) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_every_format_is_written_and_the_text_is_printed(run, media, models):
    answer = run(media / "talk.wav", "--format", "txt,srt, vtt,json,tsv", "--out_dir", "new/folder")
    assert names("new/folder") == sorted(f"talk.{name}" for name in FORMATS)
    transcript = read_transcript("new/folder/talk.json")
    assert transcript.text and answer.out.split() == transcript.text.split()
    assert Path("new/folder/talk.txt").read_text() == transcript.text + "\n"
    assert (transcript.source, transcript.model) == (str(media / "talk.wav"), str(models / "one.safetensors"))
    assert len(transcript.segments) == 3 and {one.modality for one in transcript.segments} == {"audio"}
    assert transcript.notes == ("There is no picture: the sound alone was used.",)
    assert transcript.notes[0] in answer.err
    options = json.loads(Path("new/folder/talk.json").read_text())["options"]
    assert options["modality"] == "audio+video" and options["face"] == "speaking"


def test_a_second_run_decodes_nothing_and_says_the_same(run, media, decoded):
    first = run(media / "talk.wav")
    assert sum(decoded) == 3
    assert run(media / "talk.wav") == first
    assert run(media / "talk.wav", "--format", "json") == first  # other files of the same transcript
    shutil.copy(media / "talk.wav", "moved.wav")
    run("moved.wav", "--format", "json")
    assert read_transcript("moved.json").source == "moved.wav"
    assert sum(decoded) == 3


def test_what_can_change_the_result_decodes_anew(run, media, decoded):
    run(media / "a.wav")
    once = sum(decoded)
    for change in ("--fresh", "--modality=audio", "--language=en", "--min_pause=0.6", "--face=largest"):
        decoded.clear()
        run(media / "a.wav", change)
        assert sum(decoded) == once > 0, change


def test_another_model_content_default_or_dictionary_decodes_anew(run, media, decoded, monkeypatch):
    shutil.copy(media / "a.wav", "a.wav")
    first = run("a.wav")
    other = run("a.wav", model="two")
    assert len(decoded) == 2 and other.out != first.out
    write_wav(Path("a.wav"), voice(2, seed=5))
    run("a.wav")
    assert len(decoded) == 3
    monkeypatch.setattr(SpeechModel, "cutting", CuttingConfig(padding_s=0.4))
    run("a.wav")
    assert len(decoded) == 4
    load = transcribe.load

    def with_other_words(given):  # of the dictionary beside an official checkpoint
        model = load(given)
        words = model.network.tokenizer
        model.network.tokenizer = Tokenizer(words.kind, words.symbols[::-1])
        return model

    monkeypatch.setattr(transcribe, "load", with_other_words)
    run("a.wav")
    assert len(decoded) == 5


def test_ctrl_c_keeps_what_is_finished_and_the_next_run_decodes_the_rest(run, media, decoded, tmp_path):
    one_by_one = ("--batch_frames", "30", "--format", "json")
    run(media / "talk.wav", *one_by_one, "--out_dir", "whole", "--fresh")
    assert decoded == [1, 1, 1]
    shutil.rmtree(tmp_path / "cache")
    decoded.stop_at = 5
    answer = run(media / "talk.wav", *one_by_one, status=130)
    assert "0 of 1 files" in answer.err and "2 segments of" in answer.err and "are kept" in answer.err
    assert names(".") == ["whole"] and not answer.out
    decoded.stop_at = None
    run(media / "talk.wav", *one_by_one, "--out_dir", "rest")
    assert decoded[3:] == [1, 1, 1]
    whole, rest = (read_transcript(f"{folder}/talk.json") for folder in ("whole", "rest"))
    assert rest == replace(whole, segments=rest.segments)
    assert [replace(one, score=0.0) for one in rest.segments] == [replace(one, score=0.0) for one in whole.segments]
    np.testing.assert_allclose([one.score for one in rest.segments], [one.score for one in whole.segments], rtol=1e-5)


@pytest.mark.slow
def test_ctrl_c_between_files_keeps_the_finished_ones_and_before_them_says_so(run, media, decoded, monkeypatch):
    def stop(given):
        raise KeyboardInterrupt

    shutil.copy(media / "a.wav", "a.wav")
    decoded.stop_at = 1
    answer = run("a.wav", media / "talk.wav", "--format", "txt", status=130)
    assert "1 of 2 files are finished" in answer.err and names(".") == ["a.txt", "a.wav"]
    monkeypatch.setattr(transcribe, "load", stop)
    assert run(media / "a.wav", status=130).err.strip() == "stopped before the first file"


def test_sound_that_ends_long_before_the_picture_is_said(run, finder):
    write_video(Path("a.mp4"), [picture(96, 96, (48, 48, 76))] * 50, voice(1))
    assert "The picture lasts 2.0 s, the sound 1.0 s" in run("a.mp4").err


@pytest.mark.slow
def test_odd_names(run, media):
    odd = ["-x.wav", "日本 語.wav", "[x].wav", "a*b.wav", "50%d.wav", "new\nline.wav", os.fsdecode(b"\xff.wav")]
    odd.append("y" * 250 + ".wav")
    for name in odd:
        shutil.copy(media / "a.wav", name)
    answer = run("--fresh", "--format", "json,srt", "--out_dir", "out", "--", *odd)
    assert names("out") == sorted(Path(name).stem + ending for name in odd for ending in (".json", ".srt"))
    assert {read_transcript(path).source for path in Path("out").glob("*.json")} == set(odd)
    assert "new\\nline.wav:\n" in answer.out
    assert run("./-x.wav").out
    assert "unrecognized arguments: -x.wav" in run("-x.wav", status=2).err


def test_the_same_file_twice_is_one_and_the_same_stem_is_two(run, media, decoded):
    Path("sub").mkdir()
    shutil.copy(media / "a.wav", "a.wav")
    write_wav(Path("sub/a.wav"), voice(2, seed=1))
    write_wav(Path("a.wave"), voice(2, seed=2))
    same = ["a.wav", "./a.wav", Path.cwd() / "a.wav", "sub/../a.wav", "*.wav"]
    answer = run(*same, "sub", "sub/a.wav", "a.wave", "--format", "txt")
    assert len(decoded) == len(list(Path().glob("*.txt"))) == 3
    assert [line for line in answer.out.splitlines() if line.endswith(":")] == ["a.wav:", "sub/a.wav:", "a.wave:"]


def test_an_output_that_cannot_be_written_is_that_files_failure(run, media):
    for name in ("a.wav", "b.wav"):
        shutil.copy(media / "a.wav", name)
    Path("a.json").mkdir()
    assert "its output cannot be written" in run("a.wav", "b.wav", "--format", "json,txt", status=1).reasons["a.wav"]
    assert "b.json" in names(".") and not [name for name in names(".") if name.endswith(".part")]


def test_a_preview_that_cannot_be_drawn_costs_no_transcript(run, media):
    answer = run(media / "talk.wav", "--preview", "p.mp4", "--format", "txt", status=1)
    assert "has no video track to draw a preview on" in next(iter(answer.reasons.values()))
    assert answer.out.strip() and names(".") == ["talk.txt"]


def test_a_cache_that_cannot_be_written_costs_no_transcript(run, media, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    answer = run(media / "a.wav", media / "talk.wav")
    assert caplog.text.count("nothing is kept for another run") == 1 and answer.out.count(":\n") == 2


def test_a_closed_pipe_ends_the_work(run, media, decoded, monkeypatch):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        shutil.copy(media / "talk.wav", "talk.wav")
        answer = run(media / "a.wav", "talk.wav", status=1)
        assert len(decoded) == 1 and "the output was closed after 0 files" in answer.err


def test_silence_is_no_error(run, tmp_path):
    write_wav(tmp_path / "silence.wav", np.zeros(2 * SAMPLE_RATE, np.float32))
    answer = run(tmp_path / "silence.wav", "--format", "txt,srt,vtt,json,tsv")
    assert "Nobody is heard to speak" in answer.err and not answer.out
    assert read_transcript("silence.json").segments == () and Path("silence.txt").read_text() == ""


def test_a_face_is_read_and_a_preview_of_a_kept_transcript_decodes_nothing(run, media, decoded, finder):
    shutil.copy(media / "fast.mp4", "first.mp4")
    first = run("first.mp4", "--format", "json")
    transcript = read_transcript("first.json")
    assert {one.modality for one in transcript.segments} == {"audio+video"} and transcript.face_share > 0.9
    count = len(decoded)
    Path("first.mp4").rename("second.mp4")
    second = run("second.mp4", "--preview", "out/preview.mp4", "--format", "json")
    assert second.out == first.out and len(decoded) == count
    assert read_transcript("second.json") == replace(transcript, source="second.mp4")
    with av.open("out/preview.mp4") as preview:
        assert preview.streams.video[0].frames == SECONDS * 25
    assert names("out") == ["preview.mp4"]


@pytest.mark.slow
def test_the_console_script_is_the_same(media, models, tmp_path):
    command = [sys.executable, "-m", "avspeech.cli"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    bad = [*command, "transcribe", str(media / "missing.wav"), "--model", str(models / "one.safetensors")]
    done = subprocess.run(bad, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1 and "1 of 1 failed:" in done.stderr and "Traceback" not in done.stderr
    done = subprocess.run([*command, "dance"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "unknown command 'dance'" in done.stderr


def test_each_bad_input_has_one_line_and_the_others_go_on(run, media, finder):
    wanted = write_bad_files(media, Path())
    Path("folder.mp4").mkdir()
    shutil.copy(media / "a.wav", "a.wav")
    answer = run(*wanted, "", "a.wav", "--format", "json,txt", "--out_dir", "out", status=1)
    reasons = answer.reasons
    assert set(reasons) == {*wanted, "''"}
    for name, pattern in wanted.items():
        assert re.search(pattern, reasons[name]), f"{name}: {reasons[name]}"
    assert f"{len(wanted) + 1} of {len(wanted) + 2} failed:" in answer.err
    assert names("out") == ["a.json", "a.txt"] and answer.out.startswith("a.wav:\n")


def test_a_cut_mpeg_stream_says_nothing_of_its_length_but_is_not_passed_over(run, media, finder):
    data = (media / "a.mpg").read_bytes()
    Path("cut.mpg").write_bytes(data[: len(data) // 2])
    for modality in ("audio", "audio+video"):
        said = run("cut.mpg", "--modality", modality).err
        assert "lasts" in said or "corrupt" in said


def test_what_may_not_be_read_or_written_is_said(models, monkeypatch, capfd):
    from avspeech.transcription import speech_model  # noqa: F401 - that user may not even read this package

    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        (folder / "closed").mkdir()
        sound, inside, model = folder / "closed.wav", folder / "closed" / "inside.wav", folder / "model.pt"
        for path in (sound, inside, model):
            path.write_bytes(b"RIFF" * 10)
            path.chmod(0o000)
        shutil.copyfile(models / "one.safetensors", folder / "one.safetensors")
        (folder / "one.safetensors").chmod(0o644)
        (folder / "closed").chmod(0o000)
        folder.chmod(0o555)
        monkeypatch.setenv("XDG_CACHE_HOME", name)
        good = ["--quiet", "--model", folder / "one.safetensors"]
        txt = ["--format", "txt", "--out_dir", folder]
        calls = [sound, folder / "closed", inside, *good], [sound, "--quiet", "--model", model], [sound, *txt, *good]

        def ask():
            if os.getuid() == 0:  # root may read everything
                os.setuid(65534)
            os._exit(sum(transcribe.main(list(map(str, call))) << (2 * i) for i, call in enumerate(calls)))

        child = multiprocessing.get_context("fork").Process(target=ask)
        child.start()
        child.join()
        for inner in (folder, folder / "closed"):
            inner.chmod(0o755)
    said = capfd.readouterr().err
    assert child.exitcode == 1 + (2 << 2) + (2 << 4) and "Traceback" not in said, said
    assert said.count("Permission denied") == 3 and "may not be read" in said and "must not be written to" in said


CANNOT_BE = {
    "--format doc": "format 'doc' came", "--format ,": "format '' came",
    "--face 0": "face=0 (--face) came", "--face left": "face='left' (--face) came",
    "--decoding.beam_size 0": "beam_size=0", "--decoding.method attention": "without text decoder",
    "--longest 1": "longest_s=1.0", "--longest 21": "above the 20 s that", "--min_pause -1": "min_pause_s=-1.0",
    "--batch_frames 0": "batch_frames=0", "--device warp": "device='warp'", "--device meta": "device='meta'",
    "--preview p.avi": "must end in .mp4", "b.wav --preview p.mp4": "2 came",
    "--out_dir a.wav/x --format txt": "cannot be made a folder", "--who_speaks nobody": "'nobody' is no file",
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "reason"), CANNOT_BE.items())
def test_what_cannot_be_is_refused_before_the_work(arguments, reason, run, media):
    shutil.copy(media / "a.wav", "a.wav")
    answer = run("a.wav", *arguments.split(), status=2)
    assert reason in answer.err and answer.err.count("\n") == 1 and not answer.out


BAD_USAGE = {
    "a.wav": "required: model", "--model m": "required: videos",
    "a.wav --model m --modality sound": "invalid choice: 'sound'", "a.wav --model m --longest nan": "Given value: nan",
    "a.wav --model m --decoding.method beam": "decoding.method",
    "a.wav --model m --method ctc": "--method is now --decoding.method",
    "a.wav --model m --beam_size=5": "--beam_size is now --decoding.beam_size",
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "reason"), BAD_USAGE.items())
def test_bad_usage_is_status_2(arguments, reason, run):
    assert reason in run(*arguments.split(), model=None, status=2).err


def test_a_model_of_the_wrong_kind_is_named(run, media, tmp_path):
    save_model(tmp_path / "pretrained.safetensors", KINDS["cluster_predictor"]())
    cases = {
        tmp_path / "pretrained.safetensors": "gives no text: it was pre-trained", media / "late.mp4": "is no model",
        media: "is a folder without model.safetensors", tmp_path / "missing.pt": "does not exist",
        "nobody": "is no file and no model's name", "x" * 300: "name too long", "": "an empty name",
    }  # fmt: skip
    for model, reason in cases.items():
        answer = run(media / "a.wav", "--model", model, model=None, status=2)
        assert reason in answer.err and answer.err.count("\n") == 1


def test_no_input_is_ever_replaced(run, media):
    shutil.copy(media / "a.wav", "talk.txt")
    shutil.copy(media / "fast.mp4", "film.mp4")
    assert "talk.txt in . is an input" in run("talk.txt", "--format", "txt", status=2).err
    assert "would replace the video itself" in run("film.mp4", "--preview", "./film.mp4", status=2).err
    assert Path("talk.txt").read_bytes() == (media / "a.wav").read_bytes()
    assert Path("film.mp4").read_bytes() == (media / "fast.mp4").read_bytes()


def test_a_face_model_that_is_missing_or_broken_is_said_in_one_line(run, media, monkeypatch, models):
    pytest.importorskip("ai_edge_litert")
    for path, reason in (("/missing.task", "is no file"), (str(models / "one.safetensors"), "is no face model")):
        monkeypatch.setenv("AVSPEECH_FACE_MODEL", path)
        last = run(media / "fast.mp4", status=2).err.splitlines()[-1]
        assert reason in last and last.startswith("avspeech transcribe:")


def test_a_model_that_leaves_the_range_of_numbers_ends_with_one_line(run, media):
    model = recognizer()
    for weight in model.parameters():
        weight.data.fill_(3e38)
    save_model(Path("huge.safetensors"), model)
    last = run(media / "a.wav", "--model", "huge.safetensors", model=None, status=2).err.strip().splitlines()[-1]
    assert last.startswith("avspeech transcribe: the encoder gave values that are not finite")
