"""Sound and faces of a file in segments, what of them can be decoded, and the notes about them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from avspeech.inputs import Modality
from avspeech.media.container import LACKS
from avspeech.media.sound import Sound
from avspeech.roi.faces import Face, FollowedFaces
from avspeech.timebase import FRAME_RATE, SAMPLE_RATE, SAMPLES_PER_FRAME, samples_to_frames
from avspeech.transcription.cutting import Interval, close_gaps, runs
from avspeech.transcription.face_choice import known_frames
from avspeech.transcription.result import Doubt, Segment
from avspeech.transcription.trust import OF_BOTH, UNHEARD
from avspeech.transcription.who_speaks import Offset

SHORT_SIGHT = 10  # most frames of a face that returns between two stretches without it; 0.4 s


@dataclass(frozen=True)
class Streams:
    """Sound and faces of a file, and its segments."""

    source: Path
    modality: Modality  # requested streams
    audio_S: Sound | None  # at 16 kHz; None if missing or not requested
    followed: FollowedFaces  # faces; of 0 frames without a picture
    remarks: tuple[str, ...] = ()  # faults of the file, as sentences
    speech_T: np.ndarray | None = None  # float32, probability of speech per frame; None without sound
    has_speech: bool = True  # True if speech is heard or lips move
    segments: tuple[Segment, ...] = ()  # sorted by start; several faces may overlap. Without speech they cover the file
    offset: Offset | None = None  # between sound and picture; None if one is missing
    foreign: tuple[Interval, ...] = ()  # segments, in frames, whose voice seems to be of no face in view, or in noise
    lacks: tuple[str, str] = LACKS  # said where sound or picture is missing

    @property
    def faces(self) -> tuple[Face, ...]:
        return self.followed.faces

    @property
    def has_video(self) -> bool:
        """True if the picture exists and was requested."""
        return self.followed.num_frames > 0

    @property
    def num_samples(self) -> int:
        return 0 if self.audio_S is None else len(self.audio_S)

    @property
    def num_frames(self) -> int:
        """25 Hz frames of the longer stream."""
        return max(self.followed.num_frames, samples_to_frames(self.num_samples))

    @property
    def duration_s(self) -> float:
        """Seconds of the longer stream."""
        return max(self.followed.num_frames / FRAME_RATE, self.num_samples / SAMPLE_RATE)

    @property
    def face_share(self) -> float | None:
        """Share of frames with a known face that is read; None without a picture."""
        if not self.has_video:
            return None
        known_T = np.zeros(self.num_frames, bool)
        for index in {segment.face for segment in self.segments if segment.face is not None}:
            known_T[known_frames(self.faces[index], 0, self.num_frames)] = True
        return float(known_T.mean())

    def sound(self, segment: Segment) -> np.ndarray | None:
        """Return a segment's samples, at least one frame; the last segment may be short."""
        if self.audio_S is None:
            return None
        start, end = segment.frames
        sound_S = self.audio_S[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]
        return sound_S if len(sound_S) else np.zeros(SAMPLES_PER_FRAME, np.float32)

    def to_decode(self, modality: Modality) -> list[Segment]:
        """Return the segments that can be decoded, each with its streams of ``modality``."""
        if not self.has_speech:
            return []
        segments: Sequence[Segment] = self.segments
        if "video" not in modality:  # speakers share the sound: decode it once
            bare = (replace(one, speaker=None, face_share=None, mouth_THW=None) for one in segments)
            segments = list({one.frames: one for one in bare}.values())
        found = []
        for segment in segments:
            streams = {"audio": self.audio_S is not None, "video": segment.mouth_THW is not None}
            read = [stream for stream in modality.split("+") if streams[stream]]
            note = "no face: sound alone" if "video" in modality and self.has_video and not streams["video"] else None
            if segment.doubt is not None and len(read) == 2:
                read.remove(segment.doubt.leaves_out)
                note = segment.doubt.note
                segment = replace(segment, speaker=segment.speaker if "video" in read else None)
            elif segment.doubt == UNHEARD and modality == "audio":
                continue
            if read:
                found.append(replace(segment, modality="+".join(read), note=note, doubt=None))
        return list({one.key: one for one in found}.values())  # the sound alone is nobody's: it is decoded once

    def is_missing(self, modality: Modality) -> bool:
        """Return whether nothing can be decoded with these streams, though somebody speaks."""
        heard = "audio" in modality and self.audio_S is not None
        return self.has_speech and not heard and not self.to_decode(modality)

    def notes(self, modality: Modality) -> tuple[str, ...]:
        """Return, as sentences, how decoding with these streams differs from the request."""
        notes = list(self.remarks)
        if self.offset is not None and self.offset.told:
            notes.append(self.offset.sentence)
        if "audio" in modality and self.audio_S is None:
            notes.append(f"{self.lacks[0]} the lips alone were read.")
        if "audio" in modality and self.foreign:
            where = self._where(self.foreign, always=True)
            notes.append(f"The voice seems to be of nobody in view, or in noise,{where}.")
        if self.segments and not self.to_decode(modality):
            unheard = [] if self.audio_S is None else ["nobody is heard to speak"]
            unseen = ["no lips move"] if self.has_video and not self.has_speech else []
            notes += [" and ".join(unheard + unseen).capitalize() + "."] if unheard + unseen else []
        if "video" in modality:
            notes += self._lips_notes(modality)
        return tuple(notes)

    def _lips_notes(self, modality: Modality) -> list[str]:
        """Return where lips, or the sound beside them, are not read."""
        spoken, both = self.segments if self.has_speech else (), "audio" in modality and self.audio_S is not None
        fate, notes = "the sound alone was used" if both else "left out", []
        blind = [segment.frames for segment in spoken if segment.mouth_THW is None]
        if not self.has_video:
            return [f"{self.lacks[1]} the sound alone was used."]
        if spoken and len(blind) == len(spoken):
            notes.append(f"No face was found: {fate}.")
        elif blind:
            notes.append(f"No face{self._where(blind)}: {fate}.")
        doubted: dict[Doubt, list[Interval]] = defaultdict(list)
        for segment in spoken:
            if segment.doubt is not None and (both or segment.doubt not in OF_BOTH):
                doubted[segment.doubt].append(segment.frames)
        read = fate if both else "they were read all the same"
        notes += [one.sentence.format(where=self._where(places), fate=read) for one, places in doubted.items()]
        if away := self._face_away(doubted.get(UNHEARD, []) if both else [(0, self.num_frames)]):
            notes.append(f"No face is seen from {_times(away)}: nothing was read there.")
        return notes

    def _where(self, places: Sequence[Interval], always: bool = False) -> str:
        """Return which segments these are, as words to put after others; empty for all of them."""
        num_segments = len({one.frames for one in self.segments})
        places = sorted(set(places))
        if len(places) == num_segments and not always:
            return ""
        return f" in {len(places)} of {num_segments} segments ({_times(places)})"

    def _face_away(self, places: Sequence[Interval]) -> list[Interval]:
        """Return the stretches of these places in which no face is known, with short sights of it between them."""
        away_T = np.zeros(self.num_frames, bool)
        for start, end in places:
            away_T[start:end] = True
        for face in self.faces:
            away_T[known_frames(face, 0, self.num_frames)] = False
        away = close_gaps(runs(away_T), SHORT_SIGHT)
        return [one for one in away if one[1] - one[0] > SHORT_SIGHT] if self.faces else []

    def why_nothing(self, modality: Modality) -> str:
        """Return why nothing can be decoded with these streams."""
        video = "no face that could be read" if self.has_video else "no picture"
        missing = [{"audio": "no sound", "video": video}[stream] for stream in modality.split("+")]
        return f"has {' and '.join(missing)}, and modality {modality} needs it; choose another modality or file"


def _times(intervals: Sequence[Interval]) -> str:
    times = ", ".join(f"{start / FRAME_RATE:.1f} to {end / FRAME_RATE:.1f} s" for start, end in intervals[:5])
    return times + (f" and {len(intervals) - 5} more" if len(intervals) > 5 else "")
