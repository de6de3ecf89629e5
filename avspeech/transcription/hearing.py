"""Choose the sound track of a file that speech is read from, and take a constant offset out of its samples."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from avspeech.media.container import SoundTrack
from avspeech.media.errors import MediaError
from avspeech.media.reading import read_sound, read_sound_if_any
from avspeech.media.sound import Sound, SoundWriter
from avspeech.models.synchrony import Synchrony, odds
from avspeech.roi.faces import FollowedFaces
from avspeech.roi.lips import FaceSpan
from avspeech.timebase import SAMPLE_RATE
from avspeech.transcription.speech_activity import BLOCK, frame_level, speech_probability
from avspeech.transcription.trust import has_voice
from avspeech.transcription.who_speaks import PIECE, SURE, SYNCHRONY, lag_scores, load_watcher

OFFSET = 0.05
"""Mean of a second of sound, over the rms of the whole, that is taken out: at 0.13 the demo's model has 17 % more word
errors, at 1.3 twice as many. Clean clips have 0.03."""
LOWEST_HZ = 20.0
MOST_PIECES = 30  # pieces of 6 s of each face that tell which of several tracks fits the lips


def without_offset(audio_S: Sound) -> Sound:
    """Return float32 sound at 16 kHz without what is below ``LOWEST_HZ``; the same sound if its means are small."""
    if not len(audio_S):
        return audio_S
    means = _second_means(audio_S)
    power = float(np.mean(np.square(frame_level(audio_S), dtype=np.float64)))
    if np.abs(means).max() <= OFFSET * np.sqrt(max(power - np.mean(means**2), 0)):
        return audio_S
    from scipy.signal import butter, sosfilt, sosfilt_zi  # slow to import, and few files need it

    sections = butter(2, LOWEST_HZ, "highpass", fs=SAMPLE_RATE, output="sos")
    state, steady = sosfilt_zi(sections) * audio_S[:1], SoundWriter()
    for start in range(0, len(audio_S), BLOCK):
        steady_S, state = sosfilt(sections, audio_S[start : start + BLOCK], zi=state)
        steady.write(steady_S)
    return steady.finish()


def _second_means(audio_S: Sound) -> np.ndarray:
    """Return the mean of every second; the last one is half a one or more."""
    starts = range(0, max(len(audio_S) - SAMPLE_RATE // 2, 1), SAMPLE_RATE)
    return np.array([audio_S[start:end].mean(dtype=np.float64) for start, end in pairwise([*starts, len(audio_S)])])


class Sounds(NamedTuple):
    """The sound of the tracks that may be read, by number."""

    by_track: Mapping[int, Sound]
    chosen: str
    """Why it is these, of several."""


def read_sounds(path: Path, sounds: Sequence[SoundTrack], notes: list[str], track: int | None = None) -> Sounds:
    """Return the tracks with a voice, the default first, or else one track.

    ``track`` chooses one. MediaError: it, or every track, cannot be read.
    """
    readable = sorted((one for one in sounds if one.channels), key=lambda one: not one.is_default)
    if track is not None or len(readable) < 2:
        audio_S = read_sound_if_any(path, notes, track)
        return Sounds({} if audio_S is None or not len(audio_S) else {track or 1: audio_S}, "")
    found: dict[int, Sound] = {}
    voiced, failed = set[int](), list[MediaError]()
    for one in readable:
        try:
            audio_S = read_sound(path, notes, one.number)
        except MediaError as error:
            failed.append(error)
            notes.append(f"Sound track {one.number} cannot be read: {error.reason}.")
            continue
        if has_voice(speech_probability(without_offset(audio_S))):
            voiced.add(one.number)
        if one.number in voiced or (len(audio_S) and not found):
            found[one.number] = audio_S
    if failed and not found:
        raise failed[0]
    heard = {number: audio_S for number, audio_S in found.items() if number in voiced}
    return Sounds(heard or found, "the only one with speech" if len(voiced) == 1 else "the default")


def choose_sound(sounds: Sounds, followed: FollowedFaces) -> tuple[int, str]:
    """Return the number of the track that fits the lips, else of the first, and why."""
    first = next(iter(sounds.by_track))
    if len(sounds.by_track) < 2 or not followed.faces:
        return first, sounds.chosen
    fits = {number: _fit(followed, audio_S) for number, audio_S in sounds.by_track.items()}
    best, second, *_ = sorted(fits, key=lambda number: -fits[number])
    return (best, "its speech fits the lips") if fits[best] - fits[second] >= SURE else (first, sounds.chosen)


def _fit(followed: FollowedFaces, audio_S: Sound) -> float:
    """Return the log-odds that the faces' openings make the sound: of each piece of time those of the best face."""
    model = load_watcher(SYNCHRONY)
    assert isinstance(model, Synchrony)
    by_piece: dict[int, float] = {}
    for index, face in enumerate(followed.faces):
        edges = [*range(face.first, face.end, PIECE), face.end][: MOST_PIECES + 1]
        for start, end in pairwise(edges):
            score = float(odds(lag_scores(model, followed, FaceSpan(index, start, end), None, audio_S)))
            by_piece[start // PIECE] = max(by_piece.get(start // PIECE, -np.inf), score)
    return sum(by_piece.values())


def tracks_note(sounds: Sequence[SoundTrack], chosen: int, why: str) -> str:
    """Return the sentence that names the tracks of a file with several."""
    listing = "; ".join(str(one) for one in sounds)
    return f"Of {len(sounds)} sound tracks ({listing}), {chosen} was read, {why}; --audio_track takes another."
