"""A job without a browser: which transcripts and files there are, and that nothing of a visitor becomes markup."""

from dataclasses import replace

import numpy as np
import pytest
from talker import TalkerModel, write_clip

from avspeech.media.audio import read_audio
from avspeech.media.container import find_tracks
from avspeech.media.video import read_frames
from avspeech.page.job import Job, Limits, Outcome, Refused, run_job
from avspeech.page.noises import Noises
from avspeech.page.render import render_message, render_outcome
from tests.refusals import raises


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4", 1.0)


def run(job: Job, folder, model: TalkerModel | None = None, limits: Limits = Limits(), tell=lambda *_: None) -> Outcome:
    folder.mkdir(exist_ok=True)
    return run_job(job, model or TalkerModel(), Noises(), folder, limits, tell)


def test_both_transcripts_of_one_preparation_and_files_that_play(clip, tmp_path):
    model, told = TalkerModel(), []
    folder = tmp_path / "job"
    outcome = run(Job(clip), folder, model, tell=lambda share, what: told.append(share))
    assert len(model.heard) == 1
    assert outcome.transcript.text == "set red now"
    assert outcome.sound_alone.text == "set <b>bed</b> now"
    assert find_tracks(outcome.preview).has_audio
    assert {path.parent for path in (outcome.preview, outcome.lips, outcome.sound)} == {folder}
    assert told == sorted(told) and told[-1] < 1


def test_lips_are_the_middle_that_the_model_sees_three_times_as_large(clip, tmp_path):
    frames = list(read_frames(run(Job(clip), tmp_path / "job").lips, grey=True))
    assert len(frames) in (25, 26) and frames[0].shape == (264, 264)  # AAC comes in blocks of 64 ms
    mouth_HW = np.random.default_rng(1).integers(0, 256, (25, 96, 96)).astype(np.uint8)[0]
    blocks_HW = frames[0].reshape(88, 3, 88, 3).mean(axis=(1, 3))
    assert np.corrcoef(blocks_HW.ravel(), mouth_HW[4:92, 4:92].ravel())[0, 1] > 0.95


@pytest.mark.parametrize(("modality", "alone"), [("audio", False), ("video", True), ("audio+video", True)])
def test_what_is_asked_for_is_compared_with_the_sound_alone(clip, tmp_path, modality, alone):
    outcome = run(Job(clip, modality=modality), tmp_path / "job")
    assert outcome.transcript.modality == modality
    assert (outcome.sound_alone is not None) == alone
    assert (outcome.lips is not None) == (modality != "audio")


def test_the_model_and_the_visitor_hear_the_same_noise(clip, tmp_path):
    model = TalkerModel()
    clean = run(Job(clip), tmp_path / "clean", model)
    noisy = run(Job(clip, noise="white", snr_db=-5), tmp_path / "noisy", model)
    heard_S = model.heard[1]
    np.testing.assert_allclose(read_audio(noisy.sound), heard_S, atol=1e-4)
    played_S = read_audio(noisy.preview)[: len(heard_S)]
    assert np.corrcoef(played_S, heard_S[: len(played_S)])[0, 1] > 0.5
    assert abs(np.corrcoef(heard_S, read_audio(clean.sound))[0, 1]) < 0.7


def test_without_a_face_or_a_sound_the_rest_is_there(clip, tmp_path):
    faceless = run(Job(clip), tmp_path / "faceless", TalkerModel(finds_face=False))
    assert faceless.lips is None and "no face was found" in render_outcome(faceless)
    silent = write_clip(tmp_path / "silent.mp4", 1.0, sound=False)
    mute = run(Job(silent), tmp_path / "mute")
    assert mute.sound is None and mute.sound_alone is None and mute.lips is not None
    raises(Refused, "no sound, so no noise", run, Job(silent, noise="white"), tmp_path / "mute")


def test_limits_and_languages_are_checked_before_the_work(clip, tmp_path):
    model = TalkerModel()
    raises(Refused, "lasts", run, Job(clip), tmp_path / "job", model, Limits(max_seconds=0.5))
    raises(ValueError, "language='de' came", run, Job(clip, language="de"), tmp_path / "job", model)
    assert model.heard == [] and list((tmp_path / "job").iterdir()) == []


def test_error_rates_need_a_reference(clip, tmp_path):
    html = render_outcome(run(Job(clip, reference="Set red NOW."), tmp_path / "job"))
    assert "WER 0.0 %: 0 errors in 3 words" in html
    assert "WER 33.3 %" not in html  # <b>bed</b> is read as b bed b: one wrong, two too many
    assert "WER 100.0 %: 3 errors in 3 words" in html
    assert "WER" not in render_outcome(run(Job(clip), tmp_path / "job"))


def test_nothing_of_a_visitor_becomes_markup(clip, tmp_path):
    evil = '<script>alert(1)</script>" onerror="x'
    outcome = run(Job(clip, reference=evil), tmp_path / "job")
    outcome = replace(outcome, transcript=replace(outcome.transcript, notes=(evil,)))
    for html in (render_outcome(outcome), render_message(evil)):
        assert "<script" not in html and "<b>" not in html and '" onerror' not in html
    assert "&lt;b&gt;bed&lt;/b&gt;" in render_outcome(outcome)
    assert render_message("") == ""
