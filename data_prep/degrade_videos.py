"""Apply visual faults to every video of a manifest, before mouth extraction, to test whole systems.

    python data_prep/degrade_videos.py data/lrs3/test.jsonl data/lrs3/faults --faults '[blur-3, drop-50, hand-4]'
    python data_prep/extract_rois.py data/lrs3/faults/manifest.blur-3.jsonl data/lrs3/faults/roi/blur-3

Reads   a manifest with videos; fault names are in avspeech/faults/visual.py.
Writes  <out_dir>/<fault>/<id>.mp4, RGB at 25 fps, and <id>.json with its settings;
        <out_dir>/manifest.<fault>.jsonl, without mouth clips; <out_dir>/manifest.failures.jsonl.
        --out_manifest x/test.jsonl makes these x/test.<fault>.jsonl and x/test.failures.jsonl.
A restart keeps finished videos of the same settings and retries failures. A worker crash costs one utterance.

``object``, ``hand`` and ``no_face`` need a detected face, and without --mouth_side so do ``blur``, ``pixel_noise`` and
``low_resolution``; only these fail without one. After ``drop-100`` or ``no_face``, extract_rois.py fails on every
utterance. ``offset+0`` measures the cost of encoding again.
"""

import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import auto_cli

from avspeech.faults.visual import Box, Fault, degrade_frames, fault_key, parse_fault
from avspeech.manifest import Utterance, read_manifest, write_manifest
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from avspeech.media.video import read_frames, read_pictures
from avspeech.roi.face_model import FaceModelError, find_face_model
from avspeech.roi.faces import follow_faces
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.mouth import MOUTH_SIZE
from avspeech.roi.sparse import EVERY_FRAME
from avspeech.roi.track import NoFace
from avspeech.timebase import Span
from data_prep.run_each import report_failures
from data_prep.video_jobs import GONE, NO_VIDEO, Job, face_finder, kept_record, run_jobs, settings_of, write_kept

MIN_FOUND = 0.5
"""Smallest share of frames with a known face."""
MAX_MOUTH_SIDE = 8192
"""Upper bound on --mouth_side in pixels; a typo would blur for hours."""


