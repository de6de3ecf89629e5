"""Fit a k-means codebook to MFCCs or an encoder layer: the units of the next pre-training.

    python data_prep/fit_units.py data/grid/train.jsonl runs/units/mfcc100.safetensors --num_units 100
    python data_prep/fit_units.py data/grid/train.jsonl runs/units/layer2.safetensors --features encoder \
        --model runs/pretrain1/model.safetensors --layer 2 --num_units 100 --max_vectors 3000000

Reads   a manifest, its audio and, for encoder features, mouth clips and a model; or a dump (``--dump``).
Writes  CODEBOOK (avspeech/units/kmeans.py) and CODEBOOK.failures.jsonl.
A restart starts over with the same result; the codebook appears only when whole.

AV-HuBERT (arXiv:2201.02184) clusters MFCCs at 100 Hz (``--rate 100``), then layers 9, 12, 12, 12 of its base model.
The default 25 Hz averages MFCCs over each video frame. ``pretrain_iterations.py`` runs the whole sequence.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jsonargparse import auto_cli

from avspeech.manifest import read_manifest
from avspeech.units.kmeans import fit_kmeans
from avspeech.units.sampling import FrameSample
from data_prep.clip_vectors import Kind, Modality, describe, dump_listing, extract_each, open_source, plan
from data_prep.run_each import report_failures


def main(
    manifest: Path,
    codebook: Path,
    features: Kind = "mfcc",
    rate: Literal[25, 100] = 25,
    model: Path | None = None,
    layer: int | None = None,
    modality: Modality = "audio+video",
    dump: Path | None = None,
    num_units: int = 100,
    percent: float = 1.0,
    max_vectors: int | None = None,
    seed: int = 0,
    max_frames: int | None = None,
    device: str = "cpu",
    max_failed: float = 0.02,
) -> None:
    """Fit a codebook.

    Args:
        manifest: JSON lines, one Utterance each: the training clips.
        codebook: file to write, .safetensors.
        features: mfcc, or encoder for a layer of a trained model.
        rate: vectors per second; 100 is for MFCCs only.
        model: model file or official checkpoint, for encoder features.
        layer: block whose output is taken, from 1; 0 is the fused input.
        modality: input streams of the encoder.
        dump: folder of dump_features.py to read; it sets the features unless they are named.
        num_units: K; AV-HuBERT's iterations use 100, 100, 500, 1000, 2000.
        percent: share of the clips, above 0 and up to 1 (AV-HuBERT: 0.1 of its 433 hours).
        max_vectors: number of vectors drawn and kept in memory; null keeps all.
        seed: seed of sampling and k-means.
        max_frames: frames of a batch through the encoder, padding included; null takes single clips.
        device: torch device of encoder and k-means.
        max_failed: share of failures beyond which the exit status is 1.
    """
    if not 0 < percent <= 1:
        raise ValueError(f"--percent {percent} came, wanted a share above 0 and up to 1")
    sample = FrameSample(max_vectors, seed)
    asked = (features, rate, model, layer) != ("mfcc", 25, None, None)
    # A dump settles what its vectors are, unless other features are asked for: open_source refuses those.
    description = describe(features, rate, model, layer, modality) if asked or dump is None else dump_listing(dump)
    source = open_source(description, model, device, dump)
    everything = read_manifest(manifest, require=source.needs)
    count = max(1, round(percent * len(everything)))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(everything))[:count])
    utterances = [everything[index] for index in chosen]
    failures: dict[int, str] = {}
    for index, vectors_TF in extract_each(utterances, source, plan(utterances, source, max_frames), failures):
        sample.add(int(chosen[index]), vectors_TF)
    listed = [{"id": utterances[index].id, "why": why} for index, why in failures.items()]
    report_failures(codebook.with_name(codebook.name + ".failures.jsonl"), listed, count, max_failed)
    vectors_MF = sample.vectors_MF()
    fitted = fit_kmeans(vectors_MF, num_units, description, seed)
    distance_M = fitted.squared_distances(vectors_MF, fitted.assign(vectors_MF))
    figures: dict[str, Any] = {"num_clips": count - len(failures), "percent": percent, "max_vectors": max_vectors}
    figures |= {"vectors_seen": sample.num_seen, "mean_squared_distance": float(distance_M.double().mean())}
    figures["total_variance"] = float(vectors_MF.var(axis=0, dtype=np.float64).sum())
    replace(fitted, fitting={**fitted.fitting, **figures}).save(codebook)
    print(f"{num_units} units from {len(vectors_MF)} vectors of {count - len(failures)} clips in {codebook}")
    distance, variance = figures["mean_squared_distance"], figures["total_variance"]
    print(f"mean squared distance to the centroid {distance:.4g}, of all vectors to their mean {variance:.4g}")


if __name__ == "__main__":
    auto_cli(main)
