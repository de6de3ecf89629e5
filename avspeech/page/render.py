"""An outcome -> HTML. All text is escaped, because it comes from visitors."""

from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from avspeech.evaluation.error_rate import align_words
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
    """A word of a transcript, empty if ``missing``, compared with another one's, without case and punctuation."""

    text: str
    kind: str
    """``equal``, ``different``, ``extra`` (not in the other) or ``missing`` (only in the other)."""
    other: str = ""


def mark_words(text: str, other: str, language: str | None = None) -> list[WordMark]:
    """Return the words of ``text`` compared with ``other`` (no case or punctuation), and missing words, in order."""
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
    """Return a word without case and punctuation; ``well-known`` is not split."""
    return normalize_for_scoring(word, language).replace(" ", "")


def render_message(text: str) -> str:
    """Return a message box; empty for no message."""
    return f'<div class="message" role="alert">{escape(text)}</div>' if text else ""


def render_outcome(outcome: Outcome) -> str:
    """Return a job's results as HTML with links to server files."""
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


def _shown(outcome: Outcome, transcript: Transcript, other: Transcript | None) -> dict[str, Any]:
    """Return a transcript for the template, its words compared with the reference, else with ``other``, else None."""
    language, errors = outcome.job.language or transcript.language, outcome.errors(transcript)
    scores = [segment.score for segment in transcript.segments]
    text, tooltip = None, ""
    if errors is not None:
        text, tooltip = outcome.job.reference, "said was"
    elif other is not None:
        text, tooltip = other.text, f"{_NAMES[other.modality]}:"
    return {
        "transcript": transcript,
        "marks": None if text is None else mark_words(transcript.text, text, language),
        "other": tooltip,
        "errors": errors,
        "mean_score": sum(scores) / len(scores) if scores else None,
    }


@cache
def _template() -> Template:
    loader = PackageLoader("avspeech.page", package_path="")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("outcome.html.jinja")


def _address(path: Path) -> str:
    """Return Gradio's address of an allowed file, relative to the page."""
    return f"gradio_api/file={quote(str(path))}"