def main(
    manifest: Path,
    out_dir: Path,
    faults: list[str] | None = None,
    out_manifest: Path | None = None,
    seed: int = 0,
    mouth_side: float | None = None,
    sound: bool = False,
    crf: int = 14,
    workers: int = 2,
    max_failed: float = 0.02,
    face_model: Path | None = None,
    timeout_s: float | None = None,
) -> None:
    """Degrade videos.

    Args:
        manifest: JSON lines, one Utterance each.
        out_dir: folder of the videos.
        faults: names such as [blur-3, drop-50, offset-80, no_face]; at least one.
        out_manifest: the manifests are named after this one; null is <out_dir>/manifest.jsonl.
        seed: random seed.
        mouth_side: side of a mouth crop in pixels of these videos; null measures each video.
        sound: also mux the utterance's audio (AAC).
        crf: x264's quality.
        workers: processes.
        max_failed: share of failed videos beyond which the exit status is 1.
        face_model: mediapipe's face_landmarker.task; null searches for it.
        timeout_s: time limit of an utterance in seconds; null is no limit.
    """
    stem = (out_manifest or out_dir / "manifest.jsonl").with_suffix("")
    try:  # what a user can get wrong ends with its message alone
        if not faults:
            raise ValueError("no fault came, wanted one or more; name them: --faults '[blur-3, drop-50]'")
        if mouth_side is not None and not 1 <= mouth_side <= MAX_MOUTH_SIDE:
            raise ValueError(f"mouth_side={mouth_side:g} must be pixels of the videos, from 1 to {MAX_MOUTH_SIDE}")
        if not 0 <= crf <= 51:
            raise ValueError(f"crf={crf} must be from 0, the best, to 51")
        wanted = list(dict.fromkeys(map(parse_fault, faults)))
        utterances = read_manifest(manifest)
        others: dict[str, Utterance] = {}
        if Fault("wrong_speaker") in wanted:
            from avspeech.evaluation.loading import other_speakers  # brings torch, which no worker needs

            others = other_speakers(utterances, seed)
        out_dir.mkdir(parents=True, exist_ok=True)
        stem.parent.mkdir(parents=True, exist_ok=True)
    except ValueError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename} cannot be made a folder: {error.strerror}; name another")
    if alone := [u.id for u in utterances if u.id in others and others[u.id].speaker == u.speaker]:
        print(f"wrong_speaker: {len(alone)} utterances have no other speaker and get another utterance's video")
    settings = {"seed": seed, "mouth_side": mouth_side, "sound": sound, "crf": crf}

    def record_of(one: Utterance, fault: Fault) -> dict[str, Any] | None:
        return kept_record(video_path(one, fault, out_dir), expected(one, fault, others.get(one.id), settings))

    missing = [tuple(fault.label for fault in wanted if record_of(one, fault) is None) for one in utterances]
    jobs = [job for job in zip(utterances, missing, strict=True) if job[1]]
    if jobs and any(_needs_face(fault, mouth_side) for fault in wanted):
        try:
            find_face_model(face_model)
        except FaceModelError as error:  # before it happens to every worker
            sys.exit(str(error))
    degrade = partial(degrade_one, others=others, out_dir=out_dir, settings=settings, face_model=face_model)
    why = run_jobs(degrade, jobs, len(utterances), workers, timeout_s)
    failed = []
    for fault in wanted:
        done = []
        for one in utterances:
            reason, record = why.get((one.id, fault.label)), record_of(one, fault)
            if reason or record is None:
                failed.append({"id": one.id, "fault": fault.label, "why": reason or GONE})
            else:
                video = video_path(one, fault, out_dir)
                audio = {"audio": video} if sound and one.span is not None else {}  # a part: its own sound is there
                done.append(one.with_own(video=video, mouth=None, num_frames=record["num_frames"], **audio))
        write_manifest(Path(f"{stem}.{fault.label}.jsonl"), done)
        print(f"{fault.label}: {len(done)} of {len(utterances)} videos, listed in {stem}.{fault.label}.jsonl")
    report_failures(Path(f"{stem}.failures.jsonl"), failed, len(wanted) * len(utterances), max_failed)


def _needs_face(fault: Fault, mouth_side: float | None) -> bool:
    grows = fault.kind in ("blur", "pixel_noise", "low_resolution") and mouth_side is None
    return grows or fault.kind in ("object", "hand", "no_face")


