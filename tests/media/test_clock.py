"""What separates an honest gap, a restart and a wrong time stamp, by the stamps alone and in files."""

from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest

from avspeech.media.audio import read_audio
from avspeech.media.clock import Mended, Stamps, mend
from avspeech.media.placing import Piece, place
from avspeech.media.video import read_frames
from tests.media.conftest import encode, number_of, picture_frame, picture_of, sound_frame, write

SOUND, PICTURE = 0, 1
MS = Fraction(1, 1000)


def mended(*packets: tuple[int, int], promised_s: int | None = None, is_mpeg: bool = False) -> tuple[Mended, list]:
    """Return how (stream, ms) packets of 40 ms, in the file's order, are mended, and their times after that."""
    streams = {index: Stamps(MS) for index, _ in packets}
    for order, (index, time) in enumerate(packets):
        streams[index].add(order, SimpleNamespace(pts=time, dts=time, duration=40))
    found = mend(streams, None if promised_s is None else Fraction(promised_s), is_mpeg)
    counts, times = dict.fromkeys(streams, 0), []
    for index, time in packets:
        shift = found.shift(index, counts[index])
        times.append(None if shift is None else time + shift)
        counts[index] += 1
    return found, times


def run(start: int, count: int, *streams: int) -> list[tuple[int, int]]:
    return [(stream, start + 40 * k) for k in range(count) for stream in streams or (SOUND, PICTURE)]


def test_both_streams_restart_together_although_one_was_shorter():
    first = [*run(0, 100), *run(4000, 10, SOUND)]
    found, times = mended(*first, *run(0, 20))
    assert found.restarts == (Fraction(44, 10),) and not found.alone
    assert times == [time for _, time in first] + [4400 + time for _, time in run(0, 20)]


def test_a_restart_comes_late_in_the_stream_that_is_stored_late():
    packets = [*run(0, 50), *run(0, 30, SOUND), *run(0, 60, PICTURE)]
    found, times = mended(*packets)
    assert len(found.restarts) == 1 and times[100] == 2000 and times[130] == 2000


def test_a_clock_that_jumps_ahead_in_a_transport_stream_restarts():
    """A recording was joined whose clock began an hour later; an mkv with such a gap has been paused."""
    packets = [*run(0, 50), *run(3_600_000, 50)]
    found, times = mended(*packets, is_mpeg=True)
    assert found.restarts == (Fraction(2),) and times[100] == 2000
    assert mended(*packets)[1] == [time for _, time in packets]
    assert mended(*packets, promised_s=3602)[1] == [time for _, time in packets]


def test_a_gap_that_another_stream_fills_is_honest():
    packets = sorted([*run(0, 2500, PICTURE), *run(0, 10, SOUND), *run(90_000, 10, SOUND)], key=lambda one: one[1])
    assert mended(*packets, is_mpeg=True)[1] == [time for _, time in packets]


def test_a_gap_beyond_what_the_file_promises_is_none():
    packets = [*run(0, 50), *run(400_000_000, 50)]
    assert mended(*packets, promised_s=4)[1][100] == 2000
    assert mended(*packets)[1][100] == 2000  # 4.6 days


@pytest.mark.parametrize("wrong", [900_000, 0, 100_000_000, -5000])
def test_a_single_wrong_stamp_is_dropped(wrong):
    packets = [*run(10_000, 50), (SOUND, wrong), *run(12_040, 50)]
    packets.insert(101, (PICTURE, 12_000))
    found, times = mended(*packets)
    assert times[100] is None and not found.restarts and not found.alone
    assert times[101:] == [time for _, time in packets[101:]]


def test_one_stream_that_restarts_alone_does_not_move_the_other():
    packets = sorted(run(0, 100, PICTURE), key=lambda one: one[1])
    sound = [*run(0, 50, SOUND), *run(0, 50, SOUND)]
    mixed = [packet for pair in zip(packets, sound, strict=True) for packet in pair]
    found, times = mended(*mixed)
    assert not found.restarts and found.alone == ((SOUND, Fraction(2)),)
    assert times == [time for k in range(100) for time in (40 * k, 40 * k)]


@pytest.mark.parametrize("name", ["s.mp4", "s.mkv", pytest.param("s.mov", marks=pytest.mark.slow)])
def test_slides_stay_as_long_as_they_were_shown(name, tmp_path):
    pictures = [picture_of(k) for k in (0, 1, 2, 3)]
    times = [0, 70_000, 75_000, 145_000]
    write(tmp_path / name, pictures, times, MS, rate=Fraction(10), audio_S=np.zeros(48_000 * 2, np.float32))
    numbers = [number_of(frame) for frame in read_frames(tmp_path / name, grey=True)]
    assert [numbers.index(k) for k in range(4)] == [0, 1750, 1875, 3625]
    assert len(read_audio(tmp_path / name)) == pytest.approx(32_000, abs=1100)


@pytest.mark.parametrize(
    ("name", "audio_codec"),
    [("l.mkv", "pcm_s16le"), ("l.ts", "aac"), pytest.param("l.mp4", "aac", marks=pytest.mark.slow)],
)
def test_a_microphone_may_be_switched_on_after_a_minute_and_more(name, audio_codec, tmp_path):
    pictures = [picture_of(k % 200) for k in range(160)]
    sound_S = np.zeros(48_000, np.float32)
    sound_S[12_000:12_480] = 0.8
    write(tmp_path / name, pictures, range(0, 160), Fraction(1, 2), rate=Fraction(2), audio_S=sound_S,
          audio_codec=audio_codec, audio_start_s=Fraction(75))  # fmt: skip
    audio_S = read_audio(tmp_path / name)
    assert np.flatnonzero(np.abs(audio_S) > 0.2)[0] / 16_000 == pytest.approx(75.25, abs=0.03)
    assert len(list(read_frames(tmp_path / name, grey=True))) == pytest.approx(2000, abs=2)


