"""An outcome -> HTML. Every text in it is escaped: file names, transcripts and references come from visitors."""

from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from avspeech.evaluation.error_rate import ErrorCounts, align_words
from avspeech.features.clip import CLIP_SIZE
from avspeech.page.job import Outcome
from avspeech.page.noises import NONE
from avspeech.text.normalize import normalize_for_scoring
from avspeech.transcription.result import Transcript

STYLE_FILE = Path(__file__).parent / "outcome.css"
_NAMES = {"audio": "sound alone", "video": "picture alone", "audio+video": "sound and picture"}
_KINDS = {"equal": "equal", "substitute": "different", "insert": "extra", "delete": "missing"}


@dataclass(frozen=True)
class WordMark:
    """A word of a transcript, compared with another transcript."""

    text: str
    """The word as it stands in the transcript; empty where only the other one has a word."""
    kind: str
    """``equal``, ``different``, ``extra`` (the other has nothing here) or ``missing`` (only the other has a word)."""
    other: str = ""
    """The other's word, without case and punctuation; empty for ``extra``."""


@dataclass(frozen=True)
class ShownTranscript:
    """A transcript as the page shows it."""

    transcript: Transcript
    marks: list[WordMark] | None
    """Its words, compared with the reference or else with the other transcript; None where there is neither."""
    other: str
    """Start of a mark's tooltip: what the word is compared with."""
    errors: ErrorCounts | None
    """Errors against the reference."""

    @property
    def mean_score(self) -> float | None:
        """Mean score of the segments; None without any."""
        scores = [segment.score for segment in self.transcript.segments]
        return sum(scores) / len(scores) if scores else None


def mark_words(text: str, other: str, language: str | None = None) -> list[WordMark]:
    """Return the words of ``text``, each compared with those of ``other``, and the words that it lacks, in order.

    Words are compared as error rates are counted, without case and punctuation. A word without letters is shown
    unmarked.
    """
    shown = [(word, _comparable(word, language)) for word in text.split()]
    compared = " ".join(key for _, key in shown if key)
    others = " ".join(key for key in (_comparable(word, language) for word in other.split()) if key)
    marks: list[WordMark] = []
    place = 0
    for edit in align_words(others, compared):
        while edit.hypothesis and not shown[place][1]:
            marks.append(WordMark(shown[place][0], "equal"))
            place += 1
        marks.append(WordMark(shown[place][0] if edit.hypothesis else "", _KINDS[edit.kind], edit.reference))
        place += bool(edit.hypothesis)
    return marks + [WordMark(word, "equal") for word, _ in shown[place:]]


def _comparable(word: str, language: str | None) -> str:
    """Return a word without case and punctuation, always as one word: ``well-known`` is not split."""
    return normalize_for_scoring(word, language).replace(" ", "")


def render_message(text: str) -> str:
    """Return a message as a box; nothing for an empty one."""
    return f'<div class="message" role="alert">{escape(text)}</div>' if text else ""


def render_outcome(outcome: Outcome) -> str:
    """Return the results of a job as HTML that refers to files of the server."""
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
