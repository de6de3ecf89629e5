"""A model file as the thing that a grid asks: batches in, texts out, whatever kind of model it is."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from tqdm import tqdm

from avspeech.data.batching import plan_batches
from avspeech.decoding.transcribe import check_heads, transcribe_batch
from avspeech.decoding.whisper_transcribe import WhisperOptions, transcribe_whisper
from avspeech.evaluation.conditions import Condition, EvaluationConfig
from avspeech.evaluation.grid import Unreadable
from avspeech.evaluation.loading import ConditionLoader, Mixer, videos_of
from avspeech.inputs import AVBatch, Sample, collate
from avspeech.manifest import Utterance
from avspeech.media.errors import MediaError
from avspeech.models.files import Model
from avspeech.models.flamingo import Flamingo
from avspeech.models.recognizer import Recognizer
from avspeech.models.whisper import Whisper
from avspeech.text.tokenizer import Tokenizer
from avspeech.text.whisper_tokens import WhisperTokenizer
from avspeech.timebase import samples_to_frames

Transcriber = Callable[[AVBatch, torch.Tensor], list[str]]
"""A batch and ``keep_B2`` -> a text for each utterance."""


def make_transcriber(model: Model, config: EvaluationConfig, name: str) -> Transcriber:
    """Return what turns batches into texts.

    Args:
        model: in evaluation mode, on its device.
        config: how to decode.
        name: of the model's file, for the messages.

    Raises:
        ValueError: the model gives no text, or not by this method, or it has no eyes for a grid with video.
    """
    if isinstance(model, Whisper):
        if not isinstance(model, Flamingo) and any("video" in modality for modality in config.modalities):
            raise ValueError(f"{name} holds a Whisper that reads no lips; evaluate it with --modalities '[audio]'")
        whisper_tokens = WhisperTokenizer(model.sizes.vocab_size)
        options = WhisperOptions(**config.whisper_decoding)

        def transcribe(batch: AVBatch, keep_B2: torch.Tensor) -> list[str]:
            nbest = transcribe_whisper(model, whisper_tokens, batch, keep_B2, options)
            return [hypotheses[0].text for hypotheses in nbest]

        return transcribe
    if not isinstance(model, Recognizer):
        raise ValueError(f"{name} is a pre-trained model that gives no text; fine-tune it with avspeech.train")
    check_heads(model, config.method)
    if model.tokenizer_config is None:
        raise ValueError(f"{name} carries no tokenizer, so it cannot give text; fine-tune it with avspeech.train")
    tokenizer = Tokenizer.from_config(model.tokenizer_config)
    return lambda batch, keep_B2: [
        hypothesis.text for hypothesis in transcribe_batch(model, tokenizer, batch, keep_B2, **config.decoding)
    ]


def make_loader(
    model: Model, config: EvaluationConfig, mixer: Mixer | None, utterances: Sequence[Utterance]
) -> ConditionLoader:
    """Return what loads the samples as the model wants them.

    Args:
        model: see ``make_transcriber``; not yet one that remembers (``remember_streams``).
        config: of the grid.
        mixer: of its noises; None where it has none.
        utterances: the whole test set.
    """
    inputs = replace(model.inputs, pads_to_30s=config.pad_to_30s)
    return ConditionLoader(mixer, config.seed, inputs, others=videos_of(utterances, config.grid(), config.seed))


def transcribe_all(
    transcribe: Transcriber,
    device: torch.device | str,
    utterances: Sequence[Utterance],
    condition: Condition,
    loader: ConditionLoader,
    max_frames: int = 3000,
    max_clips: int = 64,
    batches: Sequence[Sequence[int]] | None = None,
) -> list[str | Unreadable]:
    """Return a transcript of each utterance in order, or why its files could not be read.

    Args:
        transcribe: see ``make_transcriber``.
        device: of the model.
        utterances: loaded batch by batch, those of like length together.
        condition: which streams the model gets, and the noise.
        loader: of the samples.
        max_frames: budget of a batch in frames at 25 Hz, padding included.
        max_clips: most utterances in a batch.
        batches: places of the utterances that go together, each once; None plans them by length.
    """
    texts: dict[int, str | Unreadable] = {}
    if batches is None:
        lengths = [_num_frames(utterance) or max_frames for utterance in utterances]  # of unknown length: goes alone
        batches = plan_batches(lengths, max_frames, max_clips)
    for batch_of in tqdm(batches, desc=condition.label, unit="batch", leave=False):
        samples: dict[int, Sample] = {}
        for index in batch_of:
            try:
                samples[index] = loader.load(utterances[index], condition)
            except MediaError as error:  # a bad file is data; a bug still raises
                texts[index] = Unreadable(f"{type(error).__name__}: {error}")
        if samples:
            batch = collate(list(samples.values())).to(device)
            keep_2 = torch.tensor([condition.keeps_audio, condition.keeps_video], device=device)
            keep_B2 = keep_2.repeat(len(samples), 1)
            texts.update(zip(samples, transcribe(batch, keep_B2), strict=True))
    return [texts[index] for index in range(len(utterances))]


def _num_frames(utterance: Utterance) -> int | None:
    if utterance.num_frames is None and utterance.num_samples is not None:
        return samples_to_frames(utterance.num_samples)
    return utterance.num_frames
