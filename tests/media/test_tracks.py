"""A file's sound tracks are listed, and read by number."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from avspeech.media.audio import read_audio
from avspeech.media.container import find_tracks
from avspeech.media.errors import MediaError, NoAudio
from avspeech.media.video import write_video
from tests.media.conftest import encode, sound_frame
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
