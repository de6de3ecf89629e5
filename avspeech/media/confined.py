"""Read media in a process of its own, which can do nothing but decode the one file that it was given.

Results, notes and errors are those of ``video``, ``audio`` and ``container`` in this process, for what ``formats``
lists. A decoder that crashes, hangs, or takes more than ``Limits`` is a MediaError.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import is_dataclass
from math import inf
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import numpy as np

from avspeech.media.container import Tracks
from avspeech.media.decoder_job import Job
from avspeech.media.decoder_process import PIECE
from avspeech.media.errors import MediaError
from avspeech.media.sandbox import Limits
from avspeech.media.sound import Sound, collect, silence
from avspeech.media.video import Picture

log = logging.getLogger(__name__)

SOUND = "avspeech.media.audio:read_pieces"
Built = TypeVar("Built")
_kept: ContextVar[list[Job] | None] = ContextVar("kept", default=None)


def read_pictures(
    path: str | Path,
    notes: list[str] | None = None,
    limits: Limits = Limits(),
    function: str = "avspeech.media.video:read_pictures",
    **options: Any,
) -> Iterator[Picture]:
    """Yield what ``video.read_pictures`` yields, with its ``options``; the confined process calls ``function``."""
    path, picture, count = Path(path), None, 0
    with _child(path, limits) as job:
        for message in job.answers("pictures", function, options):
            with job.understanding():
                if "frame" in message:
                    picture, again = job.picture(message), 1
                else:
                    again = int(message["again"])
                count += again
            if picture is None or again < 1 or count > limits.frames:
                raise MediaError(path, f"the decoder gave {count:,} frames, wanted at most {limits.frames:,}")
            for _ in range(again):
                yield picture
    _pass_on(path, job.notes, notes)


def read_audio(
    path: str | Path,
    notes: list[str] | None = None,
    limits: Limits = Limits(),
    function: str = SOUND,
    **options: Any,
) -> np.ndarray:
    """Return what ``audio.read_audio`` returns, with its ``options``."""
    return np.asarray(collect(_read_pieces(Path(path), notes, limits, function, options), inf))


def read_sound(path: str | Path, notes: list[str] | None = None, limits: Limits = Limits(), **options: Any) -> Sound:
    """Return what ``audio.read_sound`` returns."""
    return collect(_read_pieces(Path(path), notes, limits, SOUND, options))


def _read_pieces(
    path: Path, notes: list[str] | None, limits: Limits, function: str, options: dict[str, Any]
) -> Iterator[np.ndarray | float | None]:
    """Yield what ``audio.read_pieces`` yields, each piece in the memory of the one before."""
    length, most, buffer_S = 0, limits.memory_gib * 2**30 / 4, np.empty(0, np.float32)
    with _child(path, limits) as job:
        for message in job.answers("sound", function, options):
            with job.understanding():
                if "anew" in message:
                    length, piece = 0, None
                elif "divisor" in message:
                    piece = float(message["divisor"])
                    if not 1 <= piece < inf:
                        raise ValueError(f"sound to be divided by {piece}")
                else:
                    size = int(message["silence" if "silence" in message else "samples"])
                    length += size
                    if size < 1 or length > most or (size > PIECE and "silence" not in message):
                        reason = f"{length:,} samples, {size:,} at once, wanted up to {limits.memory_gib:g} GiB"
                        raise MediaError(path, f"the decoder gave {reason}")
                    if "silence" in message:
                        piece = silence(size)
                    else:
                        buffer_S = buffer_S if len(buffer_S) >= size else np.empty(size, np.float32)
                        job.copy(int(message["at"]), [(piece := buffer_S[:size]).data])
            yield piece
    _pass_on(path, job.notes, notes)


def find_tracks(path: str | Path, limits: Limits = Limits()) -> Tracks:
    """Return what ``container.find_tracks`` returns."""
    return _value(Path(path), "avspeech.media.container:find_tracks", limits, Tracks)


def measure_duration(path: str | Path, limits: Limits = Limits()) -> float:
    """Return what ``decode.measure_duration`` returns."""
    return _value(Path(path), "avspeech.media.decode:measure_duration", limits, float)


def _value(path: Path, function: str, limits: Limits, kind: type[Built]) -> Built:
    with _child(path, limits) as job:
        messages = list(job.answers("value", function))
        with job.understanding():
            return _built(kind, messages[0]["value"])


@contextmanager
def kept_open() -> Iterator[None]:
    """Keep the confined process of the last file until the end of the block, in case the file is read again."""
    kept: list[Job] = []
    before = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(before)
        for job in kept:
            job.close()


@contextmanager
def _child(path: Path, limits: Limits) -> Iterator[Job]:
    """Give a confined process that has the file."""
    kept = _kept.get()
    job = kept.pop() if kept else None
    if job is not None and not job.may_read(path, limits):
        job.close()
        job = None
    job = job or Job(path, limits)
    try:
        yield job
    except BaseException:
        job.close()
        raise
    if kept is None or kept:
        job.close()
    else:
        kept.append(job)


def _built(kind: type[Built], facts: Any) -> Built:
    """Return a dataclass, and those in its tuples, from what JSON has of them."""
    if not is_dataclass(kind):
        return kind(facts)  # type: ignore[call-arg]
    values = dict(facts)
    for name, hint in get_type_hints(kind).items():
        if isinstance(values[name], list):
            inner = get_args(hint)[0]
            values[name] = tuple(_built(inner, one) for one in values[name])
    return kind(**values)


def _pass_on(path: Path, told: Sequence[str], notes: list[str] | None) -> None:
    if notes is not None:
        notes.extend(told)
    else:
        for note in told:
            log.warning("%s: %s", path, note)
