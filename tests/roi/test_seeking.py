"""Faces of any size and turn are found once each, clutter and mouth crops are not, and a lone face needs one decode."""

import os
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_heads import Head, KnowingFinder, pictures_of

from avspeech.faults.picture_faults import picture_fault
from avspeech.media.errors import MediaError
from avspeech.media.video import read_frames, read_pictures, write_video
from avspeech.noise.exact_noise import ExactDraws
from avspeech.roi import lips
from avspeech.roi.faces import follow_faces
from avspeech.roi.landmarks import NUM_LANDMARKS
from avspeech.roi.lips import extract_lips
from avspeech.roi.mouth import STABLE
from avspeech.roi.seeking import FEWEST_TILES, MAX_FACES, Seeker, _grid, _turn_of, _unturned
from avspeech.roi.track import NoFace
from tests.refusals import raises
from tests.roi.conftest import face, picture

FAR = Head(70, 60, 0.22), Head(250, 180, 0.25, texture=4)  # 26 and 30 px high


@pytest.mark.parametrize("heads", [[FAR[0]], list(FAR), [*FAR, Head(100, 180, 0.3, texture=2)]])
def test_every_face_is_found_once(heads):
    followed = follow_faces(pictures_of([heads] * 20), KnowingFinder([heads] * 20))
    assert len(followed.faces) == len(heads)
    for head in heads:
        true_52 = head.landmarks_J2[list(STABLE)]
        apart = min(float(np.abs(one.points_TN2[-1, : len(STABLE)] - true_52).max()) for one in followed.faces)
        assert apart < 0.5


@pytest.mark.parametrize(("width", "height", "side"), [(1920, 1080, 96), (1000, 97, 96), (640, 360, 192)])
def test_tiles_cover_the_picture_and_overlap_by_a_third(width, height, side):
    boxes = list(_grid(width, height, side))
    seen_HW = np.zeros((height, width), int)
    for left, top, right, bottom in boxes:
        seen_HW[top:bottom, left:right] += 1
    assert seen_HW.min() >= 1 and all(right <= width and bottom <= height for _, _, right, bottom in boxes)
    lefts = sorted({box[0] for box in boxes})
    assert max(np.diff(lefts)) <= side * 2 / 3 + 1


def test_a_face_on_one_crop_alone_is_clutter():
    """The model sees the same face in any part of the picture, wherever that part lies."""

    class Fooled:
        def detect(self, frame):
            points_J2 = np.random.default_rng(0).uniform(0.3, 0.7, (NUM_LANDMARKS, 2)).astype(np.float32)
            return [points_J2 * frame.shape[1::-1]]

    frames = [[Head(160, 120, 0.6)]]
    assert Seeker(Fooled()).look_and_seek(pictures_of(frames)[0], [], 0) == []


def test_a_large_face_that_differs_on_each_crop_is_none():
    """So the model sees an upright face in one that is upside down."""

    class Unsteady(KnowingFinder):
        def detect(self, frame):
            others = np.setdiff1d(np.arange(NUM_LANDMARKS), STABLE)
            mixed = np.random.default_rng(frame.size).permutation(others) if self.is_unsteady else others
            for face_J2 in (faces := super().detect(frame)):
                face_J2[others] = face_J2[mixed]  # the box stays
            return faces

    frames = [[Head(160, 120, 1.0)]]
    for is_unsteady, number in ((False, 1), (True, 0)):
        finder = Unsteady(frames)
        finder.is_unsteady = is_unsteady
        assert len(Seeker(finder).look_and_seek(pictures_of(frames)[0], [], 0)) == number


def test_a_large_face_that_only_wide_crops_show_is_found():
    """So the model sees a blurred face."""

    class Shortsighted(KnowingFinder):
        def detect(self, frame):
            _, (left, _, right, _), _ = frame.where
            return super().detect(frame) if right - left > 2.5 * 120 else []

    frames = [[Head(160, 120, 1.0)]]  # 120 px high
    assert len(Seeker(Shortsighted(frames)).look_and_seek(pictures_of(frames)[0], [], 0)) == 1


