"""Cut a transcript into captions of at most two lines and 7 s, ended by pauses, sentences and segments.

Sizes follow the Netflix Timed Text Style Guide for Latin scripts. A wide character (Chinese, Japanese, Korean) counts
as two columns. Two speakers at once have one cue each.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise, zip_longest

from avspeech.manifest import Word
from avspeech.text.whisper_tokens import APPENDED, PREPENDED, WITHOUT_BLANKS
from avspeech.timebase import FRAME_RATE
from avspeech.transcription.result import Segment, Transcript

MAX_COLUMNS = 42  # longest line, with the speaker's label
MAX_S = 7.0  # longest cue in seconds
MIN_S = 0.8  # shortest cue in seconds, if the next one starts later
PAUSE_S = 0.5  # shortest silence in seconds that ends a cue
SENTENCE_ENDS = tuple(".!?…。！？؟۔।")
CLAUSE_ENDS = (*SENTENCE_ENDS, *",;:،؛、，；：")


@dataclass(frozen=True)
class CaptionWord(Word):
    """A word of a line."""

    joined: bool = False  # True if no blank precedes it


@dataclass(frozen=True)
class Cue:
    """Words of one speaker that are on screen together."""

    start_s: float  # seconds from the file's start, in whole milliseconds
    end_s: float
    lines: tuple[tuple[CaptionWord, ...], ...]  # one or two
    speaker: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """Text of each line, without the speaker's label."""
        return tuple(map(_join, self.lines))


