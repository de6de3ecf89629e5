"""Cut a mouth clip from every video of a manifest.

    python data_prep/extract_rois.py data/lrs3/train.jsonl data/lrs3/roi

Reads   a manifest (avspeech/data/manifest.py).
Writes  <roi_dir>/<id>.mp4, grey 96x96 at 25 fps, and <id>.json: length, frames measured, interpolated and
        missing, settings;
        <roi_dir>/manifest.jsonl with mouth, num_frames and num_samples; rois.jsonl, all records; failures.jsonl.
        --out_manifest x/train.jsonl makes these x/train.jsonl, x/train.rois.jsonl, x/train.failures.jsonl.
A restart keeps finished clips of the same settings and retries failures. A worker crash costs one clip.
"""

import json
import sys
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli
from tqdm import tqdm

from avspeech.files import write_lines, written_whole
from avspeech.manifest import Utterance, read_manifest, write_manifest
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError, NoAudio
from avspeech.media.video import write_video
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.lips import extract_mouth
from avspeech.roi.mouth import MouthClip
from avspeech.roi.track import FrameStatus, NoFace
from data_prep.run_each import Crash, report_failures, run_each


@dataclass(frozen=True)
class RoiConfig:
    """Settings of the crops, see ``avspeech.roi.lips.extract_lips``."""

    max_gap: int = 12
    """Longest gap that is interpolated, in frames."""
    min_found: float = 0.5
    """Smallest share of frames with a known face: found, or in a gap of up to ``max_gap``."""
    smooth: int = 13
    """Length of the centred mean over time, in frames, odd."""
    every: int = 1
    """Run the landmark network on every n-th frame; interpolate linearly between."""
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
    """
    roi_dir.mkdir(parents=True, exist_ok=True)
    utterances = read_manifest(manifest)
    records = {utterance.id: record for utterance in utterances if (record := read_record(utterance, roi_dir, roi))}
    pending = [utterance for utterance in utterances if utterance.id not in records]
    extract = partial(extract_one, roi_dir=roi_dir, roi=roi, face_model=face_model)
    failures: dict[str, str] = {}
    out_manifest, rois, listing = output_paths(roi_dir, out_manifest)
    with tqdm(total=len(utterances), initial=len(records), unit="clip", smoothing=0.05) as progress:
        for utterance, result in run_each(extract, pending, workers, one_thread, timeout_s):
            if isinstance(result, dict):
                records[utterance.id] = result
            else:
                failures[utterance.id] = result.why if isinstance(result, Crash) else result
                progress.write(f"{utterance.id}: {failures[utterance.id]}", file=sys.stderr)
            progress.set_postfix(failed=len(failures), refresh=False)
            progress.update()
    done = [utterance for utterance in utterances if utterance.id in records]
    # In the manifest's order, whatever order the workers finished in: the same files after any number of restarts.
    write_lines(rois, [records[utterance.id] for utterance in done])
    write_manifest(out_manifest, [filled_in(u, records[u.id], roi_dir) for u in done])
    print(f"{len(done)} of {len(utterances)} clips in {roi_dir}, listed in {out_manifest}")
    failed = [{"id": u.id, "why": failures[u.id]} for u in utterances if u.id in failures]
    report_failures(listing, failed, len(utterances), max_failed)


def output_paths(roi_dir: Path, out_manifest: Path | None) -> tuple[Path, Path, Path]:
    """Return the paths of the manifest, the records and the failures."""
    if out_manifest is None:
        return roi_dir / "manifest.jsonl", roi_dir / "rois.jsonl", roi_dir / "failures.jsonl"
    stem = out_manifest.with_suffix("")
    return out_manifest, Path(f"{stem}.rois.jsonl"), Path(f"{stem}.failures.jsonl")


def extract_one(utterance: Utterance, roi_dir: Path, roi: RoiConfig, face_model: Path | None) -> dict[str, Any] | str:
    """Write one clip and its record; return the record, or the reason for failure."""
    if utterance.video is None:
        return "the manifest names no video; fill in the field 'video'"
    try:
        num_samples, no_audio = count_samples(utterance)
        clip = extract_mouth(
            utterance.video,
            face_finder(face_model),
            max_gap=roi.max_gap,
            min_found=roi.min_found,
            smooth=roi.smooth,
            every=roi.every,
        )
    except (MediaError, NoFace) as error:  # a bad file is data; a bug still raises
        return f"{type(error).__name__}: {error}"
    if len(clip.mouth_THW) < roi.min_frames:
        return (
            f"TooShort: {utterance.video} has {len(clip.mouth_THW)} frames at 25 fps, roi.min_frames={roi.min_frames}"
        )
    record = {
        "id": utterance.id,
        "num_frames": len(clip.mouth_THW),
        "num_samples": num_samples,
        "no_audio": no_audio,
        **clip.counts,
        "not_measured": not_measured(clip),
        "settings": asdict(roi),
    }
    target = clip_path(utterance, roi_dir)
    with written_whole(target) as unfinished:  # it gets its name last: a clip that has its name has its record
        write_video(unfinished, clip.mouth_THW, crf=roi.crf, preset="faster")
        target.unlink(missing_ok=True)  # made with other settings; remove it before its record changes
        write_lines(record_path(utterance, roi_dir), [record])
    return record


def count_samples(utterance: Utterance) -> tuple[int | None, str | None]:
    """Return (samples at 16 kHz, None), or (None, reason): mouth clips need no audio."""
    if utterance.audio is None:
        return None, "the manifest names no audio"
    try:
        return len(read_audio(utterance.audio)), None
    except NoAudio as error:
        return None, f"NoAudio: {error}"


def not_measured(clip: MouthClip) -> list[tuple[str, int, int]]:
    """Return the spans without a detected face: (status, first frame, frame after the last)."""
    spans: list[tuple[str, int, int]] = []
    for index, value in enumerate(clip.status_T):
        name = FrameStatus(value).name.lower()
        if spans and spans[-1][0] == name and spans[-1][2] == index:
            spans[-1] = (name, spans[-1][1], index + 1)
        elif value != FrameStatus.MEASURED:
            spans.append((name, index, index + 1))
    return spans


def filled_in(utterance: Utterance, record: dict[str, Any], roi_dir: Path) -> Utterance:
    """Return the utterance with its mouth clip, and without audio if the file has none."""
    return replace(
        utterance,
        mouth=clip_path(utterance, roi_dir),
        audio=None if record["no_audio"] else utterance.audio,
        num_frames=record["num_frames"],
        num_samples=record["num_samples"],
    )


def read_record(utterance: Utterance, roi_dir: Path, roi: RoiConfig) -> dict[str, Any] | None:
    """Return the record of an earlier run; None if missing or cut with other settings."""
    if not clip_path(utterance, roi_dir).exists() or not record_path(utterance, roi_dir).exists():
        return None
    record = json.loads(record_path(utterance, roi_dir).read_text())
    return record if record["settings"] == asdict(roi) else None


def clip_path(utterance: Utterance, roi_dir: Path) -> Path:
    return roi_dir / f"{utterance.id}.mp4"  # not with_suffix: an id may contain a full stop


def record_path(utterance: Utterance, roi_dir: Path) -> Path:
    return roi_dir / f"{utterance.id}.json"


def one_thread() -> None:
    """Use one thread in a worker: the workers are the parallelism."""
    import cv2

    cv2.setNumThreads(1)


@cache
def face_finder(face_model: Path | None) -> FaceFinder:
    """Return this process's landmark model, loaded once."""
    return FaceFinder(face_model)


if __name__ == "__main__":
    auto_cli(main)
