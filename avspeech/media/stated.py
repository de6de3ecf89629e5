"""Lengths that a file's first bytes state and FFmpeg does not hold it to: RIFF, RF64, Wave64, mp3.

Sources: Multimedia Programming Interface 1.0 (RIFF), EBU Tech 3306 (RF64), the ID3v2.2 to 2.4 documents (TLEN), and the
Xing and VBRI headers as encoders write them.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from avspeech.media.errors import MediaError
from avspeech.media.parts import Part

_SLOP = 4096 + 128
"""Bytes by which the size that a pipe writes lies from a power of two: rounded down, or with the header added."""
_WAVE64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
_MAX_SEARCH = 2**16  # bytes behind the tags in which an mp3 must begin


def check_size(path: Path, file: BinaryIO, part: Part) -> None:
    """MediaError: a part of a file is shorter than its header says. Pipes store 0 or about the largest size."""
    file.seek(part.begin)
    header, size = file.read(40), part.end - part.begin
    if header[:4] == b"RIFF":
        stated, largest = int.from_bytes(header[4:8], "little"), 2**32
    elif header[:4] in (b"RF64", b"BW64") and header[12:16] == b"ds64":
        stated, largest = int.from_bytes(header[20:28], "little"), 2**64
    elif header[:16] == _WAVE64:
        stated, largest = int.from_bytes(header[16:24], "little") - 8, 2**64
    else:
        return
    of_a_pipe = stated <= 0 or any(abs(stated - most) <= _SLOP for most in (2**31, 2**32, largest // 2, largest))
    if not of_a_pipe and stated + 8 - size > stated / 100:
        reason = f"has {size} bytes, its header says {stated + 8}: the file is cut off; copy or download it again"
        raise MediaError(path, reason)


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
