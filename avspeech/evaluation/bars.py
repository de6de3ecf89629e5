"""Plots of languages and video faults: bars with intervals, and curves over the level of a fault."""

from collections.abc import Sequence
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from avspeech.evaluation.conditions import MODALITIES, noise_label
from avspeech.evaluation.faults import FaultPanel, bar_faults, kinds_with_curves, seen_label
from avspeech.evaluation.plots import (
    COLOURS,
    HIGHEST,
    INK,
    WER_LABEL,
    ceiling,
    draw_band,
    make_panels,
    plain,
    set_title,
    spread_of,
    style_axis,
)
from avspeech.evaluation.results import ConditionResult, Noise

_WHISKER = {"ecolor": "#444444", "elinewidth": 1.0, "capsize": 2.0}
_HATCHES = ("", "////", "....")  # first, second and third model with the same modality
_LEVELS = {"drop": "% of the frames lost", "offset": "ms that the picture comes late"}
_NOISE_LOOKS = (("#333333", "o"), ("#CC79A7", "s"), ("#8A6D00", "D"), ("#56B4E9", "^"))  # not the modalities' colours


def language_figure(panels: Sequence[tuple[Noise, Sequence[ConditionResult]]], several_models: bool) -> Figure:
    """Return bars of the word error rate by language and system, one panel per noise."""
    languages = sorted({row.language for _, rows in panels for row in rows})
    found = dict.fromkeys((row.modality, row.model) for _, rows in panels for row in rows)
    systems = sorted(found, key=lambda system: MODALITIES.index(system[0]))
    ranks = {one: [other for other in systems if other[0] == one[0]].index(one) for one in systems}
    legend_width = (2.0 if several_models else 1.3) * len(systems)  # inches; a narrower figure cuts the legend
    width = max(legend_width, min(11.0, 3.0 + 0.28 * len(languages) * len(systems)))
    figure, axes = make_panels(len(panels), 1, (width, 2.9 * len(panels)), share_x=True)
    axes[0].set_ylim(0, ceiling([row for _, rows in panels for row in rows]))
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
        set_title(axis, noise_label(*noise))
        axis.set_ylabel(WER_LABEL, color=INK)
        style_axis(axis)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(systems), frameon=False, fontsize=9.5)
    return figure


def fault_figure(panels: Sequence[FaultPanel]) -> Figure:
    """Return bars of one model's word error rate by fault, one panel per noise; lines: own video and audio alone."""
    faults = bar_faults(list(panels))
    figure, axes = make_panels(len(panels), len(panels), (2.2 + 3.6 * len(panels), 1.5 + 0.27 * len(faults)))
    for axis, panel in zip(axes, panels, strict=True):
        rows = {fault: row for fault, row in panel.faults.items() if fault in faults}
        places, mine = [faults.index(fault) for fault in rows], list(rows.values())
        whole = [row for row in (*mine, panel.own, panel.audio) if row is not None]
        axis.set_xlim(0, ceiling(whole))
        axis.barh(
            places, [100 * row.wer for row in mine], 0.72, xerr=spread_of(mine), color=COLOURS[panel.modality],
            alpha=0.75, error_kw=_WHISKER,
        )  # fmt: skip
        _reference_lines(axis, panel)
        set_title(axis, _panel_title(panel), pad=26)
        axis.set_xlabel(WER_LABEL, color=INK)
        style_axis(axis, grid="x")
    axes[0].set_yticks(range(len(faults)), [seen_label(fault.label) for fault in faults])
    axes[0].set_ylim(len(faults) - 0.5, -0.5)
    return figure


def _reference_lines(axis: Axes, panel: FaultPanel) -> None:
    """Draw labelled vertical lines at the own video and at audio alone."""
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
    """Return one model's word error rate over the levels of each fault, 0 is the own video; None without levels."""
    kinds = kinds_with_curves(list(panels))
    if not kinds:
        return None
    across = min(4, len(kinds))
    width = max(0.9 + 2.6 * across, 1.4 * len(panels))  # a narrower figure cuts the legend
    figure, axes = make_panels(len(kinds), across, (width, 0.5 + 2.6 * -(-len(kinds) // across)))
    axes[0].set_ylim(0, ceiling([row for panel in panels for row in (*panel.rows, panel.audio) if row is not None]))
    handles = {}
    for place, (axis, kind) in enumerate(zip(axes, kinds, strict=True)):
        ticks: set[float] = set()
        for panel, (colour, marker) in zip(panels, cycle(_NOISE_LOOKS), strict=False):
            points = [(fault.level, row) for fault, row in panel.faults.items() if fault.kind == kind]
            if points:
                points += [(0.0, panel.own)] if panel.own is not None else []
                points.sort(key=lambda point: point[0])
                ticks |= {x for x, _ in points}
                if panel.audio is not None:
                    axis.axhline(100 * panel.audio.wer, color=colour, linewidth=1.1, linestyle="--")
                line = draw_band(axis, points, color=colour, linewidth=2, marker=marker, markersize=5)
                handles[_panel_title(panel)] = line
        axis.set_xticks(sorted(ticks))
        set_title(axis, kind.replace("_", " "))
        axis.set_xlabel(_LEVELS.get(kind, "severity; 0 is the own video"), color=INK)
        if place % across == 0:
            axis.set_ylabel(WER_LABEL, color=INK)
        style_axis(axis)
    look = {"loc": "outside upper left", "ncols": len(handles), "frameon": False, "fontsize": 10}
    figure.legend(list(handles.values()), list(handles), **look)
    return figure


def _panel_title(panel: FaultPanel) -> str:
    return "lips alone" if panel.modality == "video" else noise_label(*panel.noise)
