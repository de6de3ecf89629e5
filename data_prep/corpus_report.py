"""What a prepared corpus holds and what was left out: losses.jsonl, doubts.jsonl, report.json and a page to look at.

``prepare`` writes it. Every clip that the corpus reader found is in a shard or in losses.jsonl; that is checked.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jinja2 import Environment

from avspeech.evaluation.plots import make_panels, to_svg
from avspeech.files import read_lines, write_json, write_lines, write_text
from avspeech.manifest import read_manifest
from avspeech.shards.index import INDEX, read_index
from avspeech.timebase import FRAME_RATE
from data_prep.overlaps import ClipSet, clip_set_of, overlaps, read_clip_set
from data_prep.roi_report import doubts_of

REPORT = "report.html"
STAGES = {"cut": "cut/{}.failures.jsonl", "check": "checked/{}.failures.jsonl", "shards": "shards/{}/failures.jsonl"}
"""Failures of a stage, by split."""
KNOWN = ("blank pictures", "no sound", "picture and sound differ in length", "its worker died")
SHOWN = 200
"""Losses and doubts on the page."""


@dataclass(frozen=True)
class Report:
    """A prepared corpus in figures."""

    corpus: str
    licence: str
    splits: dict[str, dict[str, Any]]
    """Of each split: what ``figures`` returns."""
    clips: dict[str, int]
    """``found`` by the corpus reader, ``lost`` after that, ``in_shards``."""
    losses: dict[str, dict[str, int]]
    """Number by stage and reason."""
    overlaps: list[dict[str, Any]]
    """What occurs in two splits, or in a split and another corpus; see ``overlaps``."""

    @property
    def lost_share(self) -> float:
        return self.clips["lost"] / self.clips["found"]

    def summary(self) -> list[str]:
        """Return lines for the terminal."""
        lines = [f"{self.clips['in_shards']} of {self.clips['found']} clips in shards, {self.clips['lost']} lost"]
        lines += [
            f"{split}: {one['clips']} clips, {one['hours']:.2f} hours, {one['speakers']} speakers, "
            f"languages {', '.join(one['languages'])}"
            for split, one in self.splits.items()
        ]
        said = (
            "{kind} in {first} and in {second}: {number}, in {clips[0]} and {clips[1]} clips, such as {examples[0]!r}"
        )
        return lines + [said.format(**one) for one in self.overlaps]


def report_corpus(out: Path, splits: Iterable[str], corpus: str, licence: str, compare: Iterable[Path]) -> Report:
    """Write the report of ``prepare``'s folder ``out`` and return it; ``compare``: manifests or shards of others."""
    losses = [{"stage": "read", "split": None, **loss} for loss in read_lines(out / "corpus/losses.jsonl")]
    found, figures_of, sets, doubts = 0, {}, {}, []
    for split in splits:
        lost = list(_losses(out, split))
        index = out / "shards" / split / INDEX
        table = read_index(index)[0] if index.exists() else None
        found += _check_sum(out, split, table, lost)
        losses += lost
        if table is not None:
            figures_of[split], sets[split] = figures(table), clip_set_of(table)
        doubts += _doubts(out, split)
    others: dict[str, ClipSet] = {str(path): read_clip_set(path) for path in compare}
    counts: dict[str, Counter] = defaultdict(Counter)
    for loss in losses:
        counts[loss["stage"]][loss["reason"]] += 1
    lost = sum(loss["stage"] != "read" for loss in losses)
    clips = {"found": found, "lost": lost, "in_shards": found - lost}
    ordered = {stage: dict(reasons.most_common()) for stage, reasons in counts.items()}
    report = Report(corpus, licence, figures_of, clips, ordered, overlaps(sets | others, sets))
    write_lines(out / "losses.jsonl", losses)
    write_lines(out / "doubts.jsonl", doubts)
    write_json(out / "report.json", asdict(report))
    _write_page(
        out / REPORT, report, losses, doubts, {split: _seconds(out / "shards" / split / INDEX) for split in sets}
    )
    return report


