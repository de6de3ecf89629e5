"""An outcome -> HTML. Every text in it is escaped: file names, transcripts and references come from visitors."""

from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from avspeech.evaluation.error_rate import ErrorCounts
from avspeech.features.clip import CLIP_SIZE
from avspeech.page.job import Outcome
from avspeech.page.noises import NONE
from avspeech.page.word_marks import WordMark, mark_words
from avspeech.transcription.result import Transcript

STYLE_FILE = Path(__file__).parent / "outcome.css"
_NAMES = {"audio": "sound alone", "video": "picture alone", "audio+video": "sound and picture"}


@dataclass(frozen=True)
class ShownTranscript:
    """A transcript as the page shows it."""

    transcript: Transcript
    marks: list[WordMark] | None
    """Its words, compared with the reference or else with the other transcript; None where there is neither."""
    other: str
    """Says in a mark's tooltip what it is compared with."""
    errors: ErrorCounts | None
    """Against the reference."""

    @property
    def mean_score(self) -> float | None:
        """Over the segments; None without any."""
        scores = [segment.score for segment in self.transcript.segments]
        return sum(scores) / len(scores) if scores else None


def render_message(text: str) -> str:
    """Return a message as a box; nothing for an empty one."""
    return f'<div class="message" role="alert">{escape(text)}</div>' if text else ""


def render_outcome(outcome: Outcome) -> str:
    """Return everything that came of a job, as HTML that refers to files of the server."""
    both = [one for one in (outcome.sound_alone, outcome.transcript) if one is not None]
    others = both[::-1] if len(both) == 2 else [None]
    notes = [note for one in both for note in (*one.notes, *(segment.note for segment in one.segments)) if note]
    noise = outcome.job.noise
    return _template().render(
        outcome=outcome,
        transcripts=[_shown(outcome, one, other) for one, other in zip(both, others, strict=True)],
        has_segments=any(one.segments for one in both),
        notes=list(dict.fromkeys(notes)),
        heard="its own sound" if noise == NONE else f"{noise} noise, {outcome.job.snr_db:g} dB",
        clip_size=CLIP_SIZE,
        names=_NAMES,
        address=_address,
    )


def _shown(outcome: Outcome, transcript: Transcript, other: Transcript | None) -> ShownTranscript:
    language, errors = outcome.job.language or transcript.language, outcome.errors(transcript)
    if errors is not None:
        marks = mark_words(transcript.text, outcome.job.reference, language)
        return ShownTranscript(transcript, marks, "said was", errors)
    if other is not None:
        marks = mark_words(transcript.text, other.text, language)
        return ShownTranscript(transcript, marks, f"{_NAMES[other.modality]}:", None)
    return ShownTranscript(transcript, None, "", None)


@cache
def _template() -> Template:
    loader = PackageLoader("avspeech.page", package_path="")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("outcome.html.jinja")


def _address(path: Path) -> str:
    """Return where Gradio serves a file of an allowed folder, relative to the page."""
    return f"gradio_api/file={quote(str(path))}"