@pytest.mark.slow
@pytest.mark.skipif("AVSPEECH_SHARED" not in os.environ, reason="AVSPEECH_SHARED names no folder with GRID clips")
def test_degraded_faces_are_found_and_enlarged_mouths_are_none(finder, tmp_path):
    folder = Path(os.environ["AVSPEECH_SHARED"]) / "data" / "grid_speakers"
    for video in [sorted(person.rglob("*.mpg"))[0] for person in sorted(folder.glob("s*"))]:
        clip = extract_lips(video, finder)
        mouth_side = 96 / np.hypot(*clip.placements_T23[0, :, 0])
        mouth_HW = cv2.resize(clip.mouth_THW[0], (288, 288), interpolation=cv2.INTER_CUBIC)
        write_video(tmp_path / "mouth.mp4", [np.stack([mouth_HW] * 3, axis=-1)] * 2)
        assert follow_faces(read_pictures(tmp_path / "mouth.mp4"), finder).faces == ()
        frame = next(read_frames(video))
        for kind, severity in (("blur", 3), ("jpeg", 4), ("darker", 5), ("pixel_noise", 3), ("low_resolution", 4)):
            worse = picture_fault(kind, severity, mouth_side, ExactDraws("seed"))(frame)
            write_video(tmp_path / "worse.mp4", [worse] * 2, crf=10)
            assert len(follow_faces(read_pictures(tmp_path / "worse.mp4"), finder).faces) == 1, (video, kind)


def test_a_face_that_moves_with_the_frame_around_a_tiny_picture_is_none():
    """So the model sees a face of nostrils and lips in a mouth crop."""

    class Moved:
        def detect(self, frame):
            return [(head_J2 - head_J2.min(axis=0)) / np.ptp(head_J2, axis=0) * frame.shape[1::-1]]

    (tiny,), head_J2 = pictures_of([[]]), Head(48, 40, 0.5).landmarks_J2
    filling = Moved().detect(np.zeros((80, 96)))
    tiny.size = (480, 400)
    assert len(Seeker(Moved()).look(tiny, [5 * filling[0]])) == 1
    tiny.size = (96, 80)
    assert Seeker(Moved()).look(tiny, filling) == []


@pytest.mark.parametrize("turn", range(4))
def test_points_of_a_turned_picture_are_turned_back(turn):
    size, points_N2 = (30, 20), np.array([(3.5, 4.5), (27.5, 9.5)])
    shown = np.zeros((20, 30), np.uint8)
    shown[4, 3], shown[9, 27] = 1, 2
    turned = np.rot90(shown, turn)
    there = np.array([np.argwhere(turned == n)[0][::-1] + 0.5 for n in (1, 2)])
    np.testing.assert_allclose(_unturned(there, turn, size), points_N2)
    head = Head(100, 100, 0.5, turn * np.pi / 2)  # clockwise on the screen
    assert _turn_of(head.landmarks_J2) == turn


@pytest.mark.parametrize(("quarters", "said"), [(1, "lies on its side"), (2, "upside down"), (3, "lies on its side")])
def test_a_lost_rotation_flag_is_told_and_the_lips_are_upright(finder, tmp_path, quarters, said):
    frames = [face(0.5 - 0.5 * np.cos(index / 2)) for index in range(12)]
    write_video(tmp_path / "plain.mp4", frames)
    write_video(tmp_path / "turned.mp4", [np.ascontiguousarray(np.rot90(one, quarters)) for one in frames])
    followed = follow_faces(read_pictures(tmp_path / "turned.mp4"), finder)
    assert said in followed.notes[0]
    plain, turned = (extract_lips(tmp_path / f"{name}.mp4", finder).mouth_THW for name in ("plain", "turned"))
    assert np.abs(plain.astype(float) - turned).mean() < 16 < np.abs(plain.astype(float) - turned[:, ::-1, ::-1]).mean()
    assert follow_faces(read_pictures(tmp_path / "plain.mp4"), finder).notes == ()


