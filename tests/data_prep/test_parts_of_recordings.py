"""Utterances that are parts of long files (``start_s``, ``end_s``): nobody reads the whole file for one."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import avspeech
from avspeech.data.clips import read_steps
from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.loading import ConditionLoader
from avspeech.features.mfcc import mfcc
from avspeech.files import read_lines
from avspeech.inputs import InputSpec
from avspeech.manifest import Utterance, Word, read_manifest, write_manifest
from avspeech.media.audio import read_audio, write_wav
from avspeech.media.video import read_grey_clip, write_video
from avspeech.noise.making import make_plan
from avspeech.noise.mixing import to_audio
from avspeech.noise.plan import PlanMixer
from avspeech.noise.pools import roots_of
from avspeech.noise.recordings import Recordings, name_part, split_part
from avspeech.noise.spec import NoiseSpec
from avspeech.page.layout import choose_examples
from avspeech.roi.lips import find_lips
from avspeech.timebase import Span
from data_prep import degrade_videos, extract_rois, mix_noisy_tests
from data_prep.clip_vectors import mfcc_vectors
from tests.data_prep.conftest import sound, talking_frames
from tests.refusals import raises

CODE = [
    *Path(avspeech.__file__).parent.rglob("*.py"),
    *(Path(avspeech.__file__).parents[1] / "data_prep").rglob("*.py"),
]
READING = re.compile(
    r"\b(?:read|_?read_\w+|find_lips|find_mouth_boxes)\((?:utterance|one|other|\w)\.(?:audio|video)\b.*"
)
"""Calls whose first argument is a file of an utterance."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Return a manifest of three parts of one recording of 60 drawn mouths, and its path."""
    folder = tmp_path_factory.mktemp("parts")
    rng = np.random.default_rng(0)
    mouths = [
        np.full((96, 96), 60 + 2 * t, np.uint8) + rng.integers(9, size=(96, 96), dtype=np.uint8) for t in range(60)
    ]
    write_video(folder / "talk.mp4", mouths, sound(60), crf=4)
    whole = Utterance("talk", folder / "talk.mp4", folder / "talk.mp4", text="hello you", speaker="s", language="en")
    edges_s = [("a", None, 0.8), ("b", 0.8, 1.6), ("c", 1.6, None)]
    utterances = [replace(whole, id=f"talk/{name}", start_s=start, end_s=end) for name, start, end in edges_s]
    utterances[1] = replace(utterances[1], words=(Word("hello", 0.1, 0.5),))
    write_manifest(folder / "all.jsonl", utterances)
    return folder / "all.jsonl", folder / "talk.mp4"


def test_every_call_that_reads_an_utterance_names_its_part():
    calls = [(path.name, call) for path in CODE for call in READING.findall(path.read_text())]
    assert len(calls) >= 8 and [call for call in calls if "span" not in call[1]] == []


def test_all_that_hear_an_utterance_hear_its_part(parts):
    manifest, path = parts
    first, middle, last = read_manifest(manifest)
    assert (first.span, middle.span, last.span) == (Span(0, 20), Span(20, 40), Span(40, None))
    whole_S = read_audio(path)
    wanted_S = whole_S[20 * 640 : 40 * 640]
    loader = ConditionLoader(None, 0, InputSpec("fbank", 104, 88))
    clean = Condition("audio")
    for heard_S in (to_audio(read_steps(middle)), loader.heard(middle, clean)):
        np.testing.assert_allclose(heard_S, wanted_S, atol=1e-4)
    assert [len(loader.heard(one, clean)) for one in (first, middle, last)] == [12_800, 12_800, len(whole_S) - 25_600]
    np.testing.assert_allclose(mfcc_vectors(middle, 100), mfcc(torch.from_numpy(read_audio(path, span=middle.span))))


