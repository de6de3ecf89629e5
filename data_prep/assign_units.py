"""Assign each frame of each clip its nearest centroid: the targets of masked prediction.

    python data_prep/assign_units.py data/grid/train.jsonl runs/units/mfcc100.safetensors data/grid/train.km

Reads   a manifest, a codebook, and the clips with the codebook's model; or, with ``--dump``, a feature dump.
Writes  OUT.km, one line of units per utterance (AV-HuBERT's format), empty for a clip that cannot be read;
        OUT.km.json, what the units are and their quality (printed too); OUT.km.failures.jsonl.
A restart starts over; OUT.km appears only when whole.
"""

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jsonargparse import auto_cli

from avspeech.files import file_sha256, write_json, write_text
from avspeech.manifest import Utterance, read_manifest
from avspeech.units.kmeans import CHUNK, Codebook
from avspeech.units.quality import UnitQuality, frame_labels, unit_quality, unit_use
from data_prep.clip_vectors import extract_each, open_source, plan
from data_prep.run_each import report_failures


def thin_out(units: list[int], rate: int, wanted: int) -> list[int]:
    """Return units at a lower rate: every n-th unit, as in AV-HuBERT. ValueError if the rates do not divide."""
    if rate % wanted:
        raise ValueError(f"--rate {wanted} came, and the codebook has {rate} Hz; fit one with --rate {wanted}")
    return units[:: rate // wanted]


def assign_each(clips: Iterable[tuple[int, np.ndarray]], book: Codebook) -> Iterator[tuple[int, list[int], float]]:
    """Yield (utterance number, units, summed squared distance) for ``extract_each``'s vectors."""
    waiting: dict[int, np.ndarray] = {}
    for index, vectors_TF in clips:
        waiting[index] = vectors_TF
        if sum(map(len, waiting.values())) >= CHUNK:
            yield from _assign_together(waiting, book)
            waiting = {}
    if waiting:
        yield from _assign_together(waiting, book)


def _assign_together(clips: dict[int, np.ndarray], book: Codebook) -> Iterator[tuple[int, list[int], float]]:
    vectors_MF, lengths = np.concatenate(list(clips.values())), [len(vectors) for vectors in clips.values()]
    units_M = book.assign(vectors_MF)
    distance_M = book.squared_distances(vectors_MF, units_M)
    for index, units_T, distance_T in zip(clips, units_M.split(lengths), distance_M.split(lengths), strict=True):
        yield index, units_T.tolist(), float(distance_T.double().sum())


def quality_of(utterances: Sequence[Utterance], units: Sequence[list[int]], rate: int) -> UnitQuality | None:
    """Return PNMI and purities against words, silence counted as a word; None without word times."""
    rows, labels = [], []
    for utterance, row in zip(utterances, units, strict=True):
        if utterance.words and row:
            words = [(word.text, word.start_s, word.end_s) for word in utterance.words]
            labels.append(frame_labels(words, len(row), rate))
            rows.append(row)
    return unit_quality(rows, labels) if rows else None


def main(
    manifest: Path,
    codebook: Path,
    out: Path,
    rate: Literal[25, 100] | None = None,
    model: Path | None = None,
    dump: Path | None = None,
    max_frames: int | None = None,
    device: str = "cpu",
    max_failed: float = 0.02,
) -> None:
    """Assign units.

    Args:
        manifest: JSON lines, one Utterance each.
        codebook: from fit_units.py.
        out: the .km file to write.
        rate: units per second; null keeps the codebook's, 25 takes every fourth unit at 100 Hz.
        model: model file or official checkpoint of the codebook's features; MFCCs need none.
        dump: folder of dump_features.py to read instead of a model.
        max_frames: frames of a batch through the encoder, padding included; null takes single clips.
        device: torch device of encoder and k-means.
        max_failed: share of failures beyond which the exit status is 1.
    """
    book = Codebook.load(codebook)
    features = dict(book.features)
    wanted = rate or features["rate"]
    thin_out([], features["rate"], wanted)
    source = open_source(features, model, device, dump)
    utterances = read_manifest(manifest, require=source.needs)
    units: list[list[int]] = [[] for _ in utterances]
    failures: dict[int, str] = {}
    distance, num_vectors = 0.0, 0
    clips = extract_each(utterances, source, plan(utterances, source, max_frames), failures)
    for index, row, clip_distance in assign_each(clips, book.to(device)):
        units[index] = thin_out(row, features["rate"], wanted)
        distance, num_vectors = distance + clip_distance, num_vectors + len(row)
    use, quality = unit_use(units), quality_of(utterances, units, wanted)
    facts: dict[str, Any] = {"codebook": codebook.name, "codebook_sha256": file_sha256(codebook), "features": features}
    facts |= {"rate": wanted, "clips": len(units), "failed": len(failures), "frames": sum(map(len, units))}
    facts |= {"num_units": book.num_units, **asdict(use), "mean_squared_distance": distance / max(1, num_vectors)}
    facts |= {"words": None if quality is None else asdict(quality), "made_by": shlex.join(sys.argv)}
    write_json(out.with_name(out.name + ".json"), facts)
    write_text(out, "".join(" ".join(map(str, row)) + "\n" for row in units))
    used = f"{use.used} of {book.num_units} units used, perplexity {use.perplexity:.1f}"
    print(f"{len(units) - len(failures)} of {len(units)} clips at {wanted} Hz in {out}; {used}")
    if quality is not None:
        purities = f"word purity {quality.label_purity:.3f}, cluster purity {quality.cluster_purity:.3f}"
        print(f"against words, over {quality.num_frames} frames: PNMI {quality.pnmi:.3f}, {purities}")
    named = [{"id": utterances[index].id, "why": why} for index, why in sorted(failures.items())]
    report_failures(out.with_name(out.name + ".failures.jsonl"), named, len(units), max_failed)


if __name__ == "__main__":
    auto_cli(main)
