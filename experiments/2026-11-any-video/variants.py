"""Forty ways of storing one clip: frame rates, sizes, rotation, containers, variable rate, sound.

    python experiments/2026-11-any-video/variants.py CLIP.mp4 FOLDER

Writes FOLDER/<name>.<ending> for every variant, and those with 8 kHz sound beside them. Pictures of another shape get
black bars; nothing is stretched. Another frame rate shows, at each of its moments, the picture that was on screen.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

CODECS = {
    "mp4": ("libx264", "aac"),
    "mkv": ("libx264", "flac"),
    "webm": ("libvpx-vp9", "libopus"),
    "mov": ("libx264", "pcm_s16le"),
    "avi": ("mpeg4", "libmp3lame"),
    "mpg": ("mpeg2video", "mp2"),
}
"""Video and sound codec of each container."""
FILM, NATIVE = Fraction(24000, 1001), Fraction(25)


@dataclass(frozen=True)
class Variant:
    """How a clip is stored."""

    name: str
    container: str = "mp4"
    fps: Fraction = NATIVE
    size: tuple[int, int] | None = None
    """Width and height as shown; None keeps the clip's."""
    rotation: int = 0
    """Stored turned, with a flag that turns it back: degrees counterclockwise."""
    variable: bool = False
    """Frames come at uneven times and some are dropped."""
    rate: int | None = None
    """Of the sound; None keeps the clip's where the codec can, else 48 kHz."""
    channels: int = 1


def _forty() -> Iterator[Variant]:
    for fps, label in ((FILM, "23.976"), (Fraction(30), "30"), (Fraction(50), "50"), (Fraction(60), "60")):
        for width, height in ((320, 240), (1280, 720), (1920, 1080)):
            yield Variant(f"{label}fps_{width}x{height}", fps=fps, size=(width, height))
    for fps, label, angle in (
        (NATIVE, "25", 90), (Fraction(30), "30", 270), (Fraction(60), "60", 90), (FILM, "23.976", 270),
        (NATIVE, "25", 180),
    ):  # fmt: skip
        yield Variant(f"portrait_{label}fps_turned_{angle}", fps=fps, size=(720, 1280), rotation=angle)
    for container in ("mkv", "webm", "mov", "avi", "mpg"):
        yield Variant(f"{container}_native", container)
        yield Variant(f"{container}_30fps_640x480", container, Fraction(30), (640, 480))
        yield Variant(f"{container}_50fps_1280x720", container, Fraction(50), (1280, 720))
    for size in (None, (320, 240), (640, 480), (1280, 720)):
        label = "native" if size is None else f"{size[0]}x{size[1]}"
        yield Variant(f"variable_{label}", "mkv" if size is None else "mp4", size=size, variable=True)
    for container, size in (("mp4", None), ("mov", (1280, 720)), ("mkv", (320, 240)), ("avi", None)):
        yield Variant(f"44.1kHz_stereo_{container}", container, size=size, rate=44_100, channels=2)


VARIANTS = tuple(_forty())
NARROW = tuple(Variant(f"8kHz_{container}", container, rate=8_000) for container in ("mp4", "mkv", "mov", "avi"))
"""Half the band is lost; these are counted by themselves."""


def write_variant(clip: str | Path, target: str | Path, variant: Variant) -> None:
    """Store a clip at 25 fps with sound in another way."""
    pictures, audio_S, rate = _read(clip)
    times_s, shown = _schedule(len(pictures), variant)
    video_codec, audio_codec = CODECS[variant.container]
    with av.open(str(target), "w") as container:
        video = container.add_stream(video_codec, variant.fps)
        first = _stored(pictures[0], variant)
        video.height, video.width = first.shape[:2]
        video.pix_fmt = "yuv420p"
        if variant.variable:
            video.codec_context.time_base = video.time_base = Fraction(1, 1000)
        if video_codec == "libx264":
            video.options = {"crf": "18", "preset": "veryfast"}
        elif video_codec == "libvpx-vp9":
            video.options = {"crf": "20", "b:v": "0", "deadline": "realtime", "cpu-used": "8"}
        else:
            video.bit_rate = 2_000_000 + first.shape[0] * first.shape[1] * 6
        if variant.rotation:
            video.set_display_rotation(variant.rotation)
        wanted = variant.rate or (rate if audio_codec in ("aac", "flac", "pcm_s16le") else 48_000)
        layout = "stereo" if variant.channels == 2 else "mono"
        sound = container.add_stream(audio_codec, wanted, layout=layout)
        for number, (time_s, place) in enumerate(zip(times_s, shown, strict=True)):
            frame = av.VideoFrame.from_ndarray(_stored(pictures[place], variant), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            if variant.variable:
                frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            else:
                frame.pts, frame.time_base = number, 1 / variant.fps
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        _write_sound(container, sound, audio_S, rate)


def _read(clip: str | Path) -> tuple[list[np.ndarray], np.ndarray, int]:
    with av.open(str(clip)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(str(clip)) as container:
        frames = list(container.decode(audio=0))
    audio_S = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in frames]).astype(np.float32)
    rate = frames[0].sample_rate
    skipped = round(-min(frames[0].pts * frames[0].time_base, 0) * rate)  # an encoder's priming samples
    return pictures, audio_S[skipped:], rate


def _schedule(num_frames: int, variant: Variant) -> tuple[list[float], list[int]]:
    """Return when frames are shown, in seconds, and which picture of 25 fps each of them is."""
    duration_s = num_frames / 25
    if not variant.variable:
        times_s = [number / float(variant.fps) for number in range(int(duration_s * variant.fps))]
        return times_s, [min(int(time_s * 25 + 1e-6), num_frames - 1) for time_s in times_s]
    rng = np.random.default_rng(0)  # up to 8 ms early or late, every tenth dropped
    places = [place for place in range(num_frames) if place == 0 or rng.random() > 0.1]
    return [max(0.0, place / 25 + rng.uniform(-0.008, 0.008) * (place > 0)) for place in places], places


def _stored(picture: np.ndarray, variant: Variant) -> np.ndarray:
    """Return the picture inside black bars, turned as it is stored."""
    if variant.size is not None:
        width, height = variant.size
        scale = min(width / picture.shape[1], height / picture.shape[0])
        inner = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
        scaled = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        framed = np.zeros((height, width, 3), np.uint8)
        top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
        framed[top : top + inner[1], left : left + inner[0]] = scaled
        picture = framed
    return np.ascontiguousarray(np.rot90(picture, -variant.rotation // 90))


def _write_sound(container, sound, audio_S: np.ndarray, rate: int) -> None:
    codec = sound.codec_context
    resampler = av.AudioResampler(codec.format, codec.layout, codec.sample_rate, frame_size=codec.frame_size or 1024)
    frame = av.AudioFrame.from_ndarray(audio_S[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    for piece in (*resampler.resample(frame), *resampler.resample(None)):
        container.mux(sound.encode(piece))
    container.mux(sound.encode(None))


if __name__ == "__main__":
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for one in VARIANTS + NARROW:
        write_variant(source, folder / f"{one.name}.{one.container}", one)
