"""A confined process gives what this process gives, and a decoder that misbehaves is stopped and named."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
import pytest

from avspeech.media import audio, confined, container, decode, video
from avspeech.media.container import OTHERS
from avspeech.media.errors import MediaError, NoAudio, NoVideo
from avspeech.media.sandbox import Limits, lacking
from tests.media.conftest import encode, picture_of, sound_frame, write

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="confined processes are forked")
needs_linux = pytest.mark.skipif(bool(lacking()) or sys.platform != "linux", reason=f"lacks {lacking()}")

FILES = {  # name: codecs and other options of ``write``
    "a.mp4": {"audio_codec": "aac"},
    "late.mp4": {"audio_codec": "aac", "audio_start_s": Fraction(1, 2), "options": {"movflags": "faststart"}},
    "turned.mov": {"codec": "mpeg4", "audio_codec": "pcm_s16le", "rotation": 90},
    "wide.mkv": {"audio_codec": "ac3", "aspect": Fraction(4, 3)},
    "a.webm": {"codec": "libvpx", "audio_codec": "libopus"},
    "a.avi": {"codec": "mpeg4", "audio_codec": "mp2"},
    "a.mpg": {"codec": "mpeg2video", "audio_codec": "mp2"},
    "a.ts": {"audio_codec": "aac"},
    "a.flv": {"codec": "flv", "audio_codec": "aac"},
    "a.nut": {"codec": "ffv1", "audio_codec": "flac"},
    "a.3gp": {"codec": "mpeg4", "audio_codec": "aac"},
    "a.wmv": {"codec": "wmv2", "audio_codec": "mp2"},
}
PIXELS = ["gray", "yuv420p10le", "yuv444p12le", "yuva420p", "bgr0", "gbrp10le", "rgb48le", "gray16le"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> dict[str, Path]:
    """Return media files by name: pictures of many containers, codecs and pixel formats; sounds; no media."""
    folder = tmp_path_factory.mktemp("confined")
    rng = np.random.default_rng(0)
    noise_S = (0.1 * rng.standard_normal(48_000 // 2)).astype(np.float32)
    pictures = [picture_of(number, 48, 72) for number in range(8)]
    for name, options in FILES.items():
        write(folder / name, pictures, range(8), Fraction(1, 25), audio_S=noise_S, **options)
    for kind in PIXELS:
        write_exactly(folder / f"{kind}.mkv", kind, rng)
    with av.open(str(folder / "palette.gif"), "w") as film:
        stream = film.add_stream("gif", 25)
        stream.width, stream.height, stream.pix_fmt = 72, 48, "rgb8"
        encode(
            film, stream, [av.VideoFrame.from_ndarray(one, format="rgb24").reformat(format="rgb8") for one in pictures]
        )
    for name, codec in (("a.wav", "pcm_s24le"), ("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.ogg", "libopus")):
        with av.open(str(folder / name), "w") as sound:
            stream = sound.add_stream(codec, 48_000, layout="mono")
            kind = stream.codec_context.format.name
            whole = kind.startswith("s")
            samples = np.round(noise_S * 2**15).astype(np.int16 if "16" in kind else np.int32) if whole else noise_S
            starts = range(0, len(noise_S), 1024)
            encode(
                sound, stream, [sound_frame(samples[None, at : at + 1024], kind, rate=48_000, pts=at) for at in starts]
            )
    quiet_S = np.concatenate([noise_S, 1e-4 * noise_S, noise_S])
    for name, turned, wobble in (("opposite.wav", -1, 0), ("wobbling.mkv", 1, 950)):
        with av.open(str(folder / name), "w") as sound:
            stream = sound.add_stream("pcm_s16le", 48_000, layout="stereo")
            pcm_S2 = np.round(np.stack([quiet_S, turned * quiet_S], axis=1) * 2**15).astype(np.int16)
            for number, at in enumerate(range(0, len(pcm_S2), 1920)):
                frame = sound_frame(pcm_S2[at : at + 1920].reshape(1, -1), "s16", rate=48_000, pts=at, layout="stereo")
                for packet in stream.encode(frame):
                    packet.pts = packet.dts = max(at + wobble * (-1) ** number, 0)
                    sound.mux(packet)
    for name in ("a.flac", "a.ogg"):
        (folder / f"joined.{name}").write_bytes(2 * (folder / name).read_bytes())
    (folder / "text.mp4").write_text("no film\n" * 100)
    (folder / "empty.mp4").touch()
    (folder / "cut.mp4").write_bytes((folder / "late.mp4").read_bytes()[:-9000])
    return {path.name: path for path in sorted(folder.iterdir())} | {"missing.mp4": folder / "missing.mp4"}


def write_exactly(path: Path, kind: str, rng: np.random.Generator) -> None:
    """Write four random pictures of a pixel format without loss."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream("ffv1", 25)
        stream.width, stream.height, stream.pix_fmt = 70, 50, kind
        shown = rng.integers(0, 256, (4, 50, 70, 3), dtype=np.uint8)
        encode(film, stream, [av.VideoFrame.from_ndarray(one, format="rgb24").reformat(format=kind) for one in shown])


