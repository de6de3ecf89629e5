"""One HTML page to look at mouth clips: what was found, how large and how turned faces are, and the worst clips.

``extract_rois --report rois.html`` writes it from the clips' records; only the worst clips are read again.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment

from avspeech.evaluation.plots import make_panels, to_svg
from avspeech.files import write_text
from avspeech.manifest import Utterance
from avspeech.media.errors import MediaError
from avspeech.media.video import read_grey_clip
from avspeech.timebase import FRAME_RATE, SAMPLE_RATE

LONG_STILL = 13
"""Frames of a still stretch that is listed: 0.5 s."""
MAX_DRIFT_S = 0.5
"""Difference of picture and sound in seconds that is listed."""
LATE = 2
"""Frames by which listed sound is late or early; below, lips and sound still belong together."""
SHOWN = 48
"""Doubtful clips on the contact sheet; the others are listed."""
STRIP = 4
"""Frames of a clip on the contact sheet."""
HISTOGRAMS = {
    "face_height": "face height, pixels",
    "yaw": "yaw, degrees",
    "crop_scale": "crop pixels per pixel",
    "offset": "sound after picture, frames",
}
"""Fields of a record that are drawn where they are known, and their labels."""


@dataclass(frozen=True)
class Doubt:
    """A clip that should be looked at."""

    id: str
    reasons: tuple[str, ...]
    weight: float
    """0 to about 1 a reason; the largest are shown."""


def doubts_of(record: Mapping[str, Any], wanted_frames: int | None) -> Doubt:
    """Return what is doubtful in a clip; ``wanted_frames``: what the manifest said before, if anything."""
    frames, found = record["num_frames"], []

    def add(doubtful: bool, weight: float, reason: str) -> None:
        if doubtful:
            found.append((weight, reason))

    missing = record.get("missing", 0)
    add(missing > 0, missing / frames, f"no face in {missing} of {frames} frames")
    add(record["blank"] > 0, record["blank"] / frames, f"{record['blank']} of {frames} frames are blank")
    add(record["still"] >= LONG_STILL, record["still"] / frames, f"{record['still']} equal frames in a row")
    if wanted_frames is not None:
        change = abs(frames - wanted_frames)
        add(change > 1, min(change / FRAME_RATE, 1.0), f"{frames} frames, the manifest said {wanted_frames}")
    if record["num_samples"] is not None:
        drift_s = frames / FRAME_RATE - record["num_samples"] / SAMPLE_RATE
        add(abs(drift_s) > MAX_DRIFT_S, min(abs(drift_s), 1.0), f"picture minus sound: {drift_s:+.2f} s")
    if abs(late := record.get("offset") or 0) >= LATE:
        add(True, min(abs(late) / 12, 1.0), f"the sound is {abs(late)} frames {'late' if late > 0 else 'early'}")
    if record.get("size", (96, 96)) not in ((96, 96), [96, 96]):
        add(True, 1.0, "{}x{} pixels, wanted 96x96".format(*record["size"]))
    found.sort(reverse=True)
    return Doubt(record["id"], tuple(reason for _, reason in found), sum(weight for weight, _ in found))


def write_roi_report(
    path: Path,
    done: Sequence[tuple[Utterance, Mapping[str, Any]]],
    failures: Sequence[Mapping[str, str]],
    clip_of: Mapping[str, Path],
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        done: each utterance as the manifest had it, and its clip's record.
        failures: id and reason (``why``) of each clip that could not be made.
        clip_of: the mouth clip of each id.
    """
    records = [record for _, record in done]
    doubts = [doubts_of(record, one.num_frames) for one, record in done]
    worst = sorted((one for one in doubts if one.reasons), key=lambda one: (-one.weight, one.id))
    frames = sum(record["num_frames"] for record in records)
    shares = {
        name: sum(record.get(name, 0) for record in records) / max(frames, 1)
        for name in ("measured", "interpolated", "missing", "blank")
    }
    facts = {
        "clips": len(records),
        "hours": frames / FRAME_RATE / 3600,
        "shares": {name: f"{100 * share:.2f} %" for name, share in shares.items()},
        "histograms": _histograms(records),
        "doubtful": len(worst),
        "sheet": [(one, _strip(clip_of[one.id])) for one in worst[:SHOWN]],
        "rest": worst[SHOWN:],
        "failures": failures,
    }
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(PAGE)
    write_text(path, page.render(facts))


def _histograms(records: Iterable[Mapping[str, Any]]) -> str:
    """Return the histograms of all known fields as one SVG; empty if none is known."""
    known = {name: [record[name] for record in records if record.get(name) is not None] for name in HISTOGRAMS}
    known = {name: values for name, values in known.items() if values}
    if not known:
        return ""
    figure, axes = make_panels(len(known), len(known), (3.4 * len(known), 2.6))
    for panel, (name, values) in zip(axes, known.items(), strict=True):
        panel.hist(values, bins=24, color="#0072B2")
        panel.set_xlabel(HISTOGRAMS[name])
    axes[0].set_ylabel("clips")
    return to_svg(figure, "histograms", "Clips by face height, yaw, crop scale and offset of the sound.")


def _strip(clip: Path) -> str:
    """Return some frames of a clip as the address of a JPEG; empty if it cannot be read."""
    try:
        mouth_THW = read_grey_clip(clip)
    except MediaError:
        return ""
    index = np.linspace(0, len(mouth_THW) - 1, STRIP).round().astype(int)
    _, jpeg = cv2.imencode(".jpg", np.hstack(list(mouth_THW[index])), (cv2.IMWRITE_JPEG_QUALITY, 80))
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}"


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Mouth clips</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #333 }
table { border-collapse: collapse } td, th { padding: .2rem .8rem .2rem 0; text-align: left }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(25rem, 1fr)); gap: 1rem }
figure { margin: 0 } img { display: block; max-width: 100% } figcaption { font-size: 13px; overflow-wrap: anywhere }
svg { max-width: 100%; height: auto }
</style>
<h1>Mouth clips</h1>
<p>{{ clips }} clips, {{ "%.2f"|format(hours) }} hours; {{ failures|length }} failed.</p>
<table><tr>{% for name in shares %}<th>{{ name }}</th>{% endfor %}</tr>
<tr>{% for share in shares.values() %}<td>{{ share }}</td>{% endfor %}</tr></table>
<p>Shares are of all frames. Measured: the face was seen. Interpolated: it was carried over a short gap.</p>
{{ histograms|safe }}
<h2>Clips to look at: {{ doubtful }}</h2>
<div class="sheet">
{% for doubt, image in sheet %}
<figure>{% if image %}<img alt="" src="{{ image }}">{% endif %}
<figcaption><b>{{ doubt.id }}</b>: {{ doubt.reasons|join("; ") }}</figcaption></figure>
{% endfor %}
</div>
{% if rest %}
<details><summary>{{ rest|length }} more</summary><ul>
{% for doubt in rest %}<li><b>{{ doubt.id }}</b>: {{ doubt.reasons|join("; ") }}</li>
{% endfor %}</ul></details>
{% endif %}
{% if failures %}
<h2>Failed: {{ failures|length }}</h2>
<ul>{% for one in failures %}<li><b>{{ one.id }}</b>: {{ one.why }}</li>
{% endfor %}</ul>
{% endif %}
</html>
"""
