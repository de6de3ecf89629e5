"""Plots that compare languages and faults of the picture: bars with intervals, and curves over the level of a fault."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from avspeech.evaluation.comparison import Noise
from avspeech.evaluation.conditions import MODALITIES, noise_label
from avspeech.evaluation.faults import FaultPanel, bar_faults, kinds_with_curves, seen_label
from avspeech.evaluation.plots import (
    COLOURS,
    HIGHEST,
    INK,
    plain,
    spread_of,
    style_axis,
)
from avspeech.evaluation.results import ConditionResult

_WHISKER = {"ecolor": "#444444", "elinewidth": 1.0, "capsize": 2.0}
_HATCHES = ("", "////", "....")  # first, second and third model with the same modality
_LEVELS = {"drop": "% of the frames lost", "offset": "ms that the picture comes late"}
_NOISE_LOOKS = (("#333333", "o"), ("#CC79A7", "s"), ("#8A6D00", "D"), ("#56B4E9", "^"))  # not the modalities' colours


def language_figure(panels: Sequence[tuple[Noise, Sequence[ConditionResult]]], several_models: bool) -> Figure:
    """Return bars of the word error rate, languages across, one panel a noise, one bar a system.

    Args:
        panels: noise and its rows, of all languages.
        several_models: name the models.
    """
    languages = sorted({row.language for _, rows in panels for row in rows})
    found = dict.fromkeys((row.modality, row.model) for _, rows in panels for row in rows)
    systems = sorted(found, key=lambda system: MODALITIES.index(system[0]))
    ranks = {one: [other for other in systems if other[0] == one[0]].index(one) for one in systems}
    width = min(11.0, 3.0 + 0.28 * len(languages) * len(systems))
    figure = Figure(figsize=(width, 2.9 * len(panels)), layout="constrained", facecolor="white")
    axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True, sharey=True).ravel()
    axes[0].set_ylim(0, _ceiling([row for _, rows in panels for row in rows]))
    for axis, (noise, rows) in zip(axes, panels, strict=True):
        for number, system in enumerate(systems):
            mine = [row for row in rows if (row.modality, row.model) == system]
            thick = 0.8 / len(systems)
            xs = [languages.index(row.language) + thick * (number - (len(systems) - 1) / 2) for row in mine]
            axis.bar(
                xs, [100 * row.wer for row in mine], 0.92 * thick, yerr=spread_of(mine), color=COLOURS[system[0]],
                hatch=_HATCHES[min(ranks[system], len(_HATCHES) - 1)], edgecolor="white", linewidth=0,
                error_kw=_WHISKER, label=plain(f"{system[0]} ({system[1]})") if several_models else system[0],
            )  # fmt: skip
        axis.set_xticks(range(len(languages)), languages)
        axis.set_title(noise_label(*noise), loc="left", fontsize=11, color=INK, fontweight="bold")
        axis.set_ylabel("word error rate, %", color=INK)
        style_axis(axis)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(systems), frameon=False, fontsize=9.5)
    return figure


def fault_figure(panels: Sequence[FaultPanel]) -> Figure:
    """Return bars of the word error rate by fault, one panel a noise; lines are the own video and audio alone.

    Args:
        panels: of one model.
    """
    faults = bar_faults(list(panels))
    figure = Figure(
        figsize=(2.2 + 3.6 * len(panels), 1.5 + 0.27 * len(faults)), layout="constrained", facecolor="white"
    )
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True).ravel()
    for axis, panel in zip(axes, panels, strict=True):
        rows = {fault: row for fault, row in panel.faults.items() if fault in faults}
        places, mine = [faults.index(fault) for fault in rows], list(rows.values())
        whole = [row for row in (*mine, panel.own, panel.audio) if row is not None]
        axis.set_xlim(0, _ceiling(whole))
        axis.barh(
            places, [100 * row.wer for row in mine], 0.72, xerr=spread_of(mine), color=COLOURS[panel.modality],
            alpha=0.75, error_kw=_WHISKER,
        )  # fmt: skip
        _reference_lines(axis, panel)
        axis.set_title(_panel_title(panel), loc="left", fontsize=11, color=INK, fontweight="bold", pad=26)
        axis.set_xlabel("word error rate, %", color=INK)
        style_axis(axis, grid="x")
    axes[0].set_yticks(range(len(faults)), [seen_label(fault.label) for fault in faults])
    axes[0].set_ylim(len(faults) - 0.5, -0.5)
    return figure


def _reference_lines(axis: Axes, panel: FaultPanel) -> None:
    """Upright lines at the own video and at audio alone, named above the plot, apart where they are near each other."""
    looks = (
        (panel.own, "own video", COLOURS[panel.modality], "-"),
        (panel.audio, "audio alone", COLOURS["audio"], "--"),
    )
    found = sorted(((row, *look) for row, *look in looks if row is not None), key=lambda line: line[0].wer)
    for number, (row, name, colour, style) in enumerate(found):
        x = min(100 * row.wer, HIGHEST)
        axis.axvline(x, color=colour, linewidth=1.8, linestyle=style, zorder=3)
        share = x / axis.get_xlim()[1]
        left = share > 0.6 or (share > 0.3 and number == 0 and len(found) > 1)
        axis.annotate(
            name, (x, 1.0), (0, 3 + 11 * (number == 0 and len(found) > 1)), xycoords=axis.get_xaxis_transform(),
            textcoords="offset points", ha="right" if left else "left", va="bottom", fontsize=9, color=colour,
            fontweight="bold", annotation_clip=False,
        )  # fmt: skip


def fault_curves(panels: Sequence[FaultPanel]) -> Figure | None:
    """Return the word error rate over the level of each kind of fault that was tried at several; None without one.

    The own video is the level 0. Dashed lines are audio alone.

    Args:
        panels: of one model.
    """
    kinds = kinds_with_curves(list(panels))
    if not kinds:
        return None
    across = min(4, len(kinds))
    down = -(-len(kinds) // across)
    figure = Figure(figsize=(0.9 + 2.6 * across, 0.5 + 2.6 * down), layout="constrained", facecolor="white")
    axes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for unused in axes[len(kinds) :]:
        unused.set_axis_off()
    axes[0].set_ylim(0, _ceiling([row for panel in panels for row in (*panel.rows, panel.audio) if row is not None]))
    handles = {}
    for axis, kind in zip(axes, kinds, strict=False):  # the last axes may be empty
        ticks: set[float] = set()
        for number, panel in enumerate(panels):
            points = [(fault.level, row) for fault, row in panel.faults.items() if fault.kind == kind]
            if points:
                points += [(0.0, panel.own)] if panel.own is not None else []
                points.sort(key=lambda point: point[0])
                ticks |= {x for x, _ in points}
                handles[_panel_title(panel)] = _draw_curve(axis, panel, points, number)
        axis.set_xticks(sorted(ticks))
        axis.set_title(kind.replace("_", " "), loc="left", fontsize=11, color=INK, fontweight="bold")
        axis.set_xlabel(_LEVELS.get(kind, "severity; 0 is the own video"), color=INK)
        style_axis(axis)
    for first in axes[::across]:
        first.set_ylabel("word error rate, %", color=INK)
    figure.legend(
        list(handles.values()), list(handles), loc="outside upper left", ncols=len(handles), frameon=False, fontsize=10
    )
    return figure


def _draw_curve(axis: Axes, panel: FaultPanel, points: Sequence[tuple[float, ConditionResult]], number: int) -> Line2D:
    colour, marker = _NOISE_LOOKS[number % len(_NOISE_LOOKS)]
    xs, rows = [x for x, _ in points], [row for _, row in points]
    lows, highs = [100 * row.wer_95[0] for row in rows], [100 * row.wer_95[1] for row in rows]
    axis.fill_between(xs, lows, highs, color=colour, alpha=0.14, linewidth=0)
    if panel.audio is not None:
        axis.axhline(100 * panel.audio.wer, color=colour, linewidth=1.1, linestyle="--")
    (line,) = axis.plot(xs, [100 * row.wer for row in rows], color=colour, linewidth=2, marker=marker, markersize=5)
    return line


def _panel_title(panel: FaultPanel) -> str:
    return "lips alone" if panel.modality == "video" else noise_label(*panel.noise)


def _ceiling(rows: Sequence[ConditionResult]) -> float:
    """Return where an axis ends, in per cent."""
    top = max([100 * max(row.wer_95[1], row.wer) for row in rows], default=100.0)
    return max(10.0, min(1.06 * top, HIGHEST))
