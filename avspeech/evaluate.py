"""Evaluate a model over modalities, noises, SNRs and faults of the picture, and report.

    python -m avspeech.evaluate --model MODEL --manifest MANIFEST --conditions CONDITIONS.yaml --out_dir OUT_DIR \
        --noise_manifests '{babble: voices.jsonl}' --decoding.method ctc

Reads   a model, a manifest with text and mouth clips, a conditions YAML (configs/evaluate), optionally a noise plan.
Writes  OUT_DIR/results.json, hypotheses.jsonl, failures.jsonl, report.md, report.html, images/, exhibits/, decoded/;
        and noise_plan.jsonl if none was given: pass it as --noise_plan to test another model on the same noise.
A run that was stopped continues: finished conditions are not decoded again.
"""

import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli

from avspeech.config_file import refuse_moved_flags
from avspeech.data.limits import check_crops, check_languages
from avspeech.decoding.config import inputs_for
from avspeech.evaluation.config import EvaluationConfig, read_conditions
from avspeech.evaluation.exhibits import write_exhibits
from avspeech.evaluation.grid import GridError, evaluate_grid
from avspeech.evaluation.loading import ConditionLoader, check_streams, videos_of
from avspeech.evaluation.memo import remember_streams
from avspeech.evaluation.provenance import identify_run
from avspeech.evaluation.report import write_report
from avspeech.evaluation.results import write_results
from avspeech.evaluation.systems import batch_decoder, decoding_facts, settled, transcribe_all
from avspeech.files import make_folder
from avspeech.hub.names import find_model, open_model
from avspeech.inputs import Modality
from avspeech.manifest import Utterance, read_manifest
from avspeech.models.files import check_device
from avspeech.noise.making import check_plan, plan_of
from avspeech.noise.plan import NoisePlan, PlanError, PlanMixer
from avspeech.noise.pools import roots_of


def main(
    model: str,
    manifest: Path,
    conditions: Path,
    out_dir: Path,
    name: str | None = None,
    device: str = "cpu",
    noises: list[str] | None = None,
    noise_plan: Path | None = None,
    noise_manifests: dict[str, Path] | None = None,
    noise_paths: dict[str, Path] | None = None,
    modalities: list[Modality] | None = None,
    decoding: dict[str, Any] | None = None,
    max_frames: int = 3000,
    max_clips: int = 64,
) -> None:
    """Evaluate a model and write a report.

    Args:
        model: a model file, ``demo``, a name of ``avspeech hub``, or owner/name on the Hugging Face hub.
        manifest: JSON lines with text, and with mouth clips where the grid has video.
        conditions: conditions YAML, such as configs/evaluate/full.yaml.
        out_dir: folder of the results.
        name: name of the model in the results; by default the stem of its file.
        device: device of the model.
        noises: names of the YAML's noises to use; by default all.
        noise_plan: frozen noise plan; by default made in ``out_dir``. The next two options relocate its recordings.
        noise_manifests: replaces ``noises.<name>.manifest`` of the YAML, by name.
        noise_paths: replaces ``noises.<name>.path`` of the YAML, by name.
        modalities: replaces ``modalities`` of the YAML.
        decoding: replaces options of the YAML's ``decoding``, such as --decoding.beam_size 5.
        max_frames: most frames at 25 Hz in a batch.
        max_clips: most utterances in a batch.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:  # a user's mistake ends with one message
        config = read_conditions(conditions).with_noise_files(noise_manifests, noise_paths, only=noises)
        config = config.with_options(modalities, decoding)
        if max_frames < 1 or max_clips < 1:
            raise ValueError(f"max_frames={max_frames} and max_clips={max_clips} must be at least 1")
        utterances = read_manifest(manifest, require=("text",))
        check_streams(utterances, config.grid(), manifest)
        check_device(device)
        network = open_model(model, device)
        options = settled(config, network)
        if network.tokenizer is not None and not options.detect_language:
            check_languages(utterances, network.tokenizer, manifest)
        if any(condition.keeps_video for condition in config.grid()):
            check_crops(utterances, network.lip_encoder and network.lip_encoder.crop, manifest)
        make_folder(out_dir, "--out_dir")
        plan = _noise_plan(noise_plan, out_dir, utterances, config)
        mixer = plan and PlanMixer(plan, plan.roots() | roots_of(config.noises))
        others = videos_of(utterances, config.grid(), config.seed)
        loader = ConditionLoader(mixer, config.seed, inputs_for(network, options), others=others)
        remember_streams(network)
        identity = identify_run(find_model(model), manifest, utterances, plan, device)
    except ValueError as error:
        sys.exit(str(error))
    decode, limits = batch_decoder(network, options), {"max_frames": max_frames, "max_clips": max_clips}
    transcribe = partial(transcribe_all, decode, device, loader=loader, **limits)
    name = name or (Path(model).stem if Path(model).is_file() else model)
    told, noise_of = decoding_facts(options, network), plan.condition_sha256 if plan else None
    try:
        results = evaluate_grid(utterances, config, transcribe, out_dir, name, identity, told, noise_of)
    except (PlanError, GridError) as error:
        sys.exit(str(error))
    write_results(out_dir, results)
    write_exhibits(out_dir, results, utterances, loader)
    print(write_report(out_dir, out_dir))


def _noise_plan(
    given: Path | None, out_dir: Path, utterances: Sequence[Utterance], config: EvaluationConfig
) -> NoisePlan | None:
    if not config.noises or not any("audio" in modality for modality in config.modalities):
        if given is not None:
            raise ValueError(f"--noise_plan {given} came, but these conditions add no noise to audio; leave it out")
        return None
    if given is not None:
        plan = NoisePlan.read(given)
        check_plan(plan, utterances, config, given)
        return plan
    return plan_of(utterances, config, out_dir / "noise_plan.jsonl")


if __name__ == "__main__":
    flags = ("method", "beam_size", "ctc_weight")
    refuse_moved_flags({f"--{flag}": f"--decoding.{flag}" for flag in flags})
    auto_cli(main, as_positional=False)
