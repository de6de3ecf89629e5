"""Subtitles to spans of speech: cues of .srt and .vtt files with their times, text and speaker.

The rules, in this order:

- Markup goes: ``<i>``, ``<c.yellow>``, ``<00:01.500>``, ``{\\an8}``; HTML entities become characters. ``<v NAME>``
  names the speaker. Sounds go: ``[music]``, ``(applause)``, ``♪ ... ♪``; so do ``>>`` and a dash before a line.
- A prefix such as ``ANNA:`` or ``Speaker 1:`` names the speaker and goes: up to three words before a colon and a blank,
  none with a small initial, which stand in capitals, say "speaker", or begin two cues of the file or more.
- In a cue of several lines, a first line that repeats the last line of a cue before it, ended at most
  ``ROLLS_WITHIN_S`` ago, goes: captions that roll up show each line twice.
- Two cues that overlap for a moment, up to ``BRIEF_OVERLAP_S`` and half of the shorter, get a border in its middle.
  Cues that overlap for longer are left out, all of them: who said what is not known.
"""

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from pathlib import Path

from avspeech.files import read_text_lines
from data_prep.corpora.tree import BAD_TEXT, NO_TEXT

OVERLAPPING, BACKWARDS, TOO_SHORT = "overlapping cues", "ends before it starts", "shorter than a word"
SHORTEST_S = 0.1
"""No word is shorter; captions that roll up are full of cues of 10 ms."""
ROLLS_WITHIN_S = 0.1
BRIEF_OVERLAP_S = 0.5

_CLOCK = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[,.](\d{1,3})"
_TIMES = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s|$)")
_ARROW = re.compile(r"-->|^\s*\d+:\d\d\S*\s*-+>")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|<[\d:.,]+>|\{\\[^{}]*\}")
_UNSEEN = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_SOUNDS = re.compile(r"\[[^][]*\]|\([^()]*\)|（[^（）]*）|【[^【】]*】|♪[^♪]*♪|[♪♫]")
_LEAD = re.compile(r"^[ \t]*(?:>>+|[-–—]+(?!\d))[ \t]*", re.M)
_PREFIX = re.compile(r"([^\W_][\w.'’-]*(?: [^\W_][\w.'’-]*){0,2}):(?:\s+|$)")


@dataclass(frozen=True)
class Cue:
    """A text and its time in seconds from the start of the video."""

    number: int
    """Place in the file, from 1."""
    start_s: float
    end_s: float
    lines: tuple[str, ...]
    speaker: str | None = None

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.lines).split())


def read_cues(path: Path) -> tuple[list[Cue], list[tuple[int, str, str]]]:
    """Return the cues that hold speech by time, and of the others number, reason and detail.

    Raises ValueError if the file is no text in UTF-8 or UTF-16, OSError if it cannot be read.
    """
    cues, lost = [], []
    for number, block in enumerate(_blocks(read_text_lines(path), path.suffix.lower() == ".vtt"), start=1):
        try:
            cues.append(_parse(number, block))
        except ValueError as error:
            lost.append((number, BAD_TEXT, str(error)))
    kept: list[Cue] = []
    for cue in _named(sorted(cues, key=lambda cue: (cue.start_s, cue.number))):
        cue = _without_repetition(cue, kept)
        if reason := _why_not(cue):
            lost.append((cue.number, reason, f"from {cue.start_s:.3f} to {cue.end_s:.3f} s"))
        else:
            kept.append(cue)
    apart, overlapping = _apart(kept)
    times = "from {0.start_s:.3f} to {0.end_s:.3f} s: {0.text}"
    return apart, [*lost, *((cue.number, OVERLAPPING, times.format(cue)) for cue in overlapping)]


def _blocks(lines: Sequence[str], end_at_blank: bool) -> Iterator[list[str]]:
    """Yield the line with times and the lines of text of each cue; in .srt a text may have empty lines."""
    starts = [place for place, line in enumerate(lines) if _ARROW.search(line)]
    for start, end in pairwise([*starts, len(lines)]):
        text = lines[start + 1 : end]
        if end_at_blank:
            text = list(takewhile(bool, text))  # one of blanks is a line: YouTube writes such
        elif end < len(lines) and text and text[-1].strip().isdigit():  # the next cue's number
            text = text[:-1]
        yield [lines[start], *text]


