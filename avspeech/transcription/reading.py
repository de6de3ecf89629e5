"""Read sound and faces of a file, find speech, and cut segments with mouth crops.

Memory: 17 minutes of sound at most (``media.sound``), 0.5 kB per frame and face, 9 kB per frame of crops, one video
frame.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from avspeech.inputs import Modality, fit_samples
from avspeech.media.container import Tracks
from avspeech.media.errors import MediaError
from avspeech.media.reading import find_tracks, read_pictures
from avspeech.media.sound import Sound
from avspeech.media.video import Picture
from avspeech.roi.faces import FollowedFaces, follow_faces
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.lips import FaceSpan, crop_faces
from avspeech.roi.track import MOUTH_ALREADY
from avspeech.timebase import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME
from avspeech.transcription.cutting import CuttingConfig, Interval, Speech, cut_segments, find_speech
from avspeech.transcription.face_choice import FaceChoice, check_face, choose_faces, openness_in, openness_of
from avspeech.transcription.hearing import Sounds, choose_sound, read_sounds, tracks_note, without_offset
from avspeech.transcription.result import Doubt, Segment
from avspeech.transcription.speech_activity import frame_level, lip_activity, speech_probability
from avspeech.transcription.streams import Streams
from avspeech.transcription.trust import APART, FEWEST_PICTURES, FOREIGN, UNHEARD, has_voice, is_clear, too_few
from avspeech.transcription.who_speaks import SYNCHRONY, load_watcher, score_faces, shift_sound, watch

Progress = Callable[[float], None]  # called with the finished share of the work, 0 to 1
AROUND = FRAME_RATE // 2  # frames on either side of a segment in which its pauses are sought, too
MIN_LIP_FRAMES = 10  # shortest video in frames that is read without sound; 0.4 s
FIRST_PASS = 0.75  # share of the work until the faces are found; the rest is cropping
_HINT = "give a file with sound, or with a face"


def read_streams(
    path: str | Path,
    modality: Modality,
    cutting: CuttingConfig,
    face: FaceChoice = "speaking",
    audio_S: Sound | None = None,
    progress: Progress | None = None,
    crop: str = "official",
    who_speaks: str = SYNCHRONY,
    repair_sync: bool = False,
    audio_track: int | None = None,
    exact_sound: bool = False,
) -> Streams:
    """Return the streams of ``modality`` of a file, cut into segments of speech; ``audio_S`` replaces its sound.

    ``crop``: how the mouth is cut, see ``InputSpec``. ``who_speaks``: see ``load_watcher``. ``repair_sync``: shift the
    sound onto the picture where the offset is sure. ``audio_track``: number of the sound track from 1; None: see
    ``hearing``. ``exact_sound``: keep a constant offset of the samples. Raises MediaError if the file cannot be used or
    lacks sound and face, ValueError for a wrong ``face``, ``crop`` or ``who_speaks``.
    """
    check_face(face)
    tell = progress or (lambda share: None)
    streams = _decode(Path(path), modality, face, audio_S, tell, crop, audio_track)
    if streams.audio_S is not None and not exact_sound:
        streams = replace(streams, audio_S=without_offset(streams.audio_S))
    if streams.faces and streams.audio_S is not None:
        load_watcher(who_speaks)  # a wrong name is an error for one face too
    streams = _cut(streams, cutting, face, tell, crop, who_speaks)
    found = streams.offset
    if repair_sync and found is not None and found.is_sure:
        assert streams.audio_S is not None
        moved = replace(streams, audio_S=shift_sound(streams.audio_S, found.frames))
        streams = replace(_cut(moved, cutting, face, tell, crop, who_speaks), offset=replace(found, repaired=True))
    tell(1.0)
    return streams


def _cut(
    streams: Streams, cutting: CuttingConfig, face: FaceChoice, tell: Progress, crop: str, who_speaks: str
) -> Streams:
    """Return the streams with their segments, and the offset between sound and picture."""
    probability_T, speech = _detect_speech(streams, face, cutting)
    segments, mouths = _make_segments(streams, cut_segments(speech, cutting), face, tell, crop, who_speaks)
    has_speech = bool(speech.speech_T.any())
    streams = replace(streams, speech_T=probability_T, has_speech=has_speech, segments=tuple(segments))
    found, foreign = None, ()
    if has_speech and streams.audio_S is not None:
        voiced = [one for one in segments if one.face is not None and _is_heard(streams, one)]
        spans = [FaceSpan(one.face, *_within(one.frames, streams)) for one in voiced if one.face is not None]
        found, seen = watch(streams.followed, spans, mouths, streams.audio_S)
        foreign = tuple(dict.fromkeys(one.frames for one in voiced if _within(one.frames, streams) in seen))
    streams = replace(streams, offset=found, foreign=foreign)
    segments = tuple(replace(one, doubt=_doubt(streams, one)) for one in segments)
    undecided = {one.frames for one in segments if one.doubt != FOREIGN}
    return replace(streams, segments=segments, foreign=tuple(one for one in foreign if one in undecided))


def _is_heard(streams: Streams, segment: Segment) -> bool:
    return streams.speech_T is not None and has_voice(streams.speech_T[slice(*segment.frames)])


def _doubt(streams: Streams, segment: Segment) -> Doubt | None:
    """Return why one of a segment's streams is not read beside the other."""
    if segment.face is None or segment.mouth_THW is None:
        return None
    start, end = segment.frames
    if streams.audio_S is not None and not _is_heard(streams, segment):
        moving_T = lip_activity(openness_in(streams.faces[segment.face], segment.frames))
        return UNHEARD if moving_T.any() else None
    if (rate := streams.followed.frame_rate(start, end)) < FEWEST_PICTURES:
        return too_few(rate)
    if streams.audio_S is None or streams.offset is None:
        return None
    around_S = streams.audio_S[max(start - AROUND, 0) * SAMPLES_PER_FRAME : (end + AROUND) * SAMPLES_PER_FRAME]
    if segment.frames in streams.foreign and is_clear(around_S):
        return FOREIGN
    return APART if streams.offset.told else None


