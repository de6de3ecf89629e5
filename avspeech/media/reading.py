"""Read media in this process, or, inside ``with safe_decoding()``, in a confined one (``confined``).

For files of others: whoever reads only the project's own files imports ``video`` and ``audio``.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from avspeech.media import audio, confined, container, decode, video
from avspeech.media.container import Tracks
from avspeech.media.errors import NoAudio
from avspeech.media.sound import Sound
from avspeech.media.video import Picture
from avspeech.timebase import Span

_is_safe: ContextVar[bool] = ContextVar("safe_decoding", default=False)


@contextmanager
def safe_decoding(on: bool = True) -> Iterator[None]:
    """Decode in confined processes what this thread reads within the block; ``on`` False: in this process."""
    before = _is_safe.set(on)
    try:
        with confined.kept_open() if on else nullcontext():
            yield
    finally:
        _is_safe.reset(before)


def read_pictures(path: str | Path, notes: list[str] | None = None, span: Span | None = None) -> Iterator[Picture]:
    return (confined if _is_safe.get() else video).read_pictures(path, notes, span=span)


def read_audio(
    path: str | Path, notes: list[str] | None = None, track: int | None = None, span: Span | None = None
) -> np.ndarray:
    return (confined if _is_safe.get() else audio).read_audio(path, notes, track=track, span=span)


def read_sound(
    path: str | Path, notes: list[str] | None = None, track: int | None = None, span: Span | None = None
) -> Sound:
    return (confined if _is_safe.get() else audio).read_sound(path, notes, track=track, span=span)


def read_sound_if_any(
    path: str | Path, notes: list[str] | None = None, track: int | None = None, span: Span | None = None
) -> Sound | None:
    """Return ``read_sound``'s sound, or None without an audio track."""
    try:
        return read_sound(path, notes, track, span)
    except NoAudio:
        return None


def read_audio_if_any(
    path: str | Path, notes: list[str] | None = None, track: int | None = None, span: Span | None = None
) -> np.ndarray | None:
    """Return ``read_audio``'s sound, or None without an audio track."""
    try:
        return read_audio(path, notes, track, span)
    except NoAudio:
        return None


def read_frames(path: str | Path, grey: bool = False, span: Span | None = None) -> Iterator[np.ndarray]:
    """Yield ``video.read_frames``."""
    for picture in read_pictures(path, span=span):
        yield picture.grey() if grey else picture.colour()


def find_tracks(path: str | Path) -> Tracks:
    return (confined if _is_safe.get() else container).find_tracks(path)


def measure_duration(path: str | Path) -> float:
    return (confined if _is_safe.get() else decode).measure_duration(path)
