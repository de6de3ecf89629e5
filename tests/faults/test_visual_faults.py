"""Faults of the picture: graded, drawn from a key alone, and the same in a clip and in a stream."""

import hashlib
import re
from itertools import pairwise

import numpy as np
import pytest

from avspeech.faults import occlusion
from avspeech.faults.frame_faults import FREEZE_SHARES
from avspeech.faults.visual import (
    KINDS,
    MOUTH_BLANK,
    Fault,
    all_faults,
    degrade_clip,
    degrade_frames,
    fault_key,
    parse_fault,
)
from avspeech.features.clip import MEAN
from avspeech.noise.exact_noise import ExactDraws
from tests.refusals import raises

MADE = [fault for fault in all_faults() if fault.changes_pictures]
RANDOM = ("object", "hand", "pixel_noise", "drop", "freeze")
by_label = pytest.mark.parametrize("fault", MADE, ids=lambda fault: fault.label)
GRADED = [kind for kind in KINDS if KINDS[kind].levels == (1, 2, 3, 4, 5)]


def lips(num_frames: int, size: int = 96) -> np.ndarray:
    """Return a clip of textured skin with a mouth that opens and closes, (T, size, size)."""
    rows, columns = (np.mgrid[:size, :size] / size - 0.5) * 96
    skin = 150 + 12 * np.sin(rows / 3) * np.cos(columns / 4) + 0.3 * rows
    inside = [(columns / 25) ** 2 + (rows / (4 + 3 * np.sin(t / 2))) ** 2 < 1 for t in range(num_frames)]
    return np.where(inside, 50 + 20 * np.sin(columns / 2), skin).round().astype(np.uint8)


@pytest.fixture(scope="module")
def clip_THW():
    clip_THW = lips(75)
    clip_THW.flags.writeable = False  # writing into it is an error
    return clip_THW


def boxes_of(clip_THW: np.ndarray) -> list[tuple[float, float, float, float]]:
    return [(0.0, 0.0, float(clip_THW.shape[2]), float(clip_THW.shape[1]))] * len(clip_THW)


def test_every_label_names_its_fault():
    assert len({fault.label for fault in all_faults()}) == len(all_faults()) == 59
    for fault in all_faults():
        assert parse_fault(fault.label) == fault
    labels = ("blur-3", "drop-50", "offset+80", "offset-160", "wrong_speaker", "no_face", "darker-2", "pixel_noise-1")
    assert [parse_fault(label).label for label in labels] == list(labels)
    assert parse_fault("offset-160") == Fault("offset", -160)


UNKNOWN = ("blurr-3", "blur", "blur-6", "blur+3", "drop-30", "offset80", "no_face-1", "", "Blur-3")


@pytest.mark.parametrize("label", UNKNOWN)
def test_an_unknown_label_is_told_what_is_known(label):
    known = r"blur-1/2/3/4/5.*offset-160\.\.\+160 by 40.*no_face"
    raises(ValueError, rf"'{re.escape(label)}'.*{known}", parse_fault, label)


@pytest.mark.parametrize(("kind", "level"), [("fog", 1), ("drop", 30)])
def test_a_fault_that_is_none_is_refused(kind, level):
    raises(ValueError, f"'{kind}' came with level {level}; known are object-1/2", Fault, kind, level)


@by_label
def test_shape_and_type_stay_and_the_key_decides_alone_where_a_fault_is_drawn(clip_THW, fault):
    changed_THW = degrade_clip(clip_THW, fault, "a")  # ``clip_THW`` cannot be written to
    assert changed_THW.shape == clip_THW.shape
    assert changed_THW.dtype == np.uint8
    np.testing.assert_array_equal(degrade_clip(clip_THW, fault, "a"), changed_THW)
    differs = any((degrade_clip(clip_THW, fault, key) != changed_THW).any() for key in ("b", "c"))
    assert differs == fault.is_drawn == (fault.kind in RANDOM and fault.label != "drop-100")
    assert (changed_THW != clip_THW).any() == (fault.label != "offset+0")


@pytest.mark.parametrize("size", [(1, 96, 96), (2, 88, 88), (7, 64, 96), (12, 97, 95)])
def test_any_length_and_size(size):
    clip_THW = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    for fault in MADE:
        if fault.level in (1, 5, 50, -160, 160):
            assert degrade_clip(clip_THW, fault, "k").shape == size


@pytest.mark.parametrize("kind", GRADED)
def test_a_higher_severity_is_further_from_the_clean_clip(clip_THW, kind):
    faults = [Fault(kind, severity) for severity in range(1, 6)]
    changed = [degrade_clip(clip_THW, fault, fault_key(0, "u", fault)) for fault in faults]
    errors = [float(np.mean((one.astype(float) - clip_THW) ** 2)) for one in changed]
    if kind == "freeze":
        errors = [float((one != clip_THW).any(axis=(1, 2)).sum()) for one in changed]
    if kind in ("object", "hand"):  # a thing may be as bright as the face
        errors = [float(cover(kind, fault.level, seed=0, size=48).mean()) for fault in faults]
    assert all(weak < strong for weak, strong in pairwise(errors)), errors


