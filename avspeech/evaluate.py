"""Evaluate a model over modalities, noises and SNRs, and report.

    python -m avspeech.evaluate MODEL MANIFEST CONDITIONS.yaml OUT_DIR --noise_manifests '{babble: voices.jsonl}'

Reads   a model file of a recogniser, a manifest with text and mouth clips, a conditions YAML (configs/evaluate).
Writes  OUT_DIR/results.json, hypotheses.jsonl, failures.jsonl, report.md, report.html, images/, decoded/.
Stop it and start it again: conditions that are decoded already are not decoded again.
"""

import hashlib
import logging
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli
from tqdm import tqdm

from avspeech.data.batching import collate, plan_batches
from avspeech.data.dataset import Sample
from avspeech.data.manifest import Utterance, read_manifest
from avspeech.decoding.transcribe import check_heads, transcribe_batch
from avspeech.evaluation.conditions import Condition, EvaluationConfig, read_conditions
from avspeech.evaluation.grid import Unreadable, evaluate_grid
from avspeech.evaluation.loading import ConditionLoader, check_streams, make_sources
from avspeech.evaluation.report import write_report
from avspeech.evaluation.results import write_results
from avspeech.media.errors import MediaError
from avspeech.models.files import load_recognizer
from avspeech.models.recognizer import Recognizer
from avspeech.text.tokenizer import Tokenizer
from avspeech.timebase import samples_to_frames

PACKAGES = ("avspeech", "torch", "numpy", "av", "jiwer")


def transcribe_all(
    model: Recognizer,
    tokenizer: Tokenizer,
    utterances: Sequence[Utterance],
    condition: Condition,
    loader: ConditionLoader,
    config: EvaluationConfig,
    max_frames: int = 3000,
    max_clips: int = 64,
) -> list[str | Unreadable]:
    """Return a transcript of each utterance in order, or why its files could not be read.

    Args:
        model: in evaluation mode, on its device.
        tokenizer: the model's.
        utterances: loaded batch by batch, those of like length together.
        condition: which streams the model gets, and the noise.
        loader: of the samples.
        config: how to decode.
        max_frames: budget of a batch in frames at 25 Hz, padding included.
        max_clips: most utterances in a batch.
    """
    texts: dict[int, str | Unreadable] = {}
    device = next(model.parameters()).device
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
            hypotheses = transcribe_batch(model, tokenizer, batch, keep_B2, **config.decoding)
            texts.update((index, hypothesis.text) for index, hypothesis in zip(samples, hypotheses, strict=True))
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
        model: model file of a recogniser.
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
        utterances = read_manifest(manifest, require=("text",))
        check_streams(utterances, config, manifest)
        sources = make_sources(config)
        recognizer = load_recognizer(model, device)
        check_heads(recognizer, config.method)
        identity = identify(model, manifest, config)
        if recognizer.tokenizer_config is None:
            raise ValueError(f"{model} carries no tokenizer, so it cannot give text; fine-tune it with avspeech.train")
        tokenizer = Tokenizer.from_config(recognizer.tokenizer_config)
    except ValueError as error:
        sys.exit(str(error))
    loader = ConditionLoader(sources, config.seed, recognizer.config.encoder.video.input_size)

    def transcribe(missing: Sequence[Utterance], condition: Condition) -> list[str | Unreadable]:
        return transcribe_all(recognizer, tokenizer, missing, condition, loader, config, max_frames, max_clips)

    results = evaluate_grid(utterances, config, transcribe, out_dir, name or model.stem, identity)
    write_results(out_dir, results)
    print(write_report(out_dir, out_dir))


if __name__ == "__main__":
    auto_cli(main)
