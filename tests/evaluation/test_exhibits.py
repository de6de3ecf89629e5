"""Worst utterances: which they are, that their sound and lips are those of the condition, merging, and the budget."""

import json
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from fake_transcriber import Buzz

from avspeech.evaluation import exhibits
from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.error_rate import ErrorCounts
from avspeech.evaluation.exhibits import choose_worst, merge_exhibits, read_exhibits, write_exhibits, write_mp3
from avspeech.evaluation.loading import ConditionLoader
from avspeech.evaluation.report import write_report
from avspeech.evaluation.results import Results, ScoredHypothesis, summarise, write_results
from avspeech.inputs import InputSpec
from avspeech.media.audio import read_audio
from avspeech.media.video import read_grey_clip
from avspeech.timebase import SAMPLE_RATE
from tests.refusals import raises

NOISE = ("babble", 0.0)
RUN = {"seed": 0, "normalization": "basic", "noise_plan_sha256": "c" * 64, "manifest_sha256": "d" * 64}


@pytest.fixture
def loader() -> ConditionLoader:
    return ConditionLoader(Buzz(), inputs=InputSpec(clip_size=32))


def results_of(clips, errors: dict[str, int], model: str = "av", modality: str = "audio+video") -> Results:
    """Results in which the first ``errors`` words of each utterance are wrong in noise, and none in clean speech."""
    rows, lines = [], []
    for noise, snr_db in (("none", None), NOISE):
        counts = []
        for clip in clips:
            wrong = errors.get(clip.id, 0) if snr_db is not None else 0
            words = clip.text.split()
            heard = " ".join(["wrong"] * wrong + words[wrong:])
            place = modality, noise, snr_db
            lines.append(ScoredHypothesis(clip.id, model, *place, "en", clip.text, heard, wrong, n_words=len(words)))
            counts.append(ErrorCounts(len(words), substitutions=wrong))
        rows += summarise(Condition(modality, noise, snr_db), lines[-len(clips) :], counts, 0)
    return Results(rows, [{"model": model, **RUN}], lines)


def test_most_errors_a_word_come_first_and_ids_break_ties(clips):
    clips = [replace(clips[0], text="one two three four five six"), *clips[1:]]
    found = choose_worst(results_of(clips, {"c0": 3, "c1": 2, "c3": 2}), 6)
    assert [(one.id, one.errors, one.num_words) for one in found] == [("c1", 2, 3), ("c3", 2, 3), ("c0", 3, 6)]
    facts = {(one.noise, one.snr_db, one.modality, one.wrong_in, one.decoded_in) for one in found}
    assert facts == {(*NOISE, "audio+video", 1, 2)}
    assert [one.id for one in choose_worst(results_of(clips, {"c0": 3, "c1": 2, "c3": 2}), 1)] == ["c1"]
    assert choose_worst(results_of(clips, {}), 6) == []
    assert choose_worst(replace(results_of(clips, {}), hypotheses=[]), 6) == []


def test_sound_and_lips_are_those_of_the_condition(tmp_path, clips, loader):
    written = write_exhibits(tmp_path, results_of(clips, {"c2": 1, "c1": 3}), clips, loader)
    assert [one.id for one in written] == ["c1", "c2"]
    assert read_exhibits(tmp_path) == written
    folder = tmp_path / "exhibits"
    names = {"exhibits.json", *(name for one in written for name in one.files.values())}
    assert {path.name for path in folder.iterdir()} == names
    for exhibit in written:
        clip = next(clip for clip in clips if clip.id == exhibit.id)
        seen_THW = read_grey_clip(folder / exhibit.seen).astype(float)
        assert seen_THW.shape == (clip.num_frames, 32, 32)
        assert np.corrcoef(seen_THW.ravel(), read_grey_clip(clip.mouth).ravel())[0, 1] > 0.9
        for name, condition in ((exhibit.clean, Condition("audio")), (exhibit.heard, exhibit.condition)):
            assert abs(len(read_audio(folder / name)) - len(loader.heard(clip, condition))) < 0.15 * SAMPLE_RATE
        tone = [np.abs(np.fft.rfft(read_audio(folder / name)[:8000]))[500] for name in (exhibit.clean, exhibit.heard)]
        assert tone[1] > 10 * tone[0]


def test_mp3_keeps_speech_band_and_time(tmp_path):
    time_S = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    audio_S = (0.4 * np.sin(2 * np.pi * 440 * time_S) * (time_S > 1)).astype(np.float32)
    write_mp3(tmp_path / "a.mp3", audio_S)
    write_mp3(tmp_path / "b.mp3", audio_S)
    assert (tmp_path / "a.mp3").read_bytes() == (tmp_path / "b.mp3").read_bytes()
    assert (tmp_path / "a.mp3").stat().st_size < 20_000
    got_S = read_audio(tmp_path / "a.mp3")
    assert abs(np.argmax(np.abs(got_S) > 0.2) / SAMPLE_RATE - 1) < 0.1
    assert np.argmax(np.abs(np.fft.rfft(got_S[20_000:28_000]))) == 220


