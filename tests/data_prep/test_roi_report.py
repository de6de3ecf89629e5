"""The page of mouth clips counts blank and still frames, and lists doubtful clips, the worst first."""

import re
from dataclasses import replace

import numpy as np
import pytest

from avspeech.manifest import Utterance
from avspeech.media.video import write_video
from data_prep import roi_report
from data_prep.extract_rois import checked
from data_prep.roi_report import doubts_of, write_roi_report


def moving(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 200, (frames, 96, 96), np.uint8)


def record(name: str, **changed):
    whole = {"id": name, "num_frames": 40, "num_samples": 25600, "measured": 40, "interpolated": 0, "missing": 0}
    return whole | {"blank": 0, "still": 0, "face_height": 180.0, "yaw": -4.0, "crop_scale": 0.9} | changed


def facts(mouth_THW) -> dict:
    record = {}
    np.testing.assert_array_equal(list(checked(mouth_THW, record)), mouth_THW)
    return record


@pytest.mark.parametrize("level", [0, 16, 255])
def test_frames_of_one_level_are_blank_at_any_level(level):
    mouth_THW = moving(10)
    mouth_THW[3:7] = level
    assert facts(mouth_THW) == {"blank": 4, "still": 4, "size": (96, 96)}


def test_the_longest_still_stretch_counts():
    mouth_THW = moving(60)
    mouth_THW[5:9], mouth_THW[20:50] = mouth_THW[5], mouth_THW[20]
    assert facts(mouth_THW) == {"blank": 0, "still": 30, "size": (96, 96)}
    assert facts(moving(1))["still"] == facts(moving(30))["still"] == 0
    assert facts([])["size"] is None


@pytest.mark.parametrize(
    ("changed", "wanted", "reason"),
    [
        ({"missing": 10, "measured": 30}, None, "no face in 10 of 40 frames"),
        ({"blank": 40}, None, "40 of 40 frames are blank"),
        ({"still": 20}, None, "20 equal frames in a row"),
        ({}, 75, "40 frames, the manifest said 75"),
        ({"num_samples": 16000}, None, r"picture minus sound: \+0\.60 s"),
        ({"num_samples": 48000}, None, r"picture minus sound: -1\.40 s"),
        ({"offset": 5, "offset_lead": 8.0}, None, "the sound is 5 frames late"),
        ({"offset": -3, "offset_lead": 4.0}, 40, "the sound is 3 frames early"),
        ({"size": [64, 96]}, None, "64x96 pixels, wanted 96x96"),
    ],
)
def test_every_doubt_has_its_reason(changed, wanted, reason):
    (found,) = doubts_of(record("a", **changed), wanted).reasons
    assert re.fullmatch(reason, found)


def test_a_good_clip_has_no_doubt():
    assert doubts_of(record("a"), 40).reasons == doubts_of(record("a", num_samples=None), 41).reasons == ()


def test_the_page_lists_every_doubtful_and_failed_clip_worst_first(tmp_path, monkeypatch):
    monkeypatch.setattr(roi_report, "SHOWN", 2)
    clips = {}
    for name in ("good", "<b>", "half", "little"):
        clips[name] = tmp_path / f"{len(clips)}.mp4"
        write_video(clips[name], moving(40))
    missing = {"good": 0, "<b>": 40, "half": 20, "little": 2}
    done = [(Utterance(name, num_frames=40), record(name, missing=count)) for name, count in missing.items()]
    done[0] = (replace(done[0][0], num_frames=None), done[0][1])
    write_roi_report(tmp_path / "rois.html", done, [{"id": "gone", "why": "NoFace: 0 of 30 frames"}], clips)
    page = (tmp_path / "rois.html").read_text()
    assert page.count("<img") == 2 and page.count("data:image/jpeg") == 2
    names = re.findall(r"<b>(.*?)</b>", page)
    assert names == ["&lt;b&gt;", "half", "little", "gone"]
    assert "NoFace: 0 of 30 frames" in page and "<svg" in page and "4 clips" in page


def test_a_page_of_nothing_is_written(tmp_path):
    write_roi_report(tmp_path / "rois.html", [], [], {})
    assert "0 clips" in (tmp_path / "rois.html").read_text()
