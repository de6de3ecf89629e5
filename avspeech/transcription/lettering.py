"""Draw captions of any script as small pictures to lay over frames.

Pillow draws (OpenCV has ASCII only), with matplotlib's DejaVu Sans or a system font where DejaVu lacks letters
(Chinese, Hindi). Raqm, in Pillow's wheels, joins letters and needs the system's FriBidi library. Words are drawn
singly, so that one can be marked, in the order of the Unicode bidirectional algorithm (UAX #9, rule L2) at word level.
"""

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avspeech.transcription.captions import CaptionWord, Cue

log = logging.getLogger(__name__)

PLAIN, MARKED, LABEL = (255, 255, 255), (255, 221, 64), (160, 200, 255)
"""Colours of words, the spoken word and speakers' labels."""
BACKGROUND = (0, 0, 0, 165)


@dataclass(frozen=True)
class Patch:
    """A picture with transparency."""

    colour_HWC: np.ndarray
    """uint8 RGB, premultiplied by opacity."""
    behind_HWC: np.ndarray
    """uint8, 255 minus opacity."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.colour_HWC.shape[1], self.colour_HWC.shape[0]

    def lay_over(self, frame_HWC: np.ndarray, left: int, top: int) -> None:
        """Draw it into a frame, clipped at the edges."""
        height, width = frame_HWC.shape[:2]
        x, y = slice(max(left, 0), min(left + self.size[0], width)), slice(max(top, 0), min(top + self.size[1], height))
        if x.start >= x.stop or y.start >= y.stop:
            return
        own = (slice(y.start - top, y.stop - top), slice(x.start - left, x.stop - left))
        seen_HWC = cv2.multiply(frame_HWC[y, x], np.ascontiguousarray(self.behind_HWC[own]), scale=1 / 255)
        frame_HWC[y, x] = cv2.add(seen_HWC, np.ascontiguousarray(self.colour_HWC[own]))


class Lettering:
    """Draws lines of words.

    Args:
        text: all letters to draw, to choose the font.
        max_width: in pixels; wider lines get smaller letters.
        letter_size: in pixels.
        font: a font file; None: see ``find_font``.
    """

    def __init__(self, text: str, max_width: int, letter_size: int, font: str | Path | None = None) -> None:
        from PIL import features

        self.font = Path(font) if font is not None else find_font(text)
        self.max_width, self.letter_size = max_width, letter_size
        self.joins = bool(features.check("raqm"))
        if not self.joins and any(_direction(character) == "right to left" for character in text):
            log.warning(
                "Pillow finds no FriBidi library: letters of right-to-left scripts are drawn in order, but not joined; "
                "install it (Debian: libfribidi0)"
            )

    def cues(self, cues: Sequence[Cue], time_s: float) -> Patch:
        """Return stacked cues with the words at ``time_s`` marked."""
        lines: list[list[tuple[CaptionWord, tuple[int, int, int]]]] = []
        for cue in cues:
            for number, line in enumerate(cue.lines):
                words = [(word, MARKED if word.start_s <= time_s < word.end_s else PLAIN) for word in line]
                if cue.speaker is not None and number == 0:
                    words.insert(0, (CaptionWord(f"{cue.speaker}:", 0.0, 0.0), LABEL))
                lines.append(words)
        return self._draw(lines)

    def label(self, text: str) -> Patch:
        """Return one line of plain text."""
        return self._draw([[(CaptionWord(text, 0.0, 0.0), PLAIN)]])

    def _draw(self, lines: Sequence[Sequence[tuple[CaptionWord, tuple[int, int, int]]]]) -> Patch:
        from PIL import Image, ImageDraw

        font = self._sized(self.letter_size)
        widest = max(_length(font, [word for word, _ in line]) for line in lines)
        pad = self.letter_size // 3
        if widest + 2 * pad > self.max_width:
            font = self._sized(max(6, int(self.letter_size * (self.max_width - 2 * pad) / widest)))
            widest = max(_length(font, [word for word, _ in line]) for line in lines)
        ascent, descent = font.getmetrics()
        step = ascent + descent
        size = (int(widest) + 2 * pad, step * len(lines) + pad)
        image = Image.new("RGBA", size, BACKGROUND)
        draw = ImageDraw.Draw(image)
        for number, line in enumerate(lines):
            x = (size[0] - _length(font, [word for word, _ in line])) / 2
            y = pad // 2 + number * step + ascent
            for i, (word, colour) in enumerate(in_order_of_sight(line)):
                if i > 0:
                    x += _blank(font, word)
                draw.text((x, y), self._joined(word.text), font=font, fill=(*colour, 255), anchor="ls")
                x += font.getlength(self._joined(word.text))
        rgba_HWC = np.asarray(image)
        opacity_HWC = np.repeat(rgba_HWC[..., 3:], 3, axis=2)
        return Patch(cv2.multiply(rgba_HWC[..., :3].copy(), opacity_HWC, scale=1 / 255), 255 - opacity_HWC)

    def _sized(self, size: int) -> Any:
        from PIL import ImageFont

        engine = ImageFont.Layout.RAQM if self.joins else ImageFont.Layout.BASIC
        return ImageFont.truetype(str(self.font), size, layout_engine=engine)

    def _joined(self, text: str) -> str:
        """Return the text for Pillow, which sets letters left to right without raqm."""
        return text if self.joins or not _is_right_to_left(text) else text[::-1]


def _blank(font: Any, word: CaptionWord) -> float:
    return 0.0 if word.joined else font.getlength(" ")


def _length(font: Any, words: Sequence[CaptionWord]) -> float:
    return sum(font.getlength(word.text) for word in words) + sum(_blank(font, word) for word in words[1:])


def in_order_of_sight(
    line: Sequence[tuple[CaptionWord, tuple[int, int, int]]],
) -> list[tuple[CaptionWord, tuple[int, int, int]]]:
    """Return a line's words from left to right; its first directed word sets the direction, also of numbers."""
    directions = [_direction(word.text) for word, _ in line]
    to_left = next(filter(None, directions), None) == "right to left"
    runs: list[tuple[bool, list[tuple[CaptionWord, tuple[int, int, int]]]]] = []
    for one, direction in zip(line, directions, strict=True):
        word_to_left = to_left if direction is None else direction == "right to left"
        if not runs or runs[-1][0] != word_to_left:
            runs.append((word_to_left, []))
        runs[-1][1].append(one)
    ordered = [run[::-1] if run_to_left else run for run_to_left, run in runs]
    return [one for run in (ordered[::-1] if to_left else ordered) for one in run]


