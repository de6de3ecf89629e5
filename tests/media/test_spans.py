"""A part of a long recording has the frames and samples of that part of all of it, also where it is sought."""

from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest

from avspeech.media import spans
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from avspeech.media.reading import read_audio as read_chosen
from avspeech.media.reading import read_frames as read_chosen_frames
from avspeech.media.reading import safe_decoding
from avspeech.media.video import read_frames, read_pictures
from avspeech.timebase import Span
from tests.media.conftest import number_of, picture_of, write
from tests.refusals import raises

SECONDS = 8


def recording(path, rate=16_000, fps=25, codec="libx264", audio_codec="aac", start_s=Fraction(0)):
    """Write numbered pictures with a key frame every 2 s, and a sound that is nowhere the same."""
    noise = np.random.default_rng(3).standard_normal(SECONDS * 400)
    smooth_S = np.interp(np.arange(SECONDS * rate) / rate, np.arange(len(noise)) / 400, noise)
    pictures = [picture_of(number) for number in range(SECONDS * fps)]
    options = {"audio_S": (0.2 * smooth_S).astype(np.float32), "audio_rate": rate, "audio_codec": audio_codec}
    base = Fraction(1, fps)
    write(
        path, pictures, range(len(pictures)), base, Fraction(fps), codec, audio_start_s=start_s, gop=2 * fps, **options
    )
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return an mp4 with H.264 and AAC, all of its sound and the numbers of its frames."""
    path = recording(tmp_path_factory.mktemp("spans") / "plain.mp4")
    return path, read_audio(path), numbers_of(path)


def numbers_of(path, span=None):
    return [number_of(frame) for frame in read_frames(path, grey=True, span=span)]


PARTS = [Span(0, 10), Span(99, 101), Span(137, 170), Span(190, None)]
AAC_NOISE = 0.01
"""What AAC decoders make up, of a full scale of 1; a shift of one sample changes more."""


def check_parts(path, whole_S, numbers, within):
    for part in PARTS:
        first, end = part.first, len(numbers) if part.end is None else part.end
        assert numbers_of(path, part) == numbers[first:end], part
        wanted_S = whole_S[640 * first : None if part.end is None else 640 * end]
        np.testing.assert_allclose(read_audio(path, span=part), wanted_S, atol=within, err_msg=str(part))


def test_a_part_of_a_common_file_is_that_part_of_all(plain):
    path, whole_S, numbers = plain
    assert numbers == list(range(200)) and np.abs(np.diff(whole_S[1000:-4000])).max() > 2 * AAC_NOISE
    check_parts(path, whole_S, numbers, AAC_NOISE)


KINDS = {
    "late.mov": {"rate": 44_100, "fps": 24, "start_s": Fraction(1, 3), "audio_codec": "pcm_s16le"},
    "film.mp4": {"rate": 44_100, "fps": 30, "audio_codec": "flac"},
    "own.mkv": {"rate": 48_000, "audio_codec": "flac"},
    "tv.mpg": {"codec": "mpeg1video", "audio_codec": "mp2", "rate": 44_100},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_part_is_that_part_of_all_in_any_file(name, tmp_path):
    """Sought or decoded from the start, whatever the rates and where the sound begins."""
    path = recording(tmp_path / name, **KINDS[name])
    check_parts(path, read_audio(path), numbers_of(path), 2e-5)


def test_parts_follow_on_from_each_other_and_times_are_the_nearest_frames(plain):
    path, whole_S, numbers = plain
    edges_s = [0.0, 2.004, 5.53, 5.57, None]
    parts = [Span.between(*edges) for edges in pairwise(edges_s)]
    assert parts == [Span(0, 50), Span(50, 138), Span(138, 139), Span(139, None)]
    together_S = np.concatenate([read_audio(path, span=part) for part in parts])
    np.testing.assert_allclose(together_S, whole_S, atol=AAC_NOISE)
    assert [number for part in parts for number in numbers_of(path, part)] == numbers
    assert Span.between(None, None) is None and Span.between(0.0, None) is None
    assert Span.between(3.0, 3.001) == Span(75, 76)


@pytest.mark.parametrize(("read", "most"), [(numbers_of, 90), (read_audio, 3 * 16)])
def test_only_the_part_and_a_little_before_is_decoded(read, most, plain, monkeypatch):
    frames = []
    monkeypatch.setattr(spans, "decode", lambda *given, own=spans.decode: tee(own(*given), frames))
    read(plain[0], span=Span(175, 180))
    assert 5 <= len(frames) <= most
    frames.clear()
    monkeypatch.setattr(spans, "seek", lambda *given: False)
    read(plain[0], span=Span(175, 180))
    assert len(frames) > most


def tee(items, kept):
    for item in items:
        kept.append(item)
        yield item


def test_joined_recordings_have_no_single_index_and_are_read_from_the_start(plain, tmp_path):
    (tmp_path / "twice.mp4").write_bytes(2 * plain[0].read_bytes())
    assert numbers_of(tmp_path / "twice.mp4", Span(190, 210)) == [*range(190, 200), *range(10)]


def test_times_of_pictures_count_from_the_part(plain):
    shown = [picture.shown_s for picture in read_pictures(plain[0], span=Span(100, 103))]
    np.testing.assert_allclose(shown, [(number / 25, (number + 1) / 25) for number in range(3)])


def test_a_part_beyond_the_end_is_an_error_and_a_little_less_a_note(plain):
    path, _, _ = plain
    for part, message in (
        (Span(500, 525), "ends before 20 s, wanted is the part from 20 s to 21 s"),
        (Span(180, 250), "ends at 8 s, wanted is the part from 7.2 s to 10 s"),
        (Span(200, None), "ends before 8 s, wanted is the part from 8 s to its end"),
    ):
        raises(MediaError, message, numbers_of, path, part)
    notes = []
    assert len(list(read_pictures(path, notes, Span(180, 205)))) == 20
    assert notes == ["The part that begins at 7.2 s ends 5 frames early, with the file."]
    assert len(read_audio(path, span=Span(180, 205))) == pytest.approx(20 * 640, abs=1100)
    assert len(read_audio(path, span=Span(500, 525))) == 0


def test_of_a_file_that_is_cut_off_the_parts_that_are_there_are_read(plain, tmp_path):
    cut = tmp_path / "cut.mp4"
    with av.open(str(plain[0])) as source, av.open(str(cut), "w", options={"movflags": "faststart"}) as out:
        streams = {one.index: out.add_stream_from_template(one) for one in source.streams}
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    assert numbers_of(cut, Span(10, 20)) == list(range(10, 20))
    raises(MediaError, "ends|cut off|decode|cannot be read", numbers_of, cut, Span(170, 190))
    raises(MediaError, "ends|cut off|decode|cannot be read", read_audio, cut, span=Span(170, 190))


def test_confined_processes_read_the_same_part(plain):
    path, _, numbers = plain
    with safe_decoding():
        frames = list(read_chosen_frames(path, span=Span(137, 145)))
        audio_S = read_chosen(path, span=Span(137, 145))
    assert [number_of(frame) for frame in frames] == numbers[137:145]
    np.testing.assert_array_equal(audio_S, read_audio(path, span=Span(137, 145)))
