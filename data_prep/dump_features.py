"""Write the feature vectors of every clip of a manifest: what k-means clusters, or a teacher's features.

    python data_prep/dump_features.py data/grid/train.jsonl data/grid/mfcc
    python data_prep/dump_features.py data/grid/train.jsonl data/grid/layer2 --features encoder \\
        --model runs/pretrain1/model.safetensors --layer 2

Reads   Utterance lines (avspeech/data/manifest.py); for encoder features also their mouth clips and a model file.
Writes  <out_dir>/<id>.npy, float32 (frames, features); <out_dir>/features.json, what the vectors are; and
        <out_dir>/failures.jsonl.
Stop it and start it again: a file gets its final name only once it is whole, and other features are refused.
``fit_units.py`` and ``assign_units.py`` make the same vectors as they go; dump them when they are used often.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jsonargparse import auto_cli
from tqdm import tqdm

from avspeech.data.manifest import Utterance, read_manifest
from avspeech.features.clip import crop_clips
from avspeech.features.logfbank import fbank_TF
from avspeech.features.mfcc import mfcc, pool_to_frames
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from avspeech.media.video import read_grey_clip
from avspeech.timebase import ACOUSTIC_RATE, FRAME_RATE, SAMPLE_RATE, samples_to_frames

Kind = Literal["mfcc", "encoder"]
Modality = Literal["audio", "video", "audio+video"]
Extractor = Callable[[Utterance], np.ndarray]
"""Utterance -> vectors, (frames, features) float32; raises MediaError for a clip that cannot be used."""


def describe(kind: Kind, rate: int, model: Path | None, layer: int | None, modality: Modality) -> dict[str, Any]:
    """Return what the vectors are, as a codebook carries it.

    Raises:
        ValueError: encoder features without model or layer, or a rate that they do not have.
    """
    if kind == "mfcc":
        if rate not in (FRAME_RATE, ACOUSTIC_RATE):
            raise ValueError(f"--rate {rate} came, wanted {FRAME_RATE} or {ACOUSTIC_RATE} for MFCCs")
        if model is not None or layer is not None:
            raise ValueError("--model and --layer came with --features mfcc; add --features encoder, or leave them out")
        return {"kind": kind, "rate": rate}
    if model is None or layer is None:
        raise ValueError("--features encoder needs --model (a model file) and --layer (1 is the first block)")
    if rate != FRAME_RATE:
        raise ValueError(f"--rate {rate} came with --features encoder, which run at {FRAME_RATE} Hz")
    if not model.is_file():
        raise ValueError(f"--model {model} does not exist")
    with model.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    source = {"model": model.name, "model_sha256": checksum}
    return {"kind": kind, "rate": rate, "layer": layer, "modality": modality, **source}


def make_extractor(features: dict[str, Any], model: Path | None = None, device: str = "cpu") -> Extractor:
    """Return the function that gives an utterance's vectors.

    Args:
        features: from ``describe``, or a codebook's.
        model: the model file, for encoder features; it must have the checksum that ``features`` names.
        device: where the encoder runs.

    Raises:
        ValueError: the model is missing or another one.
    """
    if features["kind"] == "mfcc":
        return lambda utterance: mfcc_vectors(utterance, features["rate"])
    same = describe("encoder", FRAME_RATE, model, features["layer"], features["modality"])
    if same["model_sha256"] != features["model_sha256"]:
        raise ValueError(
            f"--model {model} has SHA-256 {same['model_sha256'][:16]}..., wanted the model that the codebook was made "
            f"with: {features['model']}, SHA-256 {features['model_sha256'][:16]}..."
        )
    from avspeech.models.files import load_model

    assert model is not None
    encoder = load_model(model, device).encoder
    return lambda utterance: encoder_vectors(utterance, encoder, features["layer"], features["modality"], device)


def mfcc_vectors(utterance: Utterance, rate: int) -> np.ndarray:
    """Return 39 MFCCs per frame: at 100 Hz, or the mean of every four at 25 Hz, as long as the clip."""
    assert utterance.audio is not None
    audio_S = read_audio(utterance.audio)
    if len(audio_S) * 40 < SAMPLE_RATE:
        raise MediaError(utterance.audio, f"its sound has {len(audio_S)} samples, wanted at least 25 ms for one MFCC")
    mfcc_AF = mfcc(torch.from_numpy(audio_S))
    if rate == ACOUSTIC_RATE:
        return mfcc_AF.numpy()
    return pool_to_frames(mfcc_AF, utterance.num_frames or samples_to_frames(len(audio_S))).numpy()


@torch.inference_mode()
def encoder_vectors(
    utterance: Utterance, encoder: torch.nn.Module, layer: int, modality: Modality, device: str
) -> np.ndarray:
    """Return the output of one encoder layer, clean and unmasked, the centre of the clip, at 25 Hz."""
    audio_BTF = video_BTHW = None
    num_frames = utterance.num_frames
    if "video" in modality:
        assert utterance.mouth is not None
        video_BTHW = torch.from_numpy(read_grey_clip(utterance.mouth))[None]
        video_BTHW = crop_clips(video_BTHW, encoder.config.video.input_size).to(device)
        num_frames = video_BTHW.shape[1]
    if "audio" in modality:
        assert utterance.audio is not None
        audio_S = read_audio(utterance.audio)
        if not len(audio_S):
            raise MediaError(utterance.audio, "its sound has no samples")
        num_frames = num_frames or samples_to_frames(len(audio_S))
        audio_BTF = fbank_TF(torch.from_numpy(audio_S), num_frames)[None].to(device)
    valid_BT = torch.ones((1, num_frames), dtype=torch.bool, device=device)
    return encoder.extract(audio_BTF, video_BTHW, valid_BT, layer=layer)[0].float().cpu().numpy()


def needed_fields(features: dict[str, Any]) -> list[str]:
    """Return the manifest fields that the vectors are made from."""
    modality = features.get("modality", "audio")
    return [field for field, stream in (("audio", "audio"), ("mouth", "video")) if stream in modality]


def extract_each(
    utterances: Iterable[Utterance], extract: Extractor
) -> Iterator[tuple[Utterance, np.ndarray | None, str]]:
    """Yield utterance, vectors and an empty text, or None and why there are no vectors; shows progress."""
    for utterance in tqdm(utterances, unit="clip", mininterval=1):
        try:
            yield utterance, extract(utterance), ""
        except MediaError as error:  # a bad file is data; a bug still raises
            yield utterance, None, f"{type(error).__name__}: {error}"


def report_failures(listing: Path, failures: list[tuple[str, str]], total: int, max_failed: float) -> None:
    """Write the failures, one JSON line each, and end with status 1 when they are too many."""
    unfinished = listing.with_name(listing.name + ".part")
    with unfinished.open("w", encoding="utf-8") as file:
        for name, why in failures:
            print(json.dumps({"id": name, "why": why}, ensure_ascii=False), file=file)
    unfinished.rename(listing)
    if len(failures) > max_failed * total:
        sys.exit(f"{len(failures)} of {total} clips failed, more than {max_failed:.0%}: see {listing}")


def check_same_features(listing: Path, features: dict[str, Any]) -> None:
    """Note in a folder what its vectors are; refuse a folder that holds others."""
    if listing.exists():
        there = json.loads(listing.read_text(encoding="utf-8"))
        if there != features:
            raise ValueError(
                f"{listing.parent} holds {there}, wanted {features}; give another folder or empty this one"
            )
        return
    unfinished = listing.with_name(listing.name + ".part")
    unfinished.write_text(json.dumps(features), encoding="utf-8")
    unfinished.rename(listing)


def main(
    manifest: Path,
    out_dir: Path,
    features: Kind = "mfcc",
    rate: Literal[25, 100] = 25,
    model: Path | None = None,
    layer: int | None = None,
    modality: Modality = "audio+video",
    device: str = "cpu",
    max_failed: float = 0.02,
) -> None:
    """Dump feature vectors.

    Args:
        manifest: JSON lines, one Utterance each.
        out_dir: where the vectors go.
        features: mfcc, or encoder for the layer of a trained model.
        rate: vectors per second; 100 is for MFCCs only.
        model: model file, for encoder features.
        layer: which block's output, 1 is the first; 0 is the fused input.
        modality: the streams that the encoder is given.
        device: where the encoder runs.
        max_failed: share of failures beyond which the exit status is 1.
    """
    description = describe(features, rate, model, layer, modality)
    out_dir.mkdir(parents=True, exist_ok=True)
    check_same_features(out_dir / "features.json", description)
    utterances = read_manifest(manifest, require=needed_fields(description))
    missing = [utterance for utterance in utterances if not (out_dir / f"{utterance.id}.npy").exists()]
    failures: list[tuple[str, str]] = []
    for utterance, vectors_TF, why in extract_each(missing, make_extractor(description, model, device)):
        if vectors_TF is None:
            failures.append((utterance.id, why))
            continue
        path = out_dir / f"{utterance.id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.stem + ".part.npy")
        np.save(unfinished, vectors_TF)
        unfinished.rename(path)
    print(f"{len(utterances) - len(failures)} of {len(utterances)} clips in {out_dir}")
    report_failures(out_dir / "failures.jsonl", failures, len(utterances), max_failed)


if __name__ == "__main__":
    auto_cli(main)
