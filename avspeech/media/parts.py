"""Find where files were joined end to end: each part is a media file of its own, and FFmpeg reads only the first.

MPEG streams are parted only where their streams change: otherwise FFmpeg reads all, and ``clock.py`` mends the clock.
"""

import io
import re
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

from avspeech.media.programs import PACK, pack_starts, packet_size, program_starts

MAX_PARTS = 1000
"""Most recordings in one file; one more is found, so that it can be refused."""
BLOCK = 2**20  # bytes read at a time
HEAD = 128  # most bytes of a header that are looked at
_FIRST = 3 * 204  # bytes that tell a transport stream

_STARTS = {
    b"fLaC": (0, rb"fLaC\x00\x00\x00\x22"),
    b"OggS\x00\x02": (0, rb"OggS\x00\x02"),
    b"\x1aE\xdf\xa3": (0, rb"\x1aE\xdf\xa3.{1,60}?B\x82.{1,8}?(?:webm|matroska)"),
    b"FLV\x01": (0, rb"FLV\x01[\x01\x04\x05]\x00\x00\x00\x09\x00\x00\x00\x00"),
    b"ftyp": (4, rb"\x00\x00\x00[\x08-\x80]ftyp[ -~]{4}"),
    b"RIFF": (0, rb"RIFF.{4}(?:WAVE|AVI )"),
    b"FORM": (0, rb"FORM.{4}AIF[FC]"),
}
"""Bytes to look for, how many bytes they lie behind a file's start, and the pattern of that start."""


class Part(NamedTuple):
    """The bytes of one of the files that were joined."""

    begin: int
    end: int


def find_parts(file: BinaryIO) -> tuple[Part, ...]:
    """Return the parts of a file that can be sought; almost always one. ``file`` is left anywhere."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(_FIRST)
    if (packet := packet_size(head)) is not None:
        return _up_to(size, program_starts(file, packet, MAX_PARTS))
    if head.startswith(PACK):
        return _up_to(size, pack_starts(file, MAX_PARTS))
    for mark, (offset, pattern) in _STARTS.items():
        if head.startswith(mark, offset) and re.match(pattern, head, re.DOTALL):
            found = _starts(file, mark, offset, re.compile(pattern, re.DOTALL))
            starts = _chains(file, found) if mark.startswith(b"OggS") else _apart(file, found, mark)
            return _up_to(size, starts)
    return (Part(0, size),)


def _up_to(size: int, starts: list[int]) -> tuple[Part, ...]:
    return tuple(map(Part, starts, [*starts[1:], size]))


def _starts(file: BinaryIO, mark: bytes, offset: int, pattern: re.Pattern[bytes]) -> list[int]:
    file.seek(0)
    starts, begin, kept = [], 0, b""  # ``kept`` overlaps the block before, for a start across two blocks
    while block := file.read(BLOCK):
        data = kept + block
        last = len(data) if len(block) < BLOCK else len(data) - HEAD
        place = data.find(mark) if len(starts) <= 100 * MAX_PARTS else -1
        while 0 <= place < last:
            if place >= offset and pattern.match(data, place - offset):
                starts.append(begin + place - offset)
            place = data.find(mark, place + 1)
        kept = data[max(last - offset, 0) :]
        begin += len(data) - len(kept)
    return sorted(set(starts))


def _apart(file: BinaryIO, found: list[int], mark: bytes) -> list[int]:
    """Return the starts at which the recording before ends by its own sizes: the others are inside it."""
    starts = found[:1]
    for place in found[1:]:
        if len(starts) <= MAX_PARTS and _ends_at(file, starts[-1], place, mark):
            starts.append(place)
    return starts


def _ends_at(file: BinaryIO, begin: int, end: int, mark: bytes) -> bool:
    """Return whether a recording is over at ``end``; one that states no size may be."""
    if mark in (b"RIFF", b"FORM"):
        file.seek(begin + 4)
        size = int.from_bytes(file.read(4), "little" if mark == b"RIFF" else "big")
        return size + 8 + size % 2 == end - begin or size + 8 == end - begin or not 0 < size < 2**31 - 2**13
    next_size = {b"ftyp": _box_size, b"\x1aE\xdf\xa3": _element_size}.get(mark)
    place = begin
    while next_size is not None and place < end:
        file.seek(place)
        if (size := next_size(file.read(16))) is None:
            return True
        place += max(size, 1)
    return next_size is None or place == end


def _box_size(head: bytes) -> int | None:
    """Return the bytes of an mp4 box (ISO/IEC 14496-12); one of size 0 has all that follow."""
    size = int.from_bytes(head[:4])
    return int.from_bytes(head[8:16]) if size == 1 else size or 2**63


def _element_size(head: bytes) -> int | None:
    """Return the bytes of a Matroska element (RFC 8794), None if it does not state them."""
    length = 9 - head[0].bit_length()
    width = 9 - head[length].bit_length() if len(head) > length else 9
    if not (1 <= length <= 4 and 1 <= width <= 8):
        return 2**63
    size = int.from_bytes(head[length : length + width]) & ((1 << 7 * width) - 1)
    return None if size == (1 << 7 * width) - 1 else length + width + size


def _chains(file: BinaryIO, starts: list[int]) -> list[int]:
    """Return the starts of an Ogg file's chains; each chain begins with a page for every one of its streams."""
    chains, end = [], -1
    for start in starts:
        if start != end:
            chains.append(start)
        file.seek(start + 26)
        count = file.read(1)
        end = start + 27 + sum(count) + sum(file.read(sum(count)))
    return chains


class Window(io.RawIOBase):
    """A part of an open file as a file of its own, for PyAV; closing it leaves the file open.

    ``changes``: bytes to read in place of the file's, by their place in the part.
    """

    def __init__(self, file: Any, part: Part, changes: Mapping[int, bytes]) -> None:
        self._file, self._part, self._changes, self._place = file, part, changes, 0

    def read(self, size: int = -1) -> bytes:
        left = self._part.end - self._part.begin - self._place
        self._file.seek(self._part.begin + self._place)
        data = self._file.read(max(0, left if size < 0 else min(size, left)))
        for place, new in self._changes.items():
            first = max(place - self._place, 0)
            inside = new[max(self._place - place, 0) :][: max(len(data) - first, 0)]
            data = data[:first] + inside + data[first + len(inside) :] if place + len(new) > self._place else data
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        length = self._part.end - self._part.begin
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: length}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