@pytest.mark.parametrize(
    ("num_frames", "level", "lost"), [(75, 25, 19), (75, 50, 38), (76, 50, 38), (75, 100, 75), (1, 50, 0)]
)
def test_dropped_frames_are_the_mean_of_mouth_clips_and_as_many_as_said(num_frames, level, lost):
    clip_THW = lips(num_frames)
    changed_THW = degrade_clip(clip_THW, Fault("drop", level), "k")
    blank_T = (changed_THW == round(MEAN * 255)).all(axis=(1, 2))
    assert blank_T.sum() == lost
    np.testing.assert_array_equal(changed_THW[~blank_T], clip_THW[~blank_T])


def test_what_a_weaker_drop_loses_a_stronger_one_loses_too(clip_THW):
    faults = [Fault("drop", 25), Fault("drop", 50)]
    quarter, half = (degrade_clip(clip_THW, fault, fault_key(0, "u", fault)) == MOUTH_BLANK for fault in faults)
    assert not (quarter & ~half).any()


@pytest.mark.parametrize("level", KINDS["offset"].levels)
def test_an_offset_is_a_shift_that_holds_the_edge(clip_THW, level):
    changed_THW, shift = degrade_clip(clip_THW, Fault("offset", level), "k"), int(level) // 40
    for index in range(75):  # positive: the picture comes late
        np.testing.assert_array_equal(changed_THW[index], clip_THW[min(max(index - shift, 0), 74)])


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_a_freeze_repeats_its_share_of_frames_and_then_is_up_to_date(severity):
    marked_THW = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None], (200, 4, 4))
    seen_T = degrade_clip(marked_THW, Fault("freeze", severity), "k")[:, 0, 0].astype(int)
    still_T = np.diff(seen_T, prepend=-1) == 0
    assert still_T.sum() == round(200 * FREEZE_SHARES[severity - 1])
    np.testing.assert_array_equal(seen_T[~still_T], np.arange(200)[~still_T])


def cover(kind: str, severity: int, seed: int, num_frames: int = 100, size: int = 96) -> np.ndarray:
    """Return how much of each pixel the thing hides, 0 to 1: what is the same before black and before white."""
    fault = Fault(kind, severity)
    key = fault_key(seed, "u", fault)
    black, white = (degrade_clip(np.full((num_frames, size, size), level, np.uint8), fault, key) for level in (0, 255))
    return 1 - (white.astype(float) - black) / 255


@pytest.mark.parametrize("kind", ["object", "hand"])
def test_things_hide_the_stated_share_of_the_mouth_for_the_stated_time(kind):
    rows, columns = (np.mgrid[:96, :96] + 0.5) / 96 - 0.5
    mouth_HW = (columns / occlusion.MOUTH_HALF[0]) ** 2 + (rows / occlusion.MOUTH_HALF[1]) ** 2 < 1
    for severity in range(1, 6):
        cover_THW = cover(kind, severity, seed=severity)
        hidden_T = (cover_THW[:, mouth_HW] > 0.9).mean(axis=1)
        share, time = occlusion.MOUTH_SHARES[severity - 1], occlusion.TIME_SHARES[severity - 1]
        in_place = hidden_T > 0.75 * share - 0.05  # it sways a little
        assert time - 0.03 <= in_place.mean() <= min(1, time + 0.35), severity
        assert np.median(hidden_T[in_place]) == pytest.approx(share, abs=0.12), severity
        if severity >= 4:
            assert (cover_THW[:, 44:52, 44:52].mean(axis=(1, 2)) > 0.9).mean() >= time - 0.03
        if time < 1:
            moves_T = np.abs(np.diff(cover_THW.mean(axis=(1, 2))))
            assert moves_T.max() < 0.35, "it comes and goes over frames, and does not jump"


def test_one_key_shows_the_same_thing_in_all_sizes_of_clip():
    small_THW, large_THW = cover("hand", 3, 1, 40, 96), cover("hand", 3, 1, 40, 192)
    assert np.abs(small_THW - large_THW.reshape(40, 96, 2, 96, 2).mean(axis=(2, 4))).mean() < 0.03


@by_label
def test_a_stream_gives_what_the_clip_gives(clip_THW, fault):
    clip_THW = clip_THW[:40]
    streamed_THW = np.stack(list(degrade_frames(iter(clip_THW), fault, "k", 40, boxes_of(clip_THW))))
    if fault.kind == "drop":  # black in video
        streamed_THW[(streamed_THW == 0).all(axis=(1, 2))] = MOUTH_BLANK
    np.testing.assert_array_equal(streamed_THW, degrade_clip(clip_THW, fault, "k"))