def test_a_recording_may_pause_for_two_minutes(tmp_path):
    with av.open(str(tmp_path / "p.mkv"), "w") as container:
        video, sound = container.add_stream("mpeg4", 25), container.add_stream("pcm_s16le", 16_000, layout="mono")
        video.width, video.height, video.pix_fmt = 128, 64, "yuv420p"
        video.codec_context.time_base = MS
        times = [40 * k + 120_000 * (k >= 25) for k in range(50)]
        encode(container, video, [picture_frame(picture_of(k), time, MS) for k, time in enumerate(times)])
        loud = np.full((1, 640), 8000, np.int16)
        encode(container, sound, [sound_frame(loud, "s16", pts=time * 16) for time in times])
    audio_S = read_audio(tmp_path / "p.mkv")
    assert len(audio_S) == 122 * 16_000 and not audio_S[16_000 : 121 * 16_000].any() and audio_S[121 * 16_000 :].all()
    numbers = [number_of(frame) for frame in read_frames(tmp_path / "p.mkv", grey=True)]
    assert numbers.index(25) == 121 * 25


def placed(times_s: list[float], length: int = 320, rate: int = 16_000) -> np.ndarray:
    """Return the sound of pieces at these times, which count their samples from 1 on; zeros where there is none."""
    ramp_S = np.arange(1, length * len(times_s) + 1, dtype=np.float64)
    pieces = (
        Piece(Fraction(round(t * 1000), 1000), ramp_S[k * length :][:length], rate) for k, t in enumerate(times_s)
    )
    sound_S = np.zeros(0)
    for position, mono_S, _ in place(pieces, Fraction(0)):
        sound_S = np.concatenate([sound_S, np.zeros(position - len(sound_S)), mono_S])
    return sound_S


@pytest.mark.parametrize("wobble_ms", [21, 35, 60])
@pytest.mark.parametrize("pattern", ["alternating", "random", "bursts"])
def test_stamps_that_wobble_tear_nothing(wobble_ms, pattern):
    rng = np.random.default_rng(wobble_ms)
    wobble = {
        "alternating": np.resize([1, -1, 0], 400),
        "random": rng.uniform(-1, 1, 400),
        "bursts": np.resize([1, 0.4, -0.2, -0.8, 1, 1, -1], 400),
    }[pattern]
    sound_S = placed([0.1 + 0.02 * k + wobble_ms / 1000 * wobble[k] for k in range(400)])
    silence = int((sound_S == 0).sum())
    np.testing.assert_array_equal(sound_S[silence:], np.arange(1, 400 * 320 + 1))
    assert abs(silence - 1600) <= 16 * 0.75 * wobble_ms


def test_a_gap_among_stamps_that_wobble_is_kept():
    rng = np.random.default_rng(0)
    times = [0.02 * k + 0.021 * rng.uniform(-1, 1) + 0.3 * (k >= 200) for k in range(400)]
    sound_S = placed(times)
    assert np.flatnonzero(sound_S == 200 * 320 + 1)[0] - np.flatnonzero(sound_S == 200 * 320)[0] > 4000
    assert len(sound_S) == pytest.approx(400 * 320 + 4800, abs=700) and len(np.unique(sound_S)) == 400 * 320 + 1


@pytest.mark.parametrize("lost_s", [0.03, 0.1, 0.5, 5.0])
def test_a_lost_packet_leaves_its_gap_at_its_place(lost_s):
    sound_S = placed([0.02 * k + lost_s * (k >= 37) for k in range(100)])
    gap = round(lost_s * 16_000)
    assert not sound_S[37 * 320 :][:gap].any() and sound_S[37 * 320 + gap] == 37 * 320 + 1


def test_one_stamp_off_the_line_moves_nothing():
    times = [0.02 * k for k in range(100)]
    times[50] += 0.5
    np.testing.assert_array_equal(placed(times), np.arange(1, 100 * 320 + 1))


@pytest.mark.parametrize(("name", "codec"), [("w.mkv", "pcm_s16le"), ("w.mka", "pcm_s16be"), ("w.mov", "pcm_s16le")])
def test_a_file_whose_stamps_wobble_sounds_as_one_whose_do_not(name, codec, tmp_path):
    rng = np.random.default_rng(1)
    noise_S = (8000 * rng.standard_normal(32_000)).clip(-32_768, 32_767).astype(np.int16)
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, 16_000, layout="mono")
        stream.time_base = MS
        for k in range(50):
            frame = sound_frame(noise_S[None, 640 * k : 640 * k + 640], "s16", pts=640 * k)
            for packet in stream.encode(frame):
                packet.time_base, packet.duration = MS, 40
                packet.pts = packet.dts = 40 + 40 * k + int(rng.integers(-7, 8)) + 12 * (-1) ** k
                container.mux(packet)
        container.mux(stream.encode(None))
    audio_S = read_audio(tmp_path / name)
    heard_S = audio_S[np.flatnonzero(audio_S)[0] :]
    np.testing.assert_allclose(heard_S[:31_000], noise_S[:31_000] / 32_768, atol=1e-6)
