"""A file's sound tracks are listed, and read by number."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from avspeech.media.audio import read_audio
from avspeech.media.container import LACKS, find_tracks
from avspeech.media.errors import MediaError, NoAudio, NoVideo
from avspeech.media.reading import read_sound_if_any
from avspeech.media.video import read_frames, write_video
from tests.media.conftest import encode, picture_frame, picture_of, sound_frame
from tests.refusals import raises


def write_tracks(path: Path, levels: list[float], codec: str, default: int = 0, rate: int = 16_000) -> Path:
    """Write a second of one steady level per track."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream(codec, rate, layout="mono") for _ in levels]
        for index, stream in enumerate(streams):
            stream.metadata["language"] = ("eng", "swa", "ben")[index]
            stream.metadata["title"] = f"take {index}"
            stream.disposition = Disposition.default if index == default else Disposition(0)
        for stream, level in zip(streams, levels, strict=True):
            sound_S = np.full((1, rate), level, np.float32)
            kind = stream.codec_context.format.name
            if kind.startswith("s16"):
                sound_S = np.round(sound_S * 2**15).astype(np.int16)
            encode(container, stream, [sound_frame(sound_S[:, k : k + 1000], kind, rate=rate, pts=k)
                                       for k in range(0, rate, 1000)])  # fmt: skip
    return path


@pytest.mark.parametrize(("name", "codec"), [("t.mkv", "pcm_s16le"), ("t.mov", "pcm_s16le"), ("t.mkv", "flac")])
def test_each_sound_track_is_read_by_its_number(name, codec, tmp_path):
    path = write_tracks(tmp_path / name, [0.1, 0.2, 0.3], codec)
    for number in (1, 2, 3):
        np.testing.assert_allclose(read_audio(path, track=number), number / 10, atol=1e-3)
    tracks = find_tracks(path).sounds
    assert [one.number for one in tracks] == [1, 2, 3]
    assert [one.language for one in tracks] == ["eng", "swa", "ben"]
    assert {(one.codec, one.channels) for one in tracks} == {(codec, 1)}
    if name == "t.mkv":
        assert [one.title for one in tracks] == ["take 0", "take 1", "take 2"]


def test_without_a_number_the_default_track_is_read(tmp_path):
    path = write_tracks(tmp_path / "t.mkv", [0.1, 0.2], "pcm_s16le", default=1)
    assert [one.is_default for one in find_tracks(path).sounds] == [False, True]
    np.testing.assert_allclose(read_audio(path), 0.2, atol=1e-3)


@pytest.mark.parametrize("number", [0, -1, 3])
def test_a_track_that_is_not_there_is_named_with_those_that_are(number, tmp_path):
    path = write_tracks(tmp_path / "t.mkv", [0.1, 0.2], "pcm_s16le")
    listing = r'1 "take 0" \(eng, pcm_s16le, 1 channel, default\); 2 "take 1" \(swa, pcm_s16le, 1 channel\)'
    raises(MediaError, rf"track {number} was asked for .*{listing}", read_audio, path, None, number)


def test_a_number_in_a_file_without_sound_is_no_audio(tmp_path):
    write_video(tmp_path / "silent.mp4", [np.zeros((64, 64), np.uint8)] * 5)
    raises(NoAudio, "no audio track", read_audio, tmp_path / "silent.mp4", None, 2)


def write_both(path: Path, codec: str, audio_codec: str, empty: str = "") -> Path:
    """Write a second of picture and sound, without a packet of the kind ``empty``."""
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream(codec, 25), container.add_stream(audio_codec, 16_000, layout="mono")
        video.width = video.height = 64
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        kind = sound.codec_context.format.name
        tone_S = (
            np.full((1, 16_000), 8000, np.int16) if kind.startswith("s16") else np.full((1, 16_000), 0.2, np.float32)
        )
        pictures = [] if empty == "video" else [picture_of(k, 64, 64) for k in range(25)]
        pieces = [] if empty == "audio" else range(0, 16_000, 640)
        frames = [picture_frame(picture, k, Fraction(1, 25)) for k, picture in enumerate(pictures)]
        encode(container, video, [frame.reformat(format=video.pix_fmt) for frame in frames])
        encode(container, sound, [sound_frame(tone_S[:, k : k + 640], kind, pts=k) for k in pieces])
    return path


@pytest.mark.parametrize(
    ("name", "codec", "audio_codec"),
    [("e.mkv", "mpeg4", "pcm_s16le"), ("e.mp4", "mpeg4", "aac"), ("e.avi", "mpeg4", "pcm_s16le"),
     ("e.ts", "mpeg2video", "mp2"), ("e.mov", "mpeg4", "pcm_s16le")],
)  # fmt: skip
def test_a_track_without_packets_is_no_track(name, codec, audio_codec, tmp_path):
    silent = write_both(tmp_path / f"silent_{name}", codec, audio_codec, empty="audio")
    assert not find_tracks(silent).has_audio and find_tracks(silent).has_video
    assert read_sound_if_any(silent) is None and len(list(read_frames(silent))) == 25
    blind = write_both(tmp_path / f"blind_{name}", codec, audio_codec, empty="video")
    assert find_tracks(blind).has_audio and not find_tracks(blind).has_video
    raises(NoVideo, "video track", next, read_frames(blind))
    assert len(read_audio(blind)) == pytest.approx(16_000, abs=2100)
    both = find_tracks(write_both(tmp_path / name, codec, audio_codec))
    assert both.has_audio and both.has_video and both.undecodable == () and both.lacks == LACKS


@pytest.mark.parametrize(
    ("name", "codec", "kind", "mark"),
    [("u.mp4", "libx264", "video", b"avc1"), ("u.mov", "mjpeg", "video", b"jpeg"), ("u.mov", "mpeg4", "audio", b"sowt"),
     ("u.avi", "mpeg4", "video", b"FMP4"), ("u.mkv", "libx264", "video", b"V_MPEG4/ISO/AVC"),
     ("u.mkv", "mpeg4", "audio", b"A_PCM/INT/LIT")],
)  # fmt: skip
def test_a_codec_that_is_not_known_is_named_and_the_other_track_is_read(name, codec, kind, mark, tmp_path):
    path = write_both(tmp_path / name, codec, "aac" if name == "u.mp4" else "pcm_s16le")
    path.write_bytes(path.read_bytes().replace(mark, b"zzv9" if len(mark) == 4 else mark[:-3] + b"XYZ"))
    ((missing, named),) = find_tracks(path).undecodable
    assert missing == kind and named == ("zzv9" if len(mark) == 4 else "unknown")
    said = find_tracks(path).lacks[1 if kind == "video" else 0]
    assert said == f"The {'picture' if kind == 'video' else 'sound'} cannot be decoded: {named};"
    wanted = rf"its {kind} track cannot be decoded: {named}"
    if kind == "video":
        raises(NoVideo, wanted, next, read_frames(path))
        assert len(read_audio(path)) == pytest.approx(16_000, abs=2100)
    else:
        raises(NoAudio, wanted, read_audio, path)
        assert "cannot be decoded" in str(find_tracks(path).sounds[0])
        assert len(list(read_frames(path))) == 25