@pytest.mark.parametrize("fault", [fault for fault in MADE if fault.level in (3, 50, 80)], ids=lambda one: one.label)
def test_colour_is_like_grey(fault):
    clip_THW = lips(12)
    rgb = [np.repeat(frame[..., None], 3, axis=2) for frame in clip_THW]
    coloured = np.stack(list(degrade_frames(rgb, fault, "k", 12, boxes_of(clip_THW))))
    grey = np.stack(list(degrade_frames(clip_THW, fault, "k", 12, boxes_of(clip_THW))))
    assert coloured.shape == (12, 96, 96, 3)
    np.testing.assert_allclose(coloured @ np.array([0.299, 0.587, 0.114]), grey, atol=1.5)


@pytest.mark.parametrize("label", ["drop-50", "freeze-5", "offset+160", "offset-160", "blur-2", "hand-5", "jpeg-5"])
def test_a_video_passes_with_few_frames_in_memory(label):
    """No frame is asked for more than the largest offset before it is shown."""
    asked = 0

    def source():
        nonlocal asked
        for asked in range(1, 301):
            yield np.full((48, 48), asked % 256, np.uint8)

    shown = degrade_frames(source(), parse_fault(label), "k", 300, [(8.0, 8.0, 40.0, 40.0)] * 300)
    ahead = [asked - count for count, _ in enumerate(shown, start=1)]
    assert len(ahead) == 300
    assert max(ahead) <= (4 if label == "offset-160" else 0)


def test_sizes_in_pixels_grow_with_the_mouth():
    """A blur of a video twice as large, shrunk again, is that of the small one."""
    small, large = lips(3, 96), lips(3, 192)
    blurred_THW = degrade_clip(small, Fault("blur", 3), "k")
    frames = [np.repeat(np.repeat(frame, 2, axis=0), 2, axis=1) for frame in small]
    of_large = np.stack(list(degrade_frames(frames, Fault("blur", 3), "k", 3, mouth_side=192)))
    np.testing.assert_allclose(of_large.reshape(3, 96, 2, 96, 2).mean(axis=(2, 4)), blurred_THW, atol=2)
    noisy = np.stack(list(degrade_frames(large, Fault("pixel_noise", 2), "k", 3, mouth_side=192))).astype(float) - large
    assert noisy.reshape(3, 96, 2, 96, 2).mean(axis=(2, 4)).std() == pytest.approx(16, rel=0.05)


def test_no_face_hides_what_is_around_the_mouth_and_nothing_where_none_is():
    frame = np.random.default_rng(0).integers(0, 100, (300, 300, 3), dtype=np.uint8)
    hidden, left = degrade_frames([frame, frame], Fault("no_face"), "k", 2, [(104, 154, 196, 246), None])
    np.testing.assert_array_equal(left, frame)
    assert (hidden[100:260, 120:180] == occlusion.FACE_COVER).all()
    assert (hidden[:40] == frame[:40]).all()


def test_what_cannot_be_done_is_said(clip_THW):
    for clip, label, message in (
        (clip_THW, "wrong_speaker", "'wrong_speaker' came for a clip.*avspeech.evaluation.loading"),
        (clip_THW, "no_face", "'no_face' came for a clip.*avspeech.evaluation.loading"),
        (clip_THW / 255, "blur-1", r"float64 came, wanted uint8 \(T, H, W\)"),
        (clip_THW[:0], "blur-1", r"\(0, 96, 96\)"),
    ):
        raises(ValueError, message, degrade_clip, clip, parse_fault(label), "k")
    raises(ValueError, "read another speaker's file", degrade_frames, clip_THW, parse_fault("wrong_speaker"), "k", 75)
    boxless = "'hand-3' of 75 frames came with no mouth boxes"
    raises(ValueError, boxless, degrade_frames, clip_THW, parse_fault("hand-3"), "k", 75)


@pytest.mark.parametrize(("said", "came"), [(74, "more than 74"), (80, "75"), (200, "75")])
@pytest.mark.parametrize("label", ["drop-50", "offset-160", "offset+160", "blur-1", "no_face"])
def test_another_number_of_frames_than_said_is_noticed(clip_THW, label, said, came):
    with pytest.raises(ValueError, match=f"{came} frames came, wanted num_frames={said}"):
        list(degrade_frames(clip_THW, parse_fault(label), "k", said, boxes_of(clip_THW)[:1] * said))


def test_choices_of_a_key_are_pinned():
    """Which frames are lost, and where a thing is, must stay the same in all versions of numpy and of this code."""
    draws = ExactDraws("pinned")
    assert [draws.below(100) for _ in range(5)] == [12, 62, 9, 51, 13]
    marked_THW = np.broadcast_to(np.arange(1, 61, dtype=np.uint8)[:, None, None], (60, 2, 2))
    faults = [fault for fault in MADE if fault.kind in ("drop", "freeze")]
    seen = b"".join(degrade_clip(marked_THW, fault, "pinned").tobytes() for fault in faults)
    assert hashlib.sha256(seen).hexdigest()[:16] == "fce5051ea9511c2c"
