"""Colours of the report's heat maps: magma reversed, light for a low word error rate, one scale per report.

Magma is perceptually uniform, also with colour blindness and in grey (van der Walt and Smith 2015).
"""

import matplotlib
from matplotlib.colors import to_hex

from avspeech.evaluation.results import Results

TOPS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
"""Word error rates of the darkest colour; higher rates are clipped."""
LIGHTEST, DARKEST = 0.99, 0.13  # part of magma; the rest is nearly black
STEPS = 40  # of the legend


def scale_top(results: Results) -> float:
    """Return the word error rate of the darkest colour: the first of ``TOPS`` that no row exceeds."""
    highest = max((row.wer for row in results.conditions), default=1.0)
    return next((top for top in TOPS if highest <= top), TOPS[-1])


def colour(fraction: float) -> tuple[str, str]:
    """Return the colour of a share of the scale, 0 to 1, and its text colour, black or white, as ``#rrggbb``."""
    share = LIGHTEST + (DARKEST - LIGHTEST) * min(max(fraction, 0.0), 1.0)
    rgb = matplotlib.colormaps["magma"](share)[:3]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]  # WCAG 2, as is the text colour
    return to_hex(rgb), "#000000" if luminance > 0.179 else "#ffffff"


def legend(top: float) -> tuple[list[str], list[str]]:
    """Return the legend's colours from 0 to ``top``, and equally spaced labels in per cent."""
    above = "+" if top == TOPS[-1] else ""
    labels = [f"{100 * top * part / 4:g}" for part in range(4)] + [f"{100 * top:g}{above}"]
    return [colour(step / (STEPS - 1))[0] for step in range(STEPS)], labels
