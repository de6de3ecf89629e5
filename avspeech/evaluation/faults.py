"""Result rows with a fault of the picture, beside the own video and audio alone."""

from dataclasses import dataclass
from itertools import product

from avspeech.evaluation.conditions import MODALITIES, OWN, VIDEO_STREAMS
from avspeech.evaluation.results import ConditionResult, Noise, Results
from avspeech.faults.visual import KINDS, Fault, parse_fault

CURVE_POINTS = 3
"""Fewest levels of a kind for a curve; fewer are bars only."""


@dataclass(frozen=True)
class FaultPanel:
    """Every fault tried with one model and modality in one noise."""

    model: str
    modality: str
    noise: Noise
    rows: tuple[ConditionResult, ...]
    """One row a fault."""
    own: ConditionResult | None
    audio: ConditionResult | None
    """Row of audio alone, of this or else the first model that has one; None for ``video``."""

    @property
    def faults(self) -> dict[Fault, ConditionResult]:
        return {parse_fault(row.video_stream): row for row in self.rows}


def fault_panels(results: Results) -> list[FaultPanel]:
    """Return a panel for each model, modality and noise with faults, over all languages; ``video`` has one panel."""
    language = results.languages[0]
    rows = [row for row in results.conditions if row.language == language]
    models = list(dict.fromkeys(row.model for row in rows))
    panels = []
    for model, modality, noise in product(models, reversed(MODALITIES), results.noises):
        here = [row for row in rows if (row.modality, row.noise, row.snr_db) == (modality, *noise)]
        faulty = tuple(row for row in here if row.model == model and row.video_stream not in VIDEO_STREAMS)
        seen_alone = modality == "video" and any((one.model, one.modality) == (model, modality) for one in panels)
        if not faulty or seen_alone:
            continue
        own = next((row for row in here if row.model == model and row.video_stream == OWN), None)
        sound = [row for row in rows if (row.modality, row.noise, row.snr_db) == ("audio", *noise)]
        audio = min(sound, key=lambda row: row.model != model, default=None) if modality == "audio+video" else None
        panels.append(FaultPanel(model, modality, noise, faulty, own, audio))
    return panels


def kinds_with_curves(panels: list[FaultPanel]) -> list[str]:
    """Return the kinds of fault with at least ``CURVE_POINTS`` levels, in the order of the rows."""
    levels: dict[str, set[float]] = {}
    for panel in panels:
        for fault in panel.faults:
            levels.setdefault(fault.kind, set()).add(fault.level)
    return [kind for kind, found in levels.items() if len(found) >= CURVE_POINTS]


def bar_faults(panels: list[FaultPanel]) -> list[Fault]:
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
    return f"{name} {level}{unit}".replace("-", "\N{MINUS SIGN}")