def _losses(out: Path, split: str) -> Iterable[dict[str, Any]]:
    for stage, where in STAGES.items():
        for failure in read_lines(out / where.format(split)):
            reason, detail = reason_of(failure["why"]), failure["why"]
            yield {"stage": stage, "split": split, "what": failure["id"], "reason": reason, "detail": detail}


def reason_of(why: str) -> str:
    """Return the same few words for all failures of a kind, such as "no face" for "NoFace: none of 75 frames"."""
    head = why.partition(":")[0]
    if re.fullmatch(r"[A-Z][A-Za-z]+", head) and head != "MediaError":
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", head).lower()
    return head if head in KNOWN else "unreadable media"


def _check_sum(out: Path, split: str, table: pa.Table | None, lost: Iterable[Mapping[str, Any]]) -> int:
    """Return the number of clips that were found. RuntimeError if one is neither in the shards nor lost, or in both."""
    found = Counter(one.id for one in read_manifest(out / f"corpus/{split}.jsonl"))
    kept = Counter(table["id"].to_pylist() if table is not None else [])
    told = kept + Counter(loss["what"] for loss in lost)
    if odd := (found - told) + (told - found):
        name = next(iter(odd))
        came = f"{name} is {found[name]} times in corpus/{split}.jsonl, {told[name]} times in shards and losses"
        raise RuntimeError(f"{came}, and {len(odd) - 1} more differ; remove {out} and prepare it anew")
    return found.total()


def figures(table: pa.Table) -> dict[str, Any]:
    """Return what clips of an index have: hours, speakers, languages, corpora, lengths, words, clips without sound."""
    seconds = table["num_frames"].to_numpy() / FRAME_RATE
    hours = seconds.sum() / 3600
    texts = table["text"].to_pylist()
    quantiles = dict(zip(("shortest", "median", "longest"), np.quantile(seconds, (0, 0.5, 1)).tolist(), strict=True))
    return {
        "clips": len(table),
        "hours": round(float(hours), 4),
        "seconds": {name: round(value, 2) for name, value in quantiles.items()} | {"mean": round(seconds.mean(), 2)},
        "speakers": len(table["speaker"].unique().drop_null()),
        "clips_without_speaker": table["speaker"].null_count,
        "languages": _hours_by(table, "language", seconds),
        "corpora": _hours_by(table, "corpus", seconds),
        "clips_without_text": sum(not text for text in texts),
        "words": sum(len(text.split()) for text in texts if text),
        "silent_clips": int((table["level"].to_numpy() == 0).sum()),
    }


def _hours_by(table: pa.Table, column: str, seconds: np.ndarray) -> dict[str, dict[str, float]]:
    grouped = pa.table({"key": table[column].cast(pa.string()), "s": seconds}).group_by("key")
    rows = grouped.aggregate([("s", "sum"), ("s", "count")]).to_pylist()
    rows.sort(key=lambda row: (-row["s_count"], str(row["key"])))
    return {row["key"] or "unknown": {"clips": row["s_count"], "hours": round(row["s_sum"] / 3600, 4)} for row in rows}


def _doubts(out: Path, split: str) -> list[dict[str, Any]]:
    """Return the clips to look at, the worst first."""
    found = [doubts_of(record, None) for record in read_lines(out / f"cut/{split}.rois.jsonl")]
    found = sorted((one for one in found if one.reasons), key=lambda one: (-one.weight, one.id))
    return [{"split": split, "id": one.id, "reasons": one.reasons} for one in found]


def _seconds(index: Path) -> np.ndarray:
    return read_index(index)[0]["num_frames"].to_numpy() / FRAME_RATE


