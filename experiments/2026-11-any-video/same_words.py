"""Is a clip transcribed the same in every encoding? Forty variants a clip: words, lips, times.

    python experiments/2026-11-any-video/same_words.py MODEL MANIFEST OUT.json [--num_clips 5]

Takes the first clip of each of so many speakers of MANIFEST; writes the words of every variant that differ from the
original clip's, how far the lips lie apart in the crops (mean over landmarks and frames, 96x96 pixels), and by how many
frames the openings of both mouths are shifted against each other.
"""

import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from jsonargparse import auto_cli
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parent))
from variants import NARROW, VARIANTS, write_variant

import avspeech
from avspeech.manifest import read_manifest
from avspeech.roi.flow import NEEDED
from avspeech.roi.mouth import STABLE
from avspeech.transcription.streams import Streams

MAX_SHIFT = 4
"""Frames by which a shift is looked for."""


def lips_in_crop(streams: Streams) -> np.ndarray:
    """Return the lip landmarks of the largest face in pixels of its crop, (T, N, 2); NaN outside its span."""
    face = streams.faces[0]
    lips_TN2 = face.points_TN2[:, len(STABLE) : len(NEEDED)]
    matrices_T23 = face.placements_T23()
    inside_TN2 = np.einsum("tij,tnj->tni", matrices_T23[:, :, :2], lips_TN2) + matrices_T23[:, None, :, 2]
    all_TN2 = np.full((streams.num_frames, *inside_TN2.shape[1:]), np.nan)
    all_TN2[face.first : face.end] = inside_TN2[: streams.num_frames - face.first]
    return all_TN2


def compare_lips(one: Streams, other: Streams) -> tuple[float, int]:
    """Return the mean distance of the landmarks in crop pixels at equal times, and the shift that fits best."""
    a_TN2, b_TN2 = lips_in_crop(one), lips_in_crop(other)
    length = min(len(a_TN2), len(b_TN2))
    a_TN2, b_TN2 = a_TN2[:length], b_TN2[:length]

    def distance(shift: int) -> float:
        first, second = a_TN2[max(0, -shift) : length - max(0, shift)], b_TN2[max(0, shift) : length - max(0, -shift)]
        return float(np.nanmean(np.hypot(*np.moveaxis(first - second, -1, 0))))

    return distance(0), min(range(-MAX_SHIFT, MAX_SHIFT + 1), key=distance)


def main(model: str, manifest: Path, out: Path, num_clips: int = 5) -> None:
    """Compare variants.

    Args:
        model: name or path.
        manifest: with video and text.
        out: JSON of the results.
        num_clips: how many clips, each of another speaker.
    """
    loaded = avspeech.load_model(model)
    first_of = {utterance.speaker: utterance for utterance in reversed(read_manifest(manifest, require=("text",)))}
    clips = sorted(first_of.values(), key=lambda utterance: utterance.id)[:num_clips]
    rows: list[dict[str, Any]] = []
    bar = tqdm(total=len(clips) * len(VARIANTS + NARROW), unit="variant")
    for utterance in clips:
        assert utterance.video is not None
        original = loaded.prepare(utterance.video)
        words = loaded.transcribe_streams(original).text
        for variant in VARIANTS + NARROW:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"{variant.name}.{variant.container}"
                write_variant(utterance.video, path, variant)
                streams = loaded.prepare(path)
            text = loaded.transcribe_streams(streams).text
            distance, shift = compare_lips(original, streams)
            rows.append(
                {
                    "clip": utterance.id, "reference": utterance.text, "variant": variant.name, "original": words,
                    "text": text, "same": text == words, "lips_px": round(distance, 3), "shift_frames": shift,
                    "counted": variant in VARIANTS,
                }
            )  # fmt: skip
            bar.update()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1, ensure_ascii=False))
    by_clip = defaultdict(list)
    for row in rows:
        by_clip[row["clip"]].append(row)
    for clip, of_clip in by_clip.items():
        counted, narrow = ([row["same"] for row in of_clip if row["counted"] == one] for one in (True, False))
        lips, shifts = [row["lips_px"] for row in of_clip], sorted({row["shift_frames"] for row in of_clip})
        print(
            f"{clip}: {sum(counted)} of {len(counted)} the same, 8 kHz {sum(narrow)} of {len(narrow)}; "
            f"lips {median(lips):.2f} px apart in the median, {max(lips):.2f} at most; shifts {shifts}"
        )
        for row in of_clip:
            if not row["same"]:
                print(f"    {row['variant']}: {row['text']!r}, not {row['original']!r}")


if __name__ == "__main__":
    auto_cli(main)
