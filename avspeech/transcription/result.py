"""What a transcription is: segments with words, times, scores, and which streams were used; and its JSON form."""

from dataclasses import asdict, dataclass, field
from typing import Any

from avspeech.decoding.word_times import TimedWord
from avspeech.inputs import Modality

FORMAT = 1
"""Of the JSON form; it grows with every change that older readers would misread."""


@dataclass(frozen=True)
class Segment:
    """A stretch of speech that was decoded as one."""

    start_s: float
    """Seconds from the file's start; on the 25 Hz clock."""
    end_s: float
    text: str
    modality: Modality
    """The streams that the model was given."""
    words: tuple[TimedWord, ...] = ()
    """Times are in seconds from the file's start."""
    score: float = 0.0
    """Log-probability per token, the end included; a CTC's per frame. Comparable within one model only."""
    language: str | None = None
    """Given or detected; None where the model knows no languages."""
    face_share: float | None = None
    """Share of the frames in which the speaker's face was found or lies between two finds; None: nobody looked."""
    speaker: str | None = None
    """Label of the face, where several are transcribed."""
    note: str | None = None
    """Why the segment did not get the streams that were asked for."""


@dataclass(frozen=True)
class Transcript:
    """Everything that is known of one file after transcription."""

    source: str
    """The file's path, as it was given."""
    duration_s: float
    model: str
    """Name or path of the model, as it was given."""
    modality: Modality
    """The streams that were asked for."""
    segments: tuple[Segment, ...] = ()
    """By start; with several speakers those of one face follow no one's order but time's."""
    language: str | None = None
    """Given, or the one that was detected in most seconds of speech."""
    face_share: float | None = None
    """Share of all frames of the file in which a transcribed face was found; None: nobody looked."""
    notes: tuple[str, ...] = field(default=())
    """What went otherwise than asked, in sentences: a missing stream, segments without a face."""

    @property
    def text(self) -> str:
        """All segments' texts; with several speakers a line for each turn, its label before it."""
        if all(segment.speaker is None for segment in self.segments):
            return " ".join(segment.text for segment in self.segments if segment.text)
        labels = [f"{segment.speaker}: " if segment.speaker else "" for segment in self.segments]
        return "\n".join(
            label + segment.text for label, segment in zip(labels, self.segments, strict=True) if segment.text
        )

    @property
    def words(self) -> tuple[TimedWord, ...]:
        """The words of all segments in their order."""
        return tuple(word for segment in self.segments for word in segment.words)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for ``json.dumps``."""
        return {"format": FORMAT, "text": self.text, **asdict(self)}

    @staticmethod
    def from_json(record: dict[str, Any]) -> "Transcript":
        """Return the transcript of ``to_json``.

        Raises:
            ValueError: the record is of another format, or is none.
        """
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            found = record.get("format") if isinstance(record, dict) else type(record).__name__
            raise ValueError(
                f"a transcript of format {found} came, this version reads {FORMAT}; transcribe the file anew"
            )
        values = {name: value for name, value in record.items() if name not in ("format", "text")}
        try:
            segments = tuple(segment_from_json(segment) for segment in values.pop("segments"))
            return Transcript(segments=segments, notes=tuple(values.pop("notes", ())), **values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"a transcript has wrong fields: {error}; transcribe the file anew") from error


def segment_from_json(record: dict[str, Any]) -> Segment:
    """Return the segment of ``asdict``."""
    words = tuple(TimedWord(**word) for word in record["words"])
    return Segment(**{**record, "words": words})