def outcome(read, *arguments):
    """Return what a call gives, or its error."""
    try:
        return read(*arguments)
    except MediaError as error:
        return type(error), str(error)


def same(confined_found, found) -> bool:
    """Return whether both are equal, but for what is said of a file that is no media."""
    if isinstance(found, tuple) and isinstance(found[1], str):
        found = found[0], found[1].replace("FFmpeg can open", f"safe decoding can open (common formats; {OTHERS})")
    return confined_found == found


def pixels(reader, path):
    """Return every view of every picture that roi takes, as bytes; a repeated picture is told apart from a new one."""
    notes, seen, last = [], [], None
    for picture in reader.read_pictures(path, notes):
        width, height = picture.size
        box = (3, 5, width - 7, height - 2)
        views = [picture.grey(box), picture.part(box, (31, 17)), picture.grey(), picture.colour()]
        seen.append((picture is last, picture.size, [(view.shape, view.tobytes()) for view in views]))
        last = picture
    return seen, notes


def samples(reader, path):
    notes = []
    return reader.read_audio(path, notes).tobytes(), notes


def test_everything_is_as_in_this_process(clips):
    shown = heard = 0
    for name, path in clips.items():
        found = outcome(pixels, video, path)
        shown += not isinstance(found[0], type)
        assert same(outcome(pixels, confined, path), found), name
        found = outcome(samples, audio, path)
        heard += not isinstance(found[0], type)
        assert same(outcome(samples, confined, path), found), name
    for name in ("late.mp4", "a.mpg", "cut.mp4", "text.mp4", "missing.mp4"):
        for ask, module in (("find_tracks", container), ("measure_duration", decode)):
            found = outcome(getattr(confined, ask), clips[name])
            assert same(found, outcome(getattr(module, ask), clips[name])), name
    assert shown == len(FILES) + len(PIXELS) + 1
    assert heard == len(FILES) + 8
    with pytest.raises(NoVideo):
        next(confined.read_pictures(clips["a.wav"]))
    with pytest.raises(NoAudio):
        confined.read_audio(clips["gray.mkv"])


LIMITS = Limits(memory_gib=1, stall_s=0.8, cpu_s=1)
MISDEEDS = {  # name in ``stand_ins``: what the error says
    "crash": r"crashed \(SIGSEGV\)",
    "abort": r"crashed \(SIGABRT\)",
    "hang": "took more than 0.8 s without a frame",
    "ask_for_10_gib": "asked for more than 1 GiB of memory",
    "ask_for_10_gib_of_the_c_library": "malloc gave None",
    "write_a_file": "may not do.*Permission denied.*written",
    "write_to_what_is_open": "may not do.*not permitted",
    "read_another_file": "may not do.*Permission denied.*hostname",
    "read_the_same_file_by_name": "may not do.*Permission denied",
    "open_a_socket": "SIGSYS",
    "fork": "SIGSYS",
    "start_a_program": "may not do|SIGSYS",
    "kill_the_parent": "SIGSYS",
    "run_its_own_code": "may not do.*not permitted",
    "leave": r"without a word \(exit status 3\)",
    "fail": "ZeroDivisionError: a slip",
    "endless": "more than 50 frames",
    "nonsense": "makes no sense",
    "huge_message": "makes no sense",
    "nest": "makes no sense",
    "not_at_all": "makes no sense|without a word",
}


@needs_linux
@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_a_misdeed_is_stopped_and_named(misdeed, clips):
    path = clips["a.mp4"]
    limits = Limits(**vars(LIMITS) | {"frames": 50, "stall_s": 0.8 if misdeed == "hang" else 30})
    start_s = time.monotonic()
    with pytest.raises(MediaError, match=MISDEEDS[misdeed]):
        for _ in confined.read_pictures(path, [], limits, f"tests.media.stand_ins:{misdeed}"):
            pass
    assert time.monotonic() - start_s < 20
    assert not list(path.parent.glob("*.written"))
    assert len(list(confined.read_pictures(path, []))) == 8  # and the next file is read as ever


