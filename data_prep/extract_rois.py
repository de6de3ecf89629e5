"""Cut a mouth clip from every video of a manifest.

    python data_prep/extract_rois.py data/lrs3/train.jsonl data/lrs3/roi

Reads   a manifest (avspeech/manifest.py).
Writes  <roi_dir>/<id>.mp4, grey 96x96 at 25 fps, and <id>.json: length, frames measured, interpolated and
        missing (and where), notes, settings;
        <roi_dir>/manifest.jsonl with mouth, num_frames and num_samples; rois.jsonl, all records; failures.jsonl.
        --out_manifest x/train.jsonl makes these x/train.jsonl, x/train.rois.jsonl, x/train.failures.jsonl.
A restart keeps finished clips of the same settings and retries failures. A worker crash costs one clip.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jsonargparse import auto_cli

from avspeech.files import make_folder, make_place, write_lines
from avspeech.manifest import Utterance, read_manifest, write_manifest
from avspeech.media import reading
from avspeech.media.errors import MediaError, NoAudio
from avspeech.media.reading import read_sound
from avspeech.media.sound import Sound
from avspeech.media.video import read_grey_clip
from avspeech.roi.lips import FaceSpan, FoundLips, find_lips
from avspeech.roi.mouth import Alignment, count_status
from avspeech.roi.sparse import Sparseness
from avspeech.roi.track import FrameStatus, NoFace
from data_prep.run_each import report_failures
from data_prep.video_jobs import GONE, NO_VIDEO, Job, face_finder, kept_record, run_jobs, settings_of, write_kept

BLANK_RANGE = 8
"""Grey levels between the darkest and the brightest pixel of a frame that shows nothing."""
STILL_CHANGE = 0.02
"""Mean absolute change in grey levels up to which a frame repeats the one before; of GRID's compressed crops, one frame
in a thousand changes by less than 0.05."""
OFFSET_FRAMES = 1500
"""Frames of which the offset of the sound is measured: a minute."""
SMALLEST_CROP = 88  # pixels; what the encoder cuts out of a mouth crop


@dataclass(frozen=True)
class RoiConfig:
    """Settings of the crops, see ``avspeech.roi.lips.find_lips``."""

    max_gap: int = 12
    """Longest gap that is interpolated, in frames."""
    min_found: float = 0.5
    """Smallest share of frames with a known face: found, or in a gap of up to ``max_gap``."""
    alignment: Alignment = "official"
    """How the crop is placed: ``official`` as AV-HuBERT's; ``steady``, ``causal`` and ``former`` see
    ``avspeech.roi.mouth.CROPS``. It is recorded in the manifest, and must be the one that the model was trained on."""
    every: int = 8
    """Most frames between two looks of the landmark network; optical flow carries the face between."""
    min_frames: int = 10
    """Shortest clip, in frames; 10 = 0.4 s."""
    crf: int = 14
    """x264's quality; 14 costs 0.8 grey levels on average at 480 bytes a frame."""


