"""Every utterance and fault ends as a video or as a listed failure, and a restart changes nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from avspeech.files import read_lines
from avspeech.manifest import Utterance, read_manifest, write_manifest
from avspeech.media.audio import read_audio
from avspeech.media.errors import NoAudio
from avspeech.media.video import read_frames, read_grey_clip, write_video
from data_prep import degrade_videos, extract_rois
from data_prep.degrade_videos import main
from tests.data_prep.conftest import picture, sound, talking_frames

SCRIPT = Path(__file__).parents[2] / "data_prep" / "degrade_videos.py"


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    """Return a manifest of two talking faces of different speakers, a video without a face and a broken one."""
    folder = tmp_path_factory.mktemp("videos")
    for name, count, step in (("a", 20, 7), ("b", 14, 5)):
        write_video(folder / f"{name}.mp4", talking_frames(count, step), sound(count))
    write_video(folder / "faceless.mp4", [picture(160, 200)] * 12, sound(12))
    (folder / "text.mp4").write_text("no film\n" * 100)
    old = folder / "old_mouth.mp4"
    lines = [
        Utterance(name, folder / f"{name}.mp4", folder / f"{name}.mp4", old, length, speaker=name)
        for name, length in (("a", 20), ("b", 14), ("faceless", 12), ("text", 99))
    ]
    write_manifest(folder / "all.jsonl", lines)
    write_manifest(folder / "sound.jsonl", lines[:3])
    return folder / "all.jsonl"


def frames_of(path: Path) -> np.ndarray:
    return np.stack(list(read_frames(path))).astype(int)


def snapshot(folder: Path, pattern: str = "**/*") -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob(pattern) if path.is_file()}


def test_videos_manifests_and_failures(videos, tmp_path, capsys):
    faults = ["drop-50", "offset+80", "wrong_speaker", "blur-4"]
    main(videos, tmp_path, faults, mouth_side=48, workers=0, max_failed=0.3)
    assert "drop-50: 3 of 4 videos" in capsys.readouterr().out
    clean = {name: frames_of(videos.parent / f"{name}.mp4") for name in ("a", "b", "faceless")}
    failures = read_lines(tmp_path / "manifest.failures.jsonl")
    assert [(one["id"], one["fault"]) for one in failures] == [("text", fault) for fault in faults]
    assert all("text.mp4" in one["why"] for one in failures)
    for fault in ("drop-50", "offset+80", "blur-4"):
        listed = read_manifest(tmp_path / f"manifest.{fault}.jsonl", check_files=True)
        assert [one.id for one in listed] == ["a", "b", "faceless"]
        for one in listed:
            assert one.video == tmp_path / fault / f"{one.id}.mp4"
            assert one.audio == videos.parent / f"{one.id}.mp4"
            assert one.mouth is None
            assert one.num_frames == len(clean[one.id]) == len(frames_of(one.video))
    black_T = frames_of(tmp_path / "drop-50" / "a.mp4").max(axis=(1, 2, 3)) < 20
    assert black_T.sum() == 10
    late = frames_of(tmp_path / "offset+80" / "a.mp4")
    np.testing.assert_allclose(late[2:].mean(axis=3), clean["a"][:-2].mean(axis=3), atol=25)
    assert np.abs(late[2:] - clean["a"][:-2]).mean() < 2 < np.abs(late - clean["a"]).mean() * 4
    wrong = frames_of(tmp_path / "wrong_speaker" / "a.mp4")
    stand_in = json.loads((tmp_path / "wrong_speaker" / "a.json").read_text())["settings"]["video_of"]
    assert stand_in == "b"  # the nearest in length
    assert len(wrong) == 20
    for index in (0, 10, 13, 19):  # the last frame is held
        np.testing.assert_allclose(wrong[index].mean(axis=2), clean["b"][min(index, 13)].mean(axis=2), atol=25)


def test_a_restart_keeps_what_is_there_and_other_settings_make_it_anew(videos, tmp_path, monkeypatch):
    options = {"workers": 0, "max_failed": 1.0}
    main(videos, tmp_path / "once", ["drop-50", "freeze-3"], **options)
    main(videos, tmp_path / "twice", ["drop-50"], **options)
    written, write_kept = [], degrade_videos.write_kept

    def counted(clip, *arguments, **more):
        written.append(clip.parent.name)
        write_kept(clip, *arguments, **more)

    monkeypatch.setattr(degrade_videos, "write_kept", counted)
    main(videos, tmp_path / "twice", ["drop-50", "freeze-3"], **options)
    assert written == ["freeze-3"] * 3
    assert snapshot(tmp_path / "twice", "*/*") == snapshot(tmp_path / "once", "*/*")
    written.clear()
    main(videos, tmp_path / "twice", ["drop-50", "freeze-3"], seed=1, **options)
    assert len(written) == 6
    (tmp_path / "twice" / "drop-50" / "a.mp4").unlink()
    main(videos, tmp_path / "twice", ["drop-50", "freeze-3"], seed=1, **options)
    assert written[6:] == ["drop-50"]
    assert not list(tmp_path.rglob("*.part*"))


def test_a_video_keeps_its_sound_when_asked(videos, tmp_path):
    with_sound = videos.parent / "sound.jsonl"
    main(with_sound, tmp_path, ["offset-40"], tmp_path / "x" / "test.jsonl", sound=True, workers=0)
    (one, *_) = read_manifest(tmp_path / "x" / "test.offset-40.jsonl")
    heard_S = read_audio(one.video)
    assert len(heard_S) >= 20 * 640
    assert np.corrcoef(heard_S[: 20 * 640], read_audio(one.audio)[: 20 * 640])[0, 1] > 0.6
    main(with_sound, tmp_path / "silent", ["offset-40"], workers=0)
    with pytest.raises(NoAudio):
        read_audio(tmp_path / "silent" / "offset-40" / "a.mp4")


@pytest.mark.slow
@pytest.mark.usefixtures("face_model")
def test_without_a_face_only_what_needs_one_fails(videos, tmp_path):
    main(videos, tmp_path, ["object-5", "no_face", "jpeg-3", "blur-2"], workers=0, max_failed=0.8)
    told = {(one["id"], one["fault"]): one["why"] for one in read_lines(tmp_path / "manifest.failures.jsonl")}
    assert {fault for name, fault in told if name == "faceless"} == {"object-5", "no_face", "blur-2"}
    assert told["faceless", "object-5"].startswith("NoFace: ")
    clean = frames_of(videos.parent / "a.mp4")
    hidden, held = (np.abs(frames_of(tmp_path / fault / "a.mp4") - clean) for fault in ("no_face", "object-5"))
    mouth = (slice(None), slice(104, 116), slice(98, 108))
    assert hidden[mouth].mean() > 20
    assert held[mouth].mean() > 20
    assert hidden[:, :10].mean() < 3


@pytest.mark.slow
@pytest.mark.skipif("AVSPEECH_SHARED" not in os.environ, reason="AVSPEECH_SHARED names no folder with GRID clips")
@pytest.mark.usefixtures("face_model")
def test_a_real_clip_goes_on_to_mouth_clips(tmp_path):
    video = Path(os.environ["AVSPEECH_SHARED"]) / "data" / "grid_s1" / "video" / "bbaf3s.mp4"
    write_manifest(tmp_path / "in.jsonl", [Utterance("bbaf3s", video, video, speaker="s1")])
    main(tmp_path / "in.jsonl", tmp_path, ["object-4", "blur-5"], workers=0)
    extract_rois.main(tmp_path / "in.jsonl", tmp_path / "roi" / "clean", workers=0)
    for fault in ("object-4", "blur-5"):
        extract_rois.main(tmp_path / f"manifest.{fault}.jsonl", tmp_path / "roi" / fault, workers=0)
    clips = {name: read_grey_clip(tmp_path / "roi" / name / "bbaf3s.mp4") for name in ("clean", "object-4", "blur-5")}
    assert {len(clip_THW) for clip_THW in clips.values()} == {75}
    sharpness = {name: np.abs(np.diff(clip_THW.astype(int), axis=2)).mean() for name, clip_THW in clips.items()}
    assert sharpness["blur-5"] < 0.5 * sharpness["clean"]
    middle = (slice(None), slice(40, 56), slice(40, 56))
    covered_T = np.abs(clips["object-4"][middle].astype(int) - clips["clean"][middle]).mean(axis=(1, 2)) > 15
    assert covered_T.mean() > 0.6


@pytest.mark.parametrize(
    ("faults", "options", "message"),
    [
        (["blurr-3"], {}, "'blurr-3' is unknown"),
        (None, {}, "no fault came"),
        (["wrong_speaker"], {"manifest": "one.jsonl"}, "wanted two or more"),
        (["blur-3"], {"manifest": "none.jsonl"}, r"none\.jsonl: cannot be read as a manifest"),
        (["blur-3"], {"mouth_side": 0}, r"mouth_side=.* from 1 to 8192"),
        (["blur-3"], {"mouth_side": 1e6}, r"mouth_side=.* from 1 to 8192"),
        (
            ["object-3"],
            {"face_model": Path("nowhere.task")},
            r"nowhere\.task, which is no file; point it to face_landmarker\.task",
        ),
        (["blur-3"], {"crf": 99}, r"crf=99 must be from 0"),
        (["blur-3"], {"out_dir": "one.jsonl/x"}, r"one\.jsonl.* cannot be made a folder: .*; name another"),
    ],
)
def test_a_fault_or_a_manifest_that_makes_no_sense_stops_at_once(videos, tmp_path, faults, options, message):
    write_manifest(tmp_path / "one.jsonl", read_manifest(videos)[:1])
    options = dict(options)
    manifest = tmp_path / options.pop("manifest") if "manifest" in options else videos
    with pytest.raises(SystemExit, match=message):
        main(manifest, tmp_path / options.pop("out_dir", ""), faults, **options)


@pytest.mark.slow
def test_the_command_runs_in_workers(videos, tmp_path):
    command = [sys.executable, SCRIPT, videos, tmp_path / "out", "--faults=[drop-100, offset-160]", "--max_failed=0.3"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=SCRIPT.parents[1])
    assert "offset-160: 3 of 4 videos" in done.stdout
    main(videos, tmp_path / "here", ["drop-100", "offset-160"], workers=0, max_failed=0.3)
    assert snapshot(tmp_path / "here") == snapshot(tmp_path / "out")
