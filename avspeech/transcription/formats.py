"""Write a transcript as txt, srt, vtt, json or tsv (UTF-8, ``\\n``); a file is written whole or not at all."""

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from avspeech import __version__
from avspeech.files import write_text
from avspeech.transcription.captions import captions
from avspeech.transcription.result import Transcript

TSV_COLUMNS = ("start_ms", "end_ms", "speaker", "modality", "language", "score", "face_share", "text")


def write_transcript(
    transcript: Transcript, stem: str | Path, formats: Sequence[str], options: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write ``<stem>.<format>`` for each format, in place of older files; return the paths.

    ``options``: plain values for the json. ValueError: an unknown format; OSError: a file cannot be written.
    """
    check_formats(formats)
    texts = {name: to_json(transcript, options) if name == "json" else FORMATS[name](transcript) for name in formats}
    stem = Path(stem)
    paths = [stem.with_name(f"{stem.name}.{name}") for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        # A source's name that is not UTF-8 holds surrogates.
        write_text(path, text.encode(errors="backslashreplace").decode())
    return paths


def check_formats(formats: Sequence[str]) -> None:
    """Raise ValueError if there is no format or an unknown one."""
    if isinstance(formats, str) or not formats or not set(formats) <= set(FORMATS):
        came = formats if isinstance(formats, str) else ",".join(formats)
        raise ValueError(f"format {came!r} came; wanted a list of {', '.join(FORMATS)}; see --format")


def to_txt(transcript: Transcript) -> str:
    return f"{transcript.text}\n" if transcript.text else ""


def to_srt(transcript: Transcript) -> str:
    """Return SubRip with the speaker's label before the text."""
    cues = []
    for number, cue in enumerate(captions(transcript), start=1):
        label = "" if cue.speaker is None else f"{_one_line(cue.speaker)}: "
        times = f"{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}"
        cues.append(f"{number}\n{times}\n{label}" + "\n".join(cue.texts) + "\n")
    return "\n".join(cues)


def to_vtt(transcript: Transcript) -> str:
    """Return WebVTT with the speaker as the cue's voice."""
    cues = ["WEBVTT\n"]
    for cue in captions(transcript):
        text = escape("\n".join(cue.texts), quote=False)
        if cue.speaker is not None:
            text = f"<v {escape(_one_line(cue.speaker), quote=False)}>{text}</v>"
        cues.append(f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n{text}\n")
    return "\n".join(cues)


def to_json(transcript: Transcript, options: Mapping[str, Any] | None = None) -> str:
    """Return JSON with the version of avspeech and the options, for ``read_transcript``."""
    record = transcript.to_json() | {"version": __version__, "options": dict(options or {})}
    return json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def read_transcript(path: str | Path) -> Transcript:
    """Return the transcript of a json file of ``write_transcript``; OSError or ValueError if it cannot be read."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        if isinstance(record, dict):
            record = {name: value for name, value in record.items() if name not in ("version", "options")}
        return Transcript.from_json(record)
    except ValueError as error:  # json's and Unicode's errors, too
        reason = f"is no transcript of avspeech ({error}); give a .json of `avspeech transcribe`"
        raise ValueError(f"{path} {reason}") from None


def to_tsv(transcript: Transcript) -> str:
    """Return a header and one line per segment; tabs and newlines become blanks."""
    lines = ["\t".join(TSV_COLUMNS)]
    for one in transcript.segments:
        share = "" if one.face_share is None else f"{one.face_share:.3f}"
        values = (round(1000 * one.start_s), round(1000 * one.end_s), one.speaker or "", one.modality)
        values = (*values, one.language or "", f"{one.score:.4f}", share, one.text)
        lines.append("\t".join(_one_line(str(value)) for value in values))
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[Transcript], str]] = {
    "txt": to_txt, "srt": to_srt, "vtt": to_vtt, "json": to_json, "tsv": to_tsv,
}  # fmt: skip
"""Ending -> content."""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _clock(time_s: float, mark: str) -> str:
    seconds, ms = divmod(round(1000 * time_s), 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{mark}{ms:03}"
