"""Make a corpus of synthetic talking faces: espeak-ng speech, and drawn faces that move with its phones.

    python -m data_prep.corpora.synthetic data/synthetic --num_train 320 --num_test 60 --languages '[en,es]'

Needs   pip install 'avspeech[synthetic]', and a face model file (avspeech/roi/face_model.py).
Writes  OUT/video/<id>.mp4 (224x224 at 25 fps, 16 kHz), OUT/audio/<id>.wav (babble voices), manifests with word times
        OUT/{train,valid,test,babble_train,babble_test}.jsonl, and the settings in OUT/corpus.json.
A restart keeps finished clips and refuses other settings. The result does not depend on the number of workers.

Speakers, sentences and babble voices of the test never occur in training (data_prep/synthetic/plan.py).
Synthetic speech is far easier than real speech: its error rates only show that a pipeline learns.
"""

import json
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Literal

from jsonargparse import auto_cli
from tqdm import tqdm

from avspeech.files import write_json
from avspeech.manifest import Utterance, write_manifest
from data_prep.run_each import Crash, run_each
from data_prep.synthetic.clip import make_clip
from data_prep.synthetic.espeak import Espeak
from data_prep.synthetic.plan import Clip, CorpusConfig, plan_corpus
from data_prep.synthetic.speaker import SETS

CLIPS_PER_JOB = 16


_espeak = cache(Espeak)


def make_clips(clips: list[Clip], folder: Path, truth: bool) -> list[Utterance]:
    """Write clips, ideally of one speaker; return their manifest lines."""
    return [make_clip(clip, folder, _espeak(), truth) for clip in clips]


def make_corpus(
    config: CorpusConfig, folder: Path, workers: int = 1, truth: bool = False
) -> dict[str, list[Utterance]]:
    """Write a corpus and its manifests; return the utterances by set.

    A folder with the same settings is completed; ValueError for other settings. ``truth`` also writes
    ``truth/<id>.npz``, the motion of the mouth.
    """
    Espeak().close()  # a missing espeak-ng is reported here, not by a worker
    _claim(folder, config)
    clips = plan_corpus(config)
    made: dict[str, Utterance] = {}
    with tqdm(total=len(clips), desc="talking faces", unit="clip") as bar:
        make = partial(make_clips, folder=folder, truth=truth)
        for _, utterances in run_each(make, _jobs(clips), workers if workers > 1 else 0):
            if isinstance(utterances, Crash):
                raise RuntimeError(utterances.why)
            made |= {utterance.id: utterance for utterance in utterances}
            bar.update(len(utterances))
    parts = {part: [made[clip.id] for clip in clips if clip.part == part] for part in SETS}
    for part, utterances in parts.items():
        if utterances:
            write_manifest(folder / f"{part}.jsonl", utterances)
    return parts


def _jobs(clips: list[Clip]) -> list[list[Clip]]:
    """Group clips by speaker, so that each face is painted once; longest jobs first."""
    jobs = []
    for name in {clip.speaker.name for clip in clips}:
        of_speaker = [clip for clip in clips if clip.speaker.name == name]
        jobs += [of_speaker[start : start + CLIPS_PER_JOB] for start in range(0, len(of_speaker), CLIPS_PER_JOB)]
    return sorted(jobs, key=lambda job: (-len(job), job[0].id))


def _claim(folder: Path, config: CorpusConfig) -> None:
    """Write the settings to the folder, or compare them with those there."""
    note, settings = folder / "corpus.json", json.loads(json.dumps(asdict(config)))
    if note.exists():
        found = json.loads(note.read_text())
        for name in settings:
            if settings[name] != found.get(name):
                what = f"{folder} holds a corpus with {name}={found.get(name)}, asked for is {settings[name]}"
                raise ValueError(f"{what}; choose another folder or delete that one")
    else:
        write_json(note, settings)


def main(
    out: Path,
    num_train: int = 320,
    num_valid: int = 20,
    num_test: int = 60,
    num_babble: int = 24,
    languages: tuple[str, ...] = ("en", "es"),
    text: Literal["commands", "sentences"] = "commands",
    speakers_train: int = 24,
    speakers_valid: int = 4,
    speakers_test: int = 8,
    speakers_babble: int = 8,
    seed: int = 0,
    workers: int = 2,
    truth: bool = False,
) -> None:
    """Make a corpus of synthetic talking faces.

    Args:
        out: folder of the corpus.
        num_train: training clips.
        num_valid: validation clips; speakers and sentences of their own.
        num_test: test clips; speakers and sentences of their own.
        num_babble: audio clips of training babble, and as many of test babble.
        languages: ISO 639-1 codes; commands know en and es, sentences all of en ar de el es fr it pt ru.
        text: commands of a grammar, or everyday sentences from data_prep/synthetic/texts.
        speakers_train: faces with voices; each speaks all languages.
        speakers_valid: validation faces, each with a voice.
        speakers_test: test faces, each with a voice.
        speakers_babble: voices of training babble, and as many others of test babble.
        seed: random seed of the corpus.
        workers: processes.
        truth: also write the motion of the mouth, OUT/truth/<id>.npz.
    """
    clips = {"train": num_train, "valid": num_valid, "test": num_test}
    speakers = {"train": speakers_train, "valid": speakers_valid, "test": speakers_test}
    for part in ("babble_train", "babble_test"):
        clips[part], speakers[part] = num_babble, speakers_babble
    parts = make_corpus(CorpusConfig(clips, speakers, tuple(languages), text, seed), out, workers, truth)
    frames = sum(utterance.num_frames or 0 for utterance in [*parts["train"], *parts["valid"], *parts["test"]])
    print(f"{sum(map(len, parts.values()))} clips, {frames} frames with a face, in {out}")


if __name__ == "__main__":
    auto_cli(main)
