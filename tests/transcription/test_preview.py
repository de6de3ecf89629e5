"""A preview shows the right things at the right time and place, is whole or not there, and refuses sound files."""

from dataclasses import replace

import numpy as np
import pytest

from avspeech.decoding.word_times import TimedWord
from avspeech.media.audio import read_audio, write_wav
from avspeech.media.container import find_tracks
from avspeech.media.errors import MediaError, NoVideo
from avspeech.media.video import read_frames, write_video
from avspeech.roi.faces import Face
from avspeech.roi.flow import NEEDED
from avspeech.roi.mouth import LIPS
from avspeech.roi.track import FrameStatus
from avspeech.transcription.lettering import MARKED
from avspeech.transcription.preview import COLOURS, FaceView, draw_preview, face_views
from avspeech.transcription.result import Segment, Transcript
from tests.media.conftest import write_changing
from tests.refusals import raises

GREY, BOX = 128, (100, 200, 300, 400)
WORDS = (TimedWord("left", 0.2, 0.4), TimedWord("and", 0.4, 0.5), TimedWord("right", 0.5, 0.7))
SEGMENT = Segment(0.2, 0.7, "left and right", "audio+video", WORDS)
TRANSCRIPT = Transcript("clip.mp4", 1.0, "m", "audio+video", (SEGMENT,), face_share=1.0)


def video(path, num_frames=25, size=(576, 1024), audio_S=None):
    write_video(path, [np.full((*size, 3), GREY, np.uint8)] * num_frames, audio_S, preset="ultrafast")
    return path


def view(num_frames=25, box=BOX, **changes):
    box_T4 = np.tile(np.float32(box), (num_frames, 1))
    angle_K = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    outline_K2 = np.stack([200 + 40 * np.cos(angle_K), 350 + 15 * np.sin(angle_K)], axis=1)
    lips_TK2 = np.tile(outline_K2.astype(np.float32), (num_frames, 1, 1))
    return FaceView(**{"box_T4": box_T4, "lips_TK2": lips_TK2, "status_T": np.zeros(num_frames, np.uint8)} | changes)


def drawn(tmp_path, transcript=TRANSCRIPT, faces=(), **options):
    count = draw_preview(video(tmp_path / "clip.mp4", **options), tmp_path / "preview.mp4", transcript, faces)
    frames = list(read_frames(tmp_path / "preview.mp4"))
    assert len(frames) == count
    return frames


def near(pixels, colour, tolerance=60):
    return np.abs(pixels.astype(int) - np.array(colour)).max(axis=-1) < tolerance


def changed(region):
    return bool((np.abs(region.astype(int) - GREY) > 40).any())


def test_words_are_shown_while_they_are_said_and_the_one_of_the_moment_is_marked(tmp_path):
    bottom = [frame[480:] for frame in drawn(tmp_path, faces=[view()])]
    assert [changed(region) for region in bottom] == [5 <= index < 25 for index in range(25)]  # at least 0.8 s
    marks = [near(region, MARKED).any(axis=0).nonzero()[0] for region in bottom]
    assert not len(marks[2]) and not len(marks[20]) and marks[7].mean() < 512 < marks[14].mean()


def test_box_and_lips_are_where_they_were_found_in_the_colour_of_how(tmp_path):
    status_T = np.zeros(25, np.uint8)
    status_T[10:] = FrameStatus.INTERPOLATED
    status_T[20:] = FrameStatus.MISSING
    frames = drawn(tmp_path, faces=[view(box=(400, 600, 800, 1000), status_T=status_T)], size=(1440, 1600))
    assert frames[0].shape == (720, 800, 3)  # half of what came
    for index, status in ((0, FrameStatus.MEASURED), (12, FrameStatus.INTERPOLATED)):
        assert near(frames[index][400, 197:204], COLOURS[status]).any()
        assert near(frames[index][497:504, 300], COLOURS[status]).any()
        assert (frames[index][175, 115:125, 0] > frames[index][175, 115:125, 1]).any()  # the lips' outline is red
    assert not changed(frames[22][200:600])