def test_voices_are_parts_with_names_of_their_own_and_plans_mix_them(parts, tmp_path):
    assert name_part(Path("a/b.mp4"), Span(30, 60)) == Path("a/b.mp4#t=1.20,2.40")
    for span in (None, Span(0, 5), Span(7, None), Span(123_457, 123_458)):
        assert split_part(name_part(Path("a/b.mp4"), span)) == (Path("a/b.mp4"), span)
    assert split_part(Path("a/b#t=1.mp4")) == (Path("a/b#t=1.mp4"), None)
    manifest, path = parts
    _, middle, _ = read_manifest(manifest)
    recordings = Recordings()
    part = recordings.hashes(name_part(path, middle.span))
    assert len(recordings.steps(name_part(path, middle.span))) == 12_800
    whole = recordings.hashes(path)
    assert part["sha256"] == whole["sha256"] and part["samples_sha256"] != whole["samples_sha256"]
    write_wav(tmp_path / "own.wav", sound(30))
    own = Utterance("own", audio=tmp_path / "own.wav", speaker="other")
    noises = {"talker": NoiseSpec("talker", manifest=manifest, test_speakers="allow")}
    plan = make_plan([own], noises, [0.0], seed=0)
    ((piece,),) = [mix.pieces for mix in plan.mixes.values()]
    assert piece.file.startswith("talk.mp4#t=")
    heard_S = PlanMixer(plan, roots_of(noises)).mix(read_audio(own.audio), "own", "talker", 0.0)
    assert np.abs(heard_S - read_audio(own.audio)).max() > 0.01


def test_mouths_are_cut_of_the_part_alone_and_anew_when_it_moves(parts, tmp_path):
    manifest, _ = parts
    extract_rois.main(manifest, tmp_path / "roi", workers=0, already_cropped=True, safe_decoding=False)
    done = read_manifest(tmp_path / "roi" / "manifest.jsonl", require=("mouth",))
    assert [one.num_frames for one in done] == [20, 20, 20]
    assert [one.num_samples for one in done[:2]] == [12_800, 12_800] and 12_800 <= done[2].num_samples < 13_900
    shown = [read_grey_clip(one.mouth)[:, 20:70, 20:70].mean(axis=(1, 2)) for one in done]
    np.testing.assert_allclose(np.concatenate(shown), 64 + 2 * np.arange(60), atol=2)
    records = read_lines(tmp_path / "roi" / "rois.jsonl")
    write_manifest(tmp_path / "moved.jsonl", [replace(one, end_s=0.6) if one.end_s == 0.8 else one for one in done])
    extract_rois.main(tmp_path / "moved.jsonl", tmp_path / "roi", workers=0, already_cropped=True, safe_decoding=False)
    again = read_lines(tmp_path / "roi" / "rois.jsonl")
    assert [one["num_frames"] for one in again] == [15, 20, 20] and again[1:] == records[1:]


@pytest.mark.slow
def test_what_is_made_of_a_part_is_a_file_of_its_own(parts, tmp_path):
    manifest, _ = parts
    degrade_videos.main(manifest, tmp_path / "bad", faults=["drop-50"], workers=0, sound=True)
    made = read_manifest(tmp_path / "bad" / "manifest.drop-50.jsonl", check_files=True)
    assert all(one.span is None and one.audio == one.video and len(read_grey_clip(one.video)) == 20 for one in made)
    assert made[1].words == (Word("hello", 0.1, 0.5),)
    (tmp_path / "c.yaml").write_text("noises: {white: {kind: white}}\nsnrs_db: [0]\n")
    mix_noisy_tests.main(
        manifest, tmp_path / "plan.jsonl", tmp_path / "c.yaml", wav_dir=tmp_path / "wav", num_workers=0
    )
    (folder,) = [path.parent for path in (tmp_path / "wav").rglob("manifest.jsonl")]
    noisy = read_manifest(folder / "manifest.jsonl", require=("audio",))
    assert [(one.span, one.video) for one in noisy] == [(None, None)] * 3
    assert [len(read_audio(one.audio)) for one in noisy[:2]] == [12_800, 12_800]
    raises(ValueError, "parts of longer files", choose_examples, manifest)


@pytest.mark.usefixtures("face_model")
def test_lips_of_a_part_are_those_of_the_same_frames_in_a_file_of_their_own(tmp_path):
    frames = talking_frames(30)
    write_video(tmp_path / "long.mp4", frames, crf=4)
    write_video(tmp_path / "cut.mp4", frames[8:24], crf=4)
    part = np.stack(list(find_lips(tmp_path / "long.mp4", span=Span(8, 24)).crops()))
    own = np.stack(list(find_lips(tmp_path / "cut.mp4").crops()))
    assert part.shape == own.shape == (16, 96, 96)
    assert np.abs(part.astype(int) - own).mean() < 2 < np.abs(part[:-1].astype(int) - own[1:]).mean()
