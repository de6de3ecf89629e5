"""Write the feature vectors of each clip of a manifest: MFCCs or an encoder layer.

    python data_prep/dump_features.py data/grid/train.jsonl data/grid/mfcc
    python data_prep/dump_features.py data/grid/train.jsonl data/grid/layer2 --features encoder \
        --model runs/pretrain1/model.safetensors --layer 2 --shard 0/4

Reads   a manifest; for encoder features also mouth clips and a model file or official AV-HuBERT checkpoint (.pt).
Writes  <out_dir>/<id>.npy, float32 (frames, features); features.json, their description; failures.jsonl,
        or failures.0of4.jsonl for a shard.
A restart keeps finished files and refuses other features. Shards may share a folder at the same time.
``fit_units.py`` and ``assign_units.py`` read the folder with ``--dump``.
"""

import contextlib
import os
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jsonargparse import auto_cli

from avspeech.files import write_json, written_whole
from avspeech.manifest import read_manifest
from data_prep.clip_vectors import LISTING, Kind, Modality, describe, dump_listing, extract_each, open_source, plan
from data_prep.run_each import report_failures


def claim_folder(out_dir: Path, features: dict[str, Any]) -> None:
    """Write the description of the vectors into a folder; refuse a folder with other vectors."""
    out_dir.mkdir(parents=True, exist_ok=True)
    if not (listing := out_dir / LISTING).exists():
        note = listing.with_name(f"{LISTING}.{os.getpid()}")
        write_json(note, features)
        with contextlib.suppress(FileExistsError):
            listing.hardlink_to(note)  # unlike a rename, it fails where another shard was first
        note.unlink()
    if (there := dump_listing(out_dir)) != features:
        raise ValueError(f"{out_dir} holds {there}, wanted {features}; give another folder or empty this one")


def read_shard(shard: str | None) -> tuple[int, int]:
    """Return (number, count) of a shard such as ``0/4``; None is 0/1. ValueError for another form."""
    match = re.fullmatch(r"(\d+)/(\d+)", "0/1" if shard is None else shard)
    if match is None or int(match[1]) >= int(match[2]):
        raise ValueError(f"--shard {shard} came, wanted one of 0/4, 1/4, 2/4, 3/4 for four shards")
    return int(match[1]), int(match[2])


def main(
    manifest: Path,
    out_dir: Path,
    features: Kind = "mfcc",
    rate: Literal[25, 100] = 25,
    model: Path | None = None,
    layer: int | None = None,
    modality: Modality = "audio+video",
    shard: str | None = None,
    max_frames: int | None = None,
    device: str = "cpu",
    max_failed: float = 0.02,
) -> None:
    """Dump feature vectors.

    Args:
        manifest: JSON lines, one Utterance each.
        out_dir: folder of the vectors.
        features: mfcc, or encoder for a layer of a trained model.
        rate: vectors per second; 100 is for MFCCs only.
        model: model file or official checkpoint, for encoder features.
        layer: block whose output is taken, from 1; 0 is the fused input.
        modality: input streams of the encoder.
        shard: 0/4 takes every 4th utterance or batch, from the first on.
        max_frames: frames of a batch through the encoder, padding included; null takes single clips.
        device: torch device of the encoder.
        max_failed: share of failures beyond which the exit status is 1.
    """
    number, count = read_shard(shard)
    description = describe(features, rate, model, layer, modality)
    source = open_source(description, model, device)
    utterances = read_manifest(manifest, require=source.needs)
    claim_folder(out_dir, description)
    paths = [out_dir / f"{utterance.id}.npy" for utterance in utterances]
    mine = plan(utterances, source, max_frames)[number::count]
    failures: dict[int, str] = {}
    # A batch is made again as a whole: with other company the last digits of a clip's vectors would differ.
    missing = [batch for batch in mine if not all(paths[index].exists() for index in batch)]
    for index, vectors_TF in extract_each(utterances, source, missing, failures):
        if not paths[index].exists():
            with written_whole(paths[index]) as unfinished:
                np.save(unfinished, vectors_TF)
    total = sum(map(len, mine))
    print(f"{total - len(failures)} of {total} clips in {out_dir}")
    name = "failures.jsonl" if shard is None else f"failures.{number}of{count}.jsonl"
    listed = [{"id": utterances[index].id, "why": why} for index, why in failures.items()]
    report_failures(out_dir / name, listed, total, max_failed)


if __name__ == "__main__":
    auto_cli(main)