def test_a_mouth_crop_is_not_cropped_again_and_a_small_face_is(finder, tmp_path, talking):
    crops = extract_lips(talking, finder).mouth_THW
    write_video(tmp_path / "lips.mp4", crops)
    raises(NoFace, "small as a mouth crop.*--already_cropped", extract_lips, tmp_path / "lips.mp4", finder)
    small = [cv2.resize(face(), (96, 80), interpolation=cv2.INTER_AREA)] * 5
    write_video(tmp_path / "small.mp4", small)
    assert extract_lips(tmp_path / "small.mp4", finder).counts["missing"] == 0


def test_a_crowd_is_cut_to_the_largest_and_told():
    heads = [Head(12 + 26 * (n % 12), 14 + 28 * (n // 12), 0.2 + n / 2000, texture=n) for n in range(24)]
    followed = follow_faces(pictures_of([heads]), KnowingFinder([heads]))
    assert len(followed.faces) == MAX_FACES
    assert any(f"More than {MAX_FACES} faces" in note for note in followed.notes)


def test_a_slideshow_is_told_and_a_talking_head_is_not():
    stills = [[Head(100 + 3 * (index // 25), 110, 0.6)] for index in range(100)]
    assert "slideshow" in follow_faces(pictures_of(stills), KnowingFinder(stills)).notes[0]
    moving = [[Head(100 + 8 * np.sin(index / 6), 110, 0.6)] for index in range(100)]
    assert follow_faces(pictures_of(moving), KnowingFinder(moving)).notes == ()


def test_a_lone_face_is_decoded_once_and_a_gap_makes_it_twice(finder, tmp_path, talking, monkeypatch):
    decodes = []
    monkeypatch.setattr(
        lips, "read_pictures", lambda *asked, **part: decodes.append(1) or read_pictures(*asked, **part)
    )
    for alignment in ("official", "steady"):
        decodes.clear()
        once = extract_lips(talking, finder, alignment=alignment)
        assert len(decodes) == 1
        monkeypatch.setattr("avspeech.roi.early.MAX_FRAMES", 0)
        twice = extract_lips(talking, finder, alignment=alignment)
        monkeypatch.undo()
        monkeypatch.setattr(
            lips, "read_pictures", lambda *asked, **part: decodes.append(1) or read_pictures(*asked, **part)
        )
        assert np.abs(once.mouth_THW.astype(int) - twice.mouth_THW).max() <= 2
    write_video(tmp_path / "gap.mp4", [picture() if 9 <= index < 12 else face() for index in range(25)])
    decodes.clear()
    extract_lips(tmp_path / "gap.mp4", finder)
    assert len(decodes) == 2


def test_a_picture_beyond_the_limit_is_refused(tmp_path):
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (16_000).to_bytes(4, "big") * 2 + bytes((1, 0, 0, 0, 0))  # one bit a pixel
    pixels = zlib.compress(bytes(16_000 * 2001), 1)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(MediaError, match="pictures of 16000x16000, wanted at most 134,217,728 pixels"):
        next(read_pictures(tmp_path / "huge.png"))


class Blind:
    """Finds nobody, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def detect(self, frame):
        self.asked += 1
        return []


def test_a_moving_picture_without_a_face_is_searched_less_and_less():
    frames = [[Head(60 + 3 * index % 200, 100, 0.5), Head(240 - 2 * index % 200, 60, 0.5)] for index in range(160)]
    pictures, finder = pictures_of(frames), Blind()
    seeker, asked = Seeker(finder), []
    for index in range(0, 160, 8):
        seeker.look_and_seek(pictures[index], [], index)
        asked.append(finder.asked)
    looks = np.diff([0, *asked])
    assert looks[0] > 3 * np.median(looks[4:])  # everywhere once, also turned
    assert np.median(looks[4:]) <= FEWEST_TILES + 2
