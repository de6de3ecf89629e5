"""Plots of languages and faults of the picture: bars with intervals, and curves over the level of a fault."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, product

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from avspeech.evaluation import plots
from avspeech.evaluation.conditions import MODALITIES, VIDEO_STREAMS, Condition, noise_label, with_minus
from avspeech.evaluation.results import ConditionResult, Noise, Results
from avspeech.faults.visual import KINDS, Fault, parse_fault

_WHISKER = {"ecolor": "#444444", "elinewidth": 1.0, "capsize": 2.0}
_HATCHES = ("", "////", "....")  # first, second and third model with the same modality
_LEVELS = {"drop": "% of the frames lost", "offset": "ms that the picture comes late"}
_NOISE_LOOKS = (("#333333", "o"), ("#CC79A7", "s"), ("#8A6D00", "D"), ("#56B4E9", "^"))  # not the modalities' colours


CURVE_POINTS = 3  # fewest levels of a kind of fault for a curve; fewer are bars only


@dataclass(frozen=True)
class FaultPanel:
    """Every fault tried with one model and modality in one noise."""

    model: str
    modality: str
    noise: Noise
    rows: tuple[ConditionResult, ...]
    own: ConditionResult | None
    audio: ConditionResult | None
    """Of this or else the first model that has one; None for ``video``."""

    @property
    def faults(self) -> dict[Fault, ConditionResult]:
        return {parse_fault(row.video_stream): row for row in self.rows}


def fault_panels(results: Results) -> list[FaultPanel]:
    """Return a panel for each model, modality and noise with faults, over all languages; ``video`` has one panel."""
    language = results.languages[0]
    panels: dict[tuple, FaultPanel] = {}
    for model, modality, noise in product(results.models, reversed(MODALITIES), results.noises):
        here = [
            row
            for row in results.conditions
            if (*row.system, row.at, row.language) == (modality, model, noise, language)
        ]
        faulty = tuple(row for row in here if row.video_stream not in VIDEO_STREAMS)
        if faulty:
            own = results.cells.get((model, Condition(modality, *noise), language))
            heard = [results.cells.get((one, Condition("audio", *noise), language)) for one in (model, *results.models)]
            audio = next(filter(None, heard), None) if modality == "audio+video" else None
            key = model, modality, None if modality == "video" else noise
            panels.setdefault(key, FaultPanel(model, modality, noise, faulty, own, audio))
    return list(panels.values())


def kinds_with_curves(panels: Sequence[FaultPanel]) -> list[str]:
    """Return the kinds of fault with at least ``CURVE_POINTS`` levels, in the order of the rows."""
    levels: dict[str, set[float]] = {}
    for panel in panels:
        for fault in panel.faults:
            levels.setdefault(fault.kind, set()).add(fault.level)
    return [kind for kind, found in levels.items() if len(found) >= CURVE_POINTS]


def bar_faults(panels: Sequence[FaultPanel]) -> list[Fault]:
    """Return the faults with bars: the severest of a kind with a curve (early and late), all of other kinds."""
    found = list(dict.fromkeys(fault for panel in panels for fault in panel.faults))
    shown = set(found)
    for kind in kinds_with_curves(panels):
        levels = [fault.level for fault in found if fault.kind == kind]
        ends = (min(levels), max(levels)) if kind == "offset" else (max(levels),)
        shown -= {fault for fault in found if fault.kind == kind and fault.level not in ends}
    return [fault for fault in found if fault in shown]


def seen_label(video_stream: str) -> str:
    """Return a video stream in words: ``own video``, ``blur 3``, ``drop 50 %``, ``offset +80 ms``, ``no face``."""
    if video_stream in VIDEO_STREAMS:
        return f"{video_stream} video"
    fault = parse_fault(video_stream)
    name = fault.kind.replace("_", " ")
    if not KINDS[fault.kind].levels:
        return name
    level = f"{fault.level:+g}" if fault.kind == "offset" else f"{fault.level:g}"
    unit = {"drop": " %", "offset": " ms"}.get(fault.kind, "")
    return with_minus(f"{name} {level}{unit}")


def language_figure(panels: Sequence[tuple[Noise, Sequence[ConditionResult]]], several_models: bool) -> Figure:
    """Return bars of the word error rate by language and system, one panel per noise."""
    languages = sorted({row.language for _, rows in panels for row in rows})
    ranks = plots.ranks_of([row for _, rows in panels for row in rows])
    systems = list(ranks)
    legend_width = (2.0 if several_models else 1.3) * len(systems)  # inches; a narrower figure cuts the legend
    width = max(legend_width, min(11.0, 3.0 + 0.28 * len(languages) * len(systems)))
    figure, axes = plots.make_panels(len(panels), 1, (width, 2.9 * len(panels)), share_x=True)
    axes[0].set_ylim(0, plots.ceiling([row for _, rows in panels for row in rows]))
    for axis, (noise, rows) in zip(axes, panels, strict=True):
        for number, system in enumerate(systems):
            mine, thick = [row for row in rows if row.system == system], 0.8 / len(systems)
            xs = [languages.index(row.language) + thick * (number - (len(systems) - 1) / 2) for row in mine]
            axis.bar(
                xs, [100 * row.wer for row in mine], 0.92 * thick, yerr=plots.spread_of(mine),
                color=plots.COLOURS[system[0]], hatch=_HATCHES[min(ranks[system], len(_HATCHES) - 1)],
                edgecolor="white", linewidth=0, error_kw=_WHISKER,
                label=plots.plain(f"{system[0]} ({system[1]})") if several_models else system[0],
            )  # fmt: skip
        axis.set_xticks(range(len(languages)), languages)
        plots.style_axis(axis, noise_label(*noise), y_label=plots.WER_LABEL)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(systems), frameon=False, fontsize=9.5)
    return figure


def fault_figure(panels: Sequence[FaultPanel]) -> Figure:
    """Return bars of one model's word error rate by fault, one panel per noise; lines: own video and audio alone."""
    faults = bar_faults(panels)
    figure, axes = plots.make_panels(len(panels), len(panels), (2.2 + 3.6 * len(panels), 1.5 + 0.27 * len(faults)))
    for axis, panel in zip(axes, panels, strict=True):
        rows = {fault: row for fault, row in panel.faults.items() if fault in faults}
        places, mine = [faults.index(fault) for fault in rows], list(rows.values())
        whole = [row for row in (*mine, panel.own, panel.audio) if row is not None]
        axis.set_xlim(0, plots.ceiling(whole))
        axis.barh(
            places, [100 * row.wer for row in mine], 0.72, xerr=plots.spread_of(mine), alpha=0.75, error_kw=_WHISKER,
            color=plots.COLOURS[panel.modality],
        )  # fmt: skip
        _reference_lines(axis, panel)
        plots.style_axis(axis, _panel_title(panel), plots.WER_LABEL, grid="x", pad=26)
    axes[0].set_yticks(range(len(faults)), [seen_label(fault.label) for fault in faults])
    axes[0].set_ylim(len(faults) - 0.5, -0.5)
    return figure