def _within(interval: Interval, streams: Streams) -> Interval:
    """Return an interval without the frames after the picture."""
    return interval[0], min(interval[1], streams.followed.num_frames)


def _decode(
    path: Path,
    modality: Modality,
    face: FaceChoice,
    given_S: Sound | None,
    tell: Progress,
    crop: str,
    audio_track: int | None,
) -> Streams:
    tracks, remarks = find_tracks(path), []
    sounds = Sounds({}, "")
    if "audio" in modality and given_S is None:
        sounds = read_sounds(path, tracks.sounds, remarks, audio_track)
    elif "audio" in modality and given_S is not None and len(given_S):
        sounds = Sounds({1: given_S}, "")
    tell(0.02)
    followed = FollowedFaces((), 0, 0)
    if "video" in modality and tracks.has_video:
        expected = (tracks.duration_s or 0) * FRAME_RATE
        with FaceFinder() as finder:
            followed = follow_faces(_counted(read_pictures(path, remarks), expected, tell), finder, alignment=crop)
    remarks += followed.notes
    audio_S = None
    if sounds.by_track:
        number, why = choose_sound(sounds, followed)
        audio_S = sounds.by_track[number]
        remarks += [tracks_note(tracks.sounds, number, why)] if why else []
    num_seen, num_faces = followed.num_frames, len(followed.faces)
    if audio_S is None and num_seen < MIN_LIP_FRAMES:
        raise MediaError(path, _too_little(tracks, num_seen, modality))
    small = f" ({MOUTH_ALREADY})" if followed.is_small and not num_faces else ""
    if small and audio_S is not None:
        remarks.append(f"No face is found in {MOUTH_ALREADY}.")
    if audio_S is None and not num_faces:
        raise MediaError(path, f"shows no face in {num_seen} frames, and there is no sound; {_HINT}{small}")
    if num_seen and isinstance(face, int) and face > max(num_faces, 1):
        shows = f"{num_faces} face{'' if num_faces == 1 else 's'}"
        raise MediaError(path, f"shows {shows}, face {face} was asked for; choose a smaller number")
    streams = Streams(path, modality, audio_S, followed, lacks=tracks.lacks)
    picture_s, sound_s = num_seen / FRAME_RATE, streams.num_samples / SAMPLE_RATE
    read_s, promised_s = streams.duration_s, tracks.promised_s
    if num_seen and given_S is None and sound_s and abs(picture_s - sound_s) > 0.5 + read_s / 100:
        remarks.append(f"The picture lasts {picture_s:.1f} s, the sound {sound_s:.1f} s: one may be cut off.")
    elif promised_s is not None and promised_s - read_s > 0.5 + promised_s / 100:
        remarks.append(f"What was read lasts {read_s:.1f} s, the container says {promised_s:.1f} s.")
    return replace(streams, remarks=tuple(remarks))


def _counted(pictures: Iterator[Picture], expected: float, tell: Progress) -> Iterator[Picture]:
    for number, picture in enumerate(pictures):
        if number % FRAME_RATE == 0 and expected > 0:
            tell(0.02 + (FIRST_PASS - 0.02) * min(number / expected, 1.0))
        yield picture


