"""Joined recordings of which only one has sound, or pictures: both are read, at their times."""

from collections.abc import Collection
from pathlib import Path

import av
import numpy as np
import pytest

from avspeech.media.audio import read_audio
from avspeech.media.container import find_tracks
from avspeech.media.decode import measure_duration
from avspeech.media.errors import MediaError, NoAudio, NoVideo
from avspeech.media.parts import find_parts
from avspeech.media.reading import read_audio as read_anyhow
from avspeech.media.reading import read_frames, safe_decoding
from avspeech.timebase import Span
from tests.media.conftest import number_of
from tests.media.test_joined import LENGTHS, MARK, join, make_part, marks
from tests.refusals import raises

BOTH, SOUND, PICTURE = ("video", "audio"), ("audio",), ("video",)
CASES = {
    "sound, then both": (SOUND, BOTH),
    "picture, then both": (PICTURE, BOTH),
    "both, then sound": (BOTH, SOUND),
    "both, then picture": (BOTH, PICTURE),
    "sound, then picture": (SOUND, PICTURE),
    "picture, sound, both": (PICTURE, SOUND, BOTH),
}
CODECS = {
    "ts": ("libx264", "aac"),
    "mpg": ("mpeg1video", "mp2"),
    "mkv": ("libx264", "pcm_s16le"),
    "mp4": ("libx264", "aac"),
    "webm": ("libvpx", "libopus"),
    "flv": ("flv", "aac"),
    "ogg": ("libtheora", "libopus"),
    "avi": ("mpeg4", "pcm_s16le"),
}
QUICK = [("ts", case) for case in CASES] + [("mpg", "sound, then both"), ("mkv", "picture, sound, both")]


def keep(path: Path, kinds: Collection[str]) -> Path:
    """Write the file again with these kinds of track."""
    kept = path.with_stem(f"{path.stem}_{'_'.join(kinds)}")
    with av.open(str(path)) as source, av.open(str(kept), "w") as container:
        streams = {one.index: container.add_stream_from_template(one) for one in source.streams if one.type in kinds}
        for packet in source.demux([source.streams[index] for index in streams]):
            if packet.size:
                packet.stream = streams[packet.stream.index]
                container.mux(packet)
    return kept


def joined(folder: Path, ending: str, case: str) -> Path:
    rate = 44_100 if ending == "flv" else 48_000
    whole = [make_part(folder / f"{k}.{ending}", k, *CODECS[ending], rate) for k in range(len(CASES[case]))]
    return join(folder / f"joined.{ending}", [keep(*one) for one in zip(whole, CASES[case], strict=True)])


@pytest.mark.parametrize(
    ("ending", "case"),
    [
        pytest.param(ending, case, marks=() if (ending, case) in QUICK else pytest.mark.slow)
        for ending in CODECS
        for case in CASES
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_sound_and_pictures_of_either_recording_are_read_at_their_times(ending, case, tmp_path):
    if ending == "ogg" and "libtheora" not in av.codecs_available:
        pytest.skip("this FFmpeg writes no Theora")
    path, kinds = joined(tmp_path, ending, case), CASES[case]
    tracks, notes = find_tracks(path), list[str]()
    assert tracks.has_audio and tracks.has_video
    total_s = sum(LENGTHS[: len(kinds)]) / 25
    assert measure_duration(path) == pytest.approx(total_s, abs=0.3)
    assert tracks.duration_s is None or tracks.duration_s == pytest.approx(total_s, abs=0.3)
    with safe_decoding(case == "sound, then both"):
        heard = marks(read_anyhow(path, notes))
        numbers = [number_of(frame_HW) for frame_HW in read_frames(path, grey=True)]
    starts = np.cumsum([0, *LENGTHS])
    heard_in = [k for k, one in enumerate(kinds) if "audio" in one]
    seen_in = [k for k, one in enumerate(kinds) if "video" in one]
    np.testing.assert_allclose(heard, [starts[k] + MARK for k in heard_in], atol=4)
    assert list(dict.fromkeys(numbers)) == [60 * k + n for k in seen_in for n in range(LENGTHS[k])]
    shown = [numbers.index(60 * k + MARK) for k in seen_in]
    np.testing.assert_allclose(shown, [starts[k] + MARK for k in seen_in], atol=4)
    together = [(heard[heard_in.index(k)], shown[seen_in.index(k)]) for k in heard_in if k in seen_in]
    assert all(abs(sound - picture) < 2.5 for sound, picture in together)
    assert len([note for note in notes if "joined" in note]) == len(kinds) - 1


@pytest.mark.parametrize("ending", ["ts", "mkv"])
def test_a_track_that_no_recording_has_is_missing(ending, tmp_path):
    part = make_part(tmp_path / f"0.{ending}", 0, *CODECS[ending], 48_000)
    silent, blind = (join(tmp_path / f"{one}.{ending}", [keep(part, [one])] * 2) for one in ("video", "audio"))
    raises(NoAudio, "has no audio track", read_audio, silent)
    raises(NoVideo, "has no video track", lambda: list(read_frames(blind)))
    assert not find_tracks(silent).has_audio and not find_tracks(blind).has_video


def test_a_span_is_found_behind_a_recording_without_pictures(tmp_path):
    path = joined(tmp_path, "mkv", "sound, then both")
    frames = [number_of(frame_HW) for frame_HW in read_frames(path, grey=True, span=Span(50, 60))]
    assert frames == list(range(60 + 10, 60 + 20))
    assert marks(read_audio(path, [], span=Span(45, 60))) == pytest.approx([5], abs=1)


@pytest.mark.parametrize(("size", "before"), [(188, 0), (192, 4), (204, 0)])
def test_programs_of_a_transport_stream_are_told_apart(size, before, tmp_path):
    part = make_part(tmp_path / "0.ts", 0, *CODECS["ts"], 48_000)
    whole, sound = part.read_bytes(), keep(part, SOUND).read_bytes()

    def parts(data: bytes) -> list[int]:
        packets = [data[place : place + 188] for place in range(0, len(data) // 188 * 188, 188)]
        written = [bytes(before) + packet + bytes(size - 188 - before) for packet in packets]
        (tmp_path / "x.ts").write_bytes(b"".join(written) + data[len(packets) * 188 :])
        with (tmp_path / "x.ts").open("rb") as file:
            return [one.begin // size for one in find_parts(file)]

    assert parts(whole) == parts(whole + whole) == parts(whole[: 188 * 50] + whole[: 188 * 40]) == [0]
    first = len(sound) // 188
    assert [abs(one - first) <= 1 for one in parts(sound + whole)] == [False, True]
    assert len(parts(sound + whole + sound + sound + whole)) == 4
    if size == 188:  # packets are found again behind one that is cut
        assert len(parts(whole + sound[100:] + whole)) == 3


def test_too_many_recordings_are_refused(tmp_path):
    part = make_part(tmp_path / "0.ts", 0, *CODECS["ts"], 48_000)
    whole, sound = part.read_bytes()[: 188 * 6], keep(part, SOUND).read_bytes()[: 188 * 6]
    path = tmp_path / "many.ts"
    path.write_bytes((whole + sound) * 600)
    raises(MediaError, "more than 1000 recordings", read_audio, path)
