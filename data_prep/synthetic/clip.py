"""Make one clip, text to speech to motion to frames, and its manifest line.

It is a talking face as mp4 (H.264 at 25 fps, AAC 16 kHz mono) or a voice as wav. One encoder thread and bit-exact
switches give the same bytes on one installation. The mp4's edit list removes the AAC delay, so that audio and video
both start at zero.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer

from avspeech.files import written_whole
from avspeech.manifest import Utterance
from avspeech.timebase import FRAME_RATE, SAMPLE_RATE
from data_prep.synthetic.espeak import Espeak
from data_prep.synthetic.motion import draw_motion, viseme_labels
from data_prep.synthetic.plan import Clip
from data_prep.synthetic.render import Motion, Renderer
from data_prep.synthetic.rig import build_rig
from data_prep.synthetic.speaker import Speaker
from data_prep.synthetic.speech import Speech, say
from data_prep.synthetic.texts import reference_of
from data_prep.synthetic.visemes import MOUTH, NAMES

QUALITY = {"crf": "22", "preset": "ultrafast", "threads": "1"}
AUDIO_BIT_RATE = 64_000


@lru_cache(maxsize=2)
def renderer_of(speaker: Speaker) -> Renderer:
    """Return a speaker's renderer, cached because painting a face takes 0.2 s."""
    return Renderer(build_rig(speaker.seed, speaker.sex))


def perform(clip: Clip, espeak: Espeak) -> tuple[Speech, Motion]:
    """Return the speech and motion of a clip without rendering (milliseconds)."""
    speech_rng, motion_rng = (np.random.default_rng((clip.seed, stream)) for stream in (0, 1))
    speech = say(espeak, clip.text, clip.language, clip.speaker.voice, speech_rng)
    return speech, draw_motion(speech, clip.speaker, motion_rng)


def make_clip(clip: Clip, folder: Path, espeak: Espeak, truth: bool = False) -> Utterance:
    """Write ``video/<id>.mp4`` or ``audio/<id>.wav`` unless it exists, and ``truth``; return the manifest line."""
    cv2.setNumThreads(1)
    speech, motion = perform(clip, espeak)
    path = folder / (f"video/{clip.id}.mp4" if clip.has_face else f"audio/{clip.id}.wav")
    if not path.exists() and clip.has_face:
        write_talking_face(path, renderer_of(clip.speaker).frames(motion), speech.audio_S)
    elif not path.exists():
        write_voice(path, speech.audio_S)
    if truth and clip.has_face:
        write_truth(folder / "truth" / f"{clip.id}.npz", speech, motion)
    return Utterance(
        id=clip.id,
        corpus="synthetic",
        video=path if clip.has_face else None,
        audio=path,
        num_frames=speech.num_frames,
        num_samples=len(speech.audio_S),
        text=reference_of(clip.text, clip.language),
        language=clip.language,
        speaker=clip.speaker.name,
        words=speech.words,
    )


def write_truth(path: Path, speech: Speech, motion: Motion) -> None:
    """Write the mouth's motion: ``mouth_TF`` (columns ``mouth``), ``viseme_T`` (indices into ``visemes``)."""
    viseme_T = viseme_labels(speech.phones, speech.num_frames)
    mouth, visemes = np.array(MOUTH), np.array(NAMES)
    with written_whole(path) as unfinished:
        np.savez_compressed(unfinished, mouth_TF=motion.mouth_TF, mouth=mouth, viseme_T=viseme_T, visemes=visemes)


@contextmanager
def _written(path: Path) -> Iterator[OutputContainer]:
    """Open a container for writing; it gets its name when it is whole."""
    with written_whole(path) as unfinished, av.open(str(unfinished), "w", options={"fflags": "+bitexact"}) as container:
        yield container


def write_talking_face(path: Path, frames: Iterable[np.ndarray], audio_S: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB frames at 25 fps, H and W even, with audio in [-1, 1]."""
    with _written(path) as container:
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
    """Write a 16-bit wav."""
    with _written(path) as container:
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