def main(
    manifest: Path,
    roi_dir: Path,
    out_manifest: Path | None = None,
    workers: int = 2,
    max_failed: float = 0.02,
    roi: RoiConfig = RoiConfig(),
    face_model: Path | None = None,
    timeout_s: float | None = None,
    already_cropped: bool = False,
    report: Path | None = None,
    safe_decoding: bool = True,
) -> None:
    """Extract mouth clips.

    Args:
        manifest: JSON lines, one Utterance each.
        roi_dir: folder of the clips.
        out_manifest: manifest of the finished clips; null is <roi_dir>/manifest.jsonl.
        workers: processes; each loads its own landmark model.
        max_failed: share of failures beyond which the exit status is 1.
        roi: settings of the crops.
        face_model: mediapipe's face_landmarker.task; null searches for it.
        timeout_s: time limit of a clip in seconds; null is no limit.
        already_cropped: the videos are mouth crops: take them as they are, grey, without looking for a face.
            --roi.alignment then names the rule by which they were cut.
        report: HTML page of what was found, with the worst clips (data_prep/roi_report.py); null writes none.
            Clips that are cut for it also have the offset between sound and picture measured.
        safe_decoding: decode in processes that can do nothing else; only common formats.
    """
    try:
        Sparseness(every=roi.every)
        make_folder(roi_dir, "roi_dir")
        for option, file in (("--out_manifest", out_manifest), ("--report", report)):
            if file is not None:
                make_place(file, option)
    except ValueError as error:  # before hours of work
        sys.exit(str(error))
    utterances, settings = read_manifest(manifest), asdict(roi) | {"already_cropped": already_cropped}

    def record_of(one: Utterance) -> dict[str, Any] | None:
        return kept_record(clip_path(one, roi_dir), settings_of(one, settings))

    jobs = [(one, ("",)) for one in utterances if record_of(one) is None]
    fixed = {"safe": safe_decoding, "roi_dir": roi_dir, "roi": roi, "face_model": face_model, "settings": settings}
    extract = partial(extract_one, **fixed, find_offset=report is not None)
    why = run_jobs(extract, jobs, len(utterances), workers, timeout_s)
    # In the manifest's order, whatever order the workers finished in: the same files after any number of restarts.
    found = ((one, record_of(one)) for one in utterances if (one.id, "") not in why)
    done = [(one, record) for one, record in found if record is not None]
    prefix = f"{roi_dir}/" if out_manifest is None else f"{out_manifest.with_suffix('')}."
    write_lines(f"{prefix}rois.jsonl", [record for _, record in done])
    out_manifest = out_manifest or roi_dir / "manifest.jsonl"
    write_manifest(out_manifest, [with_mouth_clip(one, record, roi_dir) for one, record in done])
    for gone in {one.id for one in utterances} - {one.id for one, _ in done}:
        why.setdefault((gone, ""), GONE)
    print(f"{len(done)} of {len(utterances)} clips in {roi_dir}, listed in {out_manifest}")
    failed = [{"id": one.id, "why": why[one.id, ""]} for one in utterances if (one.id, "") in why]
    if report is not None:
        from data_prep.roi_report import write_roi_report  # needs matplotlib, a second of each worker's start

        write_roi_report(report, done, failed, {one.id: clip_path(one, roi_dir) for one, _ in done})
        print(f"open {report}")
    report_failures(Path(f"{prefix}failures.jsonl"), failed, len(utterances), max_failed)


def extract_one(
    job: Job,
    roi_dir: Path,
    roi: RoiConfig,
    face_model: Path | None,
    settings: dict[str, Any],
    find_offset: bool,
    safe: bool,
) -> dict[str, str]:
    """Write one clip and its record; return the reason for failure by the job's label."""
    with reading.safe_decoding(safe):
        return _extract_one(job, roi_dir, roi, face_model, settings, find_offset)


def _extract_one(
    job: Job, roi_dir: Path, roi: RoiConfig, face_model: Path | None, settings: dict[str, Any], find_offset: bool
) -> dict[str, str]:
    utterance, (label,) = job
    if utterance.video is None:
        return {label: NO_VIDEO}
    try:
        audio_S, no_audio = sound_of(utterance)
        lips, facts = None, {}
        if settings["already_cropped"]:
            mouth_THW = read_grey_clip(utterance.video, SMALLEST_CROP, utterance.span)
            crops, status_T, notes = even(mouth_THW), np.full(len(mouth_THW), FrameStatus.MEASURED), ()
        else:
            cutting = {name: getattr(roi, name) for name in ("max_gap", "min_found", "alignment", "every")}
            lips = find_lips(utterance.video, face_finder(face_model), span=utterance.span, **cutting)
            crops, status_T, notes = lips.crops(), lips.status_T, lips.followed.notes
            facts = face_facts(lips)
        if len(status_T) < roi.min_frames:
            wanted = f"roi.min_frames={roi.min_frames}"
            return {label: f"TooShort: {utterance.video} has {len(status_T)} frames at 25 fps, {wanted}"}
        record = {"id": utterance.id, "num_frames": len(status_T), "no_audio": no_audio}
        record["num_samples"] = None if audio_S is None else len(audio_S)
        record |= {**count_status(status_T), "missing_in": missing_in(status_T), "notes": notes}
        record |= {**facts, "settings": settings_of(utterance, settings)}
        crops = checked(crops, record)
        if find_offset and lips is not None and audio_S is not None:
            crops = timed(crops, record, lips, audio_S)
        write_kept(clip_path(utterance, roi_dir), record, crops, crf=roi.crf, preset="faster")
    except (MediaError, NoFace) as error:  # a bad file is data; a bug still raises
        return {label: f"{type(error).__name__}: {error}"}
    return {}


