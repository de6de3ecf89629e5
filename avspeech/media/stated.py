"""Lengths that a file's first bytes state and FFmpeg does not hold it to: RIFF, RF64, Wave64, CAF, mp3.

Sources: Multimedia Programming Interface 1.0 (RIFF), EBU Tech 3306 (RF64), the ID3v2.2 to 2.4 documents (TLEN), and the
Xing and VBRI headers as encoders write them.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from avspeech.media.errors import MediaError
from avspeech.media.parts import Part

_SLOP = 4096 + 128
"""Bytes by which the size that a pipe writes lies from a power of two: rounded down, or with the header added."""
_WAVE64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_MAX_CHUNKS = 1000  # before the sound
_MAX_SEARCH = 2**16  # bytes behind the tags in which an mp3 must begin


def check_size(path: Path, file: BinaryIO, part: Part) -> None:
    """MediaError: a part of a file is shorter than its header says. Pipes store 0 or about the largest size."""
    size = part.end - part.begin
    if (found := _stated_size(file, part)) is None or _is_of_a_pipe(*found):
        return
    if found[0] - size > found[0] / 100:
        reason = f"has {size} bytes, its header says {found[0]}: the file is cut off; copy or download it again"
        raise MediaError(path, reason)


def pipe_sizes(file: BinaryIO, part: Part) -> dict[int, bytes]:
    """Return the true sizes of an RF64 or Wave64 file from a pipe, by their places: FFmpeg refuses or drops it."""
    if _kind(file, part) not in (b"RF64", b"W64") or not _is_of_a_pipe(*(_stated_size(file, part) or (1, 2**64))):
        return {}
    size = part.end - part.begin
    if _kind(file, part) == b"W64":
        place = _chunk(file, part, 40, 16, b"data")
        return {} if place is None else {16: _eight(size), place + 16: _eight(size - place)}
    place = _chunk(file, part, 12, 4, b"data")
    return {} if place is None else {20: _eight(size - 8), 28: _eight(size - place - 8)}


def _eight(number: int) -> bytes:
    return number.to_bytes(8, "little")


def _is_of_a_pipe(stated: int, largest: int) -> bool:
    tops = (2**31, 2**32, largest // 2, largest)
    return stated <= 8 or any(abs(stated - 8 - most) <= _SLOP for most in tops)


def _kind(file: BinaryIO, part: Part) -> bytes:
    file.seek(part.begin)
    header = file.read(16)
    if header == _WAVE64:
        return b"W64"
    return {b"BW64": b"RF64"}.get(header[:4], header[:4])


def _stated_size(file: BinaryIO, part: Part) -> tuple[int, int] | None:
    """Return the size in bytes that a header states, and the end of its number range."""
    kind = _kind(file, part)
    file.seek(part.begin)
    header = file.read(40)
    if kind == b"RIFF":
        return int.from_bytes(header[4:8], "little") + 8, 2**32
    if kind == b"RF64" and header[12:16] == b"ds64":
        return int.from_bytes(header[20:28], "little") + 8, 2**64
    if kind == b"W64":
        return int.from_bytes(header[16:24], "little"), 2**64
    if kind == b"caff" and (place := _chunk(file, part, 8, 4, b"data", "big", 8)) is not None:
        file.seek(part.begin + place + 4)
        size = int.from_bytes(file.read(8))
        return (size + place + 12 if size < 2**63 else 0), 2**64
    return None


def _chunk(
    file: BinaryIO,
    part: Part,
    place: int,
    letters: int,
    name: bytes,
    order: Literal["little", "big"] = "little",
    width: int = 0,
) -> int | None:
    """Return where a chunk begins; None without one. Wave64 counts a chunk's header, and rounds up to 8 bytes."""
    width = width or (8 if letters == 16 else 4)
    for _ in range(_MAX_CHUNKS):
        file.seek(part.begin + place)
        header = file.read(letters + width)
        if len(header) < letters + width or header.startswith(name):
            return place if len(header) == letters + width else None
        size = int.from_bytes(header[letters:], order)
        place += -(-size // 8) * 8 if letters == 16 else len(header) + size + size % 2 * (order == "little")
    return None


def stated_seconds(file: BinaryIO) -> float | None:
    """Return the length that an mp3 states in a Xing or VBRI header, or else in its ID3 tag; None: it states none."""
    tag_s, begin = _id3(file)
    file.seek(begin)
    data = file.read(_MAX_SEARCH)
    for place in (found.start() for found in re.finditer(rb"\xff[\xe2-\xff]", data)):
        if (frame := _frame(data[place : place + 4])) is not None:
            counted = _num_frames(data[place : place + 256], frame)
            return tag_s if counted is None else counted * frame.samples / frame.rate
    return tag_s


class _Frame(NamedTuple):
    samples: int
    rate: int
    side: int  # bytes between the header and the data


def _frame(header: bytes) -> _Frame | None:
    """Return what an MPEG audio frame's header of four bytes says; None: it is none."""
    if len(header) < 4:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bit_rate, rate, mono = header[2] >> 4, header[2] >> 2 & 3, header[3] >> 6 == 3
    if version == 1 or layer != 1 or bit_rate in (0, 15) or rate == 3:  # layer III alone has these headers
        return None
    whole = version == 3
    side = (17 if mono else 32) if whole else (9 if mono else 17)
    return _Frame(1152 if whole else 576, (44_100, 48_000, 32_000)[rate] >> {3: 0, 2: 1, 0: 2}[version], side)


def _num_frames(data: bytes, frame: _Frame) -> int | None:
    """Return the number of frames that the first frame of an mp3 states."""
    xing, vbri = data[4 + frame.side :], data[36:]
    if xing[:4] in (b"Xing", b"Info") and len(xing) >= 12 and xing[7] & 1:
        return int.from_bytes(xing[8:12]) or None
    if vbri[:4] == b"VBRI" and len(vbri) >= 18:
        return int.from_bytes(vbri[14:18]) or None
    return None


def _id3(file: BinaryIO) -> tuple[float | None, int]:
    """Return the length in an ID3v2 tag in seconds, and where the last tag at the start of the file ends."""
    seconds, begin = None, 0
    while True:
        file.seek(begin)
        header = file.read(10)
        if header[:3] != b"ID3" or len(header) < 10:
            return seconds, begin
        size = _seven_bits(header[6:10])
        tag = file.read(min(size, 2**24))
        for name, value in _id3_frames(tag, header[3]):
            digits = re.search(rb"\d+", value.replace(b"\x00", b""))
            if name in (b"TLEN", b"TLE") and digits and int(digits[0]):
                seconds = int(digits[0]) / 1000
        begin += 10 + size + 10 * bool(header[5] & 16)


def _id3_frames(tag: bytes, version: int) -> Iterator[tuple[bytes, bytes]]:
    file, letters = io.BytesIO(tag), 3 if version == 2 else 4
    while (name := file.read(letters)).isalnum() and len(name) == letters:
        field = file.read(letters)
        size = _seven_bits(field) if version >= 4 else int.from_bytes(field)
        file.read(0 if version == 2 else 2)
        yield name, file.read(size)


def _seven_bits(data: bytes) -> int:
    return sum(byte << 7 * (len(data) - 1 - place) for place, byte in enumerate(data))
