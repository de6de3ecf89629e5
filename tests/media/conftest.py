"""Media files of every kind, written on the spot: pictures that carry their number, sounds that click."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

NUM_BITS = 8


def picture_of(number: int, height: int = 64, width: int = 128) -> np.ndarray:
    """Return an RGB picture whose left to right blocks are the bits of ``number``, robust to compression."""
    bits = [(number >> bit) & 1 for bit in range(NUM_BITS)]
    row = np.repeat(np.where(bits, 220, 30), width // NUM_BITS).astype(np.uint8)
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def number_of(picture: np.ndarray) -> int:
    """Return the number that ``picture_of`` drew."""
    grey = picture if picture.ndim == 2 else picture.mean(axis=2)
    blocks = grey.reshape(grey.shape[0], NUM_BITS, -1).mean(axis=(0, 2))
    return sum(int(block > 128) << bit for bit, block in enumerate(blocks))


def encode(container: av.container.OutputContainer, stream: av.stream.Stream, frames: Iterable) -> None:
    for frame in [*frames, None]:
        container.mux(stream.encode(frame))


def sound_frame(
    samples_CS: np.ndarray, kind: str, layout: str = "mono", rate: int = 16_000, pts: int | None = None
) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples_CS, format=kind, layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, pts, Fraction(1, rate)
    return frame


def picture_frame(picture: np.ndarray, pts: int, base: Fraction) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    frame.pts, frame.time_base = pts, base
    return frame


def write(
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
    gop: int | None = None,
) -> None:
    """Write RGB pictures at ``times`` (in units of ``base``), and float mono sound, into any container."""
    with av.open(str(path), "w", container_options=options or {}) as container:
        video = container.add_stream(codec, rate)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        if gop is not None:
            video.codec_context.gop_size = gop
        video.codec_context.time_base = video.time_base = base
        if codec == "libx264":
            video.options = {"crf": "10", "preset": "ultrafast"}
        else:
            video.bit_rate = 4_000_000
        if aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        if rotation:
            video.set_display_rotation(rotation)
        sound = None if audio_S is None else container.add_stream(audio_codec, audio_rate, layout="mono")
        encode(container, video, (picture_frame(*timed, base) for timed in zip(pictures, times, strict=True)))
        if sound is not None:
            shift = int(audio_start_s * audio_rate)
            format_name = sound.codec_context.format.name
            if format_name.startswith("s16"):
                audio_S = np.round(audio_S * 32767).astype(np.int16)
            chunks = [(start, audio_S[None, start : start + 1024]) for start in range(0, len(audio_S), 1024)]
            frames = (sound_frame(chunk, format_name, "mono", audio_rate, start + shift) for start, chunk in chunks)
            encode(container, sound, frames)


def write_changing(path: Path, parts: Sequence[Sequence[np.ndarray]], codec: str) -> None:
    """Write RGB pictures at 25 fps as one stream of any container; each part may be of another size."""
    with av.open(str(path), "w") as out:
        stream, shown = None, 0
        for number, pictures in enumerate(parts):
            part = path.with_name(f"{path.stem}_{number}{path.suffix}")
            write(part, pictures, range(len(pictures)), Fraction(1, 25), codec=codec)
            with av.open(str(part)) as source:
                first = source.streams.video[0]
                stream = out.add_stream_from_template(first) if stream is None else stream
                start = first.start_time or 0
                for packet in source.demux(first):
                    if packet.size:
                        shift = round(Fraction(shown, 25) / first.time_base) - start
                        packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                        out.mux(packet)
            shown += len(pictures)


@pytest.fixture
def numbered(tmp_path) -> Callable[..., Path]:
    """Return ``make(name, times, base, **options)``, which writes numbered pictures and returns the path."""

    def make(name: str, times: Sequence[int], base: Fraction, **options) -> Path:
        write(tmp_path / name, [picture_of(number) for number in range(len(times))], times, base, **options)
        return tmp_path / name

    return make


@pytest.fixture
def sound_clip(tmp_path) -> Path:
    """Return a 4 s mp4 with picture and sound, header first, so that it opens even when it is cut."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (100, 64, 128, 3), dtype=np.uint8)
    noise_S = (0.1 * rng.standard_normal(4 * 48_000)).astype(np.float32)
    options = {"movflags": "+faststart"}
    write(tmp_path / "whole.mp4", pictures, range(100), Fraction(1, 25), audio_S=noise_S, options=options)
    return tmp_path / "whole.mp4"
