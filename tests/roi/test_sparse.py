"""Few frames are looked at where nothing happens, all where much does, and few are held in memory."""

import weakref

import numpy as np
import pytest
from drawn_heads import DrawnPicture, Head, KnowingFinder, pictures_of

from avspeech.roi.flow import NEEDED, needed_points
from avspeech.roi.sparse import Sparseness, find_faces

STILL = Head(100, 110, 0.6)


def found(frames, **settings):
    finder = KnowingFinder(frames)
    return *find_faces(pictures_of(frames), finder, Sparseness(**settings))[:2], finder


def worst(found_faces, frames) -> float:
    """Return the largest mean error of a frame's points in pixels."""
    return max(
        float(np.linalg.norm(points_N2 - needed_points(head.landmarks_J2), axis=-1)[: len(NEEDED)].mean())
        for faces, heads in zip(found_faces, frames, strict=True)
        for points_N2, head in zip(faces, heads, strict=True)
    )


def test_a_still_head_is_looked_at_on_ticks_and_in_the_last_frame():
    frames = [[STILL]] * 23
    faces, looked_T, finder = found(frames)
    assert sorted(finder.looked) == [0, 8, 16, 22]
    assert np.flatnonzero(looked_T).tolist() == sorted(finder.looked)
    assert worst(faces, frames) < 0.05


def test_a_head_that_sways_needs_no_more():
    frames = [[Head(130 + 25 * np.sin(index / 4), 110, 0.6, 0.2 * np.sin(index / 5))] for index in range(41)]
    faces, _, finder = found(frames)
    assert len(finder.looked) <= 7 and worst(faces, frames) < 0.6


@pytest.mark.parametrize(("after", "most"), [(Head(135, 110, 0.6), 10), (Head(106, 116, 0.66, texture=9), 24)])
def test_a_jump_and_another_person_at_the_same_place_are_looked_at_on_both_sides(after, most):
    frames = [[STILL if index < 10 else after] for index in range(24)]
    faces, _, finder = found(frames)
    assert {9, 10} <= set(finder.looked) and len(finder.looked) <= most
    assert worst(faces, frames) < 0.05


@pytest.mark.parametrize("first", [1, 5, 6, 7, 8])
def test_coming_and_going_are_found_to_the_frame(first):
    frames = [[STILL] if first <= index < 15 else [] for index in range(24)]
    faces, _, _ = found(frames)
    assert list(map(len, faces)) == list(map(len, frames))


def test_frames_without_a_face_cost_a_look_on_ticks_only():
    faces, _, finder = found([[]] * 41)
    assert len(finder.looked) == 6 and faces == [[]] * 41


def test_several_faces_are_looked_at_more_often():
    frames = [[STILL, Head(240, 110, 0.6, texture=3)]] * 17
    faces, _, finder = found(frames)
    assert sorted(finder.looked) == list(range(0, 17, 2)) and worst(faces, frames) < 0.05


def test_every_frame_gives_the_finders_own_points():
    frames = [[Head(100 + 9 * index, 110, 0.6)] for index in range(9)]
    faces, _, finder = found(frames, every=1)
    assert finder.looked == list(range(9)) and worst(faces, frames) < 1e-4


@pytest.mark.parametrize("length", [0, 1, 2, 4, 5, 6])
def test_any_length_is_settled(length):
    faces, looked_T, _ = found([[STILL]] * length)
    assert list(map(len, faces)) == [1] * length and len(looked_T) == length


def test_few_frames_are_held():
    frames = [[Head(100 + 30 * (index % 3), 110, 0.6)] for index in range(60)]
    alive, most = weakref.WeakSet(), []

    def stream():
        for index, heads in enumerate(frames):
            picture = DrawnPicture(index, heads)
            alive.add(picture)
            most.append(len(alive))
            yield picture
            del picture

    find_faces(stream(), KnowingFinder(frames))
    assert max(most) <= 11


@pytest.mark.parametrize("bad", [{"every": 0}, {"every_of_several": 0}, {"max_difference": -1.0}])
def test_settings_that_make_no_sense_are_named(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))}={next(iter(bad.values()))}"):
        Sparseness(**bad)