def _parse(number: int, block: Sequence[str]) -> Cue:
    found = _TIMES.match(block[0])
    if found is None:
        raise ValueError(f"{block[0].strip()!r} came, wanted '00:00:01,000 --> 00:00:02,000'")
    start_s, end_s = _seconds(*found.groups()[:4]), _seconds(*found.groups()[4:])
    text = "\n".join(block[1:])
    voices = {voice.strip() for voice in _VOICE.findall(text)}
    text = _UNSEEN.sub("", html.unescape(_MARKUP.sub("", text)))
    lines = (" ".join(line.split()) for line in _LEAD.sub("", _SOUNDS.sub(" ", text)).split("\n"))
    return Cue(number, start_s, end_s, tuple(filter(None, lines)), voices.pop() if len(voices) == 1 else None)


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str) -> float:
    return 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def _named(cues: Sequence[Cue]) -> Iterator[Cue]:
    """Yield the cues with speakers in the place of prefixes."""
    counts = Counter(name for cue in cues for name in {_prefix(line) for line in cue.lines} if name)
    for cue in cues:
        said, lines = [], []
        for line in cue.lines:
            name = _prefix(line)
            if name and _is_speaker(name, counts[name]):
                said.append(name)
                line = line[len(name) + 1 :].strip()
            lines.append(line)
        if said:
            one = len(set(said)) == 1 and _prefix(cue.lines[0]) == said[0]  # not "Hi!", then "ANNA: Hello"
            cue = replace(cue, lines=tuple(filter(None, lines)), speaker=said[0] if one else None)
        yield cue


def _prefix(line: str) -> str | None:
    """Return what stands before a colon, if it has the form of a name."""
    found = _PREFIX.match(line)
    name = found[1] if found else ""
    return name if re.search(r"[^\W\d]", name) and not any(word[0].islower() for word in name.split()) else None


def _is_speaker(name: str, count: int) -> bool:
    return count >= 2 or name.isupper() or "speaker" in name.lower()


def _without_repetition(cue: Cue, before: Sequence[Cue]) -> Cue:
    """Return the cue without a first line that the cue before has shown already."""
    rolls = len(cue.lines) > 1 and before and cue.start_s - before[-1].end_s <= ROLLS_WITHIN_S
    return replace(cue, lines=cue.lines[1:]) if rolls and cue.lines[:1] == before[-1].lines[-1:] else cue


def _why_not(cue: Cue) -> str | None:
    if not re.search(r"\w", cue.text):
        return NO_TEXT
    if cue.end_s <= cue.start_s:
        return BACKWARDS
    return TOO_SHORT if cue.end_s - cue.start_s < SHORTEST_S else None


def _apart(cues: Sequence[Cue]) -> tuple[list[Cue], list[Cue]]:
    """Return cues, given by their start, that do not overlap, and those that do for more than a moment."""
    overlapping, last = set(), None
    for place, cue in enumerate(cues):
        if last is not None and not _is_brief(cues[last], cue):
            overlapping |= {last, place}
        if last is None or cue.end_s > cues[last].end_s:
            last = place
    free: list[Cue] = []
    for cue in (cue for place, cue in enumerate(cues) if place not in overlapping):
        if free and free[-1].end_s > cue.start_s:
            border_s = round((free[-1].end_s + cue.start_s) / 2, 3)
            free[-1], cue = replace(free[-1], end_s=border_s), replace(cue, start_s=border_s)
        free.append(cue)
    return free, [cues[place] for place in sorted(overlapping)]


def _is_brief(one: Cue, other: Cue) -> bool:
    shorter_s = min(one.end_s - one.start_s, other.end_s - other.start_s)
    return one.end_s - other.start_s <= min(BRIEF_OVERLAP_S, shorter_s / 2)
