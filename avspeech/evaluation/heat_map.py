"""The whole grid of a model as a map: what it gets and sees down, noises and SNRs across, colour for word error rate.

A table with coloured cells and no picture: it can be searched, copied and read aloud. Colours are matplotlib's
magma backwards (van der Walt and Smith 2015): equal steps look equal, also with colour blindness and in grey. Light
is right, dark is wrong, and all maps of a report share one scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import matplotlib
from matplotlib.colors import to_hex

from avspeech.evaluation.comparison import Noise, languages_of, noises_of
from avspeech.evaluation.conditions import CLEAN, MODALITIES, OWN, noise_label
from avspeech.evaluation.faults import seen_label
from avspeech.evaluation.results import ConditionResult, Results

TOPS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
"""Word error rates that the darkest colour may stand for; rates above 1 are as dark as 1."""
LIGHTEST, DARKEST = 0.99, 0.13
"""Part of magma that is used: its last purple is hardly told from black."""
STEPS = 40  # of the legend


@dataclass(frozen=True)
class HeatCell:
    """A coloured cell."""

    row: ConditionResult
    background: str
    """Colour, ``#rrggbb``."""
    ink: str
    """Black or white, whichever can be read on it."""
    title: str
    """Everything about it, shown where the pointer rests."""


@dataclass(frozen=True)
class HeatRow:
    """One line of the map."""

    modality: str
    seen: str
    """What is seen, in words; empty for its own video."""
    label: str
    cells: tuple[HeatCell | None, ...]
    """None where nothing was evaluated."""


@dataclass(frozen=True)
class HeatMap:
    """The grid of one model in one language."""

    model: str
    language: str
    columns: tuple[Noise, ...]
    groups: tuple[tuple[str, int], ...]
    """Noises with the number of their columns; ``clean`` has one."""
    rows: tuple[HeatRow, ...]


def heat_maps(results: Results) -> list[HeatMap]:
    """Return a map for each language, of all languages first, and in it for each model, in the order of the rows."""
    top, columns = scale_top(results), tuple(noises_of(results))
    groups = tuple((name, len(list(several))) for name, several in groupby(columns, key=lambda noise: noise[0]))
    maps = []
    for language in languages_of(results):
        for model in dict.fromkeys(row.model for row in results.conditions):
            rows = [row for row in results.conditions if (row.model, row.language) == (model, language)]
            cells = {(row.modality, row.video_stream, row.noise, row.snr_db): row for row in rows}
            streams = dict.fromkeys((row.modality, row.video_stream) for row in rows)
            lines = sorted(streams, key=lambda line: (MODALITIES.index(line[0]), line[1] != OWN))
            drawn = tuple(_line(line, [cells.get((*line, *noise)) for noise in columns], top) for line in lines)
            maps.append(HeatMap(model, language, columns, groups, drawn))
    return maps


def _line(line: tuple[str, str], cells: Sequence[ConditionResult | None], top: float) -> HeatRow:
    modality, stream = line
    seen = "" if stream == OWN else seen_label(stream)
    label = f"{modality}, {seen}" if seen else modality
    return HeatRow(modality, seen, label, tuple(cell and _cell(cell, label, top) for cell in cells))


def _cell(row: ConditionResult, label: str, top: float) -> HeatCell:
    background, ink = colour(row.wer / top)
    title = (
        f"{label}, {noise_label(row.noise, row.snr_db)}: {100 * row.wer:.1f} %, 95 % interval "
        f"{100 * row.wer_95[0]:.1f} to {100 * row.wer_95[1]:.1f}; {row.n_utterances} utterances, {row.n_words} words"
    )
    return HeatCell(row, background, ink, title)


def scale_top(results: Results) -> float:
    """Return the word error rate that the darkest colour stands for: the first of ``TOPS`` that no row exceeds."""
    highest = max((row.wer for row in results.conditions), default=1.0)
    return next((top for top in TOPS if highest <= top), TOPS[-1])


def colour(fraction: float) -> tuple[str, str]:
    """Return the colour of a share of the scale, 0 to 1, and black or white to write on it."""
    share = LIGHTEST + (DARKEST - LIGHTEST) * min(max(fraction, 0.0), 1.0)
    rgb = matplotlib.colormaps["magma"](share)[:3]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]  # WCAG 2's, as is the choice of ink
    return to_hex(rgb), "#000000" if luminance > 0.179 else "#ffffff"


def legend(top: float) -> tuple[list[str], list[str]]:
    """Return the colours of the legend from 0 to ``top``, and labels at equal distances in per cent."""
    above = "+" if top == TOPS[-1] else ""
    labels = [f"{100 * top * part / 4:g}" for part in range(4)] + [f"{100 * top:g}{above}"]
    return [colour(step / (STEPS - 1))[0] for step in range(STEPS)], labels


def column_label(noise: Noise) -> str:
    """Return what stands over a column below its noise: the SNR in dB, or nothing where there is none."""
    return "" if noise[1] is None else f"{noise[1]:g}".replace("-", "\N{MINUS SIGN}")


def group_label(name: str) -> str:
    """Return what stands over the columns of a noise."""
    return "clean" if name == CLEAN else name