def captions(transcript: Transcript) -> list[Cue]:
    """Return the cues of a transcript, sorted by start; words without times share their segment's time by width."""
    of_speaker: dict[str | None, list[Cue]] = {}
    for segment in sorted(transcript.segments, key=lambda one: one.start_s):
        label = 0 if segment.speaker is None else min(columns(f"{segment.speaker}: "), MAX_COLUMNS // 2)
        words = [part for word in _words(segment) for part in _short(word, MAX_COLUMNS - label)]
        cues = of_speaker.setdefault(segment.speaker, [])
        for run in _runs(words):
            cues += [_cue(part, label, segment.speaker) for part in _parts(run, label)]
    settled = [cue for cues in of_speaker.values() for cue in _settle(cues, transcript.duration_s)]
    return sorted(settled, key=lambda cue: (cue.start_s, cue.end_s))


def columns(text: str) -> int:
    """Return the width of a text in columns."""
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _join(words: Sequence[CaptionWord]) -> str:
    return "".join(word.text if word.joined or i == 0 else f" {word.text}" for i, word in enumerate(words))


def _words(segment: Segment) -> list[CaptionWord]:
    """Return the words of a segment; joined, they are its text."""
    text = " ".join(segment.text.split())
    timed = [(" ".join(word.text.split()), word) for word in segment.words if word.text.strip()]
    if not timed:
        return _spread(text, segment)
    starts, at = [], 0
    for word, _ in timed:
        if (at := text.find(word, at)) < 0:  # text and words differ: the words have times
            joined = (segment.language or "").split("-")[0] in WITHOUT_BLANKS
            return [CaptionWord(word, one.start_s, one.end_s, joined and i > 0) for i, (word, one) in enumerate(timed)]
        starts.append(at)
        at += len(word)
    starts[0] = 0  # signs belong to the word before, at the start to the first
    return [
        CaptionWord(text[start:end].strip(), one.start_s, one.end_s, start > 0 and text[start - 1] != " ")
        for (start, end), (_, one) in zip(pairwise([*starts, len(text)]), timed, strict=True)
    ]


def _spread(text: str, segment: Segment) -> list[CaptionWord]:
    """Return the words of a text without times; each gets time in proportion to its columns."""
    words = [(word, i > 0) for blank in text.split() for i, word in enumerate(_at_wide_characters(blank))]
    ends = list(accumulate((max(columns(word), 1) for word, _ in words), initial=0))
    lasts_s = segment.end_s - segment.start_s
    times_s = [segment.start_s + lasts_s * end / ends[-1] for end in ends if words]
    return [CaptionWord(word, *times, joined) for (word, joined), times in zip(words, pairwise(times_s), strict=True)]


def _at_wide_characters(word: str) -> list[str]:
    """Split around each wide character, but keep its punctuation with it."""
    parts = [word[:1]]
    for before, character in pairwise(word):
        wide = _width(before) == 2 or _width(character) == 2
        if wide and _width(character) and character not in APPENDED and before not in PREPENDED:
            parts.append("")
        parts[-1] += character
    return parts


def _short(word: CaptionWord, limit: int) -> list[CaptionWord]:
    parts = [""]
    for character in word.text:
        if columns(parts[-1]) and columns(parts[-1] + character) > limit:
            parts.append("")
        parts[-1] += character
    step_s = (word.end_s - word.start_s) / len(parts)
    return [
        CaptionWord(part, word.start_s + i * step_s, word.start_s + (i + 1) * step_s, word.joined or i > 0)
        for i, part in enumerate(parts)
    ]


def _runs(words: Sequence[CaptionWord]) -> list[list[CaptionWord]]:
    """Return runs of words; a new cue must start after each."""
    runs = [[word] for word in words[:1]]
    for before, word in pairwise(words):
        sentence = before.text.rstrip("\"'”’»)]」』").endswith(SENTENCE_ENDS)
        if word.start_s - before.end_s >= PAUSE_S or (sentence and word.start_s - runs[-1][0].start_s >= MIN_S):
            runs.append([])
        runs[-1].append(word)
    return runs


def _parts(run: Sequence[CaptionWord], label: int) -> Iterator[Sequence[CaptionWord]]:
    """Yield the parts of a run that fit a cue: few, of similar length, preferably ended by a comma."""
    ends = list(accumulate((columns(word.text) + (not word.joined) for word in run), initial=0))

    def width(first: int, end: int) -> int:
        return ends[end] - ends[first] - (not run[first].joined)

    best: list[tuple[int, int, int]] = [(0, 0, 0)]  # up to each word: parts, cost, start of the last part
    for end in range(1, len(run) + 1):
        options, second = [], end
        ragged = 0 if end == len(run) or run[end - 1].text.endswith(CLAUSE_ENDS) else MAX_COLUMNS**2 // 2
        for first in reversed(range(end)):
            # The first line takes all that fits; the rest must fit the second.
            while second > first + 1 and label + width(first, second) > MAX_COLUMNS:
                second -= 1
            fits = second == end or width(second, end) <= MAX_COLUMNS
            short = run[end - 1].end_s - run[first].start_s <= MAX_S
            if not (fits and short) and first < end - 1:
                break
            parts, cost, _ = best[first]
            options.append((parts + 1, cost + ragged + width(first, end) ** 2, first))
        best.append(min(options))
    cuts = [len(run)]
    while cuts[-1] > 0:
        cuts.append(best[cuts[-1]][2])
    for first, end in pairwise(reversed(cuts)):
        yield run[first:end]


def _cue(words: Sequence[CaptionWord], label: int, speaker: str | None) -> Cue:
    """Return a cue of one line, or of two similar lines, preferably split at a comma."""

    def cost(cut: int) -> tuple[bool, int]:
        first, second = label + columns(_join(words[:cut])), columns(_join(words[cut:]))
        at_clause = words[cut - 1].text.endswith(CLAUSE_ENDS)
        return max(first, second) > MAX_COLUMNS, abs(first - second) - 12 * at_clause

    lines: tuple[tuple[CaptionWord, ...], ...] = (tuple(words),)
    if label + columns(_join(words)) > MAX_COLUMNS:
        cut = min(range(1, len(words)), key=cost)
        lines = (tuple(words[:cut]), tuple(words[cut:]))
    return Cue(words[0].start_s, words[-1].end_s, lines, speaker)


def _settle(cues: Sequence[Cue], duration_s: float) -> Iterator[Cue]:
    """Yield one speaker's cues without overlap, in whole milliseconds."""
    cues = sorted(cues, key=lambda cue: cue.start_s)
    ended_s = 0.0
    for cue, following in zip_longest(cues, cues[1:]):
        start_s = max(cue.start_s, ended_s)
        free_s = following.start_s if following else max(duration_s, cue.end_s)
        end_s = min(max(cue.end_s, start_s + MIN_S), start_s + MAX_S, free_s)
        ended_s = round(max(end_s, start_s + 1 / FRAME_RATE), 3)  # simultaneous words stand for a frame each
        yield replace(cue, start_s=round(start_s, 3), end_s=ended_s)
