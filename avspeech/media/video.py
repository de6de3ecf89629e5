"""Read any video as 25 fps frames, write 25 fps video, and read whole mouth clips.

Output frame ``i`` is the last source frame before ``(i + 0.5)/25`` s after the container's start, as in FFmpeg's
``fps`` filter with ``round=near``. A late start repeats the first frame. The video ends with its last frame's duration.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av
import av.codec.context
import av.container
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Interpolation

from avspeech.media.container import guard, open_media
from avspeech.media.decode import Timed, find_wanted, origin, tell
from avspeech.media.errors import MediaError
from avspeech.media.sound import Sound
from avspeech.media.spans import check_reached, decode_part
from avspeech.timebase import FRAME_RATE, SAMPLE_RATE, Span, frames_to_samples

MAX_PIXELS = 2**27
"""Largest picture: 16,384x8,192. One such frame takes 0.5 GB as RGB and luma."""
_LUMA_FIRST = {"yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p", "nv12", "nv21", "gray"}
"""Pixel formats whose first plane is 8-bit luma."""
_EXPAND = np.clip(np.round((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)
"""Studio range 16..235 to 0..255."""
_REDUCE = np.round(np.arange(256) * (219 / 255) + 16).astype(np.uint8)
"""0..255 to studio range."""
_HALF = Fraction(1, 2 * FRAME_RATE)
_FLIPS = {(True, False): 1, (False, True): 0, (True, True): -1}
"""OpenCV's codes of mirrored x and y."""


def read_frames(path: str | Path, grey: bool = False, span: Span | None = None) -> Iterator[np.ndarray]:
    """Yield a video's frames at 25 fps, uint8 RGB (H, W, 3) or ``grey`` full-range luma (H, W); ``span``: these only.

    Frames are upright with square pixels, each of its own size if that changes, and read-only: a repeated frame is the
    same array. NoVideo: no video track. MediaError: the file is missing, empty, no media, damaged, or cut off.
    """
    for picture in read_pictures(path, span=span):
        yield picture.grey() if grey else picture.colour()


class Orientation(NamedTuple):
    """How a stored picture is shown: its axes exchanged, then mirrored."""

    exchanged: bool
    mirrored_x: bool
    mirrored_y: bool

    @classmethod
    def of(cls, frame: Any) -> "Orientation":
        """Read the display matrix (x' = ax + cy, y' = bx + dy; FFmpeg's ``display.h``); other angles to the nearest."""
        if (matrix := frame.side_data.get("DISPLAYMATRIX")) is None:
            return UPRIGHT
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
        exchanged = abs(b) + abs(c) > abs(a) + abs(d)
        return cls(exchanged, (c if exchanged else a) < 0, (b if exchanged else d) < 0)

    def show(self, image: np.ndarray) -> np.ndarray:
        """Return the upright picture, (H, W) or (H, W, 3)."""
        image = cv2.transpose(image) if self.exchanged else image
        return image if (flip := _FLIPS.get(self[1:])) is None else cv2.flip(image, flip)


UPRIGHT = Orientation(False, False, False)


