"""Folders are searched with linked ones, each once, and files of odd endings are tried."""

import os
import sys

import numpy as np
import pytest

from avspeech.files import walk_files
from avspeech.media.audio import write_wav
from avspeech.noise.corpora import folder_files
from avspeech.transcription.paths import find_media


def sound(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path.parent / "made.wav", np.zeros(800, np.float32))
    return (path.parent / "made.wav").rename(path)


def test_linked_folders_are_searched_each_once(tmp_path):
    top, far = tmp_path / "top", tmp_path / "far"
    for path in (top / "a.wav", far / "b.wav", far / "deep" / "c.wav", top / ".hidden" / "d.wav", top / ".e.wav"):
        sound(path)
    for link, target in (("near", far), ("again", far), ("up", top), ("itself", top / "itself")):
        (top / link).symlink_to(target)
    found, reasons = find_media([str(top)])
    assert [os.path.relpath(os.path.realpath(path), tmp_path) for path in found] == [
        *("top/a.wav", "far/b.wav", "far/deep/c.wav")
    ]
    assert not reasons
    assert len(folder_files(top)) == 3


@pytest.mark.parametrize("name", ["talk.dat", "talk", "talk.mp4_1", "talk.WAV.bak", "talk.divx"])
def test_files_of_odd_endings_are_tried(name, tmp_path):
    sound(tmp_path / name)
    for other, content in (("notes.txt", b"hello"), ("README", b"# hello"), ("x.bin", bytes(4000)), ("empty", b"")):
        (tmp_path / other).write_bytes(content)
    found, reasons = find_media([str(tmp_path)])
    assert [path.name for path in found] == [name] and not reasons


@pytest.mark.skipif(os.geteuid() == 0 or sys.platform == "win32", reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    sound(tmp_path / "a.wav")
    (tmp_path / "closed").mkdir(mode=0)
    found, reasons = find_media([str(tmp_path)])
    assert len(found) == 1 and "may not be read" in reasons[str(tmp_path / "closed")]


def test_errors_of_a_folder_are_told(tmp_path):
    told = []
    assert list(walk_files(tmp_path / "none", lambda *what: told.append(what))) == []
    assert told[0][0] == str(tmp_path / "none")
