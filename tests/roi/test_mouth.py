"""Crops are upright, of one size, centred on the mouth, and steady."""

import os
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from avspeech.media.video import read_frames, write_video
from avspeech.roi.lips import extract_mouth
from avspeech.roi.mouth import CROPS, EYE_DISTANCE, LIPS, MEAN_FACE, STABLE, crop_mouth, fit_similarity, place
from avspeech.roi.track import FrameStatus
from tests.media.conftest import write
from tests.roi.conftest import face, picture


def middle_of(weight_HW: np.ndarray) -> tuple[float, float]:
    rows, columns = np.mgrid[:96, :96] + 0.5
    return float((weight_HW * columns).sum() / weight_HW.sum()), float((weight_HW * rows).sum() / weight_HW.sum())


def mouth_of(crop_HW: np.ndarray) -> tuple[float, float]:
    """Return where the dark of the mouth is in a crop, (x, y)."""
    return middle_of(np.clip(110.0 - crop_HW, 0, None))


def test_the_mean_face_has_its_stated_size():
    assert MEAN_FACE[3, 0] - MEAN_FACE[0, 0] == pytest.approx(EYE_DISTANCE)
    assert MEAN_FACE[4, 1] > MEAN_FACE[0, 1]  # the nose is below the eyes: y runs downwards
    assert len(set(LIPS)) == 40


@pytest.mark.parametrize("seed", range(40))
def test_fit_similarity_is_least_squares(seed):
    """Against a generic solver, on points that no similarity fits, and on a turned, scaled, shifted mean face."""
    rng = np.random.default_rng(seed)
    points, turn = rng.normal(size=(5, 2)) * 40, rng.normal(size=2)
    if seed % 2:
        points = MEAN_FACE @ np.array([turn, turn[::-1] * (-1, 1)]) + points[0]
    rows = [[x, -y, 1, 0] for x, y in points] + [[y, x, 0, 1] for x, y in points]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), MEAN_FACE.T.reshape(-1), rcond=None)[0]
    rotate_T22, shift_T2 = fit_similarity(points[None], MEAN_FACE)
    np.testing.assert_allclose(rotate_T22[0], [[a, -b], [b, a]], atol=1e-9)
    np.testing.assert_allclose(shift_T2[0], [tx, ty], atol=1e-9)
    if seed % 2:
        np.testing.assert_allclose(points @ rotate_T22[0].T + shift_T2[0], MEAN_FACE, atol=1e-9)


