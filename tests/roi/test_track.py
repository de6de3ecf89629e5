"""One face is followed, gaps are filled as far as stated, smoothing does not lag."""

import numpy as np
import pytest

from avspeech.roi.track import FrameStatus, NoFace, fill_gaps, follow_face, link_faces, smooth_over_time

M, I, X = FrameStatus.MEASURED, FrameStatus.INTERPOLATED, FrameStatus.MISSING  # noqa: E741


def face(x: float, y: float, size: float) -> np.ndarray:
    """Return the landmarks of a square face, its corners and centre."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (0, 0)]) * size / 2
    return (corners + np.array((x, y))).astype(np.float32)


def centres(track) -> np.ndarray:
    return track.landmarks_TJ2[:, 4]


def test_the_larger_of_two_faces_is_kept_in_any_order():
    rng = np.random.default_rng(0)
    detections = []
    for t in range(60):
        faces = [face(100 + t, 100, 80), face(300 - t, 90, 50)]
        detections.append([faces[i] for i in rng.permutation(2)])
    track = follow_face(detections, smooth=1)
    np.testing.assert_allclose(centres(track)[:, 0], 100 + np.arange(60))


def test_a_large_face_that_is_there_briefly_does_not_win():
    detections = [[face(100, 100, 50)] + ([face(250, 100, 90)] if 10 <= t < 20 else []) for t in range(60)]
    assert (centres(follow_face(detections))[:, 0] == 100).all()


def test_a_track_never_jumps_to_another_face():
    """The speaker is lost in some frames while another face is found: those frames are filled, not taken over."""
    detections = [[face(300, 100, 50)] if t in (20, 21, 22) else [face(100, 100, 80)] for t in range(60)]
    track = follow_face(detections, smooth=1)
    assert (centres(track)[:, 0] == 100).all()
    assert [FrameStatus(s) for s in track.status_T[18:25]] == [M, M, I, I, I, M, M]


def test_every_detection_is_in_exactly_one_track():
    detections = [[face(100 + 3 * t, 100, 60), face(100 + 3 * t + 20, 100, 60)] if t % 3 else [] for t in range(20)]
    tracks = link_faces(detections)
    assert sum(len(track) for track in tracks) == sum(len(faces) for faces in detections)


def test_two_faces_that_pass_each_other_stay_apart():
    detections = [[face(100 + 5 * t, 100, 80), face(300 - 5 * t, 190, 60)] for t in range(40)]
    x_T = centres(follow_face(detections, smooth=1))[:, 0]
    np.testing.assert_allclose(np.diff(x_T), 5)


@pytest.mark.parametrize(("gap", "status"), [(1, I), (12, I), (13, X), (30, X)])
def test_gaps_up_to_the_limit_are_interpolated(gap, status):
    detections = [[face(100 + t, 50, 80)] if not 20 <= t < 20 + gap else [] for t in range(80)]
    track = follow_face(detections, max_gap=12, smooth=1)
    assert (track.status_T[20 : 20 + gap] == status).all()
    assert (np.delete(track.status_T, range(20, 20 + gap)) == M).all()
    x_T = centres(track)[:, 0]
    if status == I:
        np.testing.assert_allclose(x_T, 100 + np.arange(80), rtol=1e-5)
    else:  # the nearer end stands in
        assert set(x_T[20 : 20 + gap]) == {119, 120 + gap}
        assert x_T[20] == 119
        assert x_T[19 + gap] == 120 + gap


@pytest.mark.parametrize(("missing", "status"), [(12, I), (13, X)])
def test_ends_are_repeated_up_to_the_limit(missing, status):
    detections = [[]] * missing + [[face(100 + t, 50, 80)] for t in range(60)] + [[]] * missing
    track = follow_face(detections, max_gap=12, smooth=1)
    assert (track.status_T[:missing] == status).all()
    assert (track.status_T[-missing:] == status).all()
    assert (centres(track)[:missing, 0] == 100).all()
    assert (centres(track)[-missing:, 0] == 159).all()


def test_frames_not_looked_at_are_interpolated_and_do_not_count():
    detections = [[face(100 + t, 50, 80)] if t % 3 == 0 else None for t in range(31)]
    track = follow_face(detections, min_found=1.0, smooth=1)
    np.testing.assert_allclose(centres(track)[:, 0], 100 + np.arange(31), rtol=1e-5)
    assert (track.status_T == M).sum() == 11
    assert (track.status_T == I).sum() == 20


def test_no_face_carries_the_share():
    with pytest.raises(NoFace, match=r"0 of 50 frames \(0%\), wanted 50%") as caught:
        follow_face([[]] * 50)
    assert caught.value.share_found == 0
    detections = [[face(0, 0, 50)]] * 10 + [[]] * 40
    with pytest.raises(NoFace, match="10 of 50") as caught:
        follow_face(detections)
    assert caught.value.share_found == 0.2
    assert follow_face(detections, min_found=0.2).status_T.tolist() == [M] * 10 + [X] * 40
    with pytest.raises(NoFace):
        follow_face([])


def test_smoothing_keeps_steady_motion_and_does_not_lag():
    line = np.arange(50, dtype=np.float32)[:, None] * 3 + 7
    np.testing.assert_allclose(smooth_over_time(line, 13), line, rtol=1e-5)  # at the ends too
    step = np.zeros((51, 1), np.float32)
    step[26:] = 1
    smoothed = smooth_over_time(step, 13)
    assert smoothed[25, 0] == pytest.approx(6 / 13)
    assert smoothed[26, 0] == pytest.approx(7 / 13)
    np.testing.assert_array_equal(smooth_over_time(step, 1), step)
    assert smooth_over_time(step[:4], 13).shape == (4, 1)


@pytest.mark.parametrize("bad", [{"smooth": 4}, {"smooth": 0}, {"max_gap": -1}])
def test_bad_settings_are_named(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))}={next(iter(bad.values()))}"):
        follow_face([[face(0, 0, 9)]] * 3, **bad)


def test_a_single_known_frame_fills_a_clip():
    landmarks_TJ2, status_T = fill_gaps({2: face(5, 5, 4)}, 5, max_gap=12)
    assert status_T.tolist() == [I, I, M, I, I]
    assert (landmarks_TJ2 == face(5, 5, 4)).all()
