"""Colours of the report's heat map: matplotlib's magma backwards, light for a low word error rate.

Equal steps look equal, also with colour blindness and in grey (van der Walt and Smith 2015). All maps of a report share
one scale.
"""

import matplotlib
from matplotlib.colors import to_hex

from avspeech.evaluation.results import Results

TOPS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
"""Word error rates of the darkest colour; rates above 1 are as dark as 1."""
LIGHTEST, DARKEST = 0.99, 0.13  # part of magma; its last purple is hardly told from black
STEPS = 40  # of the legend


def scale_top(results: Results) -> float:
    """Return the word error rate of the darkest colour: the first of ``TOPS`` that no row exceeds."""
    highest = max((row.wer for row in results.conditions), default=1.0)
    return next((top for top in TOPS if highest <= top), TOPS[-1])


def colour(fraction: float) -> tuple[str, str]:
    """Return the colour of a share of the scale, 0 to 1, and black or white to write on it, as ``#rrggbb``."""
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
