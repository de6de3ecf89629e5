"""Fit a k-means codebook to MFCCs or to a layer of a trained encoder: the units of the next pre-training.

    python data_prep/fit_units.py data/grid/train.jsonl runs/units/mfcc100.safetensors --num_units 100
    python data_prep/fit_units.py data/grid/train.jsonl runs/units/layer2.safetensors --features encoder \\
        --model runs/pretrain1/model.safetensors --layer 2 --num_units 100

Reads   Utterance lines (avspeech/data/manifest.py), their audio and, for encoder features, mouth clips and a model.
Writes  CODEBOOK (avspeech/units/kmeans.py) and CODEBOOK.failures.jsonl beside it.
Stop it and start it again: it starts over; the codebook appears only when whole.

AV-HuBERT (arXiv:2201.02184) clusters MFCCs at 100 Hz first (``--rate 100``); the default here averages them to 25 Hz,
so that a unit stands for the whole of a video frame. It then clusters layers 9, 12, 12, 12 of its base model.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from jsonargparse import auto_cli

from avspeech.data.manifest import read_manifest
from avspeech.units.kmeans import fit_kmeans
from data_prep.dump_features import (
    Kind,
    Modality,
    describe,
    extract_each,
    make_extractor,
    needed_fields,
    report_failures,
)


def main(
    manifest: Path,
    codebook: Path,
    features: Kind = "mfcc",
    rate: Literal[25, 100] = 25,
    model: Path | None = None,
    layer: int | None = None,
    modality: Modality = "audio+video",
    num_units: int = 100,
    percent: float = 1.0,
    seed: int = 0,
    device: str = "cpu",
    max_failed: float = 0.02,
) -> None:
    """Fit a codebook.

    Args:
        manifest: JSON lines, one Utterance each: the training clips.
        codebook: file to write, .safetensors.
        features: mfcc, or encoder for the layer of a trained model.
        rate: vectors per second; 100 is for MFCCs only.
        model: model file, for encoder features.
        layer: which block's output, 1 is the first; 0 is the fused input.
        modality: the streams that the encoder is given.
        num_units: K; AV-HuBERT's iterations use 100, 100, 500, 1000, 2000.
        percent: share of the clips that is used, above 0 and up to 1 (AV-HuBERT: 0.1 of its 433 hours).
        seed: of the choice of clips and of k-means.
        device: where the encoder runs.
        max_failed: share of failures beyond which the exit status is 1.
    """
    if not 0 < percent <= 1:
        raise ValueError(f"--percent {percent} came, wanted a share above 0 and up to 1")
    description = describe(features, rate, model, layer, modality)
    utterances = read_manifest(manifest, require=needed_fields(description))
    count = max(1, round(percent * len(utterances)))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(utterances))[:count])
    rows: list[np.ndarray] = []
    failures: list[tuple[str, str]] = []
    for utterance, vectors_TF, why in extract_each(
        [utterances[index] for index in chosen], make_extractor(description, model, device)
    ):
        if vectors_TF is None:
            failures.append((utterance.id, why))
        else:
            rows.append(vectors_TF)
    codebook.parent.mkdir(parents=True, exist_ok=True)
    report_failures(codebook.with_name(codebook.name + ".failures.jsonl"), failures, count, max_failed)
    vectors_MF = np.concatenate(rows)
    fitted = fit_kmeans(vectors_MF, num_units, description, seed)
    distance = float(np.mean([nearest(fitted.centroids_KF[fitted.assign(row)].numpy(), row) for row in rows]))
    fitted.save(codebook)
    print(f"{num_units} units from {len(vectors_MF)} vectors of {len(rows)} clips in {codebook}")
    print(
        f"mean squared distance to the centroid {distance:.4g}, of all vectors to their mean {spread(vectors_MF):.4g}"
    )


def nearest(centroids_TF: np.ndarray, vectors_TF: np.ndarray) -> float:
    """Return the mean squared distance of vectors to their centroids."""
    return float(np.square(vectors_TF - centroids_TF).sum(axis=1).mean())


def spread(vectors_MF: np.ndarray) -> float:
    """Return the mean squared distance of vectors to their common mean."""
    return float(vectors_MF.var(axis=0, dtype=np.float64).sum())


if __name__ == "__main__":
    auto_cli(main)
