"""Long sound is resampled in a stream: memory is flat apart from the array."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from avspeech.media.resampling import Resampler
from tests.media.conftest import encode, sound_frame

_READ = """
import resource, sys
from avspeech.media.audio import read_audio
read_audio(sys.argv[1])  # what any file needs
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
audio_S = read_audio(sys.argv[2])
print(len(audio_S), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / audio_S.nbytes)
"""


def write_long(path: Path, rate: int, seconds: int, layout: str = "mono") -> Path:
    """Write silence but for a click a minute, in few bytes where the codec allows."""
    channels = {"mono": 1, "stereo": 2}[layout]
    second = np.zeros((1, rate * channels), np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac" if path.suffix == ".flac" else "pcm_s16le", rate, layout=layout)
        for k in range(seconds):
            second[0, 0] = 20_000 * (k % 60 == 1)
            container.mux(stream.encode(sound_frame(second, "s16", layout, rate, k * rate)))
        encode(container, stream, [])
    return path


def read_apart(path: Path, short: Path) -> tuple[int, float]:
    """Return the number of samples, and the growth of memory as a share of the array."""
    run = subprocess.run([sys.executable, "-c", _READ, short, path], capture_output=True, text=True, check=True)
    length, share = run.stdout.split()
    return int(length), float(share)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rate", "minutes", "layout"),
    [("a.flac", 192_000, 47, "mono"), ("a.flac", 48_000, 180, "mono"), ("a.wav", 44_100, 20, "stereo")],
)  # fmt: skip
def test_hours_of_sound_take_their_array_and_a_tenth(name, rate, minutes, layout, tmp_path):
    short = write_long(tmp_path / f"short{Path(name).suffix}", rate, 10, layout)
    length, share = read_apart(write_long(tmp_path / name, rate, 60 * minutes, layout), short)
    assert length == minutes * 60 * 16_000
    assert share <= 1.1


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("block", [100, 1024, 50_000])
def test_sound_in_pieces_is_resampled_as_in_one(rate, block):
    sound_S = (0.3 * np.random.default_rng(0).standard_normal(rate + 17)).astype(np.float32)
    resampler, pieces = Resampler(), []
    for start in range(0, len(sound_S), block):
        pieces += resampler.write(start, sound_S[start : start + block], rate)
    whole = av.AudioResampler(format="flt", layout="mono", rate=16_000)
    frame = av.AudioFrame.from_ndarray(sound_S[None], format="flt", layout="mono")
    frame.sample_rate = rate
    once_S = np.concatenate([one.to_ndarray()[0] for one in (*whole.resample(frame), *whole.resample(None))])
    audio_S = np.concatenate([*pieces, *resampler.finish()])
    assert len(audio_S) == -(-len(sound_S) * 16_000 // rate)
    shared = min(len(audio_S), len(once_S))
    np.testing.assert_array_equal(audio_S[:shared], once_S[:shared])
    assert len(audio_S) - shared <= 1


def test_a_change_of_rate_and_a_long_gap_start_anew_at_their_places():
    resampler, ones_S = Resampler(), np.ones(8000, np.float32)
    heard = [(0, ones_S, 8000), (16_000, ones_S[:8000], 16_000), (100 * 16_000, ones_S[:1600], 16_000)]
    pieces = [piece_S for one in heard for piece_S in resampler.write(*one)]
    audio_S = np.concatenate([*pieces, *resampler.finish()])
    loud = np.flatnonzero(np.diff(np.abs(audio_S) > 0.5)) + 1
    np.testing.assert_array_equal(loud[-2:], [24_000, 1_600_000])
    assert len(audio_S) == 1_601_600
