"""Compare lips found by few looks and flow with a look at every frame: time, landmarks, crops, and who speaks.

    OMP_NUM_THREADS=1 python experiments/2026-11-roi-speed/measure.py path/to/grid_s1/video path/to/synthetic/video \
        --out experiments/2026-11-roi-speed/results.json

Reference is ``extract_mouth`` with ``every=1``, the landmark network on every frame. Times are CPU time of the whole
extraction, both ways in one process on the same file, in alternating order; the ratio's median over clips counts.
Differences are in pixels of the 96x96 crop: lips are the 40 lip landmarks of each frame, mapped by the reference's
placement; corners are the crop's four corners, mapped from one placement to the other.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from jsonargparse import auto_cli

from avspeech.media.audio import read_audio
from avspeech.media.video import read_frames, read_pictures, write_video
from avspeech.roi.faces import follow_faces
from avspeech.roi.flow import NEEDED
from avspeech.roi.landmarks import FaceFinder, find_landmarks
from avspeech.roi.lips import extract_lips
from avspeech.roi.mouth import LIPS, extract_mouth, placements
from avspeech.roi.sparse import Sparseness
from avspeech.roi.speaking import speaking_face
from avspeech.roi.track import follow_face

CORNERS = np.array([[0, 0], [96, 0], [0, 96], [96, 96]], float)


def compare(video: Path, finder: FaceFinder, first_full: bool, sparseness: Sparseness) -> dict[str, float]:
    """Return times and differences of one clip."""
    seconds = {}
    for full in (first_full, not first_full):
        start = time.process_time()
        if full:
            extract_mouth(video, finder)
        else:
            extract_lips(video, finder, sparseness=sparseness)
        seconds[full] = time.process_time() - start
    detections = find_landmarks(read_frames(video), finder)
    exact_TJ2 = follow_face(detections, smooth=1).landmarks_TJ2
    reference_T23 = placements(follow_face(detections).landmarks_TJ2)
    followed = follow_faces(read_pictures(video), finder, sparseness=sparseness)
    face = followed.faces[0]
    span = slice(face.first, face.end)
    reference_T23, own_T23 = reference_T23[span], face.placements_T23()
    lips_TN2 = face.points_TN2[:, len(NEEDED) - len(LIPS) : len(NEEDED)]
    lips_T = apart(through(reference_T23, lips_TN2), through(reference_T23, exact_TJ2[span][:, LIPS]))
    inverse_T22 = np.linalg.inv(reference_T23[:, :, :2])
    in_frame_TN2 = np.einsum("tij,tnj->tni", inverse_T22, CORNERS - reference_T23[:, None, :, 2])
    corners_T = apart(through(own_T23, in_frame_TN2), CORNERS)
    return {
        "ratio": seconds[True] / seconds[False],
        "full_ms": 1000 * seconds[True] / followed.num_frames,
        "sparse_ms": 1000 * seconds[False] / followed.num_frames,
        "looked": followed.num_looked / followed.num_frames,
        "lips": float(lips_T.mean()),
        "lips_p95": float(np.quantile(lips_T, 0.95)),
        "corners": float(corners_T.mean()),
        "corners_max": float(corners_T.max()),
    }


def through(matrices_T23: np.ndarray, points_TN2: np.ndarray) -> np.ndarray:
    return np.einsum("tij,tnj->tni", matrices_T23[:, :, :2], points_TN2) + matrices_T23[:, None, :, 2]


def apart(one_TN2: np.ndarray, other_TN2: np.ndarray) -> np.ndarray:
    return np.hypot(*np.moveaxis(one_TN2 - other_TN2, -1, 0)).mean(axis=1)


def letterboxed(width: int, height: int) -> Callable[[list[np.ndarray]], Iterator[np.ndarray]]:
    """Return what enlarges square frames to the height and pads them to the width."""

    def change(frames: list[np.ndarray]) -> Iterator[np.ndarray]:
        for frame in frames:
            image = np.zeros((height, width, 3), np.uint8)
            left = (width - height) // 2
            image[:, left : left + height] = cv2.resize(frame, (height, height), interpolation=cv2.INTER_CUBIC)
            yield image

    return change


def moved(jumps: bool, seed: int) -> Callable[[list[np.ndarray]], Iterator[np.ndarray]]:
    """Return what moves the picture: swaying (12 % of the width and 15 degrees, near 1 Hz) or by two jumps a second."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, 4)
    places = rng.uniform(-1, 1, (100, 3))

    def change(frames: list[np.ndarray]) -> Iterator[np.ndarray]:
        height, width = frames[0].shape[:2]
        for index, frame in enumerate(frames):
            if jumps:  # from place to place within 80 ms
                now, share = index // 12 + 1, min(1, index % 12 / 2)
                x, y, turn = ((1 - share) * places[now - 1] + share * places[now]) * (0.1, 0.06, 12)
                scale = 1.0
            else:
                x, y, turn, grow = np.sin(2 * np.pi * np.array([1, 0.8, 0.7, 0.5]) * index / 25 + phase)
                x, y, turn, scale = 0.12 * x, 0.06 * y, 15 * turn, 1 + 0.1 * grow
            matrix_23 = cv2.getRotationMatrix2D((width / 2, height / 2), turn, scale)
            matrix_23[:, 2] += (x * width, y * height)
            yield cv2.warpAffine(
                frame, matrix_23, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
            )

    return change


def summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of the ratio and of the times, the largest of the largest, the mean of the rest."""
    how = {"ratio": statistics.median, "full_ms": statistics.median, "sparse_ms": statistics.median, "corners_max": max}
    figures = {name: round(how.get(name, statistics.mean)([row[name] for row in rows]), 3) for name in rows[0]}
    return {"clips": len(rows), **figures, "ratio_min": round(min(row["ratio"] for row in rows), 3)}


def share_told_apart(videos: list[Path], finder: FaceFinder, folder: Path) -> dict[str, float]:
    """Return how often the speaker is told from a silently talking face beside; each pair with either one's sound."""
    right = count = 0
    for left, other in zip(videos[::2], videos[1::2], strict=False):
        pair = [np.hstack(frames) for frames in zip(read_frames(left), read_frames(other), strict=False)]
        write_video(folder / "pair.mp4", pair)
        followed = follow_faces(read_pictures(folder / "pair.mp4"), finder)
        middle = pair[0].shape[1] / 2
        for speaker, video in enumerate((left, other)):
            index = speaking_face(followed, read_audio(video), 0, followed.num_frames)
            boxes_T4 = followed.faces[index or 0].boxes_T4
            right += int((boxes_T4[:, [0, 2]].mean() > middle) == bool(speaker))
            count += 1
    return {"decisions": count, "right": round(right / count, 3)}


def main(
    grid: Path,
    synthetic: Path,
    out: Path | None = None,
    clips: int = 40,
    changed: int = 8,
    parts: tuple[str, ...] = ("clips", "every", "changed", "speaker"),
) -> None:
    """Measure.

    Args:
        grid: folder of real clips.
        synthetic: folder of synthetic clips, square.
        out: JSON file for the figures; those of other parts stay in it.
        clips: how many of each, drawn with seed 0.
        changed: how many synthetic clips are enlarged and moved.
        parts: what to measure.
    """
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    real, drawn = (
        [files[i] for i in sorted(rng.choice(len(files), clips, replace=False))]
        for files in (sorted(folder.glob("*.mp4")) for folder in (grid, synthetic))
    )
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name, FaceFinder() as finder:
        folder = Path(name)

        def measure(what: str, videos: list[Path], sparseness: Sparseness = Sparseness()) -> None:
            compare(videos[0], finder, True, sparseness)  # warms up
            rows = [compare(video, finder, index % 2 == 0, sparseness) for index, video in enumerate(videos)]
            figures[what] = summary(rows)
            print(what, figures[what], flush=True)

        def rewritten(what: str, change: Callable[[int], Callable[[list[np.ndarray]], Iterator[np.ndarray]]]) -> None:
            paths = []
            for index, video in enumerate(drawn[:changed]):
                paths.append(folder / f"{index}.mp4")
                write_video(paths[-1], change(index)(list(read_frames(video))))
            measure(what, paths)

        if "clips" in parts:
            measure("GRID", real)
            measure("synthetic", drawn)
        for every in (1, 2, 3, 4, 6, 8) if "every" in parts else ():
            measure(f"GRID, every {every}", real[:changed], Sparseness(every=every))
        if "changed" in parts:
            rewritten("1280x720", lambda _: letterboxed(1280, 720))
            rewritten("1920x1080", lambda _: letterboxed(1920, 1080))
            rewritten("swaying", lambda index: moved(False, index))
            rewritten("jumping", lambda index: moved(True, index))
        for kind, videos in (("GRID", real), ("synthetic", drawn)) if "speaker" in parts else ():
            figures[f"speaker of two, {kind}"] = share_told_apart(videos, finder, folder)
            print(kind, figures[f"speaker of two, {kind}"], flush=True)
    if out is not None:
        known = json.loads(out.read_text()) if out.exists() else {}
        out.write_text(json.dumps(known | figures, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(auto_cli(main))
