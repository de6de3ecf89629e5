"""How large and how long an upload may be, found out before anything expensive is done with it."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from avspeech.media.container import audio_stream, guard, open_media, video_stream


class Refused(ValueError):
    """The page does not take what came; the message is meant for whoever sent it, and names no path of the server."""


@dataclass(frozen=True)
class Limits:
    """Of an upload. A job takes a few times as long as the video lasts, and jobs are done one after another."""

    max_mb: float = 200.0
    """Largest file, in millions of bytes."""
    max_seconds: float = 120.0
    """Longest video."""

    def __post_init__(self) -> None:
        for name in ("max_mb", "max_seconds"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}={value} must be a number above 0")

    @property
    def max_bytes(self) -> int:
        return int(self.max_mb * 1_000_000)


def check_upload(path: Path, limits: Limits) -> float:
    """Return how many seconds the file lasts.

    Raises:
        Refused: it is larger or longer than the limits allow.
        MediaError: it is no media file.
    """
    size = path.stat().st_size
    if size > limits.max_bytes:
        raise Refused(
            f"The file has {size / 1e6:.1f} MB and this page takes up to {limits.max_mb:g} MB. Send a smaller one, or "
            "use `python -m avspeech.transcribe`, which has no limit."
        )
    duration_s = measure_duration(path)
    if duration_s > limits.max_seconds:
        raise Refused(
            f"The video lasts {duration_s:.1f} s and this page takes up to {limits.max_seconds:g} s. Cut it, or use "
            "`python -m avspeech.transcribe`, which takes any length."
        )
    return duration_s


def measure_duration(path: Path) -> float:
    """Return the seconds between the first and the last moment of sound or picture, by the packets' timestamps.

    Headers are not asked: those of a browser's recordings say nothing, and others may say anything. Nothing is
    decoded, so it is as fast as reading the file.

    Raises:
        MediaError: it is no media file.
    """
    first: Fraction | None = None
    last = Fraction(0)
    with open_media(path) as container:
        with guard(path, "its tracks cannot be read"):
            streams = [stream for stream in (video_stream(container), audio_stream(container)) if stream is not None]
        if not streams:
            return 0.0
        packets = container.demux(streams)
        while True:
            with guard(path, "cannot be read to its end"):
                packet = next(packets, None)
            if packet is None:
                break
            if packet.pts is None or packet.time_base is None:
                continue
            start = packet.pts * packet.time_base
            first = start if first is None else min(first, start)
            last = max(last, start + (packet.duration or 0) * packet.time_base)
    return 0.0 if first is None else float(last - first)
