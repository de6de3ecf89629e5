"""Whatever is in a manifest, every line ends as a clip or as a listed failure, and a restart changes nothing."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from avspeech.files import read_lines
from avspeech.manifest import Utterance, read_manifest, write_manifest
from avspeech.media.audio import write_wav
from avspeech.media.video import read_grey_clip, write_video
from data_prep.extract_rois import RoiConfig, main
from data_prep.video_jobs import run_jobs
from tests.data_prep.conftest import picture, sound, talking_frames
from tests.data_prep.killing import children_of, kill, wait_until

pytestmark = pytest.mark.usefixtures("face_model")
SCRIPT = Path(__file__).parents[2] / "data_prep" / "extract_rois.py"


@pytest.fixture
def mixed(tmp_path) -> Path:
    frames = talking_frames(20)
    write_video(tmp_path / "good.mp4", frames, sound(20))
    write_video(tmp_path / "silent.mp4", frames)
    write_video(tmp_path / "short.mp4", frames[:5], sound(5))
    write_video(tmp_path / "faceless.mp4", [picture(160, 200)] * 20, sound(20))
    noise = np.random.default_rng(0).integers(0, 256, (100, 96, 96), dtype=np.uint8)
    write_video(tmp_path / "whole.mp4", noise, sound(100))
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no film\n" * 100)
    write_wav(tmp_path / "sound.wav", sound(20))

    files = {"empty": "empty.mp4", "s1/good.take.2": "good.mp4", "text": "text.mp4", "soundonly": "sound.wav"}
    files |= {name: f"{name}.mp4" for name in ("short", "faceless", "cut")}
    files |= {"missing": "nowhere.mp4", "silent": "silent.mp4"}
    utterances = [Utterance(name, tmp_path / file, tmp_path / file, text="words") for name, file in files.items()]
    utterances += [Utterance("badsound", tmp_path / "good.mp4", tmp_path / "empty.mp4")]
    utterances += [Utterance("novideo", audio=tmp_path / "sound.wav"), Utterance("lipsonly", tmp_path / "good.mp4")]
    write_manifest(tmp_path / "in.jsonl", utterances)
    return tmp_path / "in.jsonl"


def test_every_line_is_a_clip_or_a_listed_failure(mixed, tmp_path):
    roi_dir = tmp_path / "roi"
    main(mixed, roi_dir, workers=0, max_failed=0.8, report=tmp_path / "rois.html")
    reasons = {record["id"]: record["why"] for record in read_lines(roi_dir / "failures.jsonl")}
    expected = {"empty": "is empty", "text": "not a media file", "soundonly": "NoVideo", "short": "TooShort"}
    expected |= {"faceless": r"NoFace: one face in 0 of", "cut": "cut.mp4", "missing": "No such file"}
    expected |= {"badsound": "empty.mp4: is empty", "novideo": "names no video"}
    assert list(reasons) == [u.id for u in read_manifest(mixed) if u.id in expected]
    page = (tmp_path / "rois.html").read_text()
    for name, words in expected.items():
        assert re.search(words, reasons[name]), reasons[name]
        assert f"<b>{name}</b>" in page
    for record in read_lines(roi_dir / "rois.jsonl"):
        assert record["face_height"] > 50 and abs(record["yaw"]) < 20 and record["crop_scale"] > 0
        assert (record["blank"], record["size"]) == (0, [96, 96])
    done = {utterance.id: utterance for utterance in read_manifest(roi_dir / "manifest.jsonl")}
    assert list(done) == ["s1/good.take.2", "silent", "lipsonly"]
    for utterance in done.values():
        assert utterance.num_frames == 20
        assert read_grey_clip(utterance.mouth).shape == (20, 96, 96)
    good, silent = done["s1/good.take.2"], done["silent"]
    assert (good.mouth, good.text, good.crop) == (roi_dir / "s1" / "good.take.2.mp4", "words", "official")
    assert abs(good.num_samples - 20 * 640) <= 1024
    assert silent.audio is silent.num_samples is None  # lips came out, and the manifest does not promise sound
    (record,) = (record for record in read_lines(roi_dir / "rois.jsonl") if record["id"] == "silent")
    assert record["measured"] + record["interpolated"] == 20
    assert (record["missing"], record["missing_in"], record["notes"]) == (0, [], [])
    assert "NoAudio" in record["no_audio"]
    assert not list(roi_dir.rglob("*.part*"))


def test_a_clip_that_vanishes_during_the_run_is_listed(mixed, tmp_path, monkeypatch):
    def run_and_remove(make, jobs, *options):
        why = run_jobs(make, jobs, *options)
        (tmp_path / "roi" / "silent.mp4").unlink()
        return why

    monkeypatch.setattr("data_prep.extract_rois.run_jobs", run_and_remove)
    main(mixed, tmp_path / "roi", workers=0, max_failed=0.9)
    (gone,) = (one for one in read_lines(tmp_path / "roi" / "failures.jsonl") if one["id"] == "silent")
    assert "was removed or changed during the run; run again" in gone["why"]


def test_too_many_failures_end_with_status_1_and_a_second_run_keeps_clips_and_tries_failures_again(mixed, tmp_path):
    roi_dir = tmp_path / "roi"
    with pytest.raises(SystemExit, match=r"9 of 12 failed, more than 70%: see .*failures\.jsonl"):
        main(mixed, roi_dir, workers=0, max_failed=0.7)
    assert (roi_dir / "manifest.jsonl").exists()
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in roi_dir.rglob("*.mp4")}
    write_video(tmp_path / "nowhere.mp4", talking_frames(15))  # the missing file turns up
    main(mixed, roi_dir, workers=0, max_failed=1)
    assert all((path.stat().st_mtime_ns, path.read_bytes()) == was for path, was in before.items())
    assert "missing" in {utterance.id for utterance in read_manifest(roi_dir / "manifest.jsonl")}
    assert "missing" not in {record["id"] for record in read_lines(roi_dir / "failures.jsonl")}
    (tmp_path / "nowhere.mp4").unlink()
    main(mixed, roi_dir, workers=0, max_failed=1, roi=RoiConfig(every=1))  # other settings cut the clips anew
    assert {record["measured"] for record in read_lines(roi_dir / "rois.jsonl")} == {20}


def test_listings_of_two_manifests_in_one_folder_do_not_overwrite_each_other(mixed, tmp_path):
    lines = mixed.read_text().splitlines()
    for name, part in (("a", lines[:2]), ("b", lines[2:4])):
        (tmp_path / f"{name}_in.jsonl").write_text("\n".join(part) + "\n")
        main(tmp_path / f"{name}_in.jsonl", tmp_path / "roi", tmp_path / f"{name}.jsonl", workers=0, max_failed=1)
    assert [record["id"] for record in read_lines(tmp_path / "a.failures.jsonl")] == ["empty"]
    assert [record["id"] for record in read_lines(tmp_path / "b.failures.jsonl")] == ["text", "soundonly"]
    assert [utterance.id for utterance in read_manifest(tmp_path / "a.jsonl")] == ["s1/good.take.2"]


@pytest.fixture
def ten_clips(tmp_path) -> Path:
    write_video(tmp_path / "talk.mp4", talking_frames(30), sound(30))
    utterances = [Utterance(f"clip{n}", video=tmp_path / "talk.mp4", audio=tmp_path / "talk.mp4") for n in range(10)]
    utterances.insert(4, Utterance("gone", video=tmp_path / "gone.mp4"))
    write_manifest(tmp_path / "ten.jsonl", utterances)
    return tmp_path / "ten.jsonl"


def start(manifest: Path, roi_dir: Path, *options: str) -> subprocess.Popen:
    """Start the script as a user does."""
    command = [sys.executable, str(SCRIPT), str(manifest), str(roi_dir), "--workers", "2", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def workers_of(run: subprocess.Popen) -> list[int]:
    return [pid for pid in children_of(run.pid) if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]


def wait_for_clips(run: subprocess.Popen, roi_dir: Path, count: int) -> None:
    wait_until(lambda: len([path for path in roi_dir.glob("*.mp4") if ".part" not in path.name]) >= count, run)


def test_a_killed_run_started_again_gives_the_same_as_an_uninterrupted_one(ten_clips, tmp_path):
    roi_dir, whole_dir = tmp_path / "roi", tmp_path / "whole"
    run = start(ten_clips, roi_dir)
    wait_for_clips(run, roi_dir, 3)
    assert len(workers_of(run)) == 2
    kill(run)
    run.communicate()
    done = {path: path.stat().st_mtime_ns for path in roi_dir.glob("*.mp4") if ".part" not in path.name}
    assert 3 <= len(done) < 10, "it was not killed in the middle"
    for path in done:
        assert len(read_grey_clip(path)) == 30  # what has its name is whole
    again, whole = start(ten_clips, roi_dir, "--max_failed", "0.1"), start(ten_clips, whole_dir, "--max_failed", "0.1")
    for run in (again, whole):
        out, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors
        assert "10 of 11 clips" in out
    assert all(path.stat().st_mtime_ns == was for path, was in done.items())
    for path in whole_dir.iterdir():
        assert (roi_dir / path.name).read_bytes() == path.read_bytes(), path.name
    assert sorted(p.name for p in roi_dir.iterdir()) == sorted(p.name for p in whole_dir.iterdir())


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_costs_one_clip(ten_clips, tmp_path):
    roi_dir = tmp_path / "roi"
    run = start(ten_clips, roi_dir)
    wait_for_clips(run, roi_dir, 1)
    os.kill(workers_of(run)[0], signal.SIGKILL)
    out, errors = run.communicate(timeout=120)
    assert run.returncode == 1, errors  # 2 of 11 is more than 2 %
    assert "9 of 11 clips" in out
    killed = [record for record in read_lines(roi_dir / "failures.jsonl") if record["id"] != "gone"]
    assert len(killed) == 1
    assert "worker died: SIGKILL" in killed[0]["why"]


def test_mouth_crops_are_taken_as_they_are_or_the_failure_says_how(tmp_path):
    from avspeech.roi.lips import extract_lips

    write_video(tmp_path / "talk.mp4", talking_frames(20), sound(20))
    mouth_THW = extract_lips(tmp_path / "talk.mp4").mouth_THW
    write_video(tmp_path / "lips.mp4", mouth_THW, sound(20), crf=0)
    write_manifest(tmp_path / "in.jsonl", [Utterance("lips", tmp_path / "lips.mp4", tmp_path / "lips.mp4", text="a")])
    main(tmp_path / "in.jsonl", tmp_path / "roi", workers=0, max_failed=1)
    (failed,) = read_lines(tmp_path / "roi" / "failures.jsonl")
    assert "--already_cropped" in failed["why"]
    main(tmp_path / "in.jsonl", tmp_path / "roi", workers=0, already_cropped=True)
    (done,) = read_manifest(tmp_path / "roi" / "manifest.jsonl")
    assert np.abs(read_grey_clip(done.mouth).astype(int) - mouth_THW).mean() < 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"out_manifest": Path()}, "--out_manifest . is a folder, wanted a file; name another"),
        ({"report": Path()}, "--report . is a folder, wanted a file; name another"),
        ({"roi": RoiConfig(every=0)}, "every=0, .* wanted whole numbers from 1"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line_before_the_first_clip(mixed, tmp_path, options, reason):
    with pytest.raises(SystemExit, match=f"^{reason}"):
        main(mixed, tmp_path / "roi", workers=0, **options)
    assert not list(tmp_path.glob("roi/*"))
