"""A transcript (segments with words, times, scores and streams) and its JSON form."""

from dataclasses import asdict, dataclass, field, fields
from math import ceil
from typing import Any, Literal, NamedTuple

import numpy as np

from avspeech.decoding.word_times import TimedWord
from avspeech.inputs import Modality
from avspeech.timebase import FRAME_RATE

FORMAT = 1  # version of the JSON form; grows with incompatible changes


class Doubt(NamedTuple):
    """Why one of a segment's two streams is left out where both are there and asked for."""

    leaves_out: Literal["audio", "video"]
    note: str  # of the segment
    sentence: str  # of the file, with places for ``where`` and ``fate``


@dataclass(frozen=True)
class Segment:
    """A part of a file that is decoded at once; decoding adds ``text``, ``words``, ``score`` and ``language``."""

    start_s: float  # seconds from the file's start, on the 25 Hz clock
    end_s: float  # at most the end of the file
    text: str = ""
    modality: Modality = "audio"  # streams that the model is given
    words: tuple[TimedWord, ...] = ()  # times in seconds from the file's start
    score: float = 0.0
    """Mean log-probability per token with end of text, for CTC per frame; comparable within one model only."""
    language: str | None = None  # given or detected; None if the model knows no languages
    face_share: float | None = None
    """Share of frames with the speaker's face, gaps interpolated; None: faces were not searched."""
    speaker: str | None = None  # label, with several faces
    note: str | None = None  # why a requested stream is missing
    face: int | None = field(default=None, compare=False, repr=False)
    """Index in ``Streams.faces``; None without a face and after decoding."""
    mouth_THW: np.ndarray | None = field(default=None, compare=False, repr=False)
    """uint8 mouth crops, (frames, 96, 96); None without readable lips and after decoding."""
    doubt: Doubt | None = field(default=None, compare=False, repr=False)
    """Before decoding: why one of both streams is not to be read."""

    @property
    def frames(self) -> tuple[int, int]:
        """First frame at 25 Hz, and the last plus one."""
        return round(self.start_s * FRAME_RATE), ceil(self.end_s * FRAME_RATE - 1e-6)

    @property
    def num_frames(self) -> int:
        return self.frames[1] - self.frames[0]

    @property
    def labelled(self) -> str:
        """Text after the speaker's label, if any."""
        return f"{self.speaker}: {self.text}" if self.speaker else self.text

    @property
    def key(self) -> tuple[float, float, str, str | None]:
        """Identity of a segment in its file, before and after decoding."""
        return self.start_s, self.end_s, self.modality, self.speaker

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the fields for decoding."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.compare}
        return values | {"words": [asdict(word) for word in self.words]}

    @staticmethod
    def from_json(record: dict[str, Any]) -> "Segment":
        """Return the segment of ``to_json``; KeyError or TypeError for missing or unknown fields."""
        return Segment(**{**record, "words": tuple(TimedWord(**word) for word in record["words"])})


@dataclass(frozen=True)
class Transcript:
    """What is said in a file."""

    source: str  # path as given
    duration_s: float
    model: str  # name or path as given
    modality: Modality  # requested streams
    segments: tuple[Segment, ...] = ()  # sorted by start; those of several speakers may overlap
    language: str | None = None  # given, or detected for most seconds of speech
    face_share: float | None = None  # share of frames with a transcribed face; None: faces were not searched
    notes: tuple[str, ...] = ()  # missing streams, segments without a face, and damage, as sentences
    offset: dict[str, Any] | None = None
    """Of the sound against the picture, see ``who_speaks.Offset``; None if one is missing or no lips were read."""

    @property
    def text(self) -> str:
        """Text of all segments; with several speakers one labelled line per segment."""
        between = " " if all(segment.speaker is None for segment in self.segments) else "\n"
        return between.join(segment.labelled for segment in self.segments if segment.text)

    @property
    def words(self) -> tuple[TimedWord, ...]:
        return tuple(word for segment in self.segments for word in segment.words)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for ``json.dumps``."""
        segments = [segment.to_json() for segment in self.segments]
        return {"format": FORMAT, "text": self.text} | vars(self) | {"segments": segments}

    @staticmethod
    def from_json(record: Any) -> "Transcript":
        """Return the transcript of ``to_json``; ValueError for another record."""
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        if found != FORMAT:
            raise ValueError(f"its format is {found}, this version reads {FORMAT}; transcribe the file again")
        values = {name: value for name, value in record.items() if name not in ("format", "text")}
        try:
            segments = tuple(Segment.from_json(segment) for segment in values.pop("segments"))
            return Transcript(segments=segments, notes=tuple(values.pop("notes", ())), **values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"it has wrong fields ({error}); transcribe the file again") from error
