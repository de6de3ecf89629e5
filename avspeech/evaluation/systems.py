"""Decode utterances with a model under a condition."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from tqdm import tqdm

from avspeech.data.batching import plan_batches
from avspeech.decoding.config import DecodingConfig, inputs_for, settle
from avspeech.decoding.transcribe import transcribe_batch
from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.config import EvaluationConfig
from avspeech.evaluation.grid import Unreadable
from avspeech.evaluation.loading import ConditionLoader
from avspeech.inputs import AVBatch, Sample, collate
from avspeech.manifest import Utterance
from avspeech.media.errors import MediaError
from avspeech.models.base import Model
from avspeech.models.whisper import Whisper
from avspeech.timebase import samples_to_frames

Decode = Callable[[AVBatch, torch.Tensor], list[str]]
"""A batch and ``keep_B2`` -> a text for each utterance."""


def settled(config: EvaluationConfig, model: Model) -> DecodingConfig:
    """Return the options with the grid's seed and without null; ``ValueError``: the model cannot decode so."""
    known = model.inputs.modalities
    if lacking := ", ".join(modality for modality in config.modalities if modality not in known):
        raise ValueError(f"the model cannot decode {lacking}; evaluate it with --modalities '[{', '.join(known)}]'")
    decoding = settle(replace(config.decoding, seed=config.seed), model)
    return replace(decoding, pad_to_30s=inputs_for(model, decoding).pads_to_30s)


_SEARCH = ("length_penalty", "min_length", "max_tokens", "official_limit")
_READ = {"ctc": (), "attention": _SEARCH, "joint": (*_SEARCH, "ctc_weight")}
_RECOGNIZER_ONLY = ("ctc_weight", "lm_weight", "min_length", "official_limit", "num_best")


def decoding_facts(config: DecodingConfig, model: Model) -> dict[str, Any]:
    """Return the options that the model's kind and method read, ready for JSON."""
    told = asdict(config)
    if isinstance(model, Whisper):
        unread = {*_RECOGNIZER_ONLY, *(() if max(config.temperatures) > 0 else ("seed",))}  # without draws no seed
        names = [name for name in told if name not in unread]
    else:
        names = ["method", "beam_size", *_READ[str(config.method)]]
    return {name: list(told[name]) if isinstance(told[name], tuple) else told[name] for name in names}


def batch_decoder(model: Model, config: DecodingConfig) -> Decode:
    """Return the function that decodes batches with a model and a settled ``config``."""
    return lambda batch, keep_B2: [found[0].text for found in transcribe_batch(model, batch, keep_B2, config)]


def transcribe_all(
    decode: Decode,
    device: torch.device | str,
    utterances: Sequence[Utterance],
    condition: Condition,
    loader: ConditionLoader,
    max_frames: int = 3000,
    max_clips: int = 64,
    batches: Sequence[Sequence[int]] | None = None,
) -> list[str | Unreadable]:
    """Return a hypothesis of each utterance in order, or why its files could not be read.

    A batch holds similar lengths, up to ``max_frames`` at 25 Hz with padding and up to ``max_clips`` utterances; or
    ``batches`` gives the indices of its utterances, each once.
    """
    texts: dict[int, str | Unreadable] = {}
    if batches is None:
        lengths = [
            one.num_frames or samples_to_frames(one.num_samples or 0) or max_frames  # of unknown length: goes alone
            for one in utterances
        ]
        batches = list(plan_batches(lengths, max_frames, max_clips))
    for batch_of in tqdm(batches, desc=condition.label, unit="batch", leave=False):
        samples: dict[int, Sample] = {}
        for index in batch_of:
            try:
                samples[index] = loader.load(utterances[index], condition)
            except MediaError as error:
                texts[index] = Unreadable(f"{type(error).__name__}: {error}")
        if samples:
            batch = collate(list(samples.values())).to(device)
            keep_2 = torch.tensor([condition.keeps_audio, condition.keeps_video], device=device)
            keep_B2 = keep_2.repeat(len(samples), 1)
            texts.update(zip(samples, decode(batch, keep_B2), strict=True))
    return [texts[index] for index in range(len(utterances))]