def _is_right_to_left(text: str) -> bool:
    return _direction(text) == "right to left"


def _direction(text: str) -> str | None:
    """Return the direction of the first letter that has one."""
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("R", "AL"):
            return "right to left"
        if kind == "L":
            return "left to right"
    return None


def find_font(text: str) -> Path:
    """Return a font file with the letters of ``text``: DejaVu Sans, else a system font, else DejaVu with a warning."""
    import matplotlib

    default = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    wanted = {ord(letter) for letter in text if unicodedata.category(letter)[0] in "LNPS"}
    if wanted <= _letters_of(default):
        return default
    from matplotlib import font_manager  # slow: lists the system's fonts

    # "Last Resort" has every letter, as a box.
    fonts = [font for font in font_manager.fontManager.ttflist if not font.name.startswith("Last Resort")]
    regular = [font.fname for font in fonts if font.style == "normal" and font.weight == 400]
    for name in sorted(regular):
        if wanted <= _letters_of(name):
            return Path(name)
    missing = "".join(map(chr, sorted(wanted - _letters_of(default))))
    log.warning(
        "no font of this computer has all letters of the captions: %s%s are drawn as boxes; install one, for example "
        "Noto Sans", missing[:20], "..." if len(missing) > 20 else "",
    )  # fmt: skip
    return default


def _letters_of(font: str | Path) -> set[int]:
    from matplotlib.ft2font import FT2Font

    return set(FT2Font(str(font)).get_charmap())