@pytest.mark.parametrize("scale", [0.6, 1.0, 2.2, 4.0])
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_crops_are_upright_of_one_size_and_centred(scale, angle):
    """A bar of known size at the lips of a turned and scaled face comes out straight and in the middle."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks_J2 = np.zeros((478, 2))
    landmarks_J2[list(STABLE)] = MEAN_FACE
    lips = np.array([3.0, 70.0])
    landmarks_J2[list(LIPS)] = lips
    middle = np.array([100.0, 130.0]) - turn @ lips
    seen_J2 = (landmarks_J2 @ turn.T + middle).astype(np.float32)
    (matrix_23,) = place(seen_J2[None, STABLE], seen_J2[None, LIPS])
    # A bar 40 px wide and 4 px high in the crop, drawn by asking 4x4 points in every pixel.
    points = (np.stack(np.mgrid[:1000, :1000][::-1], axis=-1) + 0.5) / 4 - middle
    inside = np.abs(points @ np.linalg.inv(turn).T - lips) < (20, 2)
    frame = (inside.all(axis=-1).reshape(250, 4, 250, 4).mean(axis=(1, 3)) * 255).astype(np.uint8)
    crop_HW = crop_mouth(frame, matrix_23).astype(float)
    assert middle_of(crop_HW) == pytest.approx(CROPS["official"].lip_centre, abs=0.2)
    assert crop_HW.max(axis=0).round() @ np.ones(96) / 255 == pytest.approx(40, abs=4)
    assert crop_HW.sum() / 255 == pytest.approx(160, rel=0.3 if scale < 1 else 0.15)


def test_large_faces_are_averaged_not_sampled():
    """A pixel checkerboard is grey from afar; picking single pixels would keep its contrast."""
    checkers = (np.indices((600, 600)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert crop_mouth(checkers, np.array([[1 / 3, 0, -40.0], [0, 1 / 3, -40.0]])).std() < 20  # of 127


def test_a_crop_is_black_outside_the_frame():
    crop_HW = crop_mouth(np.full((50, 50), 77, np.uint8), np.array([[1.0, 0, 60], [0, 1.0, 60]]))
    assert crop_HW.shape == (96, 96) and (crop_HW[60:, 60:] == 77).all()
    assert not crop_HW[:59].any() and not crop_HW[:, :59].any()


def test_landmarks_lie_where_the_face_was_drawn(finder):
    (landmarks_J2,) = finder.detect(face())
    assert landmarks_J2.shape == (478, 2)
    np.testing.assert_allclose(landmarks_J2[list(LIPS)].mean(axis=0), (120, 100 + 0.5 * 75), atol=4)
    assert finder.detect(picture()) == []


def test_landmarks_do_not_depend_on_strides(finder):
    padded = np.pad(face(), ((0, 0), (0, 16), (0, 0)))
    np.testing.assert_array_equal(finder.detect(padded[:, :240])[0], finder.detect(face())[0])


def test_lips_come_out_of_a_video_without_sound(finder, talking):
    clip = extract_mouth(talking, finder, every=1)
    assert (clip.mouth_THW.shape, clip.mouth_THW.dtype) == ((25, 96, 96), np.uint8)
    assert clip.counts == {"measured": 25, "interpolated": 0, "missing": 0}
    x, y = mouth_of(clip.mouth_THW[12])
    assert abs(x - 48) < 4 and abs(y - 48) < 6
    openness = [(crop[:, 44:52] < 60).sum() for crop in clip.mouth_THW]
    driven = [0.5 - 0.5 * np.cos(index / 2) for index in range(25)]
    assert np.corrcoef(openness, driven)[0, 1] > 0.9


def test_a_moving_turning_face_gives_a_steady_crop(finder, tmp_path):
    still = picture(260, 260, (130, 130, 150))
    frames = []
    for index in range(20):
        turn = cv2.getRotationMatrix2D((130, 130), index - 10, 1 + index / 100)
        turn[:, 2] += (index, -index / 2)
        frames.append(cv2.warpAffine(still, turn, (260, 260), borderMode=cv2.BORDER_REPLICATE))
    write_video(tmp_path / "moving.mp4", frames, crf=10)
    clip = extract_mouth(tmp_path / "moving.mp4", finder)
    assert np.abs(np.diff(clip.mouth_THW.astype(float), axis=0)).mean() < 4
    assert mouth_of(clip.mouth_THW[0]) == pytest.approx(mouth_of(clip.mouth_THW[-1]), abs=2.5)


def test_the_larger_of_two_faces_is_kept_throughout(finder, tmp_path):
    write_video(tmp_path / "two.mp4", [picture(200, 400, (300 - t, 100, 90), (110 + t, 100, 160)) for t in range(20)])
    clip = extract_mouth(tmp_path / "two.mp4", finder, every=1)
    assert clip.counts["measured"] == 20
    write_video(tmp_path / "one.mp4", [picture(200, 400, (110 + t, 100, 160)) for t in range(20)])
    assert np.abs(clip.mouth_THW.astype(float) - extract_mouth(tmp_path / "one.mp4", finder).mouth_THW).mean() < 3


@pytest.mark.parametrize("angle", [90, -90])
def test_a_portrait_clip_with_a_rotation_flag_gives_the_same_lips(angle, finder, tmp_path):
    upright = picture(320, 180, (90, 150, 150))
    turned = np.ascontiguousarray(np.rot90(upright, k=-angle // 90))
    write(tmp_path / "plain.mp4", [upright] * 12, range(12), Fraction(1, 25))
    write(tmp_path / "flag.mp4", [turned] * 12, range(12), Fraction(1, 25), rotation=angle)
    plain, flag = (extract_mouth(tmp_path / name, finder, every=1) for name in ("plain.mp4", "flag.mp4"))
    assert flag.counts["measured"] == 12
    assert np.abs(plain.mouth_THW.astype(float) - flag.mouth_THW).mean() < 3


@pytest.mark.parametrize(
    ("rate", "num_source", "num_frames"), [(Fraction(60), 72, 30), (Fraction(24000, 1001), 30, 31), (None, 24, None)]
)
def test_any_rate_gives_the_mouth_of_the_right_moment(rate, num_source, num_frames, finder, tmp_path):
    """The mouth is shut for the first half and open for the second; between two pictures far apart it moves."""
    steps = [20, 50, 33, 80, 41, 17, 40, 60] * 3 if rate is None else [int(1_000_000 / rate / 1000)] * num_source
    base = Fraction(1, 1000) if rate is None else 1 / rate
    times = np.cumsum([0, *steps[:-1]]).tolist() if rate is None else list(range(num_source))
    half_s = times[num_source // 2] * base
    frames = [face(float(index >= num_source // 2)) for index in range(num_source)]
    write(tmp_path / "clip.mp4", frames, times, base, rate=Fraction(60))
    clip = extract_mouth(tmp_path / "clip.mp4", finder)
    assert num_frames in (None, len(clip.mouth_THW))
    opened = [(crop[36:60, 44:52] < 80).sum() > 80 for crop in clip.mouth_THW]
    shut_s = times[num_source // 2 - 1] * base
    moves_T = [half_s - shut_s > Fraction(1, 22) and shut_s < Fraction(i, 25) < half_s for i in range(len(opened))]
    assert sum(moves_T) <= 2
    for i, (is_open, moves) in enumerate(zip(opened, moves_T, strict=True)):
        assert moves or is_open == (half_s < Fraction(2 * i + 1, 50))


def test_frames_without_a_face_are_marked(finder, tmp_path):
    write_video(tmp_path / "gaps.mp4", [face() if not 10 <= t < 14 and t < 40 else picture() for t in range(60)])
    clip = extract_mouth(tmp_path / "gaps.mp4", finder, every=1)
    assert (clip.status_T[10:14] == FrameStatus.INTERPOLATED).all()
    assert (clip.status_T[40:] == FrameStatus.MISSING).all()
    assert clip.counts == {"measured": 36, "interpolated": 4, "missing": 20}


def test_a_large_picture_gives_the_same_lips(finder, tmp_path):
    small = face()
    write_video(tmp_path / "small.mp4", [small] * 3, crf=10)
    write_video(tmp_path / "large.mp4", [cv2.resize(small, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)] * 3)
    one, other = (extract_mouth(tmp_path / name, finder).mouth_THW.astype(float) for name in ("small.mp4", "large.mp4"))
    assert np.abs(one - other).mean() < 4


@pytest.mark.skipif("AVSPEECH_SHARED" not in os.environ, reason="AVSPEECH_SHARED names no folder with GRID clips")
def test_real_clips_are_found_in_every_frame(finder):
    folder = Path(os.environ["AVSPEECH_SHARED"]) / "data" / "grid_s1"
    clip = extract_mouth(folder / "video" / "bbaf3s.mp4", finder, every=1)
    assert clip.counts["measured"] == 75 and 15 < clip.mouth_THW.std() < 70
    assert len(list(read_frames(folder / "original_mpg" / "pbio7a.mpg", grey=True))) == 75  # damaged, concealed
    assert 0 < extract_mouth(folder / "original_mpg" / "pbio7a.mpg", finder).counts["missing"] < 40