def checked(crops: Iterable[np.ndarray], record: dict[str, Any]) -> Iterator[np.ndarray]:
    """Pass crops on, then note in the record how many are ``blank``, and how long the longest ``still`` stretch is.

    A still stretch is counted in frames, 0 if every frame moves; ``size`` is height and width.
    """
    blank = longest = run = 0
    before_HW = None
    for crop_HW in crops:
        blank += int(crop_HW.max()) - int(crop_HW.min()) <= BLANK_RANGE
        still = before_HW is not None and cv2.absdiff(crop_HW, before_HW).mean() <= STILL_CHANGE
        run = run + 1 if still else 1
        longest, before_HW = max(longest, run), crop_HW
        yield crop_HW
    size = None if before_HW is None else before_HW.shape
    record |= {"blank": blank, "still": longest if longest > 1 else 0, "size": size}


def timed(crops: Iterable[np.ndarray], record: dict[str, Any], lips: FoundLips, audio_S: Sound) -> Iterator[np.ndarray]:
    """Pass crops on, then note the sound's ``offset`` in frames over the first minute, above 0 where it is late.

    It is None where it is not sure; ``offset_lead`` is how sure (``who_speaks.Offset``).
    """
    from avspeech.transcription.who_speaks import SURE, watch  # torch: seconds of a worker's start

    kept: list[np.ndarray] = []
    for crop_HW in crops:
        if len(kept) < OFFSET_FRAMES:
            kept.append(crop_HW)
        yield crop_HW
    span = FaceSpan(lips.face, 0, len(kept))
    found, _ = watch(lips.followed, [span], {lips.face: np.stack(kept)}, audio_S)
    if found is not None:
        record |= {"offset": found.frames if found.lead >= SURE else None, "offset_lead": round(found.lead, 1)}


def face_facts(lips: FoundLips) -> dict[str, float]:
    """Return medians over the frames with a known face: height in pixels, yaw in degrees, crop pixels per pixel."""
    face = lips.followed.faces[lips.face]
    known_T = face.status_T != FrameStatus.MISSING
    height_T = face.boxes_T4[:, 3] - face.boxes_T4[:, 1]
    scale_T = np.hypot(*lips.placements_T23[face.first : face.end, :, 0].T)
    facts = {"face_height": height_T, "yaw": face.yaw_T, "crop_scale": scale_T}
    return {name: round(float(np.median(values_T[known_T])), 2) for name, values_T in facts.items()}


def even(mouth_THW: np.ndarray) -> np.ndarray:
    """Return the crops without a last odd row or column, as H.264 wants it."""
    return mouth_THW[:, : mouth_THW.shape[1] // 2 * 2, : mouth_THW.shape[2] // 2 * 2]


def sound_of(utterance: Utterance) -> tuple[Sound | None, str | None]:
    """Return (``audio_S``, None), or (None, reason): mouth clips need no audio."""
    if utterance.audio is None:
        return None, "the manifest names no audio"
    try:
        return read_sound(utterance.audio, span=utterance.span), None
    except NoAudio as error:
        return None, f"NoAudio: {error}"


def missing_in(status_T: np.ndarray) -> list[tuple[int, int]]:
    """Return the spans in which the face is MISSING: (first frame, frame after the last)."""
    edges = np.flatnonzero(np.diff(np.pad(status_T == FrameStatus.MISSING, 1)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def with_mouth_clip(utterance: Utterance, record: dict[str, Any], roi_dir: Path) -> Utterance:
    """Return the utterance with its mouth clip, and without audio if the file has none."""
    audio = None if record["no_audio"] else utterance.audio
    counts = {name: record[name] for name in ("num_frames", "num_samples")}
    crop = record["settings"]["alignment"]
    return replace(utterance, mouth=clip_path(utterance, roi_dir), crop=crop, audio=audio, **counts)


def clip_path(utterance: Utterance, roi_dir: Path) -> Path:
    return roi_dir / f"{utterance.id}.mp4"


if __name__ == "__main__":
    if any(one.startswith("--roi.smooth") for one in sys.argv):
        sys.exit("--roi.smooth is now --roi.alignment: steady is the mean over 13 frames that was the default")
    auto_cli(main)