@needs_linux
def test_a_decoder_that_only_seems_to_live_is_ended(clips, monkeypatch):
    monkeypatch.setattr("avspeech.media.decoder_job.WAITS", 0.5)
    with pytest.raises(MediaError, match=r"took more than \S+ s and was ended"):
        list(confined.read_pictures(clips["text.mp4"], [], Limits(stall_s=1, cpu_s=1), "tests.media.stand_ins:lively"))


@needs_linux
def test_processor_time_is_limited(clips):
    limits = Limits(stall_s=60, cpu_s=0.01)
    with pytest.raises(MediaError, match=r"more than \d+ s of processor time.*SIGXCPU"):
        list(confined.read_pictures(clips["text.mp4"], [], limits, "tests.media.stand_ins:burn"))


def test_pictures_may_be_kept_and_reading_may_end_early(clips):
    kept = list(confined.read_pictures(clips["a.webm"]))
    shown = [picture.colour().tobytes() for picture in video.read_pictures(clips["a.webm"])]
    assert [picture.colour().tobytes() for picture in kept] == shown
    before = descriptors()
    for _ in range(3):
        assert next(confined.read_pictures(clips["a.mp4"])).size == (72, 48)
    assert descriptors() == before
    assert not list(Path("/dev/shm").glob("*frames*"))
    assert wait_until(lambda: not decoders())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def servers() -> list[str]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [one for one in children if b"decoder_server" in Path(f"/proc/{one}/cmdline").read_bytes()]


def decoders() -> list[str]:
    return [one for server in servers() for one in Path(f"/proc/{server}/task/{server}/children").read_text().split()]


def wait_until(true) -> bool:
    end_s = time.monotonic() + 10
    while not (done := true()) and time.monotonic() < end_s:
        time.sleep(0.01)
    return done


def count(path) -> int:
    return sum(1 for _ in confined.read_pictures(path))


def test_threads_and_processes_read_at_the_same_time(clips):
    paths = [clips[name] for name in ("a.mp4", "a.webm", "turned.mov", "a.avi")] * 3
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(count, paths)) == [8] * len(paths)
    with get_context("fork").Pool(2) as processes:  # what the parent has loaded and started does not matter
        assert processes.map(count, paths[:4]) == [8] * 4


def test_a_server_that_died_is_started_again(clips):
    assert count(clips["a.mp4"]) == 8
    for server in servers():
        os.kill(int(server), signal.SIGKILL)
    assert wait_until(lambda: not servers())
    assert count(clips["a.mp4"]) == 8


@pytest.mark.slow
def test_the_server_ends_with_its_process(clips, tmp_path):
    code = (
        "import os, sys; from avspeech.media import confined\n"
        "reader = confined.read_pictures(sys.argv[1]); next(reader)\n"
        "print(open(f'/proc/self/task/{os.getpid()}/children').read(), flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(clips["a.mp4"])], capture_output=True, text=True)
    server = done.stdout.strip()
    assert server
    assert wait_until(lambda: not Path(f"/proc/{server}").exists())


def test_what_is_not_on_the_lists_is_refused_by_name(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as film:
        stream = film.add_stream("snow", 25, options={"strict": "-2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        encode(film, stream, [av.VideoFrame(64, 48, "yuv420p") for _ in range(3)])
    assert len(list(video.read_pictures(tmp_path / "a.mkv"))) == 3
    with pytest.raises(MediaError, match="video track is snow, which safe decoding does not open"):
        list(confined.read_pictures(tmp_path / "a.mkv"))
    (tmp_path / "list.ffconcat").write_text("ffconcat version 1.0\nfile a.mkv\n")
    with pytest.raises(MediaError, match="not a media file"):
        list(confined.read_pictures(tmp_path / "list.ffconcat"))


def test_limits_are_numbers_above_0():
    with pytest.raises(ValueError, match="stall_s=0"):
        Limits(stall_s=0)


def test_the_memory_of_both_sides_does_not_grow_with_the_file(tmp_path):
    with av.open(str(tmp_path / "long.mkv"), "w") as film:
        stream = film.add_stream("mpeg4", 25)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.full((720, 640), 90, np.uint8), format="yuv420p")
        for pts in range(200):
            frame.pts, frame.time_base = pts, Fraction(1, 25)
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    peaks = []
    for index, _ in enumerate(confined.read_pictures(tmp_path / "long.mkv")):
        if index in (20, 190):
            peaks.append([peak_mib(one) for one in (*decoders(), str(os.getpid()))])
    assert len(peaks[0]) == 2
    assert np.subtract(*peaks[::-1]).max() < 10, peaks


def peak_mib(process: str) -> float:
    return int(Path(f"/proc/{process}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
