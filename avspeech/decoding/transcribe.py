"""Hypotheses of a batch from any model, for validation, evaluation, transcription and export."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from avspeech.decoding.config import DecodingConfig, settle
from avspeech.decoding.hypothesis import Hypothesis
from avspeech.decoding.language_model import LanguageModel
from avspeech.decoding.recognizer import decode_recognizer
from avspeech.decoding.whisper import decode_whisper
from avspeech.inputs import AVBatch
from avspeech.models.base import Model
from avspeech.models.files import ModelFileError
from avspeech.models.memory import Memory
from avspeech.models.recognizer import Recognizer
from avspeech.models.whisper import Whisper


def transcribe_batch(
    model: Model,
    batch: AVBatch,
    keep_B2: Tensor | None = None,
    config: DecodingConfig = DecodingConfig(),
    lm: LanguageModel | None = None,
) -> list[list[Hypothesis]]:
    """Return up to ``config.num_best`` hypotheses of each utterance, best first, and at least one.

    Args:
        model: in evaluation mode.
        batch: on the model's device, with the features that ``model.inputs`` names.
        keep_B2: bool, columns AUDIO and VIDEO; False drops that stream. None keeps both.
        lm: language model over the tokenizer's tokens, for a recogniser's ``attention`` and ``joint``.

    Raises ValueError if the model cannot decode in this way, a stream is missing, or the encoder gives NaN.
    """
    config = settle(config, model)  # before the encoder runs
    memory = encode_batch(model, batch, keep_B2)
    return decode_memory(model, memory, config, batch.languages, batch.ids, batch.audio_BTF is not None, lm)


@torch.no_grad()
def encode_batch(model: Model, batch: AVBatch, keep_B2: Tensor | None = None) -> Memory:
    """Return the memory to decode from; arguments as for ``transcribe_batch``; ValueError if a stream is missing.

    Raises ModelFileError if the encoder gives NaN, over which a search would give empty texts.
    """
    memory = model.encode(batch, keep_B2)
    for part, valid in ((memory.memory_BTD, memory.valid_BT), (memory.video_BTD, memory.video_valid_BT)):
        if part is not None and not (part if valid is None else part[valid]).isfinite().all():
            reason = "its training diverged, or its file is damaged"
            raise ModelFileError(f"the encoder gave values that are not finite: {reason}")
    return memory


def decode_memory(
    model: Model,
    memory: Memory,
    config: DecodingConfig = DecodingConfig(),
    languages: Sequence[str | None] = (),
    ids: Sequence[str] = (),
    has_audio: bool = True,
    lm: LanguageModel | None = None,
) -> list[list[Hypothesis]]:
    """Return the hypotheses of ``transcribe_batch``; the empty text with score -inf if CTC rules out every text.

    Args:
        memory: of ``encode_batch``.
        languages: for a Whisper; None or empty: ``config``'s, or detected.
        ids: seed a Whisper's sampling; empty: the utterances' places.
        has_audio: the batch had audio; ``config.official_limit`` reads it.

    Raises ValueError if the model cannot decode in this way, or does not know a language.
    """
    config = settle(config, model)
    if isinstance(model, Whisper):
        if lm is not None:
            raise ValueError("a language model came for a Whisper, which takes none; leave it out")
        return decode_whisper(model, memory, config, languages, ids)
    nbest = decode_recognizer(cast(Recognizer, model), memory, config, has_audio, lm)
    return [found[: config.num_best] or [Hypothesis("", -torch.inf)] for found in nbest]


def transcribe_whisper(
    model: Whisper,
    tokenizer: Any,
    batch: AVBatch,
    keep_B2: Tensor | None = None,
    options: DecodingConfig = DecodingConfig(temperatures=(0.0,)),
) -> list[list[Hypothesis]]:
    """Return ``transcribe_batch`` of a Whisper, by default greedy without fallback; ``tokenizer`` is not used."""
    return transcribe_batch(model, batch, keep_B2, options)