def _write_page(
    path: Path,
    report: Report,
    losses: list[dict[str, Any]],
    doubts: list[dict[str, Any]],
    seconds: Mapping[str, np.ndarray],
) -> None:
    lengths = ""
    if seconds:
        figure, axes = make_panels(len(seconds), len(seconds), (3.4 * len(seconds), 2.6))
        for panel, (split, seconds_N) in zip(axes, seconds.items(), strict=True):
            panel.hist(seconds_N, bins=24, color="#0072B2")
            panel.set_xlabel(f"{split}: seconds")
        axes[0].set_ylabel("clips")
        lengths = to_svg(figure, "lengths", "Clips by length in seconds, for each split.")
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(PAGE)
    shown = {"losses": losses[:SHOWN], "doubts": doubts[:SHOWN], "num_losses": len(losses), "num_doubts": len(doubts)}
    write_text(path, page.render(report=report, lengths=lengths, **shown))


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{ report.corpus }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #333 }
table { border-collapse: collapse } td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top }
svg { max-width: 100%; height: auto } li { overflow-wrap: anywhere }
</style>
<h1>{{ report.corpus }}</h1>
<p>{{ report.clips.in_shards }} of {{ report.clips.found }} clips that the corpus reader found are in shards,
{{ report.clips.lost }} were lost after it. You need: {{ report.licence }}.</p>
<table><tr><th>split</th><th>clips</th><th>hours</th><th>seconds, shortest, median, longest</th><th>speakers</th>
<th>languages</th><th>words</th><th>without text</th><th>silent</th></tr>
{% for split, one in report.splits.items() %}
<tr><td>{{ split }}</td><td>{{ one.clips }}</td><td>{{ "%.2f"|format(one.hours) }}</td>
<td>{{ one.seconds.shortest }}, {{ one.seconds.median }}, {{ one.seconds.longest }}</td>
<td>{{ one.speakers }}
{% if one.clips_without_speaker %}, unknown in {{ one.clips_without_speaker }} clips{% endif %}</td>
<td>{% for code, said in one.languages.items() %}{{ code }} {{ "%.2f"|format(said.hours) }} h<br>{% endfor %}</td>
<td>{{ one.words }}</td><td>{{ one.clips_without_text }}</td><td>{{ one.silent_clips }}</td></tr>
{% endfor %}
</table>
{{ lengths|safe }}
<h2>In two sets</h2>
{% if report.overlaps %}
<p>What a model is tested on should not occur in its training. Texts are compared without case and punctuation; short
ones occur in any two sets.</p>
<table><tr><th>what</th><th>number</th><th>first set</th><th>clips</th><th>second set</th><th>clips</th>
<th>such as</th></tr>
{% for one in report.overlaps %}
<tr><td>{{ one.kind }}</td><td>{{ one.number }}</td><td>{{ one.first }}</td><td>{{ one.clips[0] }}</td>
<td>{{ one.second }}</td><td>{{ one.clips[1] }}</td><td>{{ one.examples|join("; ") }}</td></tr>
{% endfor %}
</table>
{% else %}
<p>No speaker, id or text is in two of the sets that were compared.</p>
{% endif %}
<h2>Left out: {{ num_losses }}</h2>
<table><tr><th>stage</th><th>reason</th><th>number</th></tr>
{% for stage, reasons in report.losses.items() %}{% for reason, number in reasons.items() %}
<tr><td>{{ stage }}</td><td>{{ reason }}</td><td>{{ number }}</td></tr>
{% endfor %}{% endfor %}
</table>
{% if losses %}
<details><summary>{{ losses|length }} of {{ num_losses }}, all in losses.jsonl</summary><ul>
{% for one in losses %}<li><b>{{ one.what }}</b>: {{ one.reason }}{% if one.detail %}: {{ one.detail }}{% endif %}</li>
{% endfor %}</ul></details>
{% endif %}
<h2>Clips to look at: {{ num_doubts }}</h2>
{% if doubts %}
<details><summary>{{ doubts|length }} of {{ num_doubts }}, all in doubts.jsonl</summary><ul>
{% for one in doubts %}<li><b>{{ one.id }}</b>: {{ one.reasons|join("; ") }}</li>
{% endfor %}</ul></details>
{% endif %}
</html>
"""
