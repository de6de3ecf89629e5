"""A transcript: segments with words, times, scores and the streams that were used; and its JSON form."""

from dataclasses import asdict, dataclass, field, fields
from math import ceil
from typing import Any

import numpy as np

from avspeech.decoding.word_times import TimedWord
from avspeech.inputs import Modality
from avspeech.timebase import FRAME_RATE

FORMAT = 1
"""Version of the JSON form; it grows with every change that older readers would misread."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a file that is decoded at once; ``text``, ``words``, ``score`` and ``language`` come by decoding."""

    start_s: float
    """Seconds from the file's start, on the 25 Hz clock."""
    end_s: float
    """On the 25 Hz clock, but not past the end of the file."""
    text: str = ""
    modality: Modality = "audio"
    """Streams that the model is given."""
    words: tuple[TimedWord, ...] = ()
    """Their times are in seconds from the file's start."""
    score: float = 0.0
    """Mean log-probability per token, end of text included; per frame for CTC. Comparable within one model only."""
    language: str | None = None
    """Given or detected; None where the model knows no languages."""
    face_share: float | None = None
    """Share of the frames in which the speaker's face was found or lies between two finds; None: no face was looked
    for."""
    speaker: str | None = None
    """Label of the face, where several are transcribed."""
    note: str | None = None
    """Why the segment lacks a stream that was asked for."""
    face: int | None = field(default=None, compare=False, repr=False)
    """Index of the face in ``Streams.faces``; None without a face, and after decoding."""
    mouth_THW: np.ndarray | None = field(default=None, compare=False, repr=False)
    """uint8 mouth crops, (frames, 96, 96); None where no lips can be read, and after decoding."""

    @property
    def frames(self) -> tuple[int, int]:
        """First frame at 25 Hz, and the frame after the last."""
        return round(self.start_s * FRAME_RATE), ceil(self.end_s * FRAME_RATE - 1e-6)

    @property
    def num_frames(self) -> int:
        """Length in frames at 25 Hz."""
        start, end = self.frames
        return end - start

    @property
    def key(self) -> tuple[float, float, str, str | None]:
        """What tells a segment from the others of its file, before and after decoding."""
        return self.start_s, self.end_s, self.modality, self.speaker

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without what is needed for decoding only."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.compare}
        return values | {"words": [asdict(word) for word in self.words]}

    @staticmethod
    def from_json(record: dict[str, Any]) -> "Segment":
        """Return the segment of ``to_json``.

        Raises:
            KeyError, TypeError: fields are missing or unknown.
        """
        return Segment(**{**record, "words": tuple(TimedWord(**word) for word in record["words"])})


@dataclass(frozen=True)
class Transcript:
    """What is said in a file."""

    source: str
    """Path of the file, as it was given."""
    duration_s: float
    model: str
    """Name or path of the model, as it was given."""
    modality: Modality
    """Streams that were asked for."""
    segments: tuple[Segment, ...] = ()
    """Sorted by start; those of several speakers may overlap."""
    language: str | None = None
    """Given, or detected in most seconds of speech."""
    face_share: float | None = None
    """Share of the file's frames in which a transcribed face was found; None: no face was looked for."""
    notes: tuple[str, ...] = ()
    """What differs from what was asked, in sentences: a missing stream, segments without a face, damage."""

    @property
    def text(self) -> str:
        """The texts of all segments; with several speakers one line per segment, after the speaker's label."""
        if all(segment.speaker is None for segment in self.segments):
            return " ".join(segment.text for segment in self.segments if segment.text)
        return "\n".join(
            (f"{segment.speaker}: " if segment.speaker else "") + segment.text
            for segment in self.segments
            if segment.text
        )

    @property
    def words(self) -> tuple[TimedWord, ...]:
        """The words of all segments."""
        return tuple(word for segment in self.segments for word in segment.words)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for ``json.dumps``."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        segments = [segment.to_json() for segment in self.segments]
        return {"format": FORMAT, "text": self.text} | values | {"segments": segments}

    @staticmethod
    def from_json(record: Any) -> "Transcript":
        """Return the transcript of ``to_json``.

        Raises:
            ValueError: the record is no transcript of this format.
        """
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        if found != FORMAT:
            raise ValueError(f"its format is {found}, this version reads {FORMAT}; transcribe the file again")
        values = {name: value for name, value in record.items() if name not in ("format", "text")}
        try:
            segments = tuple(Segment.from_json(segment) for segment in values.pop("segments"))
            return Transcript(segments=segments, notes=tuple(values.pop("notes", ())), **values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"it has wrong fields ({error}); transcribe the file again") from error