class Picture:
    """A decoded frame, converted on first use because most frames are never used."""

    def __init__(
        self, path: Path, frame: Any, size: tuple[int, int], orientation: Orientation, times: Sequence[Fraction]
    ) -> None:
        self._path, self._frame, self._size, self._times = path, frame, size, times
        self._orientation = orientation
        self._arrays: dict[bool, np.ndarray] = {}

    def colour(self) -> np.ndarray:
        """Return upright RGB uint8, (H, W, 3)."""
        return self._converted(grey=False)

    def grey(
        self,
        box: tuple[int, int, int, int] | None = None,
        resample: Callable[[np.ndarray], np.ndarray] = lambda grey_HW: grey_HW,
    ) -> np.ndarray:
        """Return upright full-range luma, uint8 (H, W), of (left, top, right, bottom) inside the picture or of all.

        ``resample`` is applied to it, where possible before its levels are stretched: most callers want fewer pixels.
        """
        left, top, right, bottom = box or (0, 0, *self.size)
        frame = self._frame
        plain = frame.format.name in _LUMA_FIRST and self._size == (frame.width, frame.height)
        if box is None or not plain or self._orientation != UPRIGHT or True in self._arrays:
            return resample(self._converted(grey=True)[top:bottom, left:right])
        return _expanded(frame, resample(_plane(frame, 0)[top:bottom, left:right]))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture."""
        return (self._size[1], self._size[0]) if self._orientation.exchanged else self._size

    @property
    def shown_s(self) -> tuple[float, float]:
        """Seconds from the container's (or the part's) start, from and until which the source shows this frame."""
        start, time, until = self._times
        return float(time - start), float(until - start)

    def part(self, box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
        """Return (left, top, right, bottom) of the upright picture at ``size`` (width, height), RGB uint8.

        Beyond the picture, its edge continues. Where the frame is 4:2:0, only that part is converted, and each colour
        difference serves four pixels.
        """
        inside = (max(box[0], 0), max(box[1], 0), min(box[2], self.size[0]), min(box[3], self.size[1]))
        if inside != tuple(box):
            left, top, right, bottom = _scaled(inside, box, size)
            image = self.part(inside, (right - left, bottom - top))
            edges = top, size[1] - bottom, left, size[0] - right
            return cv2.copyMakeBorder(image, *edges, cv2.BORDER_REPLICATE)
        frame, (left, top, right, bottom) = self._frame, box
        planar = frame.format.name in ("yuv420p", "yuvj420p") and self._size == (frame.width, frame.height)
        if not planar or self._orientation != UPRIGHT:
            return _resized(self.colour()[top:bottom, left:right], size)
        halves = slice(top // 2, (bottom + 1) // 2), slice(left // 2, (right + 1) // 2)
        width, height = (-(-side // 2) for side in size)
        luma_HW = _resized(_plane(frame, 0)[top:bottom, left:right], size)
        colours = [cv2.resize(_plane(frame, index)[halves], (width, height)) for index in (1, 2)]
        studio = np.empty((3 * height, 2 * width), np.uint8)
        studio[: size[1], : size[0]] = cv2.LUT(luma_HW, _REDUCE) if _is_full(frame) else luma_HW
        studio[2 * height :] = np.stack(colours).reshape(height, 2 * width)
        return cv2.cvtColor(studio, cv2.COLOR_YUV2RGB_I420)[: size[1], : size[0]]

    def _converted(self, grey: bool) -> np.ndarray:
        if grey not in self._arrays:
            with guard(self._path, "a frame cannot be converted"):
                self._arrays[grey] = self._orientation.show(_to_array(self._frame, grey, self._size))
        return self._arrays[grey]


def read_pictures(path: str | Path, notes: list[str] | None = None, span: Span | None = None) -> Iterator[Picture]:
    """Yield the frames of ``read_frames`` unconverted; a repeated frame is the same object. Errors as ``read_frames``.

    ``notes`` receives notes on concealed damage; None logs them. ``span``: a ``Span``, of whose frames alone come, the
    same as if all were read. MediaError: the video ends half a second or more before the span does.
    """
    path = Path(path)
    part = Span(0, None) if span is None else Span(*span)  # a list from another process
    with open_media(path) as container:
        wanted = find_wanted(path, container, "video", prepare=partial(_prepare, path))
        start = origin(path, container)
        begin = start + Fraction(part.first, FRAME_RATE)
        last = None if part.end is None else start + Fraction(part.end, FRAME_RATE)
        frames, _ = decode_part(path, container, wanted, start, notes, begin + _HALF, last)
        shown, picture, orientation, count = None, None, UPRIGHT, 0
        for timed, until in _at_25_fps(frames, start, part):
            count += 1
            if picture is None or timed is not shown:
                frame, shown = timed.frame, timed
                _check_size(path, frame)
                wide = Fraction(1, 4) < timed.aspect < 4
                size = round(frame.width * timed.aspect) if wide else frame.width, frame.height
                if picture is None or frame.key_frame:  # PyAV's side data and frames hold each other until a search
                    orientation = Orientation.of(frame)
                picture = Picture(path, frame, size, orientation, (begin, timed.time, until))
            yield picture
        if span is not None and (note := check_reached(path, count, part)) is not None:
            tell(path, notes, note)


def _prepare(path: Path, stream: Any) -> None:
    stream.codec_context.thread_count = 1  # clips are read in parallel
    _check_size(path, stream.codec_context)


def _check_size(path: Path, picture: Any) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        size = f"{picture.width}x{picture.height}"
        raise MediaError(path, f"has pictures of {size}, wanted at most {MAX_PIXELS:,} pixels; scale it down")


def _at_25_fps(frames: Iterable[Timed], start: Fraction, part: Span) -> Iterator[tuple[Timed, Fraction]]:
    """Yield a source frame, and when the next one comes, for every output frame of a part by the frame rule above."""
    current, count, end = None, part.first, start
    most = inf if part.end is None else part.end
    for timed in frames:
        current = timed if current is None else current
        due = _frames_by(timed.time - start)
        while count < min(due, most):
            yield current, timed.time
            count += 1
        current, end = timed, max(end, timed.time + timed.duration)
    while current is not None and count < min(max(_frames_by(end - start), 1), most):
        yield current, end
        count += 1


def _frames_by(time: Fraction) -> int:
    """Return how many output frames have their middle at or before this time, in integers for speed."""
    return (2 * FRAME_RATE * time.numerator + time.denominator) // (2 * time.denominator)


def _to_array(frame: Any, grey: bool, size: tuple[int, int]) -> np.ndarray:
    if grey and size == (frame.width, frame.height) and frame.format.name in _LUMA_FIRST:
        return _luma(frame)
    interpolation = Interpolation.AREA if size[0] < frame.width else Interpolation.BICUBIC
    kind = "gray" if grey else "rgb24"
    array = frame.to_ndarray(format=kind, width=size[0], height=size[1], interpolation=interpolation)
    return np.ascontiguousarray(array)  # PyAV leaves padding at the end of rows


def _luma(frame: Any) -> np.ndarray:
    """Return the first plane in full range; several times faster than swscale."""
    return _expanded(frame, _plane(frame, 0))


def _plane(frame: Any, index: int) -> np.ndarray:
    """Return a view of one 8-bit plane."""
    plane = frame.planes[index]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


def _expanded(frame: Any, luma_HW: np.ndarray) -> np.ndarray:
    return luma_HW.copy() if _is_full(frame) else cv2.LUT(luma_HW, _EXPAND)  # type: ignore[return-value]


def _is_full(frame: Any) -> bool:
    kind = frame.format.name
    full = kind.startswith("yuvj") or frame.color_range == ColorRange.JPEG
    return full or (kind == "gray" and frame.color_range != ColorRange.MPEG)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    interpolation = cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=interpolation)


def _scaled(inner: Sequence[int], outer: Sequence[int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return where the box ``inner`` lies in a picture of the box ``outer`` at ``size`` (width, height)."""
    across, down = size[0] / (outer[2] - outer[0]), size[1] / (outer[3] - outer[1])
    left, top = round((inner[0] - outer[0]) * across), round((inner[1] - outer[1]) * down)
    right, bottom = round((inner[2] - outer[0]) * across), round((inner[3] - outer[1]) * down)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return uint8 (H, W) or (H, W, 3) scaled to fit ``size`` (width, height), its shape kept, black around it."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    left, top, right, bottom = inner_box((width, height), size)
    edges = top, size[1] - bottom, left, size[0] - right
    inner = _resized(image, (right - left, bottom - top))
    return cv2.copyMakeBorder(inner, *edges, cv2.BORDER_CONSTANT, value=(0, 0, 0))


