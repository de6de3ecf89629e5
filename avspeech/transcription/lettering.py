"""Draw captions of any script as small pictures to lay over frames.

Pillow draws (OpenCV has ASCII only). Raqm, in Pillow's wheels, joins letters and needs the system's FriBidi library.
Words are drawn singly, so that one can be marked, in the order of Unicode's UAX #9 (rule L2) at word level.
"""

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avspeech.transcription.captions import CaptionWord, Cue

log = logging.getLogger(__name__)

Coloured = tuple[CaptionWord, tuple[int, int, int]]
PLAIN, MARKED, LABEL = (255, 255, 255), (255, 221, 64), (160, 200, 255)
"""Colours of words, the spoken word and speakers' labels."""
BACKGROUND = (0, 0, 0, 165)


@dataclass(frozen=True)
class Patch:
    """A picture with transparency."""

    colour_HWC: np.ndarray  # uint8 RGB, premultiplied by opacity
    behind_HWC: np.ndarray  # uint8, 255 minus opacity

    @property
    def size(self) -> tuple[int, int]:
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
    """Draws lines of words with the letters of ``text``; lines wider than ``max_width`` pixels get smaller letters.

    ``letter_size``: in pixels. ``font``: a font file; None: see ``find_font``.
    """

    def __init__(self, text: str, max_width: int, letter_size: int, font: str | Path | None = None) -> None:
        from PIL import features

        self.font = Path(font) if font is not None else find_font(text)
        self.max_width, self.letter_size = max_width, letter_size
        self.joins = bool(features.check("raqm"))
        if not self.joins and any(map(_to_left, text)):
            log.warning(
                "Pillow finds no FriBidi library: letters of right-to-left scripts are drawn in order, but not joined; "
                "install it (Debian: libfribidi0)"
            )

    def cues(self, cues: Sequence[Cue], time_s: float) -> Patch:
        """Return stacked cues with the words at ``time_s`` marked."""
        lines: list[list[Coloured]] = []
        for cue in cues:
            rows = [[(w, MARKED if w.start_s <= time_s < w.end_s else PLAIN) for w in line] for line in cue.lines]
            if cue.speaker is not None:
                rows[0].insert(0, (CaptionWord(f"{cue.speaker}:", 0.0, 0.0), LABEL))
            lines += rows
        return self._draw(lines)

    def label(self, text: str) -> Patch:
        """Return one line of plain text."""
        return self._draw([[(CaptionWord(text, 0.0, 0.0), PLAIN)]])

    def _draw(self, lines: Sequence[Sequence[Coloured]]) -> Patch:
        from PIL import Image, ImageDraw

        font = self._sized(self.letter_size)
        widest = max(_length(font, line) for line in lines)
        pad = self.letter_size // 3
        if widest + 2 * pad > self.max_width:
            font = self._sized(max(6, int(self.letter_size * (self.max_width - 2 * pad) / widest)))
            widest = max(_length(font, line) for line in lines)
        ascent, descent = font.getmetrics()
        step = ascent + descent
        size = (int(widest) + 2 * pad, step * len(lines) + pad)
        image = Image.new("RGBA", size, BACKGROUND)
        draw = ImageDraw.Draw(image)
        for number, line in enumerate(lines):
            x = (size[0] - _length(font, line)) / 2
            y = pad // 2 + number * step + ascent
            for i, (word, colour) in enumerate(in_order_of_sight(line)):
                # Pillow sets letters left to right without raqm.
                text = word.text[::-1] if _to_left(word.text) and not self.joins else word.text
                x += _blank(font, word) if i > 0 else 0
                draw.text((x, y), text, font=font, fill=(*colour, 255), anchor="ls")
                x += font.getlength(text)
        rgba_HWC = np.asarray(image)
        opacity_HWC = np.repeat(rgba_HWC[..., 3:], 3, axis=2)
        return Patch(cv2.multiply(rgba_HWC[..., :3].copy(), opacity_HWC, scale=1 / 255), 255 - opacity_HWC)

    def _sized(self, size: int) -> Any:
        from PIL import ImageFont

        engine = ImageFont.Layout.RAQM if self.joins else ImageFont.Layout.BASIC
        return ImageFont.truetype(str(self.font), size, layout_engine=engine)


def _blank(font: Any, word: CaptionWord) -> float:
    return 0.0 if word.joined else font.getlength(" ")


def _length(font: Any, line: Sequence[Coloured]) -> float:
    return sum(font.getlength(word.text) for word, _ in line) + sum(_blank(font, word) for word, _ in line[1:])


def in_order_of_sight(line: Sequence[Coloured]) -> list[Coloured]:
    """Return a line's words from left to right; its first directed word sets the direction, also of numbers."""
    own = [_to_left(word.text) for word, _ in line]
    line_to_left = next((one for one in own if one is not None), False)
    directed = zip(line, [line_to_left if one is None else one for one in own], strict=True)
    runs = []
    for to_left, group in groupby(directed, key=lambda one: one[1]):
        run = [one for one, _ in group]
        runs.append(run[::-1] if to_left else run)
    return [one for run in (runs[::-1] if line_to_left else runs) for one in run]


def _to_left(text: str) -> bool | None:
    """Return True if the first letter with a direction goes right to left; None without such a letter."""
    kinds = (unicodedata.bidirectional(character) for character in text)
    return next((kind != "L" for kind in kinds if kind in ("L", "R", "AL")), None)


def find_font(text: str) -> Path:
    """Return a font file with the letters of ``text``: DejaVu Sans, else a system font, else DejaVu with a warning."""
    import matplotlib

    default = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    wanted = {ord(letter) for letter in text if unicodedata.category(letter)[0] in "LNPS"}
    if wanted <= _letters_of(default):
        return default
    from matplotlib import font_manager  # slow: lists the system's fonts

    regular = [font for font in font_manager.fontManager.ttflist if font.style == "normal" and font.weight == 400]
    # "Last Resort" has every letter, as a box.
    for name in sorted(font.fname for font in regular if not font.name.startswith("Last Resort")):
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