def test_no_face_and_audio_only_are_said(tmp_path):
    status_T = np.zeros(25, np.uint8)
    status_T[:10] = FrameStatus.MISSING
    segments = (replace(SEGMENT, start_s=0.6, end_s=1.0, modality="audio", words=()),)
    frames = drawn(tmp_path, replace(TRANSCRIPT, segments=segments), [view(status_T=status_T)])
    assert [changed(one[:60, :200]) for one in frames] == [index < 10 or index >= 15 for index in range(25)]
    assert changed(drawn(tmp_path)[0][:60, :200])
    assert not changed(drawn(tmp_path, replace(TRANSCRIPT, face_share=None))[0][:60, :200])  # not looked for


@pytest.mark.slow
def test_the_lip_crop_is_shown_twice_as_large_where_the_face_is_not(tmp_path):
    mouth_THW = np.zeros((10, 96, 96), np.uint8)
    mouth_THW[:, :, 48:] = 255
    for box, start in ((BOX, 1024 - 196), ((700, 200, 900, 400), 4)):
        frames = drawn(tmp_path, faces=[view(box=box, mouths=dict(enumerate(mouth_THW, 5)))])
        crop_HWC = frames[7][10:190, start : start + 192]
        assert crop_HWC[:, 10:80].max() < 40 and crop_HWC[:, 110:180].min() > 215
        assert changed(frames[5][:200, start:]) and changed(frames[14][:200, start:])
        assert not changed(frames[4][:190, start : start + 192]) and not changed(frames[15][:190, start : start + 192])


def test_several_faces_have_their_boxes_labels_and_crops(tmp_path):
    mouths = dict(enumerate(np.zeros((25, 96, 96), np.uint8)))
    boxes = ((1, BOX), (2, (420, 200, 560, 400)))
    frame = drawn(tmp_path, faces=[view(box=box, speaker=f"speaker {n}", mouths=mouths) for n, box in boxes])[0]
    assert all(near(frame[300, at : at + 7], COLOURS[FrameStatus.MEASURED]).any() for at in (97, 417))
    assert changed(frame[180:196, 100:160]) and changed(frame[180:196, 420:480])
    assert frame[50:150, 1024 - 100].max() < 40 and frame[50:150, 1024 - 300].max() < 40


SIZES = {  # 405 would be odd
    (1080, 1920): (720, 1280), (720, 1280): (720, 1280), (1920, 1080): (720, 404), (288, 360): (576, 720),
    (600, 802): (600, 802), (20, 2000): (20, 1920), (2000, 16): (720, 16), (16, 16): (576, 576),
}  # fmt: skip


@pytest.mark.parametrize(("size", "expected"), SIZES.items())
def test_sizes_are_even_and_neither_too_large_nor_too_small(size, expected, tmp_path):
    face = view(1, box=(0, 0, size[1], size[0]), mouths={0: np.zeros((96, 96), np.uint8)})
    (frame,) = drawn(tmp_path, faces=[face], num_frames=1, size=size)
    assert frame.shape[:2] == expected


def test_sound_is_written(tmp_path):
    loudness_S = np.repeat(np.random.default_rng(0).uniform(-0.5, 0.5, 25), 640)
    audio_S = (loudness_S * np.sin(np.arange(16_000))).astype(np.float32)
    draw_preview(video(tmp_path / "clip.mp4"), tmp_path / "new" / "p.mp4", TRANSCRIPT, audio_S=audio_S)
    heard_S = read_audio(tmp_path / "new" / "p.mp4")[:16_000]
    assert np.corrcoef(heard_S, audio_S[: len(heard_S)])[0, 1] > 0.9
    draw_preview(video(tmp_path / "clip.mp4"), tmp_path / "quiet.mp4", TRANSCRIPT)
    assert not find_tracks(tmp_path / "quiet.mp4").has_audio


def test_what_cannot_be_drawn_is_refused_in_one_line_and_an_old_preview_stays(tmp_path):
    write_wav(tmp_path / "sound.wav", np.zeros(16_000, np.float32))
    source, out = video(tmp_path / "clip.mp4"), tmp_path / "out" / "p.mp4"
    out.parent.mkdir()
    out.write_text("an old preview")
    raises(NoVideo, "no video track to draw a preview on", draw_preview, tmp_path / "sound.wav", out, TRANSCRIPT)
    raises(MediaError, "cannot be opened", draw_preview, tmp_path / "none.mp4", out, TRANSCRIPT)
    raises(MediaError, "more than the 20 frames", draw_preview, source, out, TRANSCRIPT, [view(20)])
    assert list(out.parent.iterdir()) == [out] and out.read_text() == "an old preview"
    with pytest.raises(ValueError, match="would replace the video itself"):
        draw_preview(source, tmp_path / "out" / ".." / "clip.mp4", TRANSCRIPT)
    assert len(list(read_frames(source))) == 25


