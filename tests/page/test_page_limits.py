"""Uploads are measured, not believed, and refused in words that name no path."""

import av
import pytest
from talker import write_clip

from avspeech.media.errors import MediaError
from avspeech.page.job import Limits, Refused, check_upload, measure_duration
from tests.refusals import raises


def test_length_is_measured_where_the_header_says_nothing(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", 2.0, sound=False)
    with av.open(str(clip)) as source, av.open(str(tmp_path / "live.webm"), "w", options={"live": "1"}) as target:
        stream = target.add_stream("libvpx", 25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in source.decode(video=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    with av.open(str(tmp_path / "live.webm")) as recorded:
        assert recorded.duration is None
    assert measure_duration(tmp_path / "live.webm") == pytest.approx(2.0, abs=0.05)
    assert measure_duration(clip) == pytest.approx(2.0, abs=0.05)


def test_too_long_and_too_large_are_refused_with_both_numbers(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", 3.0)
    assert check_upload(clip, Limits()) == pytest.approx(3.0, abs=0.1)
    with pytest.raises(Refused, match=r"lasts 3\.\d s and this page takes up to 2 s") as refused:
        check_upload(clip, Limits(max_seconds=2))
    assert str(tmp_path) not in str(refused.value)
    raises(Refused, r"0\.\d MB and this page takes up to 0\.001 MB", check_upload, clip, Limits(max_mb=0.001))


def test_what_is_no_media_is_a_media_error(tmp_path):
    (tmp_path / "text.mp4").write_text("hello")
    raises(MediaError, "not a media file", check_upload, tmp_path / "text.mp4", Limits())


@pytest.mark.parametrize("values", [{"max_mb": 0}, {"max_seconds": float("nan")}])
def test_limits_are_numbers_above_zero(values):
    raises(ValueError, "must be a number above 0", Limits, **values)
