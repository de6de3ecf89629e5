"""Write a talking face as mp4 (H.264 at 25 fps, AAC 16 kHz mono) or a voice as wav.

One encoder thread and bit-exact switches give the same bytes on one installation. The mp4's edit list removes the AAC
delay, so that audio and video both start at zero.
"""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer

from avspeech.files import written_whole
from avspeech.timebase import FRAME_RATE, SAMPLE_RATE

QUALITY = {"crf": "22", "preset": "ultrafast", "threads": "1"}
AUDIO_BIT_RATE = 64_000


def write_talking_face(path: Path, frames: Iterable[np.ndarray], audio_S: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB frames at 25 fps, H and W even, with audio in [-1, 1]; the final name comes last."""
    with written_whole(path) as unfinished, av.open(str(unfinished), "w", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("libx264", rate=FRAME_RATE, options=QUALITY)
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = AUDIO_BIT_RATE
        for stream in (video, audio):
            stream.codec_context.flags |= Flags.bitexact
        for index, frame_HWC in enumerate(frames):
            if index == 0:
                video.height, video.width = frame_HWC.shape[:2]
            yuv = np.asarray(cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2YUV_I420), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(yuv, format="yuv420p")))
        container.mux(video.encode(None))
        _mux_sound(container, audio, audio_S)


def write_voice(path: Path, audio_S: np.ndarray) -> None:
    """Write a 16-bit wav; the final name comes last."""
    with written_whole(path) as unfinished, av.open(str(unfinished), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        _mux_sound(container, stream, audio_S)


def _mux_sound(container: OutputContainer, stream: av.AudioStream, audio_S: np.ndarray) -> None:
    pcm = np.round(np.clip(audio_S, -1, 1) * 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
    resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=SAMPLE_RATE)
    for part in [*resampler.resample(frame), *resampler.resample(None)]:  # cuts nothing, converts the sample format
        container.mux(stream.encode(part))
    container.mux(stream.encode(None))