def inner_box(size: tuple[int, int], outer: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return where ``fit`` puts a picture of ``size`` (width, height) in one of ``outer``: left, top, right, bottom."""
    scale = min(outer[0] / size[0], outer[1] / size[1])
    width, height = (max(round(side * scale), 1) for side in size)
    left, top = (outer[0] - width) // 2, (outer[1] - height) // 2
    return left, top, left + width, top + height


def read_grey_clip(path: str | Path, smallest: int = 1, span: Span | None = None) -> np.ndarray:
    """Return a whole mouth crop, (T, H, W) uint8 full range: ``read_frames``, each of the first's size (``fit``).

    MediaError, NoVideo: as ``read_frames``, or a side has fewer than ``smallest`` pixels.
    """
    frames = list(read_frames(path := Path(path), grey=True, span=span))
    height, width = frames[0].shape
    if min(height, width) < smallest:
        raise MediaError(path, f"is {height}x{width}, wanted {smallest} pixels a side; extract it anew")
    return np.stack([fit(frame_HW, (width, height)) for frame_HW in frames])


def write_video(
    path: str | Path | BinaryIO,
    frames: Iterable[np.ndarray],
    audio_S: Sound | None = None,
    *,
    crf: int = 18,
    preset: str = "veryfast",
    tune: str = "",
) -> int:
    """Write H.264 (and AAC) at 25 fps into an mp4 file, the same bytes for the same input; return the number of frames.

    Grey is stored in full range, RGB in studio range. The file is incomplete until this returns: use
    ``avspeech.files.written_whole``. ValueError: no frame, or one of odd or changing size or of a wrong type.

    Args:
        frames: uint8 (H, W) grey or (H, W, 3) RGB, all of one even height and width.
        audio_S: float32 mono at 16 kHz in [-1, 1], starting with the first frame; None writes no sound.
        crf: x264's quality: 0 is lossless, 18 nearly so to the eye, 28 visibly worse.
        preset: x264's speed.
        tune: x264's tune, such as ``fastdecode``.
    """
    frames = iter(frames)
    if (first := next(frames, None)) is None:
        raise ValueError(f"no frame to write to {path}; expected at least one")
    _check_frame(first, first.shape)
    grey = first.ndim == 2
    with av.open(str(path) if isinstance(path, str | Path) else path, "w", format="mp4") as container:
        container.flags = av.container.Flags.bitexact.value
        # x264's macroblock tree gives different bytes from run to run on small pictures (seen: 96x96, one thread).
        options = {"crf": str(crf), "preset": preset, "x264-params": "mbtree=0"}
        options |= {"tune": tune} if tune else {}
        video: Any = container.add_stream("libx264", FRAME_RATE, options=options)
        video.height, video.width = first.shape[:2]
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        video.codec_context.flags |= av.codec.context.Flags.bitexact
        video.codec_context.color_range = ColorRange.JPEG if grey else ColorRange.MPEG
        sound: Any = None
        if audio_S is not None:
            sound = container.add_stream("aac", SAMPLE_RATE, layout="mono")
            sound.bit_rate = 64_000
            sound.codec_context.flags |= av.codec.context.Flags.bitexact
        chunks = iter(() if audio_S is None else _to_sound_frames(audio_S))
        count = written = 0
        for count, image in enumerate(itertools.chain([first], frames), start=1):
            _check_frame(image, first.shape)
            container.mux(video.encode(_to_frame(image, count - 1)))
            end = frames_to_samples(count)
            while sound is not None and written < end and (chunk := next(chunks, None)):  # they alternate in the file
                container.mux(sound.encode(chunk))
                written += chunk.samples
        container.mux(video.encode(None))
        if sound is not None:
            for chunk in [*chunks, None]:
                container.mux(sound.encode(chunk))
    return count


def _check_frame(image: np.ndarray, shape: tuple[int, ...]) -> None:
    sound = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if not sound or image.dtype != np.uint8 or image.shape != shape or image.shape[0] % 2 or image.shape[1] % 2:
        raise ValueError(
            f"a frame of shape {image.shape}, {image.dtype} came; wanted uint8 (H, W) or (H, W, 3), H and W even, "
            f"all like the first, {shape}"
        )


def _to_frame(image: np.ndarray, index: int) -> av.VideoFrame:
    if image.ndim == 2:
        height, width = image.shape
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        planes[:height] = image
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.color_range = ColorRange.JPEG
    else:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="yuv420p")
        frame.color_range = ColorRange.MPEG
    frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
    return frame


def _to_sound_frames(audio_S: Sound, size: int = 1024) -> Iterator[av.AudioFrame]:
    for start in range(0, len(audio_S), size):
        piece_S = np.clip(audio_S[start : start + size].astype(np.float32), -1, 1)
        frame = av.AudioFrame.from_ndarray(piece_S[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        yield frame
