"""Whole faces for published detectors: where the crop lies, and that one pass gives every span."""

import numpy as np

from avspeech.media.video import write_video
from avspeech.roi.face_crops import FACE_SIZE, crop_face, face_placements, read_face_crops
from avspeech.roi.faces import Face
from avspeech.roi.flow import NEEDED
from avspeech.roi.lips import FaceSpan


def boxed(boxes_T4, first=0):
    points_TN2 = np.zeros((len(boxes_T4), len(NEEDED) + 2, 2), np.float32)
    points_TN2[:, -2:] = np.reshape(boxes_T4, (-1, 2, 2))
    return Face(first, points_TN2, np.zeros(len(boxes_T4), np.uint8))


def test_the_crop_is_seven_tenths_of_the_half_side_around_a_point_below_the_middle():
    boxes_T4 = np.tile([100.0, 50, 180, 150], (20, 1))  # half side 50, centre (140, 100)
    boxes_T4[10] += 30  # one bad frame does not move it
    placed_T23 = face_placements(boxes_T4)
    assert placed_T23.shape == (20, 2, 3) and np.ptp(placed_T23, axis=0).max() < 1e-9
    corners_23 = placed_T23[10] @ np.array([[140 - 35, 140 + 35], [120 - 35, 120 + 35], [1, 1]])
    np.testing.assert_allclose(corners_23, [[0, FACE_SIZE], [0, FACE_SIZE]], atol=1e-9)


def test_outside_the_picture_is_grey():
    frame_HW = np.full((60, 60), 200, np.uint8)
    crop_HW = crop_face(frame_HW, face_placements(np.array([[0.0, 0, 60, 60]]))[0])
    assert crop_HW.shape == (112, 112) and crop_HW.dtype == np.uint8
    assert crop_HW[40, 56] == 200 and abs(int(crop_HW[-5, 56]) - 110) <= 3


def test_one_pass_gives_every_span_beyond_the_faces_own_too(tmp_path):
    frames = [np.full((64, 64, 3), 10 * index, np.uint8) for index in range(12)]
    write_video(tmp_path / "grey.mp4", frames)
    faces = (boxed(np.tile([10.0, 10, 40, 40], (12, 1))), boxed(np.tile([20.0, 10, 50, 40], (4, 1)), first=4))
    spans = [FaceSpan(0, 0, 12), FaceSpan(1, 2, 7), FaceSpan(0, 3, 4)]
    found = dict(read_face_crops(tmp_path / "grey.mp4", faces, spans))
    assert set(found) == set(spans)
    for span, face_THW in found.items():
        assert face_THW.shape == (span.end - span.first, 112, 112)
        levels_T = face_THW[:, 20:40, 40:60].mean(axis=(1, 2))
        np.testing.assert_allclose(levels_T, 10 * np.arange(span.first, span.end), atol=6)
