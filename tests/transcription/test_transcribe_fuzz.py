"""Damaged files: they are read, or refused with a reason; nothing hangs, crashes, or is passed over in silence."""

import multiprocessing
import traceback
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import av
import numpy as np
import pytest

from avspeech.media.container import DURATION_IS_A_GUESS
from avspeech.media.errors import MediaError
from avspeech.roi.face_model import FaceModelError
from avspeech.roi.landmarks import NUM_LANDMARKS, FaceFinder
from avspeech.timebase import SAMPLES_PER_FRAME
from avspeech.transcription import reading as streams_module
from avspeech.transcription.cutting import CuttingConfig
from avspeech.transcription.reading import read_streams
from avspeech.transcription.speech_activity import load_silero
from avspeech.transcription.streams import Streams
from tests.transcription.broken_media import KINDS, write_damaged

LIMIT_S = 60  # for one file, which takes a fifth of a second; the machine may be busy
MODALITIES = ("audio+video", "audio+video", "audio", "video")
REAL_EVERY = 15  # files, of which one is looked at by the landmark network, the others by ``Claimed``


class Claimed:
    """Finds the same face in every frame, or none."""

    def __init__(self, is_there: bool) -> None:
        points_J2 = np.random.default_rng(0).uniform(0.2, 0.8, (NUM_LANDMARKS, 2))
        self.faces = [points_J2.astype(np.float32)] if is_there else []

    def detect(self, frame):
        return [points_J2 * np.array(frame.shape[1::-1], np.float32) for points_J2 in self.faces]


def promised_s(path: Path) -> float | None:
    """Return the length that FFmpeg states, not the code under test; None where it guesses."""
    with av.open(str(path), metadata_errors="replace") as container:
        guessed = (DURATION_IS_A_GUESS - {"mpeg", "mpegts"}) & set(container.format.name.split(","))
        return None if guessed or container.duration is None else container.duration / av.time_base


def fault_of(path: Path, read: Streams) -> str:
    promise_s = promised_s(path)
    if promise_s is not None and promise_s - read.duration_s > 0.5 + promise_s / 100 and not read.remarks:
        return f"{read.duration_s:.2f} of {promise_s:.2f} s came, and nothing was said"
    sound_S = read.audio_S if read.audio_S is not None else np.zeros(0)
    if len(sound_S) > read.num_frames * SAMPLES_PER_FRAME or not np.isfinite(sound_S).all():
        return "the sound is longer than the frames, or not finite"
    for segment in read.segments:
        start, end = segment.frames
        if not 0 <= start < end <= read.num_frames:
            return f"{start} to {end} is no segment of {read.num_frames} frames"
        if segment.mouth_THW is not None and segment.mouth_THW.shape != (end - start, 96, 96):
            return f"mouth crops of shape {segment.mouth_THW.shape} for {end - start} frames"
    return ""


def read_each(files: list[Path], first: int, has_network: bool, sender) -> None:
    real = FaceFinder() if has_network else Claimed(True)  # loaded once for all files
    for number, path in enumerate(files, start=first):
        looking = real if number % REAL_EVERY == 0 else Claimed(number % 4 > 0)
        streams_module.FaceFinder = lambda looking=looking: nullcontext(looking)
        try:
            fault = fault_of(path, read_streams(path, MODALITIES[number // 8 % 4], CuttingConfig()))
        except MediaError as error:
            fault = "" if error.reason and "\n" not in error.reason else f"no one-line reason: {error.reason!r}"
        except BaseException:
            fault = traceback.format_exc()
        sender.send(fault)
    sender.close()


def faults(files: list[Path], has_network: bool) -> Iterator[str]:
    """Yield what goes wrong with each file; a new process goes on where one has died or hangs."""
    context, at = multiprocessing.get_context("fork"), 0
    while at < len(files):
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=read_each, args=(files[at:], at, has_network, sender))
        child.start()
        sender.close()  # the child's end is the only one, so that its death is seen
        ended = False
        while at < len(files) and not ended:
            try:
                ended = not receiver.poll(LIMIT_S)
                fault = f"takes longer than {LIMIT_S} s" if ended else receiver.recv()
            except EOFError:
                child.join()
                ended, fault = True, f"the process died, exit status {child.exitcode}"
            yield f"{files[at].name}: {fault}" if fault else ""
            at += 1
        if ended:
            child.kill()
        child.join()


@pytest.fixture
def originals(media) -> list[Path]:
    return [media / name for name in (*KINDS, "a.wav")]


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_damage_anywhere_is_read_or_refused(count, originals, tmp_path):
    load_silero()  # once for all processes
    try:
        FaceFinder().close()
        has_network = True
    except (ImportError, FaceModelError):
        has_network = False
    files = [*originals, *write_damaged(originals, tmp_path, count, seed=count)]
    found = [fault for fault in faults(files, has_network) if fault]
    assert not found, f"{len(found)} of {len(files)} files:\n" + "\n".join(found)
