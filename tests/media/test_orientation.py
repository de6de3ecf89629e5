"""A picture is shown as its whole display matrix says: all eight turns and mirrorings, from three kinds of file."""

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from avspeech.media.video import Orientation, read_frames, read_pictures
from tests.media.conftest import write

MATRICES = [(a, 0, 0, d) for a, d in itertools.product((1, -1), repeat=2)]
MATRICES += [(0, b, c, 0) for b, c in itertools.product((1, -1), repeat=2)]
STORED = np.zeros((32, 64, 3), np.uint8)  # no turn or mirroring leaves it as it is
STORED[:16, :20], STORED[:16, 44:] = 220, 110


def shown(stored: np.ndarray, matrix: tuple[int, ...]) -> np.ndarray:
    """Move each pixel by x' = ax + cy, y' = bx + dy: brute force, from the definition."""
    a, b, c, d = matrix
    y_N, x_N = (index.ravel() for index in np.indices(stored.shape[:2]))
    to_x_N, to_y_N = a * x_N + c * y_N, b * x_N + d * y_N
    to_x_N, to_y_N = to_x_N - to_x_N.min(), to_y_N - to_y_N.min()
    out = np.empty((to_y_N.max() + 1, to_x_N.max() + 1, *stored.shape[2:]), stored.dtype)
    out[to_y_N, to_x_N] = stored[y_N, x_N]
    return out


def in_track_header(path: Path, matrix: tuple[int, ...], **options) -> Path:
    """Write an mp4 or mov and set the matrix in its track header."""
    write(path, [STORED] * 3, range(3), Fraction(1, 25), **options)
    content = path.read_bytes()
    head, unity = content.find(b"tkhd"), b"".join(n.to_bytes(4, "big") for n in (2**16, 0, 0, 0, 2**16, 0, 0, 0, 2**30))
    at = content.index(unity, head)
    a, b, c, d = (n * 2**16 for n in matrix)
    patched = b"".join(n.to_bytes(4, "big", signed=True) for n in (a, b, 0, c, d, 0, 0, 0, 2**30))
    path.write_bytes(content[:at] + patched + content[at + 36 :])
    return path


def in_stream(path: Path, matrix: tuple[int, ...]) -> Path:
    """Write a Matroska file whose H.264 carries the display orientation: mirrored, then turned."""
    a, b, c, d = matrix
    mirrored = a * d - b * c < 0
    first_x = -1 if mirrored else 1  # what the mirroring does to x before the turn
    quarters = [(1, 0), (0, -1), (-1, 0), (0, 1)].index((a * first_x, b * first_x))  # counterclockwise
    flip = ":flip=horizontal" if mirrored else ""
    write(path.with_suffix(".mp4"), [STORED] * 3, range(3), Fraction(1, 25))
    with av.open(str(path.with_suffix(".mp4"))) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        wanted = f"h264_metadata=display_orientation=insert:rotate={90 * quarters}{flip}"
        filters = BitStreamFilterContext(wanted, source.streams.video[0])
        for packet in (one for read in source.demux(video=0) if read.size for one in filters.filter(read)):
            packet.stream = stream
            out.mux(packet)
    return path


MAKERS: dict[str, Callable[..., Path]] = {"a.mp4": in_track_header, "a.mov": in_track_header, "a.mkv": in_stream}


@pytest.mark.parametrize("matrix", MATRICES, ids=str)
@pytest.mark.parametrize("name", MAKERS)
def test_every_orientation_is_shown_upright(name, matrix, tmp_path):
    path, expected = MAKERS[name](tmp_path / name, matrix), shown(STORED, matrix)
    for grey in (False, True):
        frame = next(read_frames(path, grey=grey))
        np.testing.assert_allclose(frame, expected[..., 0] if grey else expected, atol=40)


@pytest.mark.parametrize("matrix", MATRICES, ids=str)
def test_parts_of_a_picture_are_those_of_the_whole(matrix, tmp_path):
    picture = next(read_pictures(in_track_header(tmp_path / "a.mov", matrix, codec="mpeg4")))
    height, width = shown(STORED, matrix).shape[:2]
    assert picture.size == (width, height)
    box = left, top, right, bottom = (4, 2, width - 6, height - 8)
    part = picture.part(box, (right - left, bottom - top))
    grey_HW = picture.grey(box)
    np.testing.assert_allclose(part, picture.colour()[top:bottom, left:right], atol=12)
    np.testing.assert_array_equal(grey_HW, picture.grey()[top:bottom, left:right])
    beyond = picture.part((-4, left, width + 6, bottom), (width + 10, bottom - left))
    edge = cv2.copyMakeBorder(picture.colour()[left:bottom], 0, 0, 4, 6, cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(beyond, edge, atol=12)


def test_a_matrix_between_two_quarters_goes_to_the_nearer(tmp_path):
    path = tmp_path / "tilted.mp4"
    write(path, [STORED] * 3, range(3), Fraction(1, 25), rotation=100)
    with av.open(str(path)) as container:
        assert Orientation.of(next(container.decode(video=0))) == Orientation(True, False, True)  # 90 counterclockwise