def test_a_box_stays_on_its_face_where_the_picture_changes_size(tmp_path):
    """A white square in a grey picture, which is turned upright in the middle, stays square in its box."""
    landscape, portrait = (np.full((*shape, 3), GREY, np.uint8) for shape in ((576, 1024), (1024, 576)))
    landscape[200:300, 400:500] = portrait[600:800, 200:400] = 255
    write_changing(tmp_path / "clip.ts", [[landscape] * 10, [portrait] * 10, [landscape] * 10], "libx264")
    box_T4 = np.repeat(np.float32([(400, 200, 500, 300), (200, 600, 400, 800), (400, 200, 500, 300)]), 10, axis=0)
    faces = [replace(view(30), box_T4=box_T4, lips_TK2=np.full((30, 20, 2), -9, np.float32))]
    draw_preview(tmp_path / "clip.ts", tmp_path / "preview.mp4", replace(TRANSCRIPT, segments=()), faces)
    frames = list(read_frames(tmp_path / "preview.mp4"))
    for frame, side in ((frames[4], 100), (frames[15], 200 * 576 / 1024), (frames[25], 100)):
        boxed, white = (np.argwhere(near(frame, colour)) for colour in (COLOURS[FrameStatus.MEASURED], (255, 255, 255)))
        assert frame.shape == (576, 1024, 3)
        np.testing.assert_allclose(np.ptp(white, axis=0), side, atol=6)
        for edge in (np.min, np.max):
            np.testing.assert_allclose(edge(boxed, axis=0), edge(white, axis=0), atol=6)


def face(first, num_frames, at=0.0, missing=()):
    points_N2 = np.stack([np.arange(47.0) + at, np.arange(47.0)], axis=1).astype(np.float32)
    status_T = np.zeros(num_frames, np.uint8)
    status_T[list(missing)] = FrameStatus.MISSING
    return Face(first, np.tile(points_N2, (num_frames, 1, 1)), status_T)


def test_a_view_follows_the_face_of_each_segment():
    faces = [face(0, 30), face(20, 30, at=500.0, missing=[12])]
    mouth_THW = np.zeros((10, 96, 96), np.uint8)
    segments = [Segment(at / 25, (at + 10) / 25, face=n, mouth_THW=mouth_THW) for n, at in enumerate((5, 25))]
    (one,) = face_views(faces, [*segments, Segment(40 / 25, 45 / 25)], 60)
    lefts = np.where(one.status_T == FrameStatus.MISSING, -1, np.nan_to_num(one.box_T4[:, 0], nan=-1))
    assert (lefts[:25] == 45).all()  # from the start, and until the next segment
    assert (lefts[25:32] == 545).all() and (lefts[33:40] == 545).all()
    assert lefts[32] == -1 and np.isnan(one.lips_TK2[32]).all()  # missing there
    assert (lefts[40:] == -1).all()  # nobody's segment
    assert list(one.mouths) == [*range(5, 15), *range(25, 35)]


def test_each_speaker_has_a_view_and_nobody_has_none():
    faces = [face(0, 30), face(0, 30, at=500.0)]
    segments = [Segment(0, 10 / 25, face=one, speaker=f"speaker {one + 1}") for one in (1, 0)]
    views = face_views(faces, [*segments, Segment(10 / 25, 20 / 25)], 30)
    assert [(one.speaker, one.box_T4[0, 0]) for one in views] == [("speaker 1", 45), ("speaker 2", 545)]
    assert face_views([], [Segment(0 / 25, 10 / 25)], 10) == face_views(faces, [], 10) == ()


def test_the_outline_goes_once_around_the_lips():
    (one,) = face_views([face(0, 1)], [Segment(0 / 25, 1 / 25, face=0)], 1)
    assert [NEEDED[int(x)] for x in one.lips_TK2[0, :, 0]] == [*LIPS[:11], *LIPS[11:20][::-1]]
