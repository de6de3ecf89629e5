"""Plots of the report as SVG and PNG: word error rate over SNR, training curves; colours of the heat maps.

Colours of lines are Okabe and Ito's, those of heat maps magma: both safe for colour blindness, magma also perceptually
uniform and in grey (van der Walt and Smith 2015). Labels at the line ends replace a legend.
"""

import html
import io
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from avspeech.evaluation.conditions import CLEAN
from avspeech.evaluation.results import ConditionResult, Results, System, systems_of

COLOURS = {"audio": "#D55E00", "video": "#0072B2", "audio+video": "#009E73"}
CURVE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#56B4E9")
MARKERS = {"audio": "o", "video": "D", "audio+video": "s"}
INK, FAINT = "#333333", "#E3E3E3"
WER_LABEL = "word error rate, %"
HIGHEST = 150.0  # top of a plot in per cent; higher rates are only in the tables
_LINE_OF_TEXT = 0.055  # height of a label as a share of the plot's height
LINE_STYLES: tuple = ("-", (0, (4, 2)), (0, (1, 1.5)))  # first, second and third model with the same modality


TOPS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
"""Word error rates of a heat map's darkest colour, one a report; higher rates are clipped."""
LIGHTEST, DARKEST = 0.99, 0.13  # part of magma; the rest is nearly black
STEPS = 40  # of the legend


