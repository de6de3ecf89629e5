"""Evaluate a model over modalities, noises, SNRs and faults of the picture, and report.

    python -m avspeech.evaluate --model MODEL --manifest MANIFEST --conditions CONDITIONS.yaml --out_dir OUT_DIR \
        --noise_manifests '{babble: voices.jsonl}'

Reads   a model file of a recogniser or of a Whisper with or without lips, a manifest with text and mouth clips, a
        conditions YAML (configs/evaluate), and a noise plan where one is given (data_prep/mix_noisy_tests.py).
Writes  OUT_DIR/results.json, hypotheses.jsonl, failures.jsonl, report.md, report.html, images/, exhibits/, decoded/,
        and noise_plan.jsonl where none was given: name it with --noise_plan to test another model on the same noise.
Stop it and start it again: conditions that are decoded already are not decoded again.
"""

import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli

from avspeech.data.limits import check_languages
from avspeech.evaluation.conditions import Condition, EvaluationConfig
from avspeech.evaluation.conditions_file import read_conditions
from avspeech.evaluation.exhibits import write_exhibits
from avspeech.evaluation.grid import GridError, Unreadable, evaluate_grid
from avspeech.evaluation.identity import describe_environment
from avspeech.evaluation.loading import check_streams
from avspeech.evaluation.memo import remember_streams
from avspeech.evaluation.report import write_report
from avspeech.evaluation.results import write_results
from avspeech.evaluation.systems import make_loader, make_transcriber, transcribe_all
from avspeech.files import file_sha256, make_folder
from avspeech.manifest import Utterance, hash_test_set, read_manifest
from avspeech.models.files import check_device, load_model
from avspeech.models.whisper import Whisper
from avspeech.noise.making import check_plan, plan_of
from avspeech.noise.plan import NoisePlan, PlanError, PlanMixer
from avspeech.noise.plan_records import without_hints
from avspeech.noise.pools import roots_of
from avspeech.text.normalize import check_rule
from avspeech.text.whisper_tokens import WhisperTokenizer


def identify(
    model: Path, manifest: Path, utterances: Sequence[Utterance], plan: NoisePlan | None, device: str
) -> dict[str, Any]:
    """Return what decides the transcripts, for ``runs`` in results.json: hashes, noises, versions, the command."""
    return {
        "model_file": model.name,
        "model_sha256": file_sha256(model),
        "manifest": manifest.name,
        "manifest_sha256": file_sha256(manifest),
        "test_set_sha256": hash_test_set(utterances),
        "noise_plan_sha256": plan and plan.sha256,
        "noise_rule": plan and plan.rule,
        "noises": without_hints(plan.noises) if plan else {},
        "shares_test_speakers": list(plan.shares_test_speakers) if plan else [],
        "versions": describe_environment(device),
        "command": shlex.join(["python", "-m", "avspeech.evaluate", *sys.argv[1:]]),
    }


def main(
    model: Path,
    manifest: Path,
    conditions: Path,
    out_dir: Path,
    name: str | None = None,
    device: str = "cpu",
    noises: list[str] | None = None,
    noise_plan: Path | None = None,
    noise_manifests: dict[str, Path] | None = None,
    noise_paths: dict[str, Path] | None = None,
    modalities: list[str] | None = None,
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
        noises: of those in the YAML, the ones to take; by default all.
        noise_plan: frozen noise to mix in; by default one is made in ``out_dir``. Its files are looked for where they
            lay when it was made, or where ``noise_manifests`` and ``noise_paths`` say.
        noise_manifests: replaces ``noises.<name>.manifest`` of the YAML, by name.
        noise_paths: replaces ``noises.<name>.path`` of the YAML, by name.
        modalities: replaces ``modalities`` of the YAML.
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
        config = read_conditions(conditions).with_noise_files(noise_manifests, noise_paths, only=noises)
        config = replace(config, **{key: value for key, value in given.items() if value is not None})
        check_rule(config.normalization)
        if max_frames < 1 or max_clips < 1:
            raise ValueError(f"max_frames={max_frames} and max_clips={max_clips} must be at least 1")
        utterances = read_manifest(manifest, require=("text",))
        check_streams(utterances, config.grid(), manifest)
        check_device(device)
        network = load_model(model, device)
        transcriber = make_transcriber(network, config, str(model))
        if isinstance(network, Whisper) and config.language == "given":
            check_languages(utterances, WhisperTokenizer(network.sizes.vocab_size), manifest)
        make_folder(out_dir, "--out_dir")
        plan = _noise_plan(noise_plan, out_dir, utterances, config)
        mixer = plan and PlanMixer(plan, plan.roots() | roots_of(config.noises))
        loader = make_loader(network, config, mixer, utterances)
        remember_streams(network)
        identity = identify(model, manifest, utterances, plan, device)
    except ValueError as error:
        sys.exit(str(error))

    def transcribe(missing: Sequence[Utterance], condition: Condition) -> list[str | Unreadable]:
        return transcribe_all(transcriber, device, missing, condition, loader, max_frames, max_clips)

    decoding = config.whisper_settings if isinstance(network, Whisper) else None
    noise_of = plan.condition_sha256 if plan else None
    try:
        results = evaluate_grid(
            utterances, config, transcribe, out_dir, name or model.stem, identity, decoding, noise_of
        )
    except (PlanError, GridError) as error:  # sound is not what the plan says, or there is nothing to score
        sys.exit(str(error))
    write_results(out_dir, results)
    write_exhibits(out_dir, results, utterances, loader)
    print(write_report(out_dir, out_dir))


def _noise_plan(
    given: Path | None, out_dir: Path, utterances: Sequence[Utterance], config: EvaluationConfig
) -> NoisePlan | None:
    """Return the plan that was given or one made from the conditions; None where nothing is heard in noise."""
    if not config.noises or not any("audio" in modality for modality in config.modalities):
        if given is not None:
            raise ValueError(f"noise_plan={given} came, and the conditions mix in no noise; leave it out")
        return None
    if given is not None:
        plan = NoisePlan.read(given)
        check_plan(plan, utterances, config, given)
        return plan
    return plan_of(utterances, config, out_dir / "noise_plan.jsonl")


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
