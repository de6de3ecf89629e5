"""What the Flamingo experiments promise about their data: no voice of the test babble babbles in training."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from avspeech.evaluation.config import read_conditions
from avspeech.manifest import Utterance, read_manifest, write_manifest
from data_prep.synthetic.plan import CorpusConfig, plan_corpus

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def script(name):
    """Return an experiment's run.py as a module."""
    return SimpleNamespace(**runpy.run_path(str(EXPERIMENTS / name / "run.py")))


def commands_of(run, model, path):
    return run.commands_of(model, path, path, path / "base", {"recognizer": path, "predictor": path}, 123)


def test_grid_test_babble_is_made_of_training_clips_that_never_babble_in_training(tmp_path):
    run = script("2026-11-flamingo-grid")
    clips = [Utterance(f"c{i}", audio=tmp_path / f"{i}.wav") for i in range(600)]
    write_manifest(tmp_path / "train.jsonl", clips)
    run.split_voices(tmp_path, tmp_path, seed=0)
    train, test = ({u.id for u in read_manifest(tmp_path / f"voices_{part}.jsonl")} for part in ("train", "test"))
    assert len(test) == run.NUM_TEST_VOICES and not train & test
    assert train | test == {clip.id for clip in clips}
    for model in ("zero_shot", "audio", "audio_longer", *run.STAGE_2):
        for step, command in commands_of(run, model, tmp_path).items():
            line, names = " ".join(command), ["voices_train.jsonl", "voices_test.jsonl"]
            assert [name in line for name in names] == [step == "train", step != "train"]


def test_the_audio_baseline_gets_as_many_updates_as_the_second_stage(tmp_path):
    run = script("2026-11-flamingo-grid")
    for model in ("audio_longer", *run.STAGE_2):
        command = commands_of(run, model, tmp_path)["train"]
        assert [part for part in command if part.startswith("--trainer.max_steps=")] == ["--trainer.max_steps=123"]


def test_nine_languages_share_no_sentence_speaker_or_voice_between_sets():
    text = (EXPERIMENTS / "2026-11-flamingo-nine/run.sh").read_text()
    assert "--num_train 720 --num_valid 36 --num_test 180 --num_babble 36" in text and "--text sentences" in text
    clips = {"train": 720, "valid": 36, "test": 180, "babble_train": 36, "babble_test": 36}
    speakers = {"train": 24, "valid": 4, "test": 9, "babble_train": 8, "babble_test": 8}
    languages = ("en", "ar", "de", "el", "es", "fr", "it", "pt", "ru")
    plan = plan_corpus(CorpusConfig(clips, speakers, languages, "sentences", 0))  # raises where two sets share anything
    spoken = [clip.language for clip in plan if clip.part == "train"]
    assert min(map(spoken.count, languages)) >= 60


@pytest.mark.parametrize(
    "path", sorted(EXPERIMENTS.glob("2026-11-flamingo-*/*.yaml")), ids=lambda p: p.parent.name + p.stem
)
def test_conditions_are_read(path):
    assert read_conditions(path).decoding.method == "attention"
