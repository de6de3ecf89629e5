"""Whisper base that reads lips, on one speaker: both stages, the lip encoders and the ways of dropping streams.

    python -m avspeech.interop base runs/whisper_base.safetensors
    python experiments/2026-11-flamingo-grid/run.py LIPS runs/flamingo_grid runs/whisper_base.safetensors \
        RECOGNIZER.safetensors PREDICTOR.safetensors

Reads   LIPS/{train,valid,test}.jsonl with mouth clips of GRID s1, as experiments/2026-11-pretrain-or-scratch makes them
        (RUN/lips), and two model files of that experiment: scratch_0/av (a recogniser) and pretrained_0/pretrain2 (a
        pre-trained encoder).
Writes  RUN/<model>/ for each model: the model file, curves, evaluate/; RUN/voices_{train,test}.jsonl.
Stop it and start it again: finished steps are skipped, and a training goes on from a checkpoint.
"""

import random
import sys
from pathlib import Path

from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avspeech.manifest import read_manifest, write_manifest
from data_prep.pipeline import ROOT, Step, run_steps

CONFIGS = ROOT / "configs"
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
    return [
        *("-m", "avspeech.train", "fit", f"--config={CONFIGS}/flamingo/{stage}.yaml"),
        *(f"--config={CONFIGS}/flamingo/{stage}/few_clips.yaml", f"--config={CONFIGS}/trainer/cpu.yaml"),
        *(f"--trainer.max_steps={steps}", "--trainer.precision=bf16-mixed", "--trainer.val_check_interval=100"),
        *(f"--data.init_args.train={lips}/train.jsonl", f"--data.init_args.val={lips}/valid.jsonl"),
        f"--data.init_args.noise_manifest={run}/voices_train.jsonl",
        "--data.init_args.val_noise={probability: 1.0, noises: {babble: {kind: babble, num_voices: 6}}}",
        f"--trainer.default_root_dir={run / name}",
        *more,
    ]


def evaluation(lips: Path, run: Path, name: str, conditions: str, model: Path, *more: str) -> list[str]:
    """Return the command of one evaluation."""
    return [
        *("-m", "avspeech.evaluate", f"--model={model}", f"--manifest={lips}/test.jsonl"),
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
    start = [f"--model.init_args.whisper={whisper if name == 'audio' else run / 'audio/model.safetensors'}"]
    if name in ("audio", "audio_longer"):
        train = training("audio", lips, run, name, 300 if name == "audio" else steps, *start)
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
        commands = commands_of(name, lips, run, whisper, encoders, steps)
        makes = {"train": run / name / "model.safetensors", "evaluate": run / name / "evaluate/results.json"}
        plan = [Step(step, {step: command}, [makes[step]]) for step, command in commands.items()]
        records = run_steps(run / name, plan, threads=1, checkpoint_every=100)
        for step, record in records.items():
            print(f"{name}: {step} took {record['wall_s']} s", flush=True)


if __name__ == "__main__":
    auto_cli(main)
