"""Faces come, go and come back; each is known over its own span."""

import numpy as np
import pytest
from drawn_heads import Head, KnowingFinder, pictures_of

from avspeech.roi.faces import Face, follow_faces
from avspeech.roi.mouth import CROPS, LIPS
from avspeech.roi.track import FrameStatus

SMALL, LARGE = Head(60, 110, 0.4), Head(220, 110, 0.7, texture=3)


def follow(frames, **settings):
    return follow_faces(pictures_of(frames), KnowingFinder(frames), **settings)


def test_no_face_is_no_error():
    followed = follow([[]] * 10)
    assert (followed.faces, followed.num_frames, follow([]).num_frames) == ((), 10, 0)


def test_each_face_has_its_own_span_and_the_large_one_comes_first():
    followed = follow([[SMALL] * (index < 30) + [LARGE] * (index >= 10) for index in range(40)])
    assert [(face.first, face.end) for face in followed.faces] == [(10, 40), (0, 30)]
    large, small = followed.faces
    np.testing.assert_allclose(large.boxes_T4[:, :2].mean(axis=0), LARGE.landmarks_J2.min(axis=0), atol=1e-2)
    assert (small.status_T != FrameStatus.MISSING).all()
    assert (small.share_found(0, 40), small.share_found(30, 40), large.share_found(20, 40)) == (0.75, 0, 1)


@pytest.mark.parametrize(("away", "status"), [(8, FrameStatus.INTERPOLATED), (90, FrameStatus.MISSING)])
def test_a_face_that_comes_back_to_its_place_is_the_same(away, status):
    frames = [[LARGE]] * 12 + [[]] * away + [[LARGE]] * 12
    (face,) = follow(frames).faces
    assert (face.first, face.end) == (0, len(frames))
    assert (face.status_T[12:-12] == status).all() and (face.status_T[:12] != FrameStatus.MISSING).all()


def test_a_face_that_comes_at_another_place_is_another():
    assert len(follow([[LARGE]] * 12 + [[]] * 90 + [[SMALL]] * 12).faces) == 2


def test_a_face_beside_one_that_is_still_there_is_another():
    beside = Head(LARGE.x - 30, LARGE.y, LARGE.scale, texture=8)
    followed = follow([[LARGE] + [beside] * (index >= 8) for index in range(20)])
    assert [(face.first, face.end) for face in followed.faces] == [(0, 20), (8, 20)]


def test_looked_at_is_measured_and_carried_is_interpolated():
    (face,) = follow([[LARGE]] * 9).faces
    assert [FrameStatus(status).name for status in face.status_T[:9]] == ["MEASURED", *["INTERPOLATED"] * 7, "MEASURED"]


def test_openness_is_in_crop_pixels_whatever_the_size_and_turn():
    for scale, turn in ((0.4, 0.0), (0.8, 0.5)):
        (face,) = follow([[Head(160, 110, scale, turn, opening=8)]] * 5).faces
        np.testing.assert_allclose(face.openness_T, 16 + 8, atol=0.1)


@pytest.mark.parametrize("alignment", CROPS)
def test_nothing_is_averaged_over_a_cut(alignment):
    before, after = Head(110, 110, 0.6), Head(130, 120, 0.65, texture=4)
    (face,) = follow([[before]] * 20 + [[after]] * 20).faces
    placements_T23, centre = face.placements_over(40, alignment), CROPS[alignment].lip_centre
    np.testing.assert_allclose(placements_T23, np.repeat(placements_T23[[0, 39]], 20, axis=0), atol=0.1)
    np.testing.assert_allclose(placements_T23[20] @ [*after.landmarks_J2[list(LIPS)].mean(axis=0), 1], centre, atol=0.2)


@pytest.mark.parametrize("degrees", [-60, -20, 0, 35])
def test_yaw_is_that_of_the_mesh(degrees):
    """Landmarks 33, 133, 362, 263 and 2 of mediapipe's canonical mesh in centimetres, turned and seen from afar."""
    mesh_53 = np.array([(-4.446, 2.664, 3.173), (-1.856, 2.585, 3.758), (1.856, 2.585, 3.758), (4.446, 2.664, 3.173)])
    mesh_53 = np.vstack([mesh_53, (0, -2.089, 6.058)])
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    seen_52 = np.stack([mesh_53[:, 0] * cos + mesh_53[:, 2] * sin, -mesh_53[:, 1]], axis=1)
    points_TN2 = np.repeat((30 * seen_52 + 200)[None], 2, axis=0).astype(np.float32)
    np.testing.assert_allclose(Face(0, points_TN2, np.ones(2, np.uint8)).yaw_T, degrees, atol=0.5)
