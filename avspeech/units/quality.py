"""Quality of units against a phone or word label for every frame.

HuBERT's measures (Hsu et al. 2021, arXiv:2106.07447, section on clustering quality). Values compare only for the same
labels and number of units.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, exp, log
from typing import Any


@dataclass(frozen=True)
class UnitQuality:
    """Measures over all labelled frames, each in 0..1, higher is better."""

    pnmi: float
    """Phone-normalised mutual information: share of the labels' entropy that the units explain."""
    label_purity: float
    """Share of frames that have the most frequent label of their unit."""
    cluster_purity: float
    """Share of frames that have the most frequent unit of their label."""
    num_frames: int


def unit_quality(units: Iterable[Sequence[int]], labels: Iterable[Sequence[Hashable]]) -> UnitQuality:
    """Return the quality of units against labels, one of each per frame of each utterance; label None: not scored.

    Raises ValueError if the numbers of utterances or frames differ, or no frame is labelled.
    """
    pairs: Counter[tuple[int, Hashable]] = Counter()
    for number, (unit_row, label_row) in enumerate(zip(units, labels, strict=True)):
        if len(unit_row) != len(label_row):
            raise ValueError(
                f"utterance {number} has {len(unit_row)} units and {len(label_row)} labels, wanted the same number; "
                "make the labels at the rate of the units"
            )
        pairs.update((int(unit), label) for unit, label in zip(unit_row, label_row, strict=True) if label is not None)
    total = pairs.total()
    if not total:
        raise ValueError("no frame has both a unit and a label; check the word times in the manifest")
    of_unit, of_label, best_of_unit, best_of_label = Counter(), Counter(), Counter(), Counter()
    for (unit, label), count in pairs.items():
        of_unit[unit] += count
        of_label[label] += count
        best_of_unit[unit] = max(best_of_unit[unit], count)
        best_of_label[label] = max(best_of_label[label], count)
    entropy = _entropy(of_label)
    shared = sum(
        count / total * log(count * total / (of_unit[unit] * of_label[label])) for (unit, label), count in pairs.items()
    )
    return UnitQuality(
        pnmi=max(0.0, shared / entropy) if entropy > 0 else 0.0,  # a single label has no entropy
        label_purity=best_of_unit.total() / total,
        cluster_purity=best_of_label.total() / total,
        num_frames=total,
    )


def frame_labels(spans: Iterable[tuple[str, float, float]], num_frames: int, rate: float, gap: str = "") -> list[str]:
    """Return the label at the middle of each frame at ``rate`` Hz, ``gap`` outside all spans.

    ``spans`` are (label, start, end) in seconds; where two overlap, the later one counts.
    """
    labels = [gap] * num_frames
    for label, start_s, end_s in spans:
        # 1e-6, because times such as 0.3 s are no exact binary numbers
        first, last = (max(0, ceil(time_s * rate - 0.5 - 1e-6)) for time_s in (start_s, end_s))
        labels[first:last] = [label] * (min(last, num_frames) - first)
    return labels


@dataclass(frozen=True)
class UnitUse:
    """Distribution of the units of a codebook."""

    used: int
    """Number of units that occur."""
    entropy: float
    """In nats over frames."""
    perplexity: float


def unit_use(units: Iterable[Sequence[int]]) -> UnitUse:
    """Return the distribution of units, given the units of each utterance."""
    counts: Counter[int] = Counter()
    for row in units:
        counts.update(row)
    entropy = max(0.0, _entropy(counts))
    return UnitUse(len(counts), entropy, exp(entropy))


def _entropy(counts: Counter[Any]) -> float:
    total = counts.total()
    return -sum(count / total * log(count / total) for count in counts.values())
