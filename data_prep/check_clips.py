"""Leave out clips that no model should learn from: black pictures, no sound, picture and sound of different lengths.

    python data_prep/check_clips.py data/lrs3/cut/train.jsonl data/lrs3/checked/train.jsonl

Reads   a manifest of extract_rois.py, and <name>.rois.jsonl beside it.
Writes  OUT, a manifest, and <name>.failures.jsonl beside it.
A restart starts over; a file appears only when whole.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli

from avspeech.files import make_place, read_lines, write_lines
from avspeech.inputs import Modality
from avspeech.manifest import read_manifest, write_manifest
from avspeech.timebase import FRAME_RATE, SAMPLE_RATE


def fault(record: Mapping[str, Any], modality: Modality, max_blank: float, max_drift: float) -> str | None:
    """Return why a clip is left out, by its record of extract_rois; options as of ``main``."""
    frames, samples = record["num_frames"], record["num_samples"]
    if "video" in modality and record["blank"] > max_blank * frames:
        return f"blank pictures: {record['blank']} of {frames} frames"
    if "audio" in modality and samples is None:
        return f"no sound: {record['no_audio']}"
    if modality == "audio+video":
        picture_s, sound_s = frames / FRAME_RATE, samples / SAMPLE_RATE
        if abs(picture_s - sound_s) > max_drift * max(picture_s, sound_s):
            return f"picture and sound differ in length: {picture_s:.2f} and {sound_s:.2f} s"
    return None


def main(
    manifest: Path,
    out: Path,
    modality: Modality = "audio+video",
    max_blank: float = 0.5,
    max_drift: float = 0.25,
) -> None:
    """Check clips.

    Args:
        manifest: out_manifest of extract_rois.
        out: manifest to write; failures go beside it.
        modality: streams that a clip must have.
        max_blank: largest share of pictures that show nothing.
        max_drift: largest difference between the lengths of picture and sound, as a share of the longer.
    """
    make_place(out, "out")
    records = read_lines(f"{manifest.with_suffix('')}.rois.jsonl")
    why = {record["id"]: fault(record, modality, max_blank, max_drift) for record in records}
    utterances = read_manifest(manifest) if manifest.stat().st_size else []
    if unknown := [one.id for one in utterances if one.id not in why]:
        sys.exit(f"{unknown[0]} of {manifest} has no record beside it; run extract_rois.py again")
    failures = [{"id": name, "why": reason} for name, reason in why.items() if reason]
    write_lines(f"{out.with_suffix('')}.failures.jsonl", failures)
    write_manifest(out, (one for one in utterances if not why[one.id]))
    print(f"{len(utterances) - len(failures)} of {len(utterances)} clips in {out}")


if __name__ == "__main__":
    auto_cli(main)
