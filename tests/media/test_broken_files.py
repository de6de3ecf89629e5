"""Whatever is wrong with a file, the answer is a MediaError that names it; nothing else escapes."""

import pickle
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.io import wavfile

from avspeech.media.audio import read_audio, write_wav
from avspeech.media.container import find_tracks, guard
from avspeech.media.errors import MediaError, NoAudio, NoVideo
from avspeech.media.video import read_frames, read_grey_clip, write_video
from tests.media.conftest import encode, picture_of, sound_frame, write
from tests.refusals import raises


def cut(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def test_empty_text_missing_and_folder_are_named(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is not a film\n" * 50)
    (tmp_path / "folder.mp4").mkdir()
    for name, reason in (
        ("empty", "is empty"),
        ("text", "not a media"),
        ("missing", "No such file"),
        ("folder", "no file"),
    ):
        for read in (lambda path: next(read_frames(path)), read_audio, find_tracks, read_grey_clip):
            raises(MediaError, rf"{name}\.mp4.*{reason}", read, tmp_path / f"{name}.mp4")


def test_a_missing_track_is_a_typed_answer(tmp_path):
    write_video(tmp_path / "silent.mp4", [np.zeros((64, 64), np.uint8)] * 5)
    write_wav(tmp_path / "sound.wav", np.zeros(1600, np.float32))
    raises(NoAudio, "no audio track", read_audio, tmp_path / "silent.mp4")
    raises(NoVideo, "no video track", next, read_frames(tmp_path / "sound.wav"))
    assert len(list(read_frames(tmp_path / "silent.mp4"))) == 5
    silent, sound = find_tracks(tmp_path / "silent.mp4"), find_tracks(tmp_path / "sound.wav")
    assert (silent.has_video, silent.has_audio, sound.has_video, sound.has_audio) == (True, False, False, True)
    assert silent.duration_s == pytest.approx(0.2)


def test_a_cover_picture_is_no_video(tmp_path):
    with av.open(str(tmp_path / "song.m4a"), "w", format="mp4") as container:
        sound = container.add_stream("aac", 16_000, layout="mono")
        cover = container.add_stream("mjpeg", 25)
        cover.width = cover.height = 64
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        encode(container, cover, [picture.reformat(format="yuvj420p")])
        encode(container, sound, [sound_frame(np.zeros((1, 16_000), np.float32), "fltp")])
    assert not find_tracks(tmp_path / "song.m4a").has_video
    with pytest.raises(NoVideo):
        next(read_frames(tmp_path / "song.m4a"))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_cut_file_is_an_error_for_both_tracks(share, sound_clip):
    cut(sound_clip, share)
    for read in (lambda path: list(read_frames(path)), read_audio, read_grey_clip):
        raises(MediaError, r"whole\.mp4.*(cut off|cannot be read|do not decode|not a media file)", read, sound_clip)


@pytest.mark.parametrize("name", ["c.mkv", "c.avi", "c.mov", "c.flv"])
def test_a_cut_file_is_an_error_in_other_containers(name, tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (75, 64, 128, 3), dtype=np.uint8)
    codec = {"c.flv": "flv", "c.avi": "mpeg4"}.get(name, "libx264")
    write(tmp_path / name, pictures, range(75), Fraction(1, 25), codec=codec)
    assert sum(1 for _ in read_frames(tmp_path / name)) == 75
    raises(MediaError, name, list, read_frames(cut(tmp_path / name)))


def test_a_cut_wav_is_an_error(tmp_path):
    write_wav(tmp_path / "w.wav", np.zeros(48_000, np.float32))
    raises(MediaError, r"w\.wav.*cut off", read_audio, cut(tmp_path / "w.wav"))


def test_sound_may_be_shorter_than_the_picture(tmp_path):
    """Matroska states one length for the whole file: the shorter track is not cut off."""
    for name in ("s.mkv", "s.mp4"):
        write(tmp_path / name, [picture_of(0)] * 75, range(75), Fraction(1, 25), audio_S=np.zeros(48_000, np.float32))
        assert sum(1 for _ in read_frames(tmp_path / name)) == 75
        assert abs(len(read_audio(tmp_path / name)) - 16_000) < 1100


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 25))])
def test_damage_anywhere_raises_nothing_but_media_errors(seed, sound_clip, tmp_path):
    """PyAV answers broken files with UnicodeDecodeError, AttributeError, MemoryError, IndexError, too."""
    rng = np.random.default_rng(seed)
    data = bytearray(sound_clip.read_bytes())
    head = data.find(b"mdat")
    for _ in range(20):  # half of the hits in the header, where they hurt most
        place = int(rng.integers(0, head if rng.random() < 0.5 else len(data)))
        data[place : place + 4] = rng.bytes(4)
    (tmp_path / "damaged.mp4").write_bytes(data)
    for read in (lambda path: sum(1 for _ in read_frames(path)), read_audio, read_grey_clip, find_tracks):
        try:
            read(tmp_path / "damaged.mp4")
        except MediaError as error:
            assert "damaged.mp4" in str(error)  # noqa: PT017 - reading may also succeed


def test_a_damaged_packet_in_the_middle_is_concealed(tmp_path):
    write(tmp_path / "d.avi", [picture_of(k % 200) for k in range(100)], range(100), Fraction(1, 25), codec="mpeg4")
    data = bytearray((tmp_path / "d.avi").read_bytes())
    middle = data.find(b"00dc", len(data) // 2) + 8
    data[middle : middle + 6] = b"\xff" * 6
    (tmp_path / "d.avi").write_bytes(data)
    assert 99 <= sum(1 for _ in read_frames(tmp_path / "d.avi")) <= 100


def test_a_playlist_reaches_no_other_file(tmp_path):
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError):
        next(read_frames(playlist))


def test_odd_names_are_opened_as_files(sound_clip, tmp_path):
    for name in ("a:b.mp4", "50%d.mp4", "blank and ümlaut.mp4", "#1.mp4"):
        shutil.copy(sound_clip, tmp_path / name)
        assert sum(1 for _ in read_frames(tmp_path / name)) == 100


@pytest.mark.parametrize(
    "error", [UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), AttributeError("x"), MemoryError(), IndexError("x")]
)
def test_whatever_pyav_raises_becomes_a_media_error(error):
    with (
        pytest.raises(MediaError, match=rf"x\.mp4: is being read: {type(error).__name__}"),
        guard(Path("x.mp4"), "is being read"),
    ):
        raise error


def test_errors_survive_the_way_between_processes():
    error = pickle.loads(pickle.dumps(NoAudio("x.mp4", "has no audio track")))
    assert isinstance(error, NoAudio) and str(error) == "x.mp4: has no audio track"


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_an_error(rate, value, tmp_path):
    sound_S = np.zeros(rate, np.float32)
    sound_S[rate // 2] = value
    wavfile.write(tmp_path / "a.wav", rate, sound_S)
    raises(MediaError, r"a\.wav: has samples that are infinite or no numbers", read_audio, tmp_path / "a.wav")
