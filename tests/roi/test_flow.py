"""A head that moves is carried to where it is, whatever its size; where it cannot be followed, that shows."""

import numpy as np
import pytest
from drawn_heads import Head, pictures_of

from avspeech.roi.flow import NEEDED, carry_between, needed_points


def swaying(scale: float, index: int) -> Head:
    """Accelerate: a straight line between the ends misses the middle by several pixels."""
    return Head(160 + scale * 1.5 * index**2, 110 + scale * index, scale, 0.02 * index**2)


def carried(heads: list[Head]):
    return carry_between(pictures_of([[head] for head in heads]), heads[0].landmarks_J2, heads[-1].landmarks_J2)


@pytest.mark.parametrize("scale", [0.4, 0.7, 1.0])
def test_a_moving_head_is_carried_to_where_it_is(scale):
    heads = [swaying(scale, index) for index in range(5)]
    points_TN2, difference = carried(heads)
    true_TN2 = np.stack([needed_points(head.landmarks_J2) for head in heads])
    # The box is that of the upright frame; a turned one's corners are not carried corners.
    error = np.linalg.norm(points_TN2 - true_TN2[1:-1], axis=-1)[:, : len(NEEDED)].mean() / scale
    line_TN2 = np.linspace(0, 1, 5)[1:-1, None, None] * (true_TN2[-1] - true_TN2[0]) + true_TN2[0]
    by_line = np.linalg.norm(line_TN2 - true_TN2[1:-1], axis=-1)[:, : len(NEEDED)].mean() / scale
    assert error < 0.5 and by_line > 2
    assert difference < 1.5


def test_lips_that_open_are_a_line_in_the_head_and_show_in_the_difference():
    shut, opened = Head(160, 110), Head(160, 110, opening=12)
    points_TN2, difference = carried([shut] * 4 + [opened])
    down_T = points_TN2[:, NEEDED.index(17), 1] - shut.landmarks_J2[17, 1]
    np.testing.assert_allclose(down_T, (3, 6, 9), atol=0.2)
    _, difference_of_none = carried([shut] * 5)
    assert difference > difference_of_none + 0.2


def test_another_head_at_the_same_place_is_no_movement():
    _, difference = carried([Head(160, 110), Head(160, 110), Head(163, 112, texture=5), Head(170, 112, 1.1, texture=5)])
    assert difference > 3


@pytest.mark.parametrize("head", [Head(-150, 110), Head(160, 110, 0.02)], ids=["outside", "tiny"])
def test_what_cannot_be_followed_is_said(head):
    assert carried([head] * 5) is None