def _reference_lines(axis: Axes, panel: FaultPanel) -> None:
    own = panel.own, "own video", plots.COLOURS[panel.modality], "-"
    looks = (own, (panel.audio, "audio alone", plots.COLOURS["audio"], "--"))
    found = sorted(((row, *look) for row, *look in looks if row is not None), key=lambda line: line[0].wer)
    for number, (row, name, colour, style) in enumerate(found):
        x, first_of_two = min(100 * row.wer, plots.HIGHEST), number == 0 and len(found) > 1
        axis.axvline(x, color=colour, linewidth=1.8, linestyle=style, zorder=3)
        share = x / axis.get_xlim()[1]
        left = share > 0.6 or (share > 0.3 and first_of_two)
        axis.annotate(
            name, (x, 1.0), (0, 3 + 11 * first_of_two), xycoords=axis.get_xaxis_transform(),
            textcoords="offset points", ha="right" if left else "left", va="bottom", fontsize=9, color=colour,
            fontweight="bold", annotation_clip=False,
        )  # fmt: skip


def fault_curves(panels: Sequence[FaultPanel]) -> Figure | None:
    """Return one model's word error rate over the levels of each fault, 0 is the own video; None without levels."""
    kinds = kinds_with_curves(panels)
    if not kinds:
        return None
    across = min(4, len(kinds))
    width = max(0.9 + 2.6 * across, 1.4 * len(panels))  # a narrower figure cuts the legend
    figure, axes = plots.make_panels(len(kinds), across, (width, 0.5 + 2.6 * -(-len(kinds) // across)))
    shown = [row for panel in panels for row in (*panel.rows, panel.audio) if row is not None]
    axes[0].set_ylim(0, plots.ceiling(shown))
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
                look = {"color": colour, "linewidth": 2, "marker": marker, "markersize": 5}
                handles[_panel_title(panel)] = plots.draw_band(axis, points, **look)
        axis.set_xticks(sorted(ticks))
        x_label = _LEVELS.get(kind, "severity; 0 is the own video")
        plots.style_axis(axis, kind.replace("_", " "), x_label, "" if place % across else plots.WER_LABEL)
    look = {"loc": "outside upper left", "ncols": len(handles), "frameon": False, "fontsize": 10}
    figure.legend(list(handles.values()), list(handles), **look)
    return figure


def _panel_title(panel: FaultPanel) -> str:
    return "lips alone" if panel.modality == "video" else noise_label(*panel.noise)
