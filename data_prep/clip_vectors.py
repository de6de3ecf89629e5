"""The vectors that k-means clusters: MFCCs or an encoder layer, computed or read from a dump."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from avspeech.data.batching import plan_batches
from avspeech.features.mfcc import mfcc, pool_to_frames
from avspeech.files import file_sha256
from avspeech.hub.names import open_encoder
from avspeech.inputs import InputSpec, Modality, Sample, collate, make_sample
from avspeech.manifest import Utterance
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from avspeech.media.video import read_grey_clip
from avspeech.models.encoder import AVEncoder
from avspeech.timebase import ACOUSTIC_RATE, FRAME_RATE, SAMPLE_RATE, samples_to_frames

Kind = Literal["mfcc", "encoder"]
LISTING = "features.json"
"""File of a dump that describes its vectors."""


@dataclass(frozen=True)
class Source:
    """A source of vectors."""

    features: dict[str, Any]
    """Description of the vectors, stored in the codebook."""
    extract: Callable[[Sequence[Utterance]], list[np.ndarray | MediaError]]
    """Maps utterances to their vectors, (frames, features) float32, or the error."""
    needs: tuple[str, ...]
    """Utterance fields that are needed."""
    batched: bool
    """True if a GPU gains from batches."""


def describe(kind: Kind, rate: int, model: Path | None, layer: int | None, modality: Modality) -> dict[str, Any]:
    """Return the description of vectors for a codebook. ValueError if a setting is missing or the rate impossible."""
    if kind == "mfcc":
        if rate not in (FRAME_RATE, ACOUSTIC_RATE):
            raise ValueError(f"--rate {rate} came, wanted {FRAME_RATE} or {ACOUSTIC_RATE} for MFCCs")
        if model is not None or layer is not None:
            raise ValueError("--model and --layer need --features encoder; add it, or leave them out")
        return {"kind": kind, "rate": rate}
    if model is None or layer is None:
        raise ValueError("--features encoder needs --model (a model file) and --layer (1 is the first block)")
    if rate != FRAME_RATE:
        raise ValueError(f"--rate {rate} came with --features encoder, which run at {FRAME_RATE} Hz")
    if not model.is_file():
        raise ValueError(f"--model {model} does not exist")
    source = {"model": model.name, "model_sha256": file_sha256(model)}
    return {"kind": kind, "rate": rate, "layer": layer, "modality": modality, **source}


def open_source(
    features: dict[str, Any], model: Path | None = None, device: str = "cpu", dump: Path | None = None
) -> Source:
    """Return the source of the vectors that ``features`` describes.

    The model must have the checksum in ``features``; with ``dump`` none is needed. ValueError if they do not match.
    """
    if dump is not None:
        if (there := dump_listing(dump)) != features:
            raise ValueError(f"--dump {dump} holds {there}, wanted {features}; dump those, or leave --dump out")
        return Source(features, lambda some: [_dumped(dump, utterance) for utterance in some], (), False)
    if features["kind"] == "mfcc":
        rate = features["rate"]
        return Source(features, lambda some: [_tried(mfcc_vectors, one, rate) for one in some], ("audio",), False)
    modality, layer = features["modality"], features["layer"]
    same = describe("encoder", FRAME_RATE, model, layer, modality)
    if same["model_sha256"] != features["model_sha256"]:
        raise ValueError(
            f"--model {model} has SHA-256 {same['model_sha256'][:16]}..., wanted the model that the codebook was made "
            f"with: {features['model']}, SHA-256 {features['model_sha256'][:16]}..."
        )
    assert model is not None
    encoder = open_encoder(model, device)
    needs = tuple(field for field, stream in (("audio", "audio"), ("mouth", "video")) if stream in modality)
    return Source(features, lambda some: encoder_vectors(some, encoder, layer, modality, device), needs, True)


def dump_listing(dump: Path) -> dict[str, Any]:
    """Return the description of a dump's vectors. ValueError if the folder is no dump."""
    if not (dump / LISTING).is_file():
        raise ValueError(f"--dump {dump} has no {LISTING}; wanted a folder made by data_prep/dump_features.py")
    return json.loads((dump / LISTING).read_text(encoding="utf-8"))