def degrade_one(
    job: Job, others: dict[str, Utterance], out_dir: Path, settings: dict[str, Any], face_model: Path | None
) -> dict[str, str]:
    """Write an utterance's videos and records; return the failures, {fault label: reason}."""
    utterance, labels = job
    if utterance.video is None:
        return dict.fromkeys(labels, NO_VIDEO)
    try:
        num_frames = sum(1 for _ in read_frames(utterance.video, grey=True, span=utterance.span))
        if settings["sound"] and utterance.audio is None:
            raise MediaError(utterance.id, "--sound came and the manifest names no audio; fill in the field 'audio'")
        audio = utterance.audio if settings["sound"] else None
        audio_S = None if audio is None else read_audio(audio, span=utterance.span)
    except MediaError as error:  # a bad file is data; a bug still raises
        return dict.fromkeys(labels, f"{type(error).__name__}: {error}")
    mouth_side, crf = settings["mouth_side"], settings["crf"]
    faults, boxes, no_boxes = [parse_fault(label) for label in labels], None, ""
    if any(_needs_face(fault, mouth_side) for fault in faults):
        try:
            boxes = find_mouth_boxes(utterance.video, face_finder(face_model), utterance.span)
        except (MediaError, NoFace) as error:
            no_boxes = f"{type(error).__name__}: {error}"
    other, failed = others.get(utterance.id), {}
    for fault in faults:
        if no_boxes and _needs_face(fault, mouth_side):
            failed[fault.label] = no_boxes
            continue
        record = {"id": utterance.id, "num_frames": num_frames, "settings": expected(utterance, fault, other, settings)}
        if fault.kind == "wrong_speaker":
            frames = _fitted(others[utterance.id], num_frames)
        else:
            own, key = _unchanged(utterance, num_frames), fault_key(settings["seed"], utterance.id, fault)
            frames = degrade_frames(own, fault, key, num_frames, boxes, mouth_side)
        even = (frame[: len(frame) // 2 * 2, : frame.shape[1] // 2 * 2] for frame in frames)  # as H.264 wants it
        try:
            write_kept(video_path(utterance, fault, out_dir), record, even, audio_S=audio_S, crf=crf)
        except MediaError as error:
            failed[fault.label] = f"{type(error).__name__}: {error}"
    return failed


def _unchanged(utterance: Utterance, num_frames: int) -> Iterator[np.ndarray]:
    count = 0
    for count, frame in enumerate(_of_one_size(utterance), start=1):
        if count <= num_frames:
            yield frame
    if count != num_frames:
        raise MediaError(str(utterance.video), f"gave {num_frames} frames, then {count}: is it still being written?")


def _of_one_size(utterance: Utterance) -> Iterator[np.ndarray]:
    shape, video = None, utterance.video
    assert video is not None
    for frame in read_frames(video, span=utterance.span):
        if frame.shape != (shape := shape or frame.shape):
            sizes = " to ".join(f"{width}x{height}" for height, width, _ in (shape, frame.shape))
            raise MediaError(video, f"its pictures change from {sizes}; re-encode it at one size")
        yield frame


def _fitted(other: Utterance, num_frames: int) -> Iterator[np.ndarray]:
    """Yield exactly ``num_frames`` of another's frames: cut, or repeat the last."""
    if other.video is None:
        raise MediaError(other.id, "is the wrong speaker and has no video; fill in the field 'video'")
    frame, count = np.empty(0), 0
    for frame in islice(_of_one_size(other), num_frames):
        yield frame
        count += 1
    yield from repeat(frame, num_frames - count)


def find_mouth_boxes(video: Path, finder: FaceFinder, span: Span | None = None) -> list[Box]:
    """Return the mouth box of each frame, upright, (x0, y0, x1, y1) in pixels.

    Raises MediaError if the file cannot be used, NoFace if too few frames have the face.
    """
    followed = follow_faces(read_pictures(video, span=span), finder, sparseness=EVERY_FRAME)
    num_frames, largest = followed.num_frames, next(iter(followed.faces), None)
    share = largest.share_found(0, num_frames) if largest else 0.0
    if largest is None or share < MIN_FOUND:
        raise NoFace(round(share * num_frames), num_frames, MIN_FOUND)
    matrices_T23 = largest.placements_over(num_frames, "steady")
    halves_T = MOUTH_SIZE / 2 / np.hypot(matrices_T23[:, 0, 0], matrices_T23[:, 1, 0])
    middle_T2 = np.linalg.solve(matrices_T23[:, :, :2], MOUTH_SIZE / 2 - matrices_T23[:, :, 2:])[..., 0]
    return [(x - half, y - half, x + half, y + half) for (x, y), half in zip(middle_T2.tolist(), halves_T, strict=True)]


def expected(one: Utterance, fault: Fault, other: Utterance | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a video: those of the run, its part, the fault and the other speaker's utterance."""
    stand_in = other.id if other is not None and fault.kind == "wrong_speaker" else None
    return {"fault": fault.label, "video_of": stand_in, **settings_of(one, settings)}


def video_path(utterance: Utterance, fault: Fault, out_dir: Path) -> Path:
    return out_dir / fault.label / f"{utterance.id}.mp4"


if __name__ == "__main__":
    auto_cli(main)
