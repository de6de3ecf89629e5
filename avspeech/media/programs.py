"""Find where the streams of an MPEG stream (ISO/IEC 13818-1) change: FFmpeg keeps to those that it began with.

A stream's number may mean sound in one recording and picture in the next that was joined to it, and a stream that is
announced only later has no place in an open container. Each set of streams is read as a recording of its own.
"""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

SYNC = 0x47
SIZES = {188: 0, 192: 4, 204: 0}
"""Sizes of a packet, and where it begins in them: behind a time stamp in 192 bytes, before parity in 204."""
BLOCK = 5000  # packets read at a time
MAX_LOSSES = 1000  # times that the packets' places are lost before nothing more is looked for
_PROGRAMS, _PROGRAM = 0, 2  # tables: the list of programs, and the streams of one
_PICTURE = {0x01, 0x02, 0x10, 0x1B, 0x20, 0x24, 0x33, 0x42, 0xD1, 0xEA}
_SOUND = {0x03, 0x04, 0x0F, 0x11, 0x1C, *range(0x80, 0x8B)}
_PRIVATE = 0x06  # sound (Opus, AC-3) or subtitles, by its descriptors
PACK, _SYSTEM = b"\0\0\1\xba", b"\0\0\1\xbb"
_BYTES, _HEADER = 2**20, 60  # bytes read at a time, and of a system header that are looked at
Map = dict[int, int] | frozenset[tuple[int, bytes]]


def packet_size(head: bytes) -> int | None:
    """Return the size of a file's packets by its first 612 bytes; None: it is no transport stream."""
    for size, before in SIZES.items():
        places = range(before, len(head), size)
        if len(places) > 2 and all(head[place] == SYNC for place in places):
            return size
    return None


def program_starts(file: BinaryIO, size: int, most: int) -> list[int]:
    """Return where a transport stream's recordings begin that have other streams than the one before, and 0.

    There are at most ``most`` + 1.
    """
    starts, programs_at = [0], 0
    programs: Map = {}
    maps: dict[int, Map] = {}
    for place, number, table in _tables(file, size):
        if len(starts) > most:
            break
        if table[0] == _PROGRAMS:
            programs_at, listed = place, _listed(table)
            if programs and listed != programs:
                starts.append(place)
                maps.clear()
            programs = listed
            continue
        streams = _streams(table)
        if maps.get(number, streams) != streams:
            starts.append(programs_at if programs_at > starts[-1] else place)
            maps.clear()
        maps[number] = streams
    return starts


def pack_starts(file: BinaryIO, most: int) -> list[int]:
    """Return ``program_starts`` of a program stream, by the system headers of its packs."""
    starts, streams, begin, kept = [0], None, 0, b""
    file.seek(0)
    while block := file.read(_BYTES):
        data = kept + block
        place = data.find(_SYSTEM)
        while 0 <= place < len(data) - _HEADER and len(starts) <= most:
            listed = _in_system_header(data[place : place + _HEADER])
            pack = data.rfind(PACK, max(place - 14, 0), place)
            if pack >= 0 and streams not in (None, listed):
                starts.append(begin + pack)
            streams = listed if pack >= 0 else streams
            place = data.find(_SYSTEM, place + 1)
        kept = data[-_HEADER - 14 :]
        begin += len(data) - len(kept)
    return sorted(set(starts))


def _in_system_header(header: bytes) -> frozenset[int]:
    """Return the numbers of the streams of sound and pictures."""
    numbers = (header[place] for place in range(12, min(6 + _number(header[4:6], 16), _HEADER), 3))
    return frozenset(number for number in numbers if number == 0xBD or number >= 0xC0)


def _tables(file: BinaryIO, size: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield where the packets lie that begin a table of programs or streams, their number, and the table's start."""
    begin, losses, before = 0, 0, dict[int, bytes]()
    while losses <= MAX_LOSSES:
        file.seek(begin)
        data = file.read(BLOCK * size)
        packets_PB = np.frombuffer(data, np.uint8)[: len(data) // size * size].reshape(-1, size)[:, SIZES[size] :]
        if not len(packets_PB):
            return
        lost_P = packets_PB[:, 0] != SYNC
        count = int(np.argmax(lost_P)) if lost_P.any() else len(packets_PB)
        for index, number, table in _in_block(packets_PB[:count]):
            if before.get(number) != table:  # most repeat the last one
                before[number] = table
                yield begin + index * size, number, table
            elif table[0] == _PROGRAMS:
                yield begin + index * size, number, table
        begin += count * size
        if count < len(packets_PB):
            losses += 1
            begin += _next_sync(data[count * size :], size)


def _next_sync(data: bytes, size: int) -> int:
    """Return how many bytes further on packets begin again."""
    bytes_B = np.frombuffer(data, np.uint8)[SIZES[size] :]
    if len(bytes_B) <= 2 * size:
        return len(data)
    is_sync_B = bytes_B == SYNC
    good_B = is_sync_B[1 : -2 * size] & is_sync_B[1 + size : -size] & is_sync_B[1 + 2 * size :]
    return int(np.argmax(good_B)) + 1 if good_B.any() else len(data) - 2 * size


def _in_block(packets_PB: np.ndarray) -> Iterator[tuple[int, int, bytes]]:
    rows_P = np.arange(len(packets_PB))
    numbers_P = (packets_PB[:, 1].astype(np.int64) & 0x1F) << 8 | packets_PB[:, 2]
    control_P = packets_PB[:, 3] >> 4 & 3
    start_P = np.where(control_P == 3, 5 + packets_PB[:, 4].astype(np.int64), 4)
    start_P = np.minimum(start_P, 186)
    start_P = np.minimum(start_P + 1 + packets_PB[rows_P, start_P], 187)  # behind the pointer
    kind_P = packets_PB[rows_P, start_P]
    begins_P = (packets_PB[:, 1] & 0xC0 == 0x40) & (control_P & 1 == 1)
    wanted_P = begins_P & np.where(numbers_P == 0, kind_P == _PROGRAMS, kind_P == _PROGRAM)
    for index in np.flatnonzero(wanted_P).tolist():
        table = packets_PB[index, start_P[index] : 188].tobytes()
        if len(table) > 12 and table[5] & 1:  # it holds from now on
            yield index, int(numbers_P[index]), table


def _number(pair: bytes, bits: int) -> int:
    return int.from_bytes(pair) & (1 << bits) - 1


def _entries(table: bytes, start: int) -> bytes:
    return table[start : min(3 + _number(table[1:3], 12) - 4, len(table))]


def _listed(table: bytes) -> dict[int, int]:
    """Return the packet number of each program's table."""
    entries = _entries(table, 8)
    pairs = (entries[place : place + 4] for place in range(0, len(entries) - 3, 4))
    return {_number(pair[:2], 16): _number(pair[2:], 13) for pair in pairs if any(pair[:2])}


def _streams(table: bytes) -> frozenset[tuple[int, bytes]]:
    """Return the number and kind of each stream of sound or pictures."""
    entries, place = _entries(table, 12 + _number(table[10:12], 12)), 0
    found = set()
    while place + 5 <= len(entries):
        kind, length = entries[place], _number(entries[place + 3 : place + 5], 12)
        if kind in _PICTURE | _SOUND or kind == _PRIVATE:
            name = bytes([kind]) + (entries[place + 5 : place + 5 + length] if kind == _PRIVATE else b"")
            found.add((_number(entries[place + 1 : place + 3], 13), name))
        place += 5 + length
    return frozenset(found)
