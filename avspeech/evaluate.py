"""Evaluate a model over modalities, noises and SNRs, and report.

    python -m avspeech.evaluate MODEL MANIFEST CONDITIONS.yaml OUT_DIR --noise_manifests '{babble: voices.jsonl}'

Reads   a model file of a recogniser or of a Whisper with or without lips, a manifest with text and mouth clips, a
        conditions YAML (configs/evaluate).
Writes  OUT_DIR/results.json, hypotheses.jsonl, failures.jsonl, report.md, report.html, images/, decoded/.
Stop it and start it again: conditions that are decoded already are not decoded again.
"""

import hashlib
import logging
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli
from tqdm import tqdm

from avspeech.data.batching import AVBatch, collate, plan_batches
from avspeech.data.dataset import Sample
from avspeech.data.manifest import Utterance, read_manifest
from avspeech.data.whisper_limits import check_languages
from avspeech.decoding.transcribe import check_heads, transcribe_batch
from avspeech.decoding.whisper_transcribe import WhisperOptions, transcribe_whisper
from avspeech.evaluation.conditions import Condition, EvaluationConfig, read_conditions
from avspeech.evaluation.grid import Unreadable, check_rule, evaluate_grid
from avspeech.evaluation.loading import ConditionLoader, check_streams, make_sources
from avspeech.evaluation.report import write_report
from avspeech.evaluation.results import write_results
from avspeech.features.clip import CLIP_SIZE
from avspeech.media.errors import MediaError
from avspeech.models.encoder import AVEncoder
from avspeech.models.files import Model, load_model
from avspeech.models.flamingo import Flamingo
from avspeech.models.recognizer import Recognizer
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import POSITIONS_PER_SECOND
from avspeech.text.tokenizer import Tokenizer
from avspeech.text.whisper_tokens import WhisperTokenizer
from avspeech.timebase import samples_to_frames

PACKAGES = ("avspeech", "torch", "numpy", "av", "jiwer", "openai-whisper")
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


def check_device(device: str) -> None:
    """Check that there is such a device.

    Raises:
        ValueError: there is none.
    """
    try:
        torch.zeros((), device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device={device!r} cannot be used ({reason}); the default is cpu") from error


def make_loader(
    model: Model, config: EvaluationConfig, sources: dict, utterances: Sequence[Utterance]
) -> ConditionLoader:
    """Return what loads the samples as the model wants them."""
    encoder = model.video_encoder if isinstance(model, Flamingo) else model.encoder
    clip_size = encoder.config.video.input_size if isinstance(encoder, AVEncoder) else CLIP_SIZE
    whisper = model.sizes if isinstance(model, Whisper) else None
    return ConditionLoader(
        sources,
        config.seed,
        clip_size,
        mel_bins=whisper and whisper.mel_bins,
        pad_to_30s=config.pad_to_30s,
        longest_s=whisper and whisper.audio_positions / POSITIONS_PER_SECOND,
        utterances=utterances,
    )


def transcribe_all(
    transcribe: Transcriber,
    device: torch.device | str,
    utterances: Sequence[Utterance],
    condition: Condition,
    loader: ConditionLoader,
    max_frames: int = 3000,
    max_clips: int = 64,
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
    """
    texts: dict[int, str | Unreadable] = {}
    lengths = [_num_frames(utterance) or max_frames for utterance in utterances]  # of unknown length: goes alone
    for batch_of in tqdm(plan_batches(lengths, max_frames, max_clips), desc=condition.label, unit="batch", leave=False):
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


def identify(model: Path, manifest: Path, config: EvaluationConfig) -> dict[str, Any]:
    """Return what decides the transcripts, for ``runs`` in results.json: hashes, noises, versions, the command."""
    noises = {}
    for name, spec in config.noises.items():
        noises[name] = {"kind": spec.kind}
        if spec.kind == "babble":
            noises[name]["num_voices"] = list(spec.num_voices)
        if spec.manifest is not None:
            noises[name] |= {"manifest": spec.manifest.name, "manifest_sha256": sha256(spec.manifest)}
    return {
        "model_file": model.name,
        "model_sha256": sha256(model),
        "manifest": manifest.name,
        "manifest_sha256": sha256(manifest),
        "noises": noises,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "command": shlex.join(["python", "-m", "avspeech.evaluate", *sys.argv[1:]]),
    }


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(
    model: Path,
    manifest: Path,
    conditions: Path,
    out_dir: Path,
    name: str | None = None,
    device: str = "cpu",
    modalities: list[str] | None = None,
    noise_manifests: dict[str, Path] | None = None,
    method: str | None = None,
    beam_size: int | None = None,
    ctc_weight: float | None = None,
    max_frames: int = 3000,
    max_clips: int = 64,
) -> None:
    """Evaluate a model and write a report.

    Args:
        model: model file of a recogniser, a Whisper or a Flamingo.
        manifest: JSON lines with text, and with mouth clips where the grid has video.
        conditions: YAML of the grid.
        out_dir: folder of the results.
        name: of the model in the results; by default the model file's name without its ending.
        device: where the model runs.
        modalities: replaces ``modalities`` of the YAML.
        noise_manifests: replaces ``noises.<name>.manifest`` of the YAML, by name.
        method: replaces ``method`` of the YAML.
        beam_size: replaces ``beam_size`` of the YAML.
        ctc_weight: replaces ``ctc_weight`` of the YAML.
        max_frames: budget of a batch in frames at 25 Hz.
        max_clips: most utterances in a batch.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:  # what a user can get wrong ends with its message alone
        given = {"modalities": modalities and tuple(modalities), "method": method}
        given |= {"beam_size": beam_size, "ctc_weight": ctc_weight}
        config = read_conditions(conditions).with_noise_manifests(noise_manifests or {})
        config = replace(config, **{key: value for key, value in given.items() if value is not None})
        check_rule(config.normalization)
        utterances = read_manifest(manifest, require=("text",))
        check_streams(utterances, config, manifest)
        sources = make_sources(config)
        check_device(device)
        network = load_model(model, device)
        transcriber = make_transcriber(network, config, str(model))
        if isinstance(network, Whisper) and config.language == "given":
            check_languages(utterances, WhisperTokenizer(network.sizes.vocab_size), manifest)
        identity = identify(model, manifest, config)
    except ValueError as error:
        sys.exit(str(error))
    loader = make_loader(network, config, sources, utterances)

    def transcribe(missing: Sequence[Utterance], condition: Condition) -> list[str | Unreadable]:
        return transcribe_all(transcriber, device, missing, condition, loader, max_frames, max_clips)

    decoding = config.whisper_settings if isinstance(network, Whisper) else None
    results = evaluate_grid(utterances, config, transcribe, out_dir, name or model.stem, identity, decoding)
    write_results(out_dir, results)
    print(write_report(out_dir, out_dir))


if __name__ == "__main__":
    auto_cli(main)
