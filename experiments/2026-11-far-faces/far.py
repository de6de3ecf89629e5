"""Share of frames in which small faces in large pictures are found, by height, and jumps between people."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from jsonargparse import auto_cli
from scenes import HEIGHT, WIDTH, Actor, Scene, actor_of, draw

from avspeech.media.video import read_pictures, write_video
from avspeech.roi.faces import FollowedFaces, follow_faces
from avspeech.roi.flow import NEEDED
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.mouth import LIPS
from avspeech.roi.seeking import MAX_FACES
from avspeech.roi.track import FrameStatus

HEIGHTS = (24, 32, 40, 60, 100, 200)
EVERY = 15  # frames between two that YuNet sees
Cast = Callable[[Callable, bool], Actor]


def scenes(cast: Cast, size: float) -> Iterator[Scene]:
    """Yield every kind of scene with faces ``size`` px high; ``cast`` gives another person at each call."""

    def walk(x: float, y: float, step: float, height: float = size) -> Callable:
        return lambda t: (x + step * t, y + 0.05 * height * np.sin(t / 6), height)

    speed = min(size / 15, 4)
    yield Scene("one, moving", [cast(walk(700, 500, speed), False)], size)
    yield Scene("two", [cast(walk(500, 450, 0.2 * speed), False), cast(walk(1300, 600, -speed), False)], size)
    places = [(300, 300), (900, 380), (1400, 700), (700, 760)]
    yield Scene("four", [cast(walk(x, y, 0.3 * speed), False) for x, y in places], size)
    behind = [cast(walk(960 + 0.85 * size, 500, 0.1, 0.8 * size), False), cast(walk(960, 540, 0.0), False)]
    yield Scene("one behind another", behind, size)

    def back(t: int):
        return None if 28 <= t < 50 else (900 + 2 * t, 500, size)

    yield Scene("leaves and returns", [cast(back, False)], size)
    poster = [cast(lambda t: (300, 250, size), True), cast(walk(1100, 600, speed), False)]
    yield Scene("a poster on the wall", poster, size)


def score(scene: Scene, followed: FollowedFaces) -> dict[str, float]:
    """Return frames with an actor, those found, jumps between people, wrong faces, and the lips' error."""
    wanted = found = jumps = 0
    errors, owner = [], defaultdict(list)
    lips = [NEEDED.index(one) for one in LIPS]
    for t, truth in enumerate(scene.truth):
        known = {}
        for index, face in enumerate(followed.faces):
            if face.first <= t < face.end and face.status_T[t - face.first] != FrameStatus.MISSING:
                known[index] = face.points_TN2[t - face.first][lips].mean(axis=0)
        for person, landmarks_J2 in enumerate(truth):
            if landmarks_J2 is None:
                continue
            wanted += 1
            centre_2, height = landmarks_J2[list(LIPS)].mean(axis=0), float(np.ptp(landmarks_J2[:, 1]))
            near = {index: float(np.hypot(*(point_2 - centre_2))) for index, point_2 in known.items()}
            best = min(near, key=near.__getitem__, default=None)
            if best is not None and near[best] < 0.35 * height:
                found += 1
                owner[best].append(person)
                eyes = float(np.hypot(*(landmarks_J2[33] - landmarks_J2[263])))
                errors.append(near[best] * 76 / eyes)
    for people in owner.values():
        jumps += int(np.count_nonzero(np.diff(people)))
    wrong = sum(len(face.status_T) for index, face in enumerate(followed.faces) if index not in owner)
    return {"wanted": wanted, "found": found, "jumps": jumps, "wrong": wrong, "error": float(np.sum(errors))}


def yunet_finds(model: Path, frames: list[np.ndarray], truth: list[list]) -> dict[str, float]:
    """Return faces in the frames, those that YuNet finds at full size (score 0.6), and its ms a picture."""
    detector = cv2.FaceDetectorYN.create(str(model), "", (WIDTH, HEIGHT), 0.6)
    wanted = found = 0
    start = time.process_time()
    seen = [detector.detect(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))[1] for frame in frames]
    spent = (time.process_time() - start) / len(frames) * 1e3
    for boxes, faces in zip(seen, truth, strict=True):
        middles_N2 = np.zeros((0, 2)) if boxes is None else boxes[:, :2] + boxes[:, 2:4] / 2
        for landmarks_J2 in faces:
            if landmarks_J2 is not None:
                wanted += 1
                middle_2 = (landmarks_J2.min(axis=0) + landmarks_J2.max(axis=0)) / 2
                apart_N = np.hypot(*(middles_N2 - middle_2).T)
                found += bool((apart_N < 0.35 * np.ptp(landmarks_J2[:, 1])).any())
    return {"yunet_wanted": wanted, "yunet_found": found, "yunet_ms": spent}


def main(
    clips: Path,
    yunet: Path,
    out: Path | None = None,
    heights: tuple[int, ...] = HEIGHTS,
    seed: int = 0,
) -> None:
    """Print a table.

    Args:
        clips: a folder of clips of single large faces, of several people.
        yunet: face_detection_yunet_2023mar.onnx of OpenCV Zoo.
        out: JSON of the figures.
        heights: of the faces, in pixels.
        seed: draws people and backgrounds.
    """
    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    files = sorted(one for one in clips.rglob("*") if one.suffix in (".mp4", ".mpg", ".mov"))
    files = [files[n] for n in rng.permutation(len(files))]
    rows: dict[str, dict] = {}
    with FaceFinder() as finder, TemporaryDirectory() as folder:
        number = 0

        def cast(where: Callable, still: bool) -> Actor:
            nonlocal number
            number += 1
            return actor_of(files[number % len(files)], finder, where, still)

        for size in heights:
            for scene in scenes(cast, size):
                path = Path(folder) / "scene.mp4"
                frames = list(draw(scene, int(rng.integers(10**6))))
                write_video(path, frames, crf=18)
                boxes = yunet_finds(yunet, frames[::EVERY], scene.truth[::EVERY])
                del frames
                start = time.process_time()
                followed = follow_faces(read_pictures(path), finder)
                spent = (time.process_time() - start) / followed.num_frames * 1e3
                assert len(followed.faces) <= 4 * MAX_FACES and HEIGHT < WIDTH
                row = score(scene, followed) | {"ms": spent} | boxes
                rows[f"{scene.name} {size}"] = row
                share, error = row["found"] / row["wanted"], row["error"] / max(row["found"], 1)
                print(f"{size:4} {scene.name:22} found {share:6.1%} jumps {row['jumps']} wrong {row['wrong']:3} "
                      f"lips {error:4.1f} crop px, {spent:5.1f} ms a frame; "
                      f"YuNet {boxes['yunet_found'] / boxes['yunet_wanted']:6.1%} {boxes['yunet_ms']:4.0f} ms",
                      flush=True)  # fmt: skip
    if out is not None:
        out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    auto_cli(main)
