"""A file that states its length is held to it; a stream that was written through a pipe states none."""

from pathlib import Path

import av
import numpy as np
import pytest

from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from tests.media.conftest import encode, sound_frame
from tests.refusals import raises

RATE = 16_000


def write_sound(path: Path, codec: str, seconds: int = 4, rate: int = RATE, **options: str) -> Path:
    """Write noise, header and all."""
    noise_S = np.random.default_rng(0).uniform(-0.5, 0.5, seconds * rate)
    with av.open(str(path), "w", container_options=options) as container:
        stream = container.add_stream(codec, rate, layout="mono")
        if codec in ("tta", "wavpack"):
            stream.codec_context.format = {"tta": "s16", "wavpack": "s16p"}[codec]
        kind = stream.codec_context.format.name
        whole = {"s16": np.int16, "s32": np.int32}.get(kind.removesuffix("p"))
        samples_S = noise_S.astype(np.float32) if whole is None else (noise_S * np.iinfo(whole).max).astype(whole)
        pieces = ((k, samples_S[None, k : k + 1152]) for k in range(0, len(noise_S), 1152))
        encode(container, stream, [sound_frame(piece, kind, rate=rate, pts=k) for k, piece in pieces])
    return path


def half(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@pytest.mark.parametrize("rate", [16_000, 44_100, pytest.param(24_000, marks=pytest.mark.slow)])
def test_a_cut_mp3_is_held_to_its_xing_header(rate, tmp_path):
    path = write_sound(tmp_path / "a.mp3", "libmp3lame", rate=rate)
    assert b"Info" in path.read_bytes()[:4096] or b"Xing" in path.read_bytes()[:4096]
    assert len(read_audio(path)) == pytest.approx(4 * RATE, abs=3000)
    raises(MediaError, r"a\.mp3.*says 4\.\d\d s: the file is cut off", read_audio, half(path))


def test_a_cut_mp3_is_held_to_its_vbri_header(tmp_path):
    path = write_sound(tmp_path / "a.mp3", "libmp3lame", rate=44_100, id3v2_version="0")
    data = bytearray(path.read_bytes())
    count = data[data.find(b"Info") + 8 :][:4]
    size = 4 + 17 + 4  # the frame that tells the length, with its header of another maker
    data[size - 4 : size + 120] = bytes(124)
    data[36 : 36 + 18] = b"VBRI" + bytes((0, 1, 0, 0, 0, 75)) + len(data).to_bytes(4) + count
    path.write_bytes(data)
    assert len(read_audio(path)) == pytest.approx(4 * RATE, abs=3000)
    raises(MediaError, r"a\.mp3.*says 4\.\d\d s: the file is cut off", read_audio, half(path))


@pytest.mark.parametrize(("version", "padding"), [(2, 0), (3, 100_000), (4, 1000)])
def test_a_cut_mp3_is_held_to_its_tag(version, padding, tmp_path):
    path = write_sound(tmp_path / "a.mp3", "libmp3lame", rate=44_100, write_xing="0", id3v2_version="0")
    picture = bytes(padding)  # a cover of this size before the length
    frames = b""
    for name, value in ((b"APIC", picture), (b"TLEN", b"\x004000")):
        if version == 2:
            frames += {b"APIC": b"PIC", b"TLEN": b"TLE"}[name] + len(value).to_bytes(3) + value
        else:
            size = sum((len(value) >> 7 * k & 127) << 8 * k for k in range(4)) if version == 4 else len(value)
            frames += name + size.to_bytes(4) + bytes(2) + value
    size = bytes(len(frames) >> 7 * k & 127 for k in (3, 2, 1, 0))
    sound = path.read_bytes()
    path.write_bytes(b"ID3" + bytes((version, 0, 0)) + size + frames + sound)
    assert len(read_audio(path)) == pytest.approx(4 * RATE, abs=3000)
    path.write_bytes(b"ID3" + bytes((version, 0, 0)) + size + frames + sound[: len(sound) // 2])
    raises(MediaError, r"a\.mp3.*says 4\.00 s: the file is cut off", read_audio, path)
    path.write_bytes(sound[: len(sound) // 2])
    assert len(read_audio(path)) > RATE  # nothing tells that it was longer


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [("a.wav", "pcm_s16le", {}), ("a.wav", "pcm_s16le", {"rf64": "always"}), ("a.w64", "pcm_s16le", {}),
     ("a.aiff", "pcm_s16be", {}), ("a.au", "pcm_s16be", {}), ("a.caf", "pcm_s16le", {}), ("a.flac", "flac", {}),
     ("a.mka", "pcm_s16le", {}), ("a.tta", "tta", {}), ("a.wv", "wavpack", {}),
     ("a.m4a", "alac", {"movflags": "faststart"}),
     ("a.avi", "pcm_s16le", {})],
)  # fmt: skip
def test_a_cut_file_is_an_error_where_its_header_states_a_length(name, codec, options, tmp_path):
    path = write_sound(tmp_path / name, codec, **options)
    assert len(read_audio(path)) == 4 * RATE
    raises(MediaError, r"cut off|damaged|cannot be read|do not decode", read_audio, half(path))


def patched(path: Path, sizes: dict[bytes, tuple[int, bytes]]) -> Path:
    """Write bytes at an offset behind each mark."""
    data = bytearray(path.read_bytes())
    for mark, (offset, value) in sizes.items():
        place = data.find(mark) + offset
        data[place : place + len(value)] = value
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("added", [0, 36])
def test_a_wav_from_a_pipe_is_whole(size, added, tmp_path):
    riff = min(size + added, 0xFFFFFFFF).to_bytes(4, "little")
    path = write_sound(tmp_path / "pipe.wav", "pcm_s16le")
    patched(path, {b"RIFF": (4, riff), b"data": (4, size.to_bytes(4, "little"))})
    assert len(read_audio(path)) == 4 * RATE


@pytest.mark.parametrize("size", [0, 2**63 - 1, 2**64 - 1, 0x7FFFF000])
def test_an_rf64_from_a_pipe_is_whole(size, tmp_path):
    path = write_sound(tmp_path / "pipe.wav", "pcm_s16le", rf64="always")
    wide = size.to_bytes(8, "little")
    assert len(read_audio(patched(path, {b"ds64": (8, wide + wide)}))) == 4 * RATE


@pytest.mark.parametrize("size", [2**63 - 1, 2**64 - 1, 0x7FFFF000])
def test_a_wave64_from_a_pipe_is_whole(size, tmp_path):
    path = write_sound(tmp_path / "pipe.w64", "pcm_s16le")
    wide = size.to_bytes(8, "little")
    assert len(read_audio(patched(path, {b"riff": (16, wide), b"data": (16, wide)}))) == 4 * RATE
