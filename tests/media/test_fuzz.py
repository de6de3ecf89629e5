"""Corrupted files of every container through the confined decoder: an answer or an error, soon, and nothing else."""

import os
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avspeech.files import written_whole
from avspeech.media.audio import write_wav
from avspeech.media.errors import MediaError
from avspeech.media.reading import find_tracks, measure_duration, read_audio_if_any, read_pictures, safe_decoding
from tests.media.conftest import picture_of, write

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="confined processes are forked")
SEED = 15
LONGEST_S = 10.0
CONTAINERS = {  # name: video codec, sound codec, options
    "a.mp4": ("libx264", "aac", {}), "f.mp4": ("libx264", "aac", {"movflags": "faststart"}),
    "m.mp4": ("mpeg4", "aac", {"movflags": "frag_keyframe+empty_moov"}), "a.mov": ("mpeg4", "pcm_s16le", {}),
    "a.mkv": ("libx264", "ac3", {}), "a.webm": ("libvpx", "libopus", {}), "a.avi": ("mpeg4", "mp2", {}),
    "a.mpg": ("mpeg2video", "mp2", {}), "a.ts": ("libx264", "aac", {}), "a.flv": ("flv", "aac", {}),
    "a.wmv": ("wmv2", "mp2", {}), "a.3gp": ("mpeg4", "aac", {}), "a.nut": ("ffv1", "flac", {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """Return the bytes of a small film in each container, and of a wav file."""
    folder = tmp_path_factory.mktemp("whole")
    rng = np.random.default_rng(SEED)
    noise_S = (0.1 * rng.standard_normal(48_000 // 3)).astype(np.float32)
    pictures = [picture_of(number, 32, 48) for number in range(8)]
    for name, (codec, audio_codec, options) in CONTAINERS.items():
        codecs = {"codec": codec, "audio_codec": audio_codec, "options": options}
        write(folder / name, pictures, range(8), Fraction(1, 25), audio_S=noise_S, **codecs)
    write_wav(folder / "a.wav", noise_S)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def corrupt(names: list[str], whole: dict[str, bytes], number: int) -> tuple[str, bytes]:
    """Return a name and bytes that are damaged in one of six ways, the header as often as the rest."""
    rng = np.random.default_rng((SEED, number))
    name = names[number % len(names)]
    data, other = bytearray(whole[name]), whole[names[int(rng.integers(len(names)))]]
    end = min(len(data), 800) if rng.random() < 0.5 else len(data)
    way = int(rng.integers(6))
    if way == 0:  # bits flipped, or bytes replaced
        for place in rng.integers(end, size=int(rng.choice([1, 4, 30, 200]))):
            data[place] = data[place] ^ (1 << int(rng.integers(8))) if rng.random() < 0.5 else int(rng.integers(256))
    elif way == 1:  # cut
        del data[int(rng.integers(1, len(data))) :]
    elif way == 2:  # spliced into another, or a piece lost or said twice
        at, again = sorted(rng.integers(len(data), size=2).tolist())
        rest = [other[int(rng.integers(len(other))) :], data[again:], data[at:again] * 2 + data[again:]][
            int(rng.integers(3))
        ]
        data = data[:at] + rest
    elif way == 3:  # another's header, under the old name
        length = int(rng.choice([4, 16, 64, 400]))
        data[:length] = other[:length]
    elif way == 4:  # sizes forged
        for place in rng.integers(end, size=int(rng.choice([1, 3]))):
            width = int(rng.choice([2, 4, 8]))
            value = int(rng.choice([0, 1, 2**8 - 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**62])) % 2 ** (8 * width)
            data[place : place + width] = value.to_bytes(width, "big" if rng.random() < 0.5 else "little")
    else:  # a stretch of zeros
        at = int(rng.integers(end))
        data[at : at + int(rng.integers(1, 300))] = bytes(len(data[at : at + int(rng.integers(1, 300))]))
    return name, bytes(data)


def run(whole: dict[str, bytes], numbers: range, folder: Path) -> dict[str, int]:
    """Read so many corrupted files; return how many were read and refused, and the slowest."""
    names, found = sorted(whole), {"read": 0, "refused": 0, "slowest_s": 0.0, "slowest": -1}
    for number in numbers:
        name, data = corrupt(names, whole, number)
        path, out = folder / f"{number}_{name}", folder / f"{number}.wav"
        path.write_bytes(data)
        start_s, is_whole = time.monotonic(), False
        try:
            with safe_decoding():
                find_tracks(path)
                measure_duration(path)
                with written_whole(out) as unfinished:
                    audio_S = read_audio_if_any(path, [])
                    lips = [picture.grey().mean() for picture in read_pictures(path, [])]
                    write_wav(unfinished, np.zeros(len(lips), np.float32) if audio_S is None else audio_S)
                    is_whole = True
        except MediaError:
            found["refused"] += 1
        else:
            found["read"] += 1
        took_s = time.monotonic() - start_s
        if took_s > found["slowest_s"]:
            found |= {"slowest_s": took_s, "slowest": number}
        assert took_s < LONGEST_S, f"file {number} of seed {SEED} took {took_s:.1f} s"
        assert out.exists() == is_whole, f"file {number} of seed {SEED}"
        path.unlink()
        out.unlink(missing_ok=True)
    assert not list(folder.iterdir())
    return found


def test_a_hundred_corrupted_files_give_an_answer_or_an_error(whole, tmp_path):
    found = run(whole, range(100), tmp_path)
    assert found["read"] + found["refused"] == 100
    assert found["read"] > 5 and found["refused"] > 20


@pytest.mark.slow
def test_ten_thousand_corrupted_files_give_an_answer_or_an_error(whole, tmp_path):
    found = run(whole, range(10_000), tmp_path)
    print(f"seed {SEED}: {found}")
    assert found["read"] + found["refused"] == 10_000
