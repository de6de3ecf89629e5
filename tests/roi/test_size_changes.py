"""The picture's size changes in the middle, as when a phone is turned: faces are followed on."""

import numpy as np
import pytest
from drawn_heads import Head, KnowingFinder, pictures_of

from avspeech.roi.face_crops import face_placements
from avspeech.roi.faces import FollowedFaces, follow_faces
from avspeech.roi.lips import extract_lips
from avspeech.roi.mouth import crop_picture
from avspeech.roi.sparse import EVERY_FRAME
from avspeech.roi.track import FrameStatus
from tests.media.conftest import write_changing
from tests.roi.conftest import picture

PARTS = {
    "a phone turned": [((320, 240), Head(160, 110, 0.8)), ((240, 320), Head(70, 230, 0.6))],
    "a call that grows": [((160, 120), Head(80, 55, 0.4)), ((320, 240), Head(160, 110, 0.8))],
    "hardly smaller, and back": [((320, 240), Head(160, 110, 0.8)), ((300, 226), Head(152, 104, 0.75))] * 2,
    "to the side": [((320, 240), Head(60, 110, 0.6)), ((240, 320), Head(190, 60, 0.4))],
}
LENGTH = 13  # frames of a part: no multiple of the frames between two looks


def moved(head: Head, index: int) -> Head:
    return Head(head.x + index % 7, head.y + index % 5, head.scale, 0.02 * (index % 3), index % 4)


def follow(parts, **how) -> tuple[FollowedFaces, list, KnowingFinder]:
    """Follow the heads of parts, [(size, heads)], over ``LENGTH`` frames each."""
    frames = [[moved(head, index) for head in heads] for _, heads in parts for index in range(LENGTH)]
    pictures = pictures_of(frames, [size for size, _ in parts for _ in range(LENGTH)])
    finder = KnowingFinder(frames)
    return follow_faces(pictures, finder, **how), pictures, finder  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parts", "alignment"), zip(PARTS.values(), ["official", "steady", "official", "causal"], strict=True), ids=PARTS
)
def test_each_part_has_the_crops_that_it_has_alone(parts, alignment):
    parts = [(size, [head]) for size, head in parts]
    followed, pictures, _ = follow(parts, alignment=alignment, sparseness=EVERY_FRAME)
    (face,) = followed.faces
    assert (face.first, face.end) == (0, len(pictures)) and (face.status_T != FrameStatus.MISSING).all()
    assert face.changes == tuple(range(LENGTH, len(pictures), LENGTH))
    placed_T23 = face.placements_over(len(pictures), alignment)
    alone = [follow([part], sparseness=EVERY_FRAME)[0].faces[0] for part in parts]
    expected_T23 = np.concatenate([one.placements_over(LENGTH, alignment) for one in alone])
    np.testing.assert_allclose(placed_T23, expected_T23, atol=1e-3, rtol=1e-3)
    boxed_T23 = np.concatenate([face_placements(one.boxes_T4) for one in alone])
    np.testing.assert_allclose(face_placements(face.boxes_T4, face.changes), boxed_T23, atol=1e-2, rtol=1e-3)
    assert followed.early is not None
    early = followed.early.get(placed_T23)
    assert len(early) == len(pictures)
    for index in range(0, len(pictures), 6):
        crop_HW = crop_picture(pictures[index], placed_T23[index])  # type: ignore[arg-type]
        np.testing.assert_allclose(early[index], crop_HW, atol=1)


def test_several_faces_stay_themselves():
    left, right = Head(80, 120, 0.5), Head(240, 120, 0.5, texture=3)
    parts = [((320, 240), [left, right]), ((240, 320), [Head(200, 260, 0.4), Head(30, 60, 0.4, texture=3)])]
    followed = follow(parts)[0]
    assert len(followed.faces) == 2 and all((face.first, face.end) == (0, 2 * LENGTH) for face in followed.faces)
    ends = {int(face.boxes_T4[0, ::2].mean() > 160): face.boxes_T4[-1, ::2].mean() for face in followed.faces}
    assert [round(ends[0], -1), round(ends[1], -1)] == [40, 210]  # what was left is left


def test_one_who_leaves_at_the_change_is_not_the_one_who_stays():
    here, beside = Head(120, 130, 0.6), Head(260, 70, 0.45, texture=3)
    followed = follow([((320, 240), [here, beside]), ((240, 180), [Head(90, 98, 0.45)])])[0]
    assert sorted(len(face.status_T) for face in followed.faces) == [LENGTH, 2 * LENGTH]


def test_a_gap_over_the_change_holds_places_of_each_picture():
    parts = [((320, 240), [Head(160, 120, 0.6)]), ((160, 120), [Head(80, 60, 0.3)])]
    frames = [heads for _, heads in parts for _ in range(LENGTH)]
    frames[10:16] = [[]] * 6
    sizes = [size for size, _ in parts for _ in range(LENGTH)]
    (face,) = follow_faces(pictures_of(frames, sizes), KnowingFinder(frames)).faces  # type: ignore[arg-type]
    widths_T = face.boxes_T4[:, 2] - face.boxes_T4[:, 0]
    np.testing.assert_allclose(widths_T, np.repeat([widths_T[0], widths_T[0] / 2], LENGTH), rtol=1e-3)
    assert (face.status_T[10:16] == FrameStatus.INTERPOLATED).all()


def test_a_change_of_size_costs_few_looks():
    _, _, finder = follow([((320, 240), [Head(160, 110, 0.8)]), ((240, 320), [Head(70, 230, 0.6)])])
    assert len(finder.looked) <= 10


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.webm", "libvpx"),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in (("b.ts", "libx264"), ("c.ts", "mpeg2video"))),
    ],
)
def test_lips_of_real_files_are_found_in_both_parts(name, codec, finder, tmp_path):
    opening = [0.5 - 0.5 * np.cos(index / 2) for index in range(14)]
    landscape = [picture(200, 280, (120, 90, 150, one)) for one in opening]
    portrait = [picture(280, 200, (100, 170, 140, one)) for one in opening]
    write_changing(tmp_path / name, [landscape, portrait], codec)
    clip = extract_lips(tmp_path / name, finder)
    assert clip.counts["missing"] == 0 and len(clip.mouth_THW) in (27, 28)
    halves = clip.mouth_THW[:14].astype(float), clip.mouth_THW[-14:]
    assert np.abs(halves[0] - halves[1])[:, 20:76, 20:76].mean() < 6  # the same lips, neither squeezed nor shifted
