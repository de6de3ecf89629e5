"""Between the pictures of a slow source lips move; other sources, and long gaps, stay as they are read."""

from fractions import Fraction
from itertools import islice

import numpy as np
import pytest

from avspeech.media.video import read_frames, read_pictures
from avspeech.roi.faces import FollowedFaces
from avspeech.roi.motion import SLOWEST, moving
from tests.media.conftest import write


def mouth(time_s: float) -> np.ndarray:
    """Return a crop at this time: a smooth skin with a mouth that opens and closes 1.5 times a second."""
    y_HW, x_HW = np.indices((96, 96), np.float64) - 48
    half = 7 + 4 * np.sin(2 * np.pi * 1.5 * time_s)
    inside_HW = 1 / (1 + np.exp((np.abs(y_HW) - half * np.sqrt(np.clip(1 - (x_HW / 32) ** 2, 0, 1))) / 1.2))
    return np.round(150 + 10 * np.sin(x_HW / 9) - 90 * inside_HW).astype(np.uint8)


def held(rate: float, num_frames: int = 50, phase_s: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return the crops that reading at 25 fps gives of a source, and ``shown_T2``."""
    source = np.arange(int(num_frames / 25 * rate) + 2) / rate + phase_s
    middles = (np.arange(num_frames) + 0.5) / 25
    index_T = np.clip(np.searchsorted(source, middles) - 1, 0, len(source) - 2)
    shown_T2 = np.stack([source[index_T], source[index_T + 1]], axis=1)
    return np.stack([mouth(time) for time in shown_T2[:, 0]]), shown_T2


def moved(crops_THW: np.ndarray, shown_T2: np.ndarray, first: int = 0) -> np.ndarray:
    return np.stack(list(moving(crops_THW, shown_T2, first)))


@pytest.mark.parametrize("rate", [8, 10, 12.5, 15, 20])
@pytest.mark.parametrize("phase_s", [0.0, 0.03])
def test_crops_are_nearer_to_what_a_fast_camera_sees(rate, phase_s):
    held_THW, shown_T2 = held(rate, phase_s=phase_s)
    made_THW = moved(held_THW, shown_T2)
    true_THW = np.stack([mouth(index / 25) for index in range(50)]).astype(float)
    inside = slice(4, int(shown_T2[-1, 0] * 25))  # the first frame is held before the first picture
    errors = [np.abs(clip[inside] - true_THW[inside]).mean() for clip in (made_THW, held_THW)]
    assert made_THW.shape == held_THW.shape and made_THW.dtype == np.uint8
    assert errors[0] < 0.6 * errors[1]


@pytest.mark.parametrize("rate", [24000 / 1001, 24, 25, 30, 50, 60])
def test_fast_sources_pass_unchanged(rate):
    held_THW, shown_T2 = held(rate)
    np.testing.assert_array_equal(moved(held_THW, shown_T2), held_THW)


def test_nothing_is_made_up_in_a_pause_of_the_picture():
    held_THW, shown_T2 = held(SLOWEST - 1)
    np.testing.assert_array_equal(moved(held_THW, shown_T2), held_THW)


def test_a_picture_that_is_held_for_long_is_not_kept():
    crops, seen = (np.full((96, 96), number % 250, np.uint8) for number in range(5000)), []
    shown_T2 = np.array([(0.0, 0.1)] * 3 + [(0.1, 200.0)] * 4997)
    for crop_HW in islice(moving(crops, shown_T2), 100):
        seen.append(int(crop_HW[0, 0]))
    assert sum(1 for _ in crops) > 4880  # which were not read yet
    assert seen[3:] == list(range(3, 100))


def test_a_part_of_a_clip_is_that_of_the_whole():
    held_THW, shown_T2 = held(12)
    part_THW = moved(held_THW[10:40], shown_T2, 10)
    np.testing.assert_array_equal(part_THW[3:-3], moved(held_THW, shown_T2)[13:37])
    assert list(moving([], shown_T2)) == []


@pytest.mark.parametrize(("name", "rate"), [("a.mp4", 15), ("b.mkv", 10), ("c.webm", 8)])
def test_pictures_know_when_the_source_shows_them(name, rate, tmp_path):
    codec = "libvpx" if name == "c.webm" else "libx264"
    drawn = [np.full((32, 32, 3), 9 * number, np.uint8) for number in range(20)]
    write(tmp_path / name, drawn, range(20), Fraction(1, rate), rate=Fraction(rate), codec=codec)
    pictures = list(read_pictures(tmp_path / name))
    assert len(pictures) == len(list(read_frames(tmp_path / name)))
    shown_T2 = np.array([picture.shown_s for picture in pictures])
    times = np.unique(shown_T2, axis=0)
    np.testing.assert_allclose(times[:, 0], np.arange(20) / rate, atol=1e-3)
    np.testing.assert_array_equal(times[1:, 0], times[:-1, 1])
    followed = FollowedFaces((), len(pictures), 0, shown_T2=shown_T2)
    assert followed.frame_rate(0, len(pictures)) == pytest.approx(rate, rel=0.06)
    assert followed.frame_rate(5, 5) == 25
