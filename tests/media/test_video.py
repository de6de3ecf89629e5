"""Frames come at 25 fps, each showing what is on screen at the middle of its interval."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from avspeech.media.video import fit, read_frames, read_grey_clip, read_pictures, write_video
from tests.media.conftest import number_of, picture_of, write, write_changing


def expected_numbers(times_s: list[Fraction], end_s: Fraction) -> list[int]:
    """Brute force, from the rule's text: the last source frame before the middle of each output frame."""
    numbers, index = [], 0
    while (middle := Fraction(2 * index + 1, 50)) <= end_s:
        numbers.append(max((k for k, time in enumerate(times_s) if time < middle), default=0))
        index += 1
    return numbers


@pytest.mark.parametrize("rate", map(Fraction, ("25", "60", "24000/1001", "30000/1001", "50", "12", "120")), ids=str)
def test_constant_rates_give_the_frame_on_screen(rate, numbered):
    path = numbered("clip.mp4", range(48), 1 / rate, rate=rate)
    times = [k / rate for k in range(48)]
    assert [number_of(frame) for frame in read_frames(path)] == expected_numbers(times, 48 / rate)


def test_variable_rate_gives_the_frame_on_screen(numbered):
    steps = [33, 33, 17, 100, 20, 40, 40, 200, 10, 10, 10, 41, 39, 60]  # ms
    times = np.cumsum([0, *steps]).tolist()
    path = numbered("clip.mp4", times, Fraction(1, 1000), rate=Fraction(30))
    numbers = [number_of(frame) for frame in read_frames(path)]
    expected = expected_numbers([Fraction(t, 1000) for t in times], Fraction(times[-1] + 33, 1000))
    assert numbers[: len(expected) - 1] == expected[:-1]
    assert abs(len(numbers) - len(expected)) <= 1  # how long the last frame stays is the encoder's guess


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "libvpx"), ("a.ts", "libx264"), ("a.mpg", "mpeg1video"),
     ("a.mov", "mpeg4"), ("a.flv", "flv")],
)  # fmt: skip
def test_containers_and_codecs_give_the_same_frames(name, codec, numbered):
    path = numbered(name, range(40), Fraction(1, 25), codec=codec)
    assert [number_of(frame) for frame in read_frames(path)] == list(range(40))


def test_b_frames_come_in_the_order_they_are_shown(tmp_path):
    write_video(tmp_path / "b.mp4", [picture_of(k) for k in range(60)], preset="medium", crf=10)
    assert [number_of(frame) for frame in read_frames(tmp_path / "b.mp4")] == list(range(60))


