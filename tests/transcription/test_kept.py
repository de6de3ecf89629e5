"""What is kept survives kills, rot and company, and is found only for exactly the same input."""

import logging
import multiprocessing
import os
import time
from dataclasses import replace

import pytest

from avspeech.decoding.word_times import TimedWord
from avspeech.transcription.kept import Kept
from avspeech.transcription.result import Segment, Transcript

KEY = "0" * 64


def segment(number, text="صوت и λέξη"):
    word = TimedWord(text, float(number), number + 0.5, 0.25)
    return Segment(float(number), number + 0.75, text, "audio+video", (word,), -0.1, "ar", face_share=0.5)


TRANSCRIPT = Transcript("a/clip.mp4", 9.0, "m", "audio+video", (segment(0), segment(3)), language="ar", notes=("one",))


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path / "kept")


def in_processes(*functions):
    processes = [multiprocessing.get_context("fork").Process(target=function) for function in functions]
    for process in processes:
        process.start()
    return processes


def test_default_folder_is_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Kept().folder == tmp_path / "avspeech" / "transcripts" and not Kept().folder.exists()


def test_saved_is_loaded_and_its_segments_go(kept):
    assert kept.load(KEY) is None and kept.segments(KEY) == []
    for number in (3, 0):
        kept.append_segment(KEY, segment(number))
    assert kept.segments(KEY) == [segment(0), segment(3)]
    kept.save(KEY, TRANSCRIPT)
    assert kept.load(KEY) == TRANSCRIPT and kept.segments(KEY) == []
    assert len(list(kept.folder.iterdir())) == 1


def test_what_a_killed_process_left_goes_with_the_next_load_and_what_a_running_one_writes_stays(kept):
    (dead,) = in_processes(bool)
    dead.join()
    kept.save(KEY, TRANSCRIPT)
    kept.append_segment(KEY, segment(0))  # it was killed before it deleted these
    left, odd, writing = (kept.folder / f"{KEY}.{name}.part" for name in (f"{dead.pid}.a", "abc", f"{os.getpid()}.b"))
    for path in (left, odd, writing):
        path.write_text("half")
    assert kept.load(KEY) == TRANSCRIPT
    assert sorted(kept.folder.iterdir()) == sorted([writing, kept.folder / f"{KEY}.transcript"])


def test_key_depends_on_content_model_options_and_version_but_not_on_the_path(kept, tmp_path, monkeypatch):
    one, moved, other = tmp_path / "one.mp4", tmp_path / "moved.mp4", tmp_path / "other.mp4"
    for path, content in ((one, b"abc"), (moved, b"abc"), (other, b"abd")):
        path.write_bytes(content)
    options = {"beam": 5, "face": "speaking"}
    key = kept.key(one, "5ha", options)
    assert kept.key(moved, "5ha", dict(reversed(options.items()))) == key
    changed = (other, "5ha", options), (one, "5hb", options), (one, "5ha", options | {"beam": 4})
    others = [kept.key(*given) for given in changed]
    monkeypatch.setattr("avspeech.transcription.kept.__version__", "9")
    assert len({key, *others, kept.key(one, "5ha", options)}) == 5


def test_a_cut_at_any_byte_costs_only_the_line_that_was_cut_and_not_the_next(kept):
    for number in range(3):
        kept.append_segment(KEY, segment(number, "a"))
    path = next(kept.folder.iterdir())
    content = path.read_bytes()
    lines_end = [i for i in range(len(content)) if content[i : i + 1] == b"\n" and i and content[i - 1 : i] != b"\n"]
    for length in range(len(content)):
        path.write_bytes(content[:length])
        whole = sum(end <= length for end in lines_end)
        assert kept.segments(KEY) == [segment(number, "a") for number in range(whole)]
        kept.append_segment(KEY, segment(7))
        assert kept.segments(KEY) == [*(segment(number, "a") for number in range(whole)), segment(7)]


def test_a_flipped_byte_is_noticed_logged_and_made_anew(kept, caplog):
    kept.save(KEY, TRANSCRIPT)
    path = next(kept.folder.iterdir())
    content = path.read_bytes()
    for at in range(0, len(content) - 1, 7):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert kept.load(KEY) is None, content[at : at + 1]
        assert "damaged" in caplog.text
    kept.save(KEY, TRANSCRIPT)
    assert kept.load(KEY) == TRANSCRIPT


@pytest.mark.parametrize("content", [b"", b"\n", b"{}", b"\xff\xfe\x00", b"[" * 100_000])
def test_rubbish_is_ignored(kept, content):
    kept.folder.mkdir()
    for ending in (".transcript", ".segments"):
        (kept.folder / (KEY + ending)).write_bytes(content)
    assert kept.load(KEY) is None and kept.segments(KEY) == []


def test_killed_while_it_appends_leaves_every_segment_before(kept):
    def append_for_ever():
        for number in range(1_000_000):
            kept.append_segment(KEY, segment(number))

    (process,) = in_processes(append_for_ever)
    while len(kept.segments(KEY)) < 20:
        time.sleep(0.005)
    process.kill()
    process.join()
    found = kept.segments(KEY)
    assert found == [segment(number) for number in range(len(found))]


def test_killed_while_it_saves_leaves_a_whole_transcript_or_none(kept):
    long = replace(TRANSCRIPT, segments=tuple(segment(number, "word " * 200) for number in range(400)))

    def save_for_ever():
        while True:
            kept.save(KEY, long)

    for wait_s in (0.0, 0.01, 0.03, 0.08):
        (process,) = in_processes(save_for_ever)
        time.sleep(wait_s)
        process.kill()
        process.join()
        assert kept.load(KEY) in (None, long)


def test_processes_at_once_do_not_damage_each_others_lines(kept, caplog):
    def append(first):
        for number in range(first, first + 100):
            kept.append_segment(KEY, segment(number // 2, "long " * (number % 50)))  # every second is doubled

    for process in in_processes(*(lambda first=first: append(first) for first in (0, 100, 200, 200))):
        process.join()
        assert process.exitcode == 0
    assert [one.start_s for one in kept.segments(KEY)] == list(range(150)) and not caplog.records


def test_after_a_failure_nothing_more_is_tried_and_it_is_said_once(tmp_path, caplog):
    (tmp_path / "kept").write_text("no folder")
    kept = Kept(tmp_path / "kept")
    kept.append_segment(KEY, segment(0))
    (tmp_path / "kept").unlink()  # it would work again, with a hole in it
    kept.append_segment(KEY, segment(3))
    kept.save(KEY, TRANSCRIPT)
    assert not (tmp_path / "kept").exists() and caplog.text.count("nothing is kept for another run") == 1