def _too_little(tracks: Tracks, num_frames: int, modality: Modality) -> str:
    if tracks.has_video and num_frames == 0:
        return f"has no sound, and its picture was not asked for (modality {modality}); {_HINT}"
    if tracks.has_video:
        sound = "sound was not asked for" if tracks.has_audio and modality == "video" else "there is no sound"
        few = "is a still picture" if num_frames == 1 else f"has only {num_frames} frames of picture"
        return f"{few} (lips are read from {MIN_LIP_FRAMES} frames on), and {sound}; {_HINT}"
    if tracks.has_audio and modality == "video":
        return f"has a sound track and no picture, which modality {modality} needs; use modality audio"
    lacks = " ".join(tracks.lacks) if tracks.undecodable else "has neither a sound track nor a picture;"
    return f"{lacks} {_HINT}"


def _detect_speech(streams: Streams, face: FaceChoice, cutting: CuttingConfig) -> tuple[np.ndarray | None, Speech]:
    """Return the probability of speech in the sound, if any, and where speech is heard or seen."""
    prob_T, level_T, num_frames = None, None, streams.num_frames
    if (audio_S := streams.audio_S) is not None:
        prob_T, level_T = (fit_samples(make(audio_S), num_frames) for make in (speech_probability, frame_level))
    return prob_T, find_speech(prob_T, openness_of(streams.faces, face, num_frames), num_frames, cutting, level_T)


def _make_segments(
    streams: Streams, intervals: Sequence[Interval], face: FaceChoice, tell: Progress, crop: str, who_speaks: str
) -> tuple[list[Segment], dict[int, np.ndarray]]:
    """Return a segment with mouth crops per interval, with ``all`` one per speaking face; and the crops by face."""
    if not streams.has_video:
        return [Segment(*_seconds(one, streams)) for one in intervals], {}
    watched = {one: _contested(streams, one, face, who_speaks) for one in intervals}
    chosen = {one: choose_faces(streams.followed, one, streams.audio_S, face) for one in intervals if not watched[one]}
    clips: dict[int, set[FaceSpan]] = defaultdict(set)
    for one in intervals:
        faces = [span.face for span in watched[one]] or [index for index, _ in chosen[one] if index is not None]
        for index in faces:
            clips[index].add(FaceSpan(index, *_within(one, streams)))
    mouths: dict[int, np.ndarray] = {}
    if clips:
        spans = [sorted(clips[index]) for index in clips]

        def show(share: float) -> None:
            tell(FIRST_PASS + share * (1 - FIRST_PASS))

        crops = crop_faces(streams.source, streams.followed, spans, alignment=crop, progress=show)
        mouths = dict(zip(clips, crops, strict=True))
    if contested := [span for spans in watched.values() for span in spans]:
        model = load_watcher(who_speaks)
        assert model is not None and streams.audio_S is not None
        scores = score_faces(model, streams.source, streams.followed, contested, mouths, streams.audio_S)
        for one, spans in watched.items():
            if spans:
                by_face = {span.face: scores[span] for span in spans}
                chosen[one] = choose_faces(streams.followed, one, streams.audio_S, face, by_face)
    segments = []
    for one in intervals:
        for index, share in chosen[one]:
            label = f"speaker {index + 1}" if face == "all" and index is not None else None
            segment = Segment(*_seconds(one, streams), face=index, face_share=share, speaker=label)
            segments.append(segment if index is None else _with_mouth(segment, mouths[index]))
    return segments, mouths


def _seconds(interval: Interval, streams: Streams) -> tuple[float, float]:
    return interval[0] / FRAME_RATE, min(interval[1] / FRAME_RATE, streams.duration_s)


def _contested(streams: Streams, interval: Interval, choice: FaceChoice, who_speaks: str) -> list[FaceSpan]:
    """Return the spans of the faces between which a model must choose; empty: no model is asked."""
    start, end = _within(interval, streams)
    if streams.audio_S is None or choice not in ("speaking", "all") or end <= start:
        return []
    known = [index for index, one in enumerate(streams.faces) if one.share_found(start, end) > 0]
    if len(known) < 2 or load_watcher(who_speaks) is None:
        return []
    return [FaceSpan(index, start, end) for index in known]


def _with_mouth(segment: Segment, mouth_THW: np.ndarray) -> Segment:
    """Return the segment with its crops; the last is repeated if the sound is longer."""
    own_THW = mouth_THW[slice(*segment.frames)]
    if missing := segment.num_frames - len(own_THW):
        own_THW = np.pad(own_THW, ((0, missing), (0, 0), (0, 0)), mode="edge")
    return replace(segment, mouth_THW=own_THW)