def make_panels(count: int, across: int, size: tuple[float, float], share_x: bool = False) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``size`` inches and its ``count`` axes, ``across`` per row, with a shared y axis."""
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    axes = figure.subplots(-(-count // across), across, squeeze=False, sharex=share_x, sharey=True).ravel()
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, list(axes[:count])


def ceiling(rows: Sequence[ConditionResult]) -> float:
    """Return the upper end of a word error rate axis, in per cent."""
    top = max([100 * max(row.wer_95[1], row.wer) for row in rows], default=100.0)
    return max(10.0, min(1.06 * top, HIGHEST))


def wer_figure(panels: Mapping[str, Sequence[ConditionResult]], noise: str) -> Figure:
    """Return the word error rate over SNR in ``noise``, clean at the right; ``panels`` has rows by panel title."""
    across = min(3, len(panels))
    size = (7.6 if across == 1 else 5.4 * across, 4.3 * -(-len(panels) // across))
    figure, axes = make_panels(len(panels), across, size)
    shown = [row for rows in panels.values() for row in rows if row.noise in (noise, CLEAN)]
    for place, (axis, (title, rows)) in enumerate(zip(axes, panels.items(), strict=True)):
        axis.set_ylim(0, ceiling(shown))
        _draw_panel(axis, rows, noise)
        style_axis(axis, title, axis.get_xlabel(), "" if place % across else WER_LABEL)
    return figure


def ranks_of(rows: Sequence[ConditionResult]) -> dict[System, int]:
    """Return the systems of the rows with a number that counts the models of each modality from 0."""
    systems = systems_of(rows)
    return {one: [other for other in systems if other[0] == one[0]].index(one) for one in systems}


def _draw_panel(axis: Axes, rows: Sequence[ConditionResult], noise: str) -> None:
    snrs_db = sorted({row.snr_db for row in rows if row.noise == noise and row.snr_db is not None})
    step = min((b - a for a, b in pairwise(snrs_db)), default=5.0)
    left, right = (snrs_db[0], snrs_db[-1]) if snrs_db else (0.0, 0.0)
    has_clean = any(row.noise == CLEAN for row in rows)
    has_noise = any(row.noise == noise for row in rows) and noise != CLEAN
    clean_x = right + 1.25 * step if has_noise else 0.0
    rows = [row for row in rows if row.noise in (noise, CLEAN)]
    labels, ranks = [], ranks_of(rows)
    several = len({model for _, model in ranks}) > 1
    for number, ((modality, model), rank) in enumerate(ranks.items()):
        apart = 0.07 * step * (number - (len(ranks) - 1) / 2)  # so that error bars do not hide each other
        alone = {noise: apart, CLEAN: clean_x + apart}
        mine = [row for row in rows if row.system == (modality, model)]
        places = [alone[row.noise] if row.snr_db is None else row.snr_db for row in mine]
        points = sorted(zip(places, mine, strict=True), key=lambda point: point[0])
        _draw_series(axis, modality, rank, points)
        labels.append((100 * points[-1][1].wer, f"{modality} ({model})" if several else modality, COLOURS[modality]))
    ticks = [(snr_db, f"{snr_db:g}") for snr_db in snrs_db] or [(0.0, noise)] * has_noise
    ticks += [(clean_x, "clean")] * has_clean
    axis.set_xticks([x for x, _ in ticks], [name for _, name in ticks])
    if has_noise and has_clean:
        axis.axvline((right + clean_x) / 2, color="#BBBBBB", linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
    axis.set_xlim(left - 0.25 * step, (clean_x if has_clean else right) + 0.25 * step)
    axis.set_xlabel(f"{noise}: signal-to-noise ratio, dB" if snrs_db else "")
    label_ends(axis, labels)


def _draw_series(axis: Axes, modality: str, rank: int, points: list[tuple[float, ConditionResult]]) -> None:
    colour, marker = COLOURS[modality], MARKERS[modality]
    fill = colour if rank == 0 else "white"
    noisy = [(x, row) for x, row in points if row.snr_db is not None]
    look = {"linestyle": LINE_STYLES[min(rank, len(LINE_STYLES) - 1)], "markerfacecolor": fill, "zorder": 3}
    draw_band(axis, noisy, color=colour, linewidth=2.0, marker=marker, markersize=6, **look)
    joint = (noisy[-1][0], 100 * noisy[-1][1].wer) if noisy else None
    for x, row in points:
        if row.snr_db is None:
            y, bar = 100 * row.wer, {"color": colour, "markerfacecolor": fill, "capsize": 3}
            axis.errorbar([x], [y], yerr=spread_of([row]), fmt=marker, markersize=6, **bar)
            if joint is not None:
                axis.plot([joint[0], x], [joint[1], y], color=colour, linewidth=1.0, alpha=0.35, zorder=2)
            joint = x, y


def draw_band(axis: Axes, points: Sequence[tuple[float, ConditionResult]], color: str, **look: Any) -> Line2D:
    """Draw the word error rates of (x, row) points as a line, their 95 % intervals as a band."""
    xs, rows = [x for x, _ in points], [row for _, row in points]
    lows, highs = ([100 * row.wer_95[end] for row in rows] for end in (0, 1))
    axis.fill_between(xs, lows, highs, color=color, alpha=0.14, linewidth=0)
    (line,) = axis.plot(xs, [100 * row.wer for row in rows], color=color, **look)
    return line


def spread_of(rows: Sequence[ConditionResult]) -> list[list[float]]:
    """Return interval lengths below and above the rates, in points, for ``errorbar``."""
    return [[max(0.0, 100 * side * (row.wer_95[end] - row.wer)) for row in rows] for end, side in ((0, -1), (1, 1))]


def curves_figure(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    x_label: str,
    y_label: str,
    levels: Mapping[str, float] | None = None,
) -> Figure:
    """Return a figure of curves, (x, y) points by name, and dashed horizontal ``levels`` by name."""
    figure = Figure(figsize=(7.6, 3.4), layout="constrained", facecolor="white")
    axis = figure.subplots()
    labels = []
    for number, (name, points) in enumerate(curves.items()):
        colour = CURVE_COLOURS[number % len(CURVE_COLOURS)]
        points = sorted(points)
        markers = {"marker": "o", "markersize": 3.5} if len(points) <= 30 else {}
        axis.plot([x for x, _ in points], [y for _, y in points], color=colour, linewidth=1.8, **markers)
        if points:
            labels.append((points[-1][1], name, colour))
    for name, y in (levels or {}).items():
        axis.axhline(y, color="#777777", linewidth=1.0, linestyle=(0, (4, 3)))
        labels.append((y, name, "#777777"))
    axis.margins(x=0.01)
    style_axis(axis, "", x_label, y_label)
    label_ends(axis, labels)
    return figure


def style_axis(
    axis: Axes, title: str, x_label: str = "", y_label: str = "", grid: Literal["x", "y"] = "y", pad: float = 6.0
) -> None:
    """Write title and labels, keep the bottom spine only, and draw faint grid lines."""
    axis.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold", pad=pad)
    axis.set_xlabel(x_label, color=INK)
    axis.set_ylabel(y_label, color=INK)
    axis.grid(axis=grid, color=FAINT, linewidth=0.8)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color("#999999")
    axis.tick_params(colors=INK, length=0, labelsize=9.5)


def label_ends(axis: Axes, labels: Sequence[tuple[float, str, str]]) -> None:
    """Write labels (y in data units, text, colour) right of the plot, without overlap; axis limits must be final."""
    low, high = axis.get_ylim()
    labels = sorted((min(max(y, low), high), text, colour) for y, text, colour in labels)  # a line may leave the plot
    middles = spread_apart([y for y, _, _ in labels], gap=(high - low) * _LINE_OF_TEXT, low=low, high=high)
    to_right = axis.get_yaxis_transform()  # x in parts of the axis, y in data units
    for (y, text, colour), middle in zip(labels, middles, strict=True):
        leader = {"color": colour, "linewidth": 0.8, "alpha": 0.6, "clip_on": False}
        axis.plot([1.0, 1.03], [y, middle], transform=to_right, **leader)
        axis.annotate(
            plain(text), (1.04, middle), xycoords=to_right, va="center", fontsize=9.5, color=colour, fontweight="bold",
            annotation_clip=False,
        )  # fmt: skip


def plain(text: str) -> str:
    """Return text escaped against matplotlib's formulas."""
    return text.replace("$", r"\$")


