"""Sound of any length: up to ``IN_MEMORY`` samples an array, beyond that a file without a name, read by slices."""

import os
import tempfile
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from avspeech.media.errors import MediaError

IN_MEMORY = 2**24
"""Samples that stay in memory: 17 minutes, 64 MiB."""
_GROWTH = (2**16, 2**22)  # samples, least and most, by which an array grows; a twentieth of it between them
_WRITTEN = 2**18  # samples that are written to a file at once


def silence(length: int) -> np.ndarray:
    """Return read-only zeros that take no memory: a forged time stamp may be a day away."""
    return np.broadcast_to(np.float32(0), (length,))


def is_silence(audio_S: np.ndarray) -> bool:
    """Return whether an array is made by ``silence``."""
    return audio_S.strides == (0,)


class StoredSound:
    """Mono sound at 16 kHz in a file: ``len``, and slices as new float32 arrays."""

    ndim = 1

    def __init__(self, file: BinaryIO, length: int, divisor: float | None = None, first: int = 0) -> None:
        """``divisor``: see ``SoundWriter.finish``. ``first``: place in the file of sample 0; zeros lie around it."""
        self._file, self._stored, self._divisor, self._first = file, length, divisor, first

    def __len__(self) -> int:
        return self._stored

    @property
    def shape(self) -> tuple[int]:
        return (self._stored,)

    def __getitem__(self, where: slice) -> np.ndarray:
        start, end, step = where.indices(self._stored)
        if step != 1:
            raise ValueError(f"a step of {step} came, wanted 1: stored sound is read in pieces")
        audio_S = np.zeros(max(end - start, 0), np.float32)
        first, last = max(start + self._first, 0), min(end + self._first, self._stored)
        before = first - start - self._first
        inside_S = audio_S[before : before + max(last - first, 0)]
        _read(self._file, inside_S, first)
        _scale(inside_S, self._divisor)
        return audio_S

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def earlier(self, num_samples: int) -> "StoredSound":
        """Return the sound so much earlier, as long as before, zeros where there is none."""
        return StoredSound(self._file, self._stored, self._divisor, self._first + num_samples)


Sound = np.ndarray | StoredSound
"""Float32 mono at 16 kHz: ``len``, ``ndim``, ``shape`` and slices are all that both have."""


def _scale(audio_S: np.ndarray, divisor: float | None) -> None:
    if divisor is not None:
        if divisor != 1:
            audio_S *= np.float32(1 / divisor)
        np.clip(audio_S, -1, 1, out=audio_S)


def _read(file: BinaryIO, audio_S: np.ndarray, first: int) -> None:
    done, raw = 0, audio_S.data.cast("B")
    while done < len(raw):
        if not (count := os.preadv(file.fileno(), [raw[done:]], first * audio_S.itemsize + done)):
            raise OSError(f"stored sound ends {len(raw) - done} bytes too early")
        done += count


class SoundWriter:
    """Takes sound in pieces: an array that grows in place, without a second copy, then a file."""

    def __init__(self, in_memory: float | None = None) -> None:
        """``in_memory``: samples up to which it stays an array; None: ``IN_MEMORY``."""
        self._in_memory = IN_MEMORY if in_memory is None else in_memory
        self._file: Any = None
        self._array_S, self._held = np.empty(0, np.float32), 0  # samples that are not in the file
        self._written = 0

    def write(self, audio_S: np.ndarray) -> None:
        """MediaError: the disk has no room."""
        end = self._held + len(audio_S)
        if self._written + end > self._in_memory and (self._file is None or end > len(self._array_S)):
            file, end = self._flush(), len(audio_S)
            if is_silence(audio_S):
                self._written += end
                file.truncate(4 * self._written)
                file.seek(0, os.SEEK_END)
                return
        if end > len(self._array_S):
            self._array_S.resize(end + min(max(end // 20, _GROWTH[0]), _GROWTH[1]), refcheck=False)
        self._array_S[self._held : end] = audio_S
        self._held = end

    def finish(self, divisor: float | None = None) -> Sound:
        """Return the sound, divided and limited to [-1, 1], or as it is; nothing can be added any more."""
        if self._file is not None:
            self._flush()
            return StoredSound(self._file, self._written, divisor)
        self._array_S.resize(self._held, refcheck=False)
        _scale(self._array_S, divisor)
        return self._array_S

    def _flush(self) -> BinaryIO:
        raw = self._array_S[: self._held].data.cast("B")
        try:
            self._file = self._file or tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            while len(raw):
                raw = raw[self._file.write(raw) :]
        except OSError as error:
            reason = f"has no room for {4 * (self._written + self._held):,} bytes of sound or more ({error.strerror})"
            raise MediaError(tempfile.gettempdir(), f"{reason}; free some, or set TMPDIR to another folder") from error
        self._written += self._held
        self._array_S, self._held = np.empty(_WRITTEN, np.float32), 0
        return self._file


def collect(pieces: Iterable[np.ndarray | float | None], in_memory: float | None = None) -> Sound:
    """Return the sound of ``audio.read_pieces``; ``in_memory`` as in ``SoundWriter``."""
    writer, divisor = SoundWriter(in_memory), 1.0
    for piece in pieces:
        if piece is None:
            writer = SoundWriter(in_memory)
        elif isinstance(piece, np.ndarray):
            writer.write(piece)
        else:
            divisor = piece
    return writer.finish(divisor)