@pytest.mark.parametrize("angle", [90, -90, 180])
@pytest.mark.parametrize("grey", [False, True])
def test_rotation_flag_is_obeyed(angle, grey, tmp_path):
    upright = np.zeros((64, 48, 3), np.uint8)  # portrait: bright at the top left, half bright at the top right
    upright[:24, :20], upright[:24, 28:] = 220, 110
    stored = np.rot90(upright, k=-angle // 90)  # turning it by the flag's angle counterclockwise undoes this
    write(tmp_path / "r.mp4", [np.ascontiguousarray(stored)] * 5, range(5), Fraction(1, 25), rotation=angle)
    frame = next(read_frames(tmp_path / "r.mp4", grey=grey))
    assert frame.shape == ((64, 48) if grey else (64, 48, 3))
    np.testing.assert_allclose(frame, upright[..., 0] if grey else upright, atol=30)


def test_pixels_are_square(tmp_path):
    picture = picture_of(5, height=96, width=64)
    write(tmp_path / "wide.mp4", [picture] * 3, range(3), Fraction(1, 25), aspect=Fraction(2))
    assert next(read_frames(tmp_path / "wide.mp4")).shape == (96, 128, 3)


def test_late_video_repeats_its_first_frame(tmp_path):
    pictures, silence_S = [picture_of(k) for k in range(20)], np.zeros(48_000, np.float32)
    write(tmp_path / "late.mkv", pictures, range(8, 28), Fraction(1, 25), audio_S=silence_S)  # 320 ms after the sound
    assert [number_of(f) for f in read_frames(tmp_path / "late.mkv")] == [0] * 8 + list(range(20))


def test_frames_are_contiguous_at_odd_widths(tmp_path):
    write(tmp_path / "odd.mp4", [np.full((34, 50, 3), 90, np.uint8)] * 2, range(2), Fraction(1, 25))
    assert all(frame.flags.c_contiguous for frame in read_frames(tmp_path / "odd.mp4"))
    assert all(frame.flags.c_contiguous for frame in read_frames(tmp_path / "odd.mp4", grey=True))


def test_frames_come_one_by_one(numbered):
    path = numbered("clip.mp4", range(30), Fraction(1, 25))
    frames = read_frames(path)
    first = next(frames)
    frames.close()  # no error, and the file is closed
    assert list(frames) == []
    assert np.array_equal(first, next(read_frames(path)))


def test_a_single_frame_is_not_lost(numbered):
    assert len(list(read_frames(numbered("one.mp4", [0], Fraction(1, 60), rate=Fraction(60))))) == 1


def grey_ramp() -> np.ndarray:
    """Return a clip with every level from 0 to 255, left to right."""
    return np.broadcast_to(np.linspace(0, 255, 96).astype(np.uint8), (12, 96, 96)).copy()


def test_grey_clips_keep_their_full_range(tmp_path):
    ramp_THW = grey_ramp()
    assert write_video(tmp_path / "m.mp4", ramp_THW, crf=14) == 12
    clip_THW = read_grey_clip(tmp_path / "m.mp4")
    assert (clip_THW.shape, clip_THW.dtype) == ((12, 96, 96), np.uint8)
    assert clip_THW.min() <= 3 and clip_THW.max() >= 252  # a squeeze to 16..235 would show here
    assert np.abs(clip_THW.astype(int) - ramp_THW).mean() < 1.5
    rgb = next(read_frames(tmp_path / "m.mp4"))  # other players see the same greys
    assert np.abs(rgb.astype(int) - ramp_THW[0][..., None]).mean() < 3


def test_studio_range_clips_are_expanded(tmp_path):
    """Mouth clips of other tools are tagged 16..235; OpenCV, which AV-HuBERT reads with, expands them."""
    rgb = np.repeat(grey_ramp()[..., None], 3, axis=-1)
    write_video(tmp_path / "tv.mp4", rgb, crf=10)
    clip_THW = read_grey_clip(tmp_path / "tv.mp4")
    assert np.abs(clip_THW.astype(int) - rgb[..., 0]).mean() < 2
    assert clip_THW.min() <= 3 and clip_THW.max() >= 252


@pytest.mark.parametrize("name", ["late.mkv", "slow.mp4", "turned.mov", "wide.mkv"])
def test_clips_are_read_on_the_clock_and_in_the_shape_of_every_frame(name, tmp_path):
    """A clip that begins after its sound, of another rate, with a rotation flag, and with oblong pixels."""
    late, rate = (12 if name == "late.mkv" else 0), (15 if name == "slow.mp4" else 25)
    how = {"late.mkv": {"audio_S": np.zeros(48_000, np.float32)}, "turned.mov": {"rotation": 90}}.get(name, {})
    how |= {"aspect": Fraction(3, 2)} if name == "wide.mkv" else {}
    pictures = [picture_of(number, 48, 96) for number in range(30)]
    write(tmp_path / name, pictures, range(late, late + 30), Fraction(1, rate), rate=Fraction(rate), **how)
    clip_THW = read_grey_clip(tmp_path / name)
    np.testing.assert_array_equal(clip_THW, np.stack(list(read_frames(tmp_path / name, grey=True))))
    frames, shape = {"late.mkv": (42, (48, 96)), "slow.mp4": (50, (48, 96)), "turned.mov": (30, (96, 48))}.get(
        name, (30, (48, 144))
    )
    assert clip_THW.shape == (frames, *shape)
    if late:
        assert [number_of(frame) for frame in clip_THW] == [0] * 12 + list(range(30))


SIZES = [(128, 64), (64, 128), (64, 32)]


@pytest.mark.parametrize(("name", "codec"), [("a.ts", "mpeg2video"), ("b.ts", "libx264"), ("c.webm", "libvpx")])
def test_every_frame_keeps_its_shape_when_the_size_changes(name, codec, tmp_path):
    write_changing(tmp_path / name, [[picture_of(7, height, width)] * 10 for width, height in SIZES], codec)
    shapes = [frame.shape[:2] for frame in read_frames(tmp_path / name)]
    assert [shape for shape, _ in itertools.groupby(shapes)] == [(64, 128), (128, 64), (32, 64)]
    pictures = list(read_pictures(tmp_path / name))
    assert [picture.size for picture in pictures] == [(width, height) for height, width in shapes]
    assert all(number_of(picture.grey()) == 7 for picture in pictures)
    assert read_grey_clip(tmp_path / name).shape[1:] == (64, 128)


def test_pictures_are_fitted_without_squeezing():
    square_HW = np.full((60, 60), 200, np.uint8)
    for size in ((120, 60), (60, 120), (30, 90)):
        fitted_HW = fit(square_HW, size)
        rows_R, columns_C = (np.flatnonzero((fitted_HW > 0).any(axis=axis)) for axis in (1, 0))
        assert fitted_HW.shape == size[::-1] and len(rows_R) == len(columns_C) == min(size)
        assert abs(rows_R[0] - (size[1] - 1 - rows_R[-1])) <= 1  # in the middle


def test_same_frames_give_the_same_bytes(tmp_path):
    """x264's macroblock tree does not, on small pictures: one run in three differed."""
    rng = np.random.default_rng(0)
    blobs = np.stack([np.outer(np.hanning(96), np.hanning(96)) * (120 + 100 * np.sin(t / 3)) for t in range(40)])
    clip_THW = (blobs + rng.normal(20, 3, blobs.shape)).clip(0, 255).astype(np.uint8)
    audio_S = (0.1 * rng.standard_normal(40 * 640)).astype(np.float32)
    seen = set()
    for _ in range(12):
        write_video(tmp_path / "a.mp4", clip_THW, audio_S, preset="faster")
        seen.add((tmp_path / "a.mp4").read_bytes())
    assert len(seen) == 1


@pytest.mark.parametrize("shapes", [[], [(95, 96)], [(96, 96, 4)], [(96, 96), (48, 48)], [(96, 96)]], ids=str)
def test_frames_that_cannot_be_written_are_refused(shapes, tmp_path):
    dtype = np.float32 if shapes == [(96, 96)] else np.uint8
    with pytest.raises(ValueError, match=r"no frame|wanted uint8"):
        write_video(tmp_path / "x.mp4", [np.zeros(shape, dtype) for shape in shapes])
