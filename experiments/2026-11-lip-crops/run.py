"""Train the same recogniser on crops of several alignments, cut from one look at the faces, and evaluate each.

    nice python experiments/2026-11-lip-crops/run.py path/to/grid_s1 runs/lip_crops

Reads   the corpus, GRID s1.
Writes  RUN/ALIGNMENT/roi and manifests; RUN/ALIGNMENT_SEED/: model, curve, evaluate_av/, steps.json.
Stop it and start it again: finished clips and steps are skipped.
"""

import sys
from dataclasses import replace
from pathlib import Path

from jsonargparse import auto_cli

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avspeech.files import written_whole
from avspeech.manifest import Utterance, read_manifest, write_manifest
from avspeech.media.audio import read_audio
from avspeech.media.video import read_grey_clip, read_pictures, write_video
from avspeech.roi.faces import follow_faces
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.lips import FaceSpan, crop_faces
from data_prep.pipeline import Step, run_steps
from experiments.demo.recipe import SPLITS, Recipe, plan


def cut(utterance: Utterance, clips: dict[str, Path], finder: FaceFinder) -> None:
    """Write the crops of the largest face by every alignment."""
    assert utterance.video is not None
    followed = follow_faces(read_pictures(utterance.video), finder)
    for alignment, clip in clips.items():
        spans = [[FaceSpan(0, 0, followed.num_frames)]]
        (mouth_THW,) = crop_faces(utterance.video, followed, spans, alignment=alignment)
        clip.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(clip) as unfinished:
            write_video(unfinished, mouth_THW, crf=14, preset="faster")


def make_lips(corpus: Path, run: Path, alignments: list[str]) -> None:
    """Cut the corpus, and write a manifest for every split and alignment."""
    with FaceFinder() as finder:
        for split in SPLITS:
            utterances = read_manifest(corpus / f"{split}.jsonl")
            done: dict[str, list[Utterance]] = {alignment: [] for alignment in alignments}
            for one in utterances:
                clips = {alignment: run / alignment / f"roi/{one.id}.mp4" for alignment in alignments}
                if not all(clip.exists() for clip in clips.values()):
                    cut(one, clips, finder)
                counts = {"num_samples": len(read_audio(one.audio))} if one.audio is not None else {}
                for alignment, clip in clips.items():
                    cropped = replace(one, mouth=clip, crop=alignment, num_frames=len(read_grey_clip(clip)), **counts)
                    done[alignment].append(cropped)
            for alignment, lines in done.items():
                write_manifest(run / alignment / f"{split}.jsonl", lines)


def steps_of(alignment: str, seed: int, updates: int, folder: Path) -> list[Step]:
    """Return tokenizer, training from scratch and evaluation of the audio-visual recogniser."""
    finetune = [f"--model.init_args.schedule.warmup_steps={updates // 20}", "--model.init_args.pretrained=null"]
    title = f"{alignment}, seed {seed}"
    recipe = Recipe(title, [], "train.jsonl", "train.jsonl", finetune_steps=updates, seed=seed, finetune=finetune)
    every = plan(recipe, folder, None)
    steps = [next(step for step in every if step.name == "fit the tokenizer"), *every[-2:]]
    return [
        replace(
            step,
            commands={name: command for name, command in step.commands.items() if "audio" not in name},
            makes=[path for path in step.makes if "audio" not in path.parent.name],
        )
        for step in steps
    ]


def main(
    data: Path,
    run: Path,
    alignments: list[str] = ["official", "steady"],  # noqa: B006 - jsonargparse shows it
    seeds: list[int] = [0, 1],  # noqa: B006
    updates: int = 2200,
) -> None:
    """Cut the lips, then train and evaluate each alignment with every seed, one command at a time.

    Args:
        data: the corpus, GRID s1.
        run: folder of everything it makes.
        alignments: of ``avspeech.roi.mouth.CROPS``.
        seeds: of training.
        updates: of each training, from scratch.
    """
    run = run.resolve()
    recipe = Recipe("GRID s1", ["-m", "data_prep.corpora.grid", "{data}", "{run}/corpus"], "", "")
    run_steps(run, plan(recipe, run, data.resolve())[:1], threads=1)
    if not all((run / alignment / "test.jsonl").exists() for alignment in alignments):
        make_lips(run / "corpus", run, alignments)
    for seed in seeds:
        for alignment in alignments:
            folder = run / f"{alignment}_{seed}"
            folder.mkdir(exist_ok=True)
            for split in SPLITS:
                if not (folder / f"{split}.jsonl").exists():
                    (folder / f"{split}.jsonl").symlink_to(run / alignment / f"{split}.jsonl")
            records = run_steps(folder, steps_of(alignment, seed, updates, folder), threads=1)
            print(f"{alignment} {seed}: {sum(record['cpu_s'] for record in records.values()):.0f} CPU s", flush=True)


if __name__ == "__main__":
    auto_cli(main)