def test_what_cannot_be_read_or_does_not_fit_is_left_out(tmp_path, clips, loader, caplog):
    results = results_of(clips, {"c0": 3, "c1": 2, "c2": 1})
    gone = [replace(clip, audio=tmp_path / "gone.wav") if clip.id == "c0" else clip for clip in clips]
    assert [one.id for one in write_exhibits(tmp_path, results, gone, loader)] == ["c1", "c2"]
    assert "c0 is not shown" in caplog.text
    sizes = {one.id: total_size(tmp_path, one) for one in read_exhibits(tmp_path)}
    kept = write_exhibits(tmp_path, results, gone, loader, max_bytes=sizes["c1"])
    assert [one.id for one in kept] == ["c1"]
    assert "c2 is not shown" in caplog.text
    assert {path.name for path in (tmp_path / "exhibits").iterdir()} == {"exhibits.json", *kept[0].files.values()}


def total_size(folder, exhibit) -> int:
    return sum((folder / "exhibits" / name).stat().st_size for name in exhibit.files.values())


def test_nothing_half_written_stays_and_no_errors_leave_no_folder(tmp_path, clips, loader, monkeypatch):
    write_exhibits(tmp_path, results_of(clips, {"c1": 2}), clips, loader)
    before = (tmp_path / "exhibits" / "exhibits.json").read_text()
    with monkeypatch.context() as patched:
        patched.setattr(exhibits, "write_video", Mock(side_effect=RuntimeError("a bug")))
        raises(RuntimeError, "a bug", write_exhibits, tmp_path, results_of(clips, {"c2": 2}), clips, loader)
    assert (tmp_path / "exhibits" / "exhibits.json").read_text() == before
    assert write_exhibits(tmp_path, results_of(clips, {}), clips, loader) == []
    assert not list(tmp_path.glob("exhibits*"))
    assert read_exhibits(tmp_path) == []


def test_sound_alone_has_no_clip_and_lips_alone_no_noise(tmp_path, clips, loader):
    (heard,) = write_exhibits(tmp_path, results_of(clips, {"c1": 2}, modality="audio"), clips, loader)
    assert heard.seen is None and heard.heard is not None and heard.clean is not None
    results = results_of(clips, {"c1": 2}, modality="video")
    lines = [replace(line, noise="none", snr_db=None) for line in results.hypotheses if line.snr_db is not None]
    silent = [replace(clip, audio=None) for clip in clips]
    (seen,) = write_exhibits(tmp_path, replace(results, hypotheses=lines), silent, loader)
    assert seen.seen is not None and seen.heard is None and seen.clean is None


@pytest.mark.usefixtures("undrawn")
def test_merged_reports_show_the_worst_of_each_once(tmp_path, clips, loader):
    folders = []
    for model, errors in (("a", {"c0": 3, "c1": 2}), ("b", {"c0": 3, "c2": 2, "c3": 1})):
        results = results_of(clips, errors, model)
        folders.append(tmp_path / model)
        write_results(folders[-1], results)
        write_exhibits(folders[-1], results, clips, loader)
    page = write_report(folders, tmp_path / "both")
    shown = read_exhibits(tmp_path / "both")
    assert [(one.model, one.id) for one in shown] == [("a", "c0"), ("a", "c1"), ("b", "c2"), ("b", "c3")]
    for exhibit in shown:
        source = next(one for one in read_exhibits(tmp_path / exhibit.model) if one.id == exhibit.id)
        copies = zip(exhibit.files.values(), source.files.values(), strict=True)
        here, there = (tmp_path / name / "exhibits" for name in ("both", exhibit.model))
        assert all((here / new).read_bytes() == (there / old).read_bytes() for new, old in copies)
    html, markdown = page.read_text(), (tmp_path / "both" / "report.md").read_text()
    assert html.count("data:video/mp4;base64,") == 4
    assert html.count("data:audio/mpeg;base64,") == 8
    assert "(exhibits/0_heard.mp3)" in markdown
    write_report(folders, tmp_path / "picked", pick={"audio+video": "b"})
    assert {one.model for one in read_exhibits(tmp_path / "picked")} == {"b"}
    size = total_size(folders[0], shown[0])
    few = merge_exhibits(folders, tmp_path / "few", results_of(clips, {}, "a"), max_bytes=size)
    assert [one.id for one in few] == ["c0"]


def test_a_listing_that_names_a_missing_file_is_refused(tmp_path, clips, loader):
    (exhibit,) = write_exhibits(tmp_path, results_of(clips, {"c1": 2}), clips, loader)
    (tmp_path / "exhibits" / exhibit.heard).unlink()
    raises(ValueError, rf"exhibits\.json names {exhibit.heard}, which is not beside it", read_exhibits, tmp_path)
    (tmp_path / "exhibits" / "exhibits.json").write_text(json.dumps([{"name": "c1"}]))
    raises(ValueError, r"exhibits\.json cannot be read", read_exhibits, tmp_path)


def test_a_bug_in_a_loader_is_not_hidden(tmp_path, clips, loader, monkeypatch):
    monkeypatch.setattr(loader, "heard", Mock(side_effect=KeyError("not a broken file")))
    with pytest.raises(KeyError):
        write_exhibits(tmp_path, results_of(clips, {"c0": 1}), clips, loader)
