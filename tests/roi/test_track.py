"""Faces are linked without jumps, gaps are filled as far as stated, smoothing does not lag."""

import numpy as np
import pytest

from avspeech.roi.faces import Face
from avspeech.roi.track import FrameStatus, fill_gaps, link_faces, match_boxes, overlap, overlaps, smooth_over_time

M, I, X = FrameStatus.MEASURED, FrameStatus.INTERPOLATED, FrameStatus.MISSING  # noqa: E741


def face(x: float, y: float, size: float) -> np.ndarray:
    """Return the points of a square face, its corners and centre."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (0, 0)]) * size / 2
    return (corners + np.array((x, y))).astype(np.float32)


def largest(detections) -> dict[int, np.ndarray]:
    return link_faces(detections)[0]


def centres(track) -> np.ndarray:
    return np.array([points[4, 0] for _, points in sorted(track.items())])


def test_the_larger_of_two_faces_is_kept_in_any_order():
    rng = np.random.default_rng(0)
    pairs = [[face(100 + t, 100, 80), face(300 - t, 90, 50)] for t in range(60)]
    detections = [[pair[i] for i in rng.permutation(2)] for pair in pairs]
    np.testing.assert_allclose(centres(largest(detections)), 100 + np.arange(60))


def test_a_large_face_that_is_there_briefly_does_not_win():
    detections = [[face(100, 100, 50)] + ([face(250, 100, 90)] if 10 <= t < 20 else []) for t in range(60)]
    assert (centres(largest(detections)) == 100).all()


def test_a_track_never_jumps_to_another_face():
    track = largest([[face(300, 100, 50)] if t in (20, 21, 22) else [face(100, 100, 80)] for t in range(60)])
    assert (centres(track) == 100).all()
    _, status_T = fill_gaps(track, max_gap=12)
    assert status_T[18:25].tolist() == [M, M, I, I, I, M, M]


def test_every_detection_is_in_exactly_one_track():
    detections = [[face(100 + 3 * t, 100, 60), face(100 + 3 * t + 20, 100, 60)] if t % 3 else [] for t in range(20)]
    assert sum(len(track) for track in link_faces(detections)) == sum(len(faces) for faces in detections)


def test_two_faces_that_pass_each_other_stay_apart():
    detections = [[face(100 + 5 * t, 100, 80), face(300 - 5 * t, 190, 60)] for t in range(40)]
    np.testing.assert_allclose(np.diff(centres(largest(detections))), 5)


def test_boxes_are_paired_by_the_best_overlap_and_each_once():
    boxes = [np.array(box, np.float32) for box in ((0, 0, 10, 10), (4, 0, 14, 10), (50, 50, 60, 60))]
    assert sorted(match_boxes(boxes, [box + 1 for box in boxes[1::-1]])) == [(0, 1), (1, 0)]
    assert match_boxes(boxes, []) == match_boxes([], boxes) == []


def test_the_overlap_of_two_boxes_is_that_of_many():
    corners_N22 = np.random.default_rng(0).uniform(0, 40, (200, 2, 2)).astype(np.float32)
    boxes_N4 = np.concatenate([corners_N22.min(axis=1), corners_N22.max(axis=1)], axis=1)
    np.testing.assert_allclose([overlap(box, boxes_N4[0]) for box in boxes_N4], overlaps(boxes_N4, boxes_N4[0]))
    assert overlap(boxes_N4[0], boxes_N4[0]) == 1 and overlap(np.zeros(4), np.zeros(4)) == 0


@pytest.mark.parametrize(("gap", "status"), [(1, I), (12, I), (13, X), (30, X)])
def test_gaps_up_to_the_limit_are_interpolated(gap, status):
    track = {t: face(100 + t, 50, 80) for t in range(80) if not 20 <= t < 20 + gap}
    points_TN2, status_T = fill_gaps(track, max_gap=12)
    assert (status_T[20 : 20 + gap] == status).all()
    assert (np.delete(status_T, range(20, 20 + gap)) == M).all()
    x_T = points_TN2[:, 4, 0]
    if status == I:
        np.testing.assert_allclose(x_T, 100 + np.arange(80), rtol=1e-5)
    else:  # the nearer end is used
        assert set(x_T[20 : 20 + gap]) == {119, 120 + gap}
        assert (x_T[20], x_T[19 + gap]) == (119, 120 + gap)


@pytest.mark.parametrize(("missing", "status"), [(12, I), (13, X)])
def test_ends_are_known_up_to_the_limit(missing, status):
    track = {missing + t: face(100 + t, 50, 80) for t in range(60)}
    status_T = Face(missing, *fill_gaps(track, max_gap=12)).status_over(60 + 2 * missing, max_gap=12)
    assert status_T.tolist() == [status] * missing + [M] * 60 + [status] * missing


def test_a_single_known_frame_fills_a_clip():
    points_TN2, status_T = fill_gaps({2: face(5, 5, 4)}, max_gap=12)
    assert (points_TN2 == face(5, 5, 4)).all()
    assert Face(2, points_TN2, status_T).status_over(5, max_gap=12).tolist() == [I, I, M, I, I]


def test_smoothing_keeps_steady_motion_and_does_not_lag():
    line = np.arange(50, dtype=np.float32)[:, None] * 3 + 7
    np.testing.assert_allclose(smooth_over_time(line, 13), line, rtol=1e-5)  # at the ends too
    step = np.zeros((51, 1), np.float32)
    step[26:] = 1
    assert smooth_over_time(step, 13)[25:27, 0] == pytest.approx([6 / 13, 7 / 13])
    np.testing.assert_array_equal(smooth_over_time(step, 1), step)
    assert smooth_over_time(step[:4], 13).shape == (4, 1)
