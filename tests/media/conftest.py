"""Media files of every kind, written on the spot: pictures that carry their number, sounds that click."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

NUM_BITS = 8


def numbered_picture(number: int, height: int = 64, width: int = 128) -> np.ndarray:
    """Return an RGB picture whose left to right blocks are the bits of ``number``, robust to compression."""
    bits = [(number >> bit) & 1 for bit in range(NUM_BITS)]
    row = np.repeat(np.where(bits, 220, 30), width // NUM_BITS).astype(np.uint8)
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def read_number(picture: np.ndarray) -> int:
    """Return the number that ``numbered_picture`` drew."""
    grey = picture if picture.ndim == 2 else picture.mean(axis=2)
    blocks = grey.reshape(grey.shape[0], NUM_BITS, -1).mean(axis=(0, 2))
    return sum(int(block > 128) << bit for bit, block in enumerate(blocks))


def write_pictures(
    path: Path,
    pictures: Sequence[np.ndarray],
    times: Sequence[int],
    base: Fraction,
    rate: Fraction = Fraction(25),
    codec: str = "libx264",
    rotation: int = 0,
    aspect: Fraction | None = None,
    audio_S: np.ndarray | None = None,
    audio_rate: int = 48_000,
    audio_codec: str = "aac",
    audio_start_s: Fraction = Fraction(0),
    options: dict[str, str] | None = None,
) -> None:
    """Write RGB pictures at ``times`` (in units of ``base``), and float mono sound, into any container."""
    with av.open(str(path), "w", container_options=options or {}) as container:
        video = container.add_stream(codec, rate)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = base
        video.time_base = base
        if codec == "libx264":
            video.options = {"crf": "10", "preset": "ultrafast"}
        else:
            video.bit_rate = 4_000_000
        if aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        if rotation:
            video.set_display_rotation(rotation)
        sound = None
        if audio_S is not None:
            sound = container.add_stream(audio_codec, audio_rate, layout="mono")
        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = time, base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None:
            shift = int(audio_start_s * audio_rate)
            format_name = sound.codec_context.format.name
            for start in range(0, len(audio_S), 1024):
                chunk_S = audio_S[None, start : start + 1024]
                if format_name.startswith("s16"):
                    chunk_S = np.round(chunk_S * 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(chunk_S, format=format_name, layout="mono")
                frame.sample_rate, frame.pts = audio_rate, start + shift
                frame.time_base = Fraction(1, audio_rate)
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))


@pytest.fixture
def numbered(tmp_path) -> Callable[..., Path]:
    """Return ``make(name, times, base, **options)``, which writes numbered pictures and returns the path."""

    def make(name: str, times: Sequence[int], base: Fraction, **options) -> Path:
        pictures = [numbered_picture(number) for number in range(len(times))]
        write_pictures(tmp_path / name, pictures, times, base, **options)
        return tmp_path / name

    return make


@pytest.fixture(scope="session")
def number_of() -> Callable[[np.ndarray], int]:
    return read_number


@pytest.fixture(scope="session")
def write() -> Callable[..., None]:
    return write_pictures


@pytest.fixture(scope="session")
def picture_of() -> Callable[..., np.ndarray]:
    return numbered_picture


@pytest.fixture
def sound_clip(tmp_path) -> Path:
    """Return a 4 s mp4 with picture and sound, header first, so that it opens even when it is cut."""
    path = tmp_path / "whole.mp4"
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (64, 128, 3), dtype=np.uint8) for _ in range(100)]
    noise_S = (0.1 * rng.standard_normal(4 * 48_000)).astype(np.float32)
    write_pictures(path, pictures, range(100), Fraction(1, 25), audio_S=noise_S, options={"movflags": "+faststart"})
    return path