def _dumped(dump: Path, utterance: Utterance) -> np.ndarray | MediaError:
    path = dump / f"{utterance.id}.npy"
    return np.load(path) if path.exists() else MediaError(path, "is not in the dump; its failures may say why")


def _tried(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except MediaError as error:  # a bad file is data; a bug still raises
        return error


def mfcc_vectors(utterance: Utterance, rate: int) -> np.ndarray:
    """Return 39 MFCCs per frame at 100 Hz, or the mean of every four at 25 Hz, as long as the clip."""
    assert utterance.audio is not None
    audio_S = read_audio(utterance.audio, span=utterance.span)
    if len(audio_S) * 40 < SAMPLE_RATE:
        raise MediaError(utterance.audio, f"its sound has {len(audio_S)} samples, wanted at least 25 ms for one MFCC")
    mfcc_AF = mfcc(torch.from_numpy(audio_S))
    if rate == ACOUSTIC_RATE:
        return mfcc_AF.numpy()
    return pool_to_frames(mfcc_AF, utterance.num_frames or samples_to_frames(len(audio_S))).numpy()


def _sample(utterance: Utterance, inputs: InputSpec, modality: Modality) -> Sample:
    mouth_THW = audio_S = None
    if "video" in modality and utterance.mouth is not None:
        mouth_THW = read_grey_clip(utterance.mouth, inputs.clip_size or 1)
    if "audio" in modality and utterance.audio is not None:
        audio_S = read_audio(utterance.audio, span=utterance.span)
        if not len(audio_S):
            raise MediaError(utterance.audio, "its sound has no samples")
    return make_sample(inputs, utterance.id, utterance.num_frames, audio_S, mouth_THW)


@torch.inference_mode()
def encoder_vectors(
    utterances: Sequence[Utterance], encoder: AVEncoder, layer: int, modality: Modality, device: str = "cpu"
) -> list[np.ndarray | MediaError]:
    """Return the output of one encoder layer for each utterance, unmasked, 25 Hz, from one batch."""
    read = [_tried(_sample, utterance, encoder.inputs, modality) for utterance in utterances]
    whole = [index for index, sample in enumerate(read) if not isinstance(sample, MediaError)]
    if not whole:
        return read
    batch = collate([read[index] for index in whole]).to(device)
    memory_BTD = encoder(batch.audio_BTF, batch.video_BTHW, batch.valid_BT, layer=layer).float().cpu()
    for index, row_TD in zip(whole, memory_BTD, strict=True):
        read[index] = row_TD[: read[index].num_frames].numpy()
    return read


def plan(utterances: Sequence[Utterance], source: Source, max_frames: int | None) -> list[list[int]]:
    """Return batches of utterance indices: single clips, or clips of similar length up to ``max_frames``.

    ``max_frames`` counts 25 Hz frames with padding. Plan the whole manifest, so that batches survive a restart.
    ValueError for a budget without ``num_frames``.
    """
    if max_frames is None or not source.batched:
        return [[index] for index in range(len(utterances))]
    lengths = [utterance.num_frames or 0 for utterance in utterances]
    if 0 in lengths:
        without = f"{utterances[lengths.index(0)].id!r} has no 'num_frames' in the manifest"
        raise ValueError(f"--max_frames came, and {without}; data_prep/extract_rois.py writes it")
    return list(plan_batches(lengths, max_frames, max_clips=len(lengths)))


def extract_each(
    utterances: Sequence[Utterance], source: Source, batches: Sequence[Sequence[int]], failures: dict[int, str]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, vectors) in the order of ``batches``; add {index: reason} to ``failures``; show progress."""
    with tqdm(total=sum(map(len, batches)), unit="clip", mininterval=1) as progress:
        for batch in batches:
            for index, got in zip(batch, source.extract([utterances[index] for index in batch]), strict=True):
                if isinstance(got, MediaError):
                    failures[index] = f"{type(got).__name__}: {got}"
                else:
                    yield index, got
            progress.update(len(batch))
