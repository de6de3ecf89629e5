"""Lips and sound as bytes of a shard, in two profiles.

``fast``: the frames stacked in one JPEG picture, int16 PCM. ``small``: H.264 that skips the slow steps of decoding
(x264's ``fastdecode``), FLAC. Sound is kept exactly in both.
"""

import io
from collections.abc import Iterator
from typing import Any

import av
import av.codec.context
import av.container
import cv2
import numpy as np

from avspeech.media.video import write_video
from avspeech.shards.index import Profile
from avspeech.timebase import SAMPLE_RATE

LIPS: dict[Profile, str] = {"fast": "lips.jpg", "small": "lips.mp4"}
SOUND: dict[Profile, str] = {"fast": "sound.pcm", "small": "sound.flac"}
QUALITY = 92  # of JPEG: 0.7 grey levels of error on average, 1.7 kB a frame of 96x96
CRF = 14  # of H.264, as in ``data_prep/extract_rois.py``
LONGEST_SIDE = 65_500  # of a JPEG picture, in pixels
_BLOCK = 8  # pixels of a side that JPEG codes together; no block shows two frames


def encode_lips(mouth_THW: np.ndarray, profile: Profile) -> bytes:
    """Return the bytes of a mouth crop, (T, H, W) uint8; ``small`` takes even sides only (``write_video``)."""
    if profile == "small":
        file = io.BytesIO()
        write_video(file, mouth_THW, crf=CRF, preset="faster", tune="fastdecode")
        return file.getvalue()
    frames, height, width = mouth_THW.shape
    down, right = (-side % _BLOCK for side in (height, width))
    rows = min(frames, LONGEST_SIDE // (height + down))
    columns = -(-frames // rows)
    padding = ((0, rows * columns - frames), (0, down), (0, right))
    tiles = np.pad(mouth_THW, padding, mode="edge").reshape(columns, rows * (height + down), width + right)
    sheet = np.concatenate(list(tiles), axis=1)
    if sheet.shape[1] > LONGEST_SIDE:
        raise ValueError(f"a clip of {frames} frames of {height}x{width} is too long for one JPEG picture; cut it")
    return cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def decode_lips(content: bytes, profile: Profile, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the mouth crop of ``encode_lips``, which had this ``shape``."""
    frames, height, width = shape
    if profile == "small":
        return np.stack(list(_decode_video(content)))
    sheet: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    high, wide = height + -height % _BLOCK, width + -width % _BLOCK
    columns = np.split(sheet, sheet.shape[1] // wide, axis=1)
    tiles_THW = np.concatenate([column.reshape(-1, high, wide) for column in columns])
    return np.ascontiguousarray(tiles_THW[:frames, :height, :width])


def _decode_video(content: bytes) -> Iterator[np.ndarray]:
    with av.open(io.BytesIO(content), "r") as container:
        container.streams.video[0].thread_count = 1  # clips are read in parallel
        for frame in container.decode(video=0):
            plane: Any = frame.planes[0]  # full range luma
            yield np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width].copy()


def encode_sound(steps_S: np.ndarray, profile: Profile) -> bytes:
    """Return the bytes of int16 samples, (S,)."""
    if profile == "fast":
        return steps_S.astype("<i2").tobytes()
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as container:
        container.flags = av.container.Flags.bitexact.value
        stream: Any = container.add_stream("flac", SAMPLE_RATE, layout="mono", format="s16")
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        frame: Any = av.AudioFrame.from_ndarray(steps_S.astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def decode_sound(content: bytes, profile: Profile) -> np.ndarray:
    """Return the samples of ``encode_sound``, read-only."""
    if profile == "fast":
        return np.frombuffer(content, "<i2")
    with av.open(io.BytesIO(content), "r") as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
