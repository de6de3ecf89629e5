"""Whisper base that reads lips, on one speaker: both stages, the lip encoders and the ways of dropping streams.

    python -m avspeech.interop base runs/whisper_base.safetensors
    python experiments/2026-11-flamingo-grid/run.py LIPS runs/flamingo_grid runs/whisper_base.safetensors \
        RECOGNIZER.safetensors PREDICTOR.safetensors

Reads   LIPS/{train,valid,test}.jsonl with mouth clips of GRID s1, as experiments/2026-11-pretrain-or-scratch makes them
        (RUN/lips), and two model files of that experiment: scratch_0/av (a recogniser) and pretrained_0/pretrain2 (a
        pre-trained encoder).
Writes  RUN/<model>/ for each model: the model file, curves, evaluate/; RUN/voices_{train,test}.jsonl; RUN/times.json.
Stop it and start it again: finished steps are skipped, and a training goes on from its last checkpoint.
"""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from jsonargparse import auto_cli

from avspeech.manifest import read_manifest, write_manifest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
NUM_TEST_VOICES = 60
"""Training clips that only ever babble in the test; the other ones babble in training."""
STAGE_2 = ("av", "av_batch", "av_never", "av_pretrained", "av_random")


def split_voices(lips: Path, run: Path, seed: int) -> None:
    """Write the voices of the training babble and those of the test babble: all training clips, none in both."""
    clips = read_manifest(lips / "train.jsonl", require=("audio",))
    random.Random(seed).shuffle(clips)
    write_manifest(run / "voices_test.jsonl", clips[:NUM_TEST_VOICES])
    write_manifest(run / "voices_train.jsonl", clips[NUM_TEST_VOICES:])


def training(stage: str, lips: Path, run: Path, name: str, steps: int, *more: str) -> list[str]:
    """Return the command of one training."""
    folder = run / name
    last = folder / "checkpoints/last.ckpt"
    return [
        *(
            sys.executable,
            "-m",
            "avspeech.train",
            "fit",
            *(f"--config=configs/flamingo/{file}.yaml" for file in (stage, f"{stage}/few_clips")),
        ),
        *("--config=configs/trainer/cpu.yaml", f"--trainer.max_steps={steps}", "--trainer.precision=bf16-mixed"),
        *(f"--data.init_args.train={lips}/train.jsonl", f"--data.init_args.val={lips}/valid.jsonl"),
        f"--data.init_args.noise_manifest={run}/voices_train.jsonl",
        "--data.init_args.val_noise={probability: 1.0, snr_db: [0, 0], kinds: [babble], num_voices: [6, 6]}",
        *(f"--trainer.default_root_dir={folder}", f"--trainer.logger.init_args.save_dir={folder}"),
        *("--trainer.val_check_interval=100", "--trainer.enable_progress_bar=false"),
        "--trainer.callbacks.init_args.every_n_train_steps=100",
        *more,
        *([f"--ckpt_path={last}"] if last.exists() else []),
    ]


def evaluation(lips: Path, run: Path, name: str, conditions: str, model: Path, *more: str) -> list[str]:
    """Return the command of one evaluation."""
    return [
        *(sys.executable, "-m", "avspeech.evaluate", f"--model={model}", f"--manifest={lips}/test.jsonl"),
        *(f"--conditions={conditions}", f"--out_dir={run}/{name}/evaluate", f"--name={name}"),
        f"--noise_manifests={{babble: {run}/voices_test.jsonl}}",
        *more,
    ]


def commands_of(
    name: str, lips: Path, run: Path, whisper: Path, encoders: dict[str, Path], steps: int
) -> dict[str, list[str]]:
    """Return the commands that make and evaluate one model."""
    model = run / name / "model.safetensors"
    full, sound = f"{HERE}/conditions.yaml", "--modalities=[audio]"
    if name == "zero_shot":
        return {"evaluate": evaluation(lips, run, name, f"{HERE}/zero_shot.yaml", whisper, sound)}
    if name == "audio":
        start = [f"--model.init_args.whisper={whisper}"]
        train = training("audio", lips, run, name, 300, *start)
        return {"train": train, "evaluate": evaluation(lips, run, name, full, model, sound)}
    start = [f"--model.init_args.whisper={run}/audio/model.safetensors"]
    if name == "audio_longer":
        train = training("audio", lips, run, name, steps, *start)
        return {"train": train, "evaluate": evaluation(lips, run, name, full, model, sound)}
    if name == "av_random":
        sizes = "{width: 128, depth: 3, num_heads: 4, ffn_width: 512, position_kernel: 31, position_groups: 8, "
        sizes += "layer_drop: 0.0, video: {shrink: 2, stem_kernel: 5, stem_width: 16, widths: [16, 32, 64, 128], "
        sizes += "blocks: [1, 1, 1, 1], activation: relu}}"
        start += ["--model.init_args.video_rate=1.0"]  # new weights learn at the full rate
        start += ["--model.init_args.video_pretrained=null", f"--model.init_args.video={sizes}"]
    else:
        encoder = encoders["predictor" if name == "av_pretrained" else "recognizer"]
        start.append(f"--model.init_args.video_pretrained={encoder}")
    if name == "av_never":
        start.append("--model.init_args.modality_dropout={p_both: 1.0, p_audio_only: 0.0, p_video_only: 0.0}")
    if name == "av_batch":
        start.append("--model.init_args.modality_dropout.per_batch=true")
    train = training("av", lips, run, name, steps, *start)
    return {"train": train, "evaluate": evaluation(lips, run, name, full, model)}


def main(
    lips: Path,
    run: Path,
    whisper: Path,
    recognizer: Path,
    predictor: Path,
    models: list[str] = ["zero_shot", "audio", "audio_longer", *STAGE_2],  # noqa: B006 - jsonargparse shows it
    steps: int = 300,
    seed: int = 0,
) -> None:
    """Make and evaluate models one after the other; several processes may take several models.

    Args:
        lips: folder of manifests with mouth clips.
        run: folder of everything it makes.
        whisper: model file of Whisper base.
        recognizer: model file whose encoder has learned to read the lips of the same training clips.
        predictor: model file of an encoder pre-trained by masked cluster prediction on them.
        models: which.
        steps: updates of stage 2, and of the longer audio baseline.
        seed: of the partition of voices.
    """
    lips, run, whisper = lips.resolve(), run.resolve(), whisper.resolve()
    encoders = {"recognizer": recognizer.resolve(), "predictor": predictor.resolve()}
    run.mkdir(parents=True, exist_ok=True)
    if not (run / "voices_test.jsonl").exists():
        split_voices(lips, run, seed)
    for name in models:
        times_file = run / name / "times.json"
        times = json.loads(times_file.read_text()) if times_file.exists() else {}
        for step, command in commands_of(name, lips, run, whisper, encoders, steps).items():
            if step in times:
                continue
            log = run / name / f"{step}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            start = time.monotonic()
            with log.open("a") as file:
                environment = os.environ | {"OMP_NUM_THREADS": "1"}
                if subprocess.run(command, cwd=ROOT, env=environment, stdout=file, stderr=file).returncode:
                    sys.exit(f"{name}: {step} failed; see {log}")
            times[step] = round(time.monotonic() - start, 1)
            times_file.write_text(json.dumps(times, indent=1))
            print(f"{name}: {step} took {times[step]} s", flush=True)


if __name__ == "__main__":
    auto_cli(main)
