"""Lips come out of any video, as good as by looking at every frame; nothing crashes."""

from functools import partial

import cv2
import numpy as np
import pytest

from avspeech.media.audio import write_wav
from avspeech.media.errors import MediaError, NoVideo
from avspeech.media.video import read_pictures, write_video
from avspeech.roi.faces import follow_faces
from avspeech.roi.lips import FaceSpan, crop_faces, extract_lips, extract_mouth
from avspeech.roi.track import FrameStatus, NoFace
from tests.refusals import raises
from tests.roi.conftest import face, picture


@pytest.fixture(scope="module")
def two(tmp_path_factory, finder):
    """Return a clip of a large face throughout and a small one from frame 10 on, and its faces."""
    path = tmp_path_factory.mktemp("two") / "two.mp4"
    small = [[(310, 100, 100, 0.5 + 0.5 * np.sin(t))] * (t >= 6) for t in range(20)]
    write_video(path, [picture(200, 400, (110, 100, 160), *faces) for faces in small])
    return path, follow_faces(read_pictures(path), finder)


def test_few_looks_give_the_lips_of_many(finder, talking):
    few, many = extract_lips(talking, finder), extract_mouth(talking, finder, every=1)
    assert few.mouth_THW.shape == many.mouth_THW.shape
    assert few.counts["missing"] == 0 and 4 <= few.counts["measured"] < 25 == many.counts["measured"]
    assert np.abs(few.mouth_THW.astype(float) - many.mouth_THW).mean() < 2


def test_a_face_is_chosen_by_size_by_speech_or_by_number(finder, two):
    path, followed = two
    assert [(face.first, face.end) for face in followed.faces] == [(0, 20), (6, 20)]
    largest = extract_lips(path, finder)
    small = extract_lips(path, finder, face=2, max_gap=5)
    for clip, spans in ((largest, FaceSpan(0, 0, 20)), (small, FaceSpan(1, 0, 20))):
        np.testing.assert_array_equal(clip.mouth_THW, crop_faces(path, followed, [[spans]])[0])
    assert np.abs(largest.mouth_THW.astype(float) - small.mouth_THW)[6:].mean() > 3
    assert small.counts["missing"] == 6 and (small.status_T[:6] == FrameStatus.MISSING).all()
    np.testing.assert_array_equal(extract_lips(path, finder, face="speaking").mouth_THW, small.mouth_THW)  # no sound
    for wrong, reason in (("best", "came"), (0, "came"), (-1, "came"), (3, "came.*shows 2")):
        raises(ValueError, f"face={wrong!r} {reason}", extract_lips, path, finder, face=wrong)
    known = "alignment='dlib' came, wanted one of official, steady, causal, former"
    raises(ValueError, known, extract_lips, path, finder, alignment="dlib")


def test_several_clips_are_cut_in_one_pass_and_the_rest_is_black(two):
    path, followed = two
    spans = [[FaceSpan(1, 13, 18), FaceSpan(0, 2, 9)], [FaceSpan(0, 0, 20)], []]
    mixed, whole, nobody = crop_faces(path, followed, spans)
    (other,) = crop_faces(path, followed, [[FaceSpan(1, 0, 20)]])
    assert mixed.shape == (20, 96, 96)
    np.testing.assert_array_equal(mixed[2:9], whole[2:9])
    np.testing.assert_array_equal(mixed[13:18], other[13:18])
    assert not mixed[[0, 1, *range(9, 13), 18, 19]].any()
    assert not nobody.any()
    assert other[0].any()  # before the face's own span, its first placement


@pytest.mark.parametrize(
    "spans", [[FaceSpan(2, 0, 5)], [FaceSpan(0, 5, 5)], [FaceSpan(0, 15, 21)], [FaceSpan(0, 0, 9), FaceSpan(1, 8, 12)]]
)
def test_spans_that_cannot_be_are_refused(two, spans):
    raises(ValueError, r"FaceSpan\(.*came; wanted one of 2 faces", crop_faces, *two, [spans])


def test_a_file_that_changed_between_the_passes_is_told(two, tmp_path):
    _, followed = two
    for length in (19, 21):
        write_video(tmp_path / "other.mp4", [picture()] * length)
        with pytest.raises(MediaError, match=f"gave 20 frames, then {length}"):
            crop_faces(tmp_path / "other.mp4", followed, [[FaceSpan(0, 0, 20)]])


def test_no_face_no_video_and_too_little_face_are_told_apart(finder, tmp_path):
    write_video(tmp_path / "none.mp4", [picture()] * 10)
    for extract, looked in ((extract_lips, 3), (partial(extract_mouth, every=1), 10)):
        raises(NoFace, f"0 of {looked}", extract, tmp_path / "none.mp4", finder)
    write_wav(tmp_path / "none.wav", np.zeros(16_000, np.float32))
    with pytest.raises(NoVideo):
        extract_lips(tmp_path / "none.wav", finder)
    write_video(tmp_path / "brief.mp4", [face()] * 4 + [picture()] * 46)
    raises(NoFace, r"4 of 50 frames \(8%\), wanted 10%", extract_lips, tmp_path / "brief.mp4", finder)
    clip = extract_lips(tmp_path / "brief.mp4", finder, min_found=0.05)
    assert clip.mouth_THW.shape == (50, 96, 96) and clip.counts["missing"] == 46


ODD = {
    "one frame": [face()],
    "two frames": [face()] * 2,
    "tiny": [cv2.resize(face(), (16, 16))] * 6,
    "grey": [cv2.cvtColor(face(), cv2.COLOR_RGB2GRAY)] * 6,
    "at the border": [picture(200, 240, (30 - 4 * t, 100, 150)) for t in range(9)],
    "portrait": [cv2.copyMakeBorder(picture(200, 112, (56, 100, 120)), 0, 0, 144, 144, 0)] * 6,
    "noise": list(np.random.default_rng(0).integers(0, 256, (6, 120, 160, 3), np.uint8)),
    "black": [np.zeros((120, 160, 3), np.uint8)] * 6,
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_videos_give_lips_or_no_face(kind, finder, tmp_path):
    write_video(tmp_path / "odd.mp4", ODD[kind])
    try:
        clip = extract_lips(tmp_path / "odd.mp4", finder)
    except NoFace:
        assert kind in ("tiny", "noise", "black", "at the border")
    else:
        assert clip.mouth_THW.shape == (len(ODD[kind]), 96, 96)
        assert kind not in ("noise", "black")


@pytest.mark.slow
def test_an_8k_still_gives_its_lips(finder, tmp_path):
    small = picture(216, 384, (200, 100, 150))
    for name, size in (("still.png", (7680, 4320)), ("small.png", (384, 216))):
        cv2.imwrite(str(tmp_path / name), cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)[:, :, ::-1])
    large, reference = (extract_lips(tmp_path / name, finder).mouth_THW for name in ("still.png", "small.png"))
    assert large.shape == (1, 96, 96) and np.abs(large.astype(float) - reference).mean() < 4
