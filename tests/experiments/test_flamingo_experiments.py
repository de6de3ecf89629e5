"""What the Flamingo experiments promise about their data: no voice of the test babble babbles in training."""

import importlib.util
from pathlib import Path

import pytest

from avspeech.evaluation.config import read_conditions
from avspeech.manifest import Utterance, read_manifest, write_manifest
from data_prep.synthetic.plan import CorpusConfig, plan_corpus

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def script(name):
    """Return an experiment's run.py as a module."""
    spec = importlib.util.spec_from_file_location("run_" + name.replace("-", "_"), EXPERIMENTS / name / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_grid_test_babble_is_made_of_training_clips_that_never_babble_in_training(tmp_path):
    run = script("2026-11-flamingo-grid")
    clips = [Utterance(f"c{i}", audio=tmp_path / f"{i}.wav") for i in range(600)]
    write_manifest(tmp_path / "train.jsonl", clips)
    run.split_voices(tmp_path, tmp_path, seed=0)
    train, test = ({u.id for u in read_manifest(tmp_path / f"voices_{part}.jsonl")} for part in ("train", "test"))
    assert len(test) == run.NUM_TEST_VOICES and not train & test
    assert train | test == {clip.id for clip in clips}
    start = tmp_path / "out"
    encoders = {"recognizer": start, "predictor": start}
    for model in ("zero_shot", "audio", "audio_longer", *run.STAGE_2):
        commands = run.commands_of(model, tmp_path, tmp_path, tmp_path / "base", encoders, 400)
        for step, command in commands.items():
            line = " ".join(map(str, command))
            assert (f"voices_{'train' if step == 'train' else 'test'}.jsonl" in line) and (
                f"voices_{'test' if step == 'train' else 'train'}.jsonl" not in line
            )


def test_the_audio_baseline_gets_as_many_updates_as_the_second_stage(tmp_path):
    run = script("2026-11-flamingo-grid")
    steps = {}
    for model in ("audio_longer", *run.STAGE_2):
        commands = run.commands_of(
            model, tmp_path, tmp_path, tmp_path, {"recognizer": tmp_path, "predictor": tmp_path}, 123
        )
        steps[model] = [part for part in commands["train"] if part.startswith("--trainer.max_steps=")]
    assert set(map(tuple, steps.values())) == {("--trainer.max_steps=123",)}


def test_nine_languages_share_no_sentence_speaker_or_voice_between_sets():
    text = (EXPERIMENTS / "2026-11-flamingo-nine/run.sh").read_text()
    assert "--num_train 720 --num_valid 36 --num_test 180 --num_babble 36" in text and "--text sentences" in text
    clips = {"train": 720, "valid": 36, "test": 180, "babble_train": 36, "babble_test": 36}
    speakers = {"train": 24, "valid": 4, "test": 9, "babble_train": 8, "babble_test": 8}
    languages = ("en", "ar", "de", "el", "es", "fr", "it", "pt", "ru")
    plan = plan_corpus(CorpusConfig(clips, speakers, languages, "sentences", 0))  # raises where two sets share anything
    of = {part: [clip for clip in plan if clip.part == part] for part in clips}
    assert not {c.speaker.name for c in of["train"]} & {c.speaker.name for c in of["test"]}
    assert not {s for c in of["train"] for s in c.sentences} & {s for c in of["test"] for s in c.sentences}
    assert not {c.speaker.voice.variant for c in of["babble_train"]} & {
        c.speaker.voice.variant for c in of["babble_test"]
    }
    assert all(sum(c.language == language for c in of["train"]) >= 60 for language in languages)


@pytest.mark.parametrize(
    "path", sorted(EXPERIMENTS.glob("2026-11-flamingo-*/*.yaml")), ids=lambda p: p.parent.name + p.stem
)
def test_conditions_are_read(path):
    assert read_conditions(path).decoding.method == "attention"