def spread_apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions from ``low`` to ``high``, at least ``gap`` apart, near the ascending ``wanted`` ones."""
    groups: list[list[float]] = []

    def first(group: list[float]) -> float:
        bottom = sum(group) / len(group) - gap * (len(group) - 1) / 2
        return max(low, min(bottom, high - gap * (len(group) - 1)))

    for y in wanted:
        groups.append([y])
        while len(groups) > 1 and first(groups[-2]) + gap * len(groups[-2]) > first(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    return [first(group) + gap * place for group in groups for place in range(len(group))]


def to_svg(figure: Figure, name: str = "figure", label: str = "") -> str:
    """Return a reproducible ``<svg>``; ``name`` prefixes its ids, ``label`` is for screen readers."""
    with matplotlib.rc_context({"svg.hashsalt": "avspeech", "svg.fonttype": "path"}):
        stream = io.StringIO()
        FigureCanvasSVG(figure).print_svg(stream, metadata={"Date": None})
    text = stream.getvalue()
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", text[text.index("<svg") :])
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)


def to_png(figure: Figure, dpi: int = 150) -> bytes:
    stream, canvas = io.BytesIO(), FigureCanvasAgg(figure)
    figure.set_dpi(dpi)
    canvas.print_png(stream, metadata={"Software": None})
    return stream.getvalue()


def scale_top(results: Results) -> float:
    """Return the word error rate of the darkest colour: the first of ``TOPS`` that no row exceeds."""
    highest = max((row.wer for row in results.conditions), default=1.0)
    return next((top for top in TOPS if highest <= top), TOPS[-1])


def heat_colour(fraction: float) -> tuple[str, str]:
    """Return the colour of a share of the scale, 0 to 1, and its text colour, black or white, as ``#rrggbb``."""
    share = LIGHTEST + (DARKEST - LIGHTEST) * min(max(fraction, 0.0), 1.0)
    rgb = matplotlib.colormaps["magma"](share)[:3]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in rgb]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]  # WCAG 2, as is the text colour
    return to_hex(rgb), "#000000" if luminance > 0.179 else "#ffffff"


def heat_legend(top: float) -> tuple[list[str], list[str]]:
    """Return the legend's colours from 0 to ``top``, and equally spaced labels in per cent."""
    above = "+" if top == TOPS[-1] else ""
    labels = [f"{100 * top * part / 4:g}" for part in range(4)] + [f"{100 * top:g}{above}"]
    return [heat_colour(step / (STEPS - 1))[0] for step in range(STEPS)], labels
