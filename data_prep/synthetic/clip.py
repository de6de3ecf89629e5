"""Make one clip, text to speech to motion to frames, and its manifest line."""

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from avspeech.files import written_whole
from avspeech.manifest import Utterance
from data_prep.synthetic.espeak import Espeak
from data_prep.synthetic.motion import draw_motion
from data_prep.synthetic.plan import Clip
from data_prep.synthetic.render import Motion, Renderer
from data_prep.synthetic.rig import build_rig
from data_prep.synthetic.speaker import Speaker
from data_prep.synthetic.speech import Speech, say
from data_prep.synthetic.texts import reference_of
from data_prep.synthetic.trajectory import viseme_labels
from data_prep.synthetic.visemes import MOUTH, NAMES
from data_prep.synthetic.write_clip import write_talking_face, write_voice


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
    """Write a clip unless it exists; return its manifest line.

    It becomes ``video/<id>.mp4`` or, audio only, ``audio/<id>.wav``; ``truth`` also writes ``truth/<id>.npz``.
    """
    cv2.setNumThreads(1)
    speech, motion = perform(clip, espeak)
    path = folder / "video" / f"{clip.id}.mp4" if clip.has_face else folder / "audio" / f"{clip.id}.wav"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if clip.has_face:
            write_talking_face(path, renderer_of(clip.speaker).frames(motion), speech.audio_S)
        else:
            write_voice(path, speech.audio_S)
    if truth and clip.has_face:
        write_truth(folder / "truth" / f"{clip.id}.npz", speech, motion)
    return Utterance(
        id=clip.id,
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
    arrays = {"mouth_TF": motion.mouth_TF, "mouth": np.array(MOUTH), "viseme_T": viseme_T, "visemes": np.array(NAMES)}
    with written_whole(path) as unfinished:
        np.savez_compressed(unfinished, **arrays)
