"""CPU time of lips by few looks against the network on every frame, and each stage's share."""

import itertools
import json
import resource
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import mediapipe
import numpy as np
from jsonargparse import auto_cli
from mediapipe.tasks.python import BaseOptions, vision

from avspeech.media.video import read_frames, read_pictures, write_video
from avspeech.roi import early, lips, seeking, sparse
from avspeech.roi.face_model import find_face_model
from avspeech.roi.faces import Face, FollowedFaces
from avspeech.roi.flow import needed_points
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.lips import FaceSpan, crop_faces, extract_lips
from avspeech.roi.mouth import LIPS, STABLE
from avspeech.roi.track import fill_gaps, link_faces

SIZES = {"360x288": (360, 288), "1280x720": (1280, 720), "1920x1080": (1920, 1080)}
shares: dict[str, float] = defaultdict(float)
running: list[str] = []


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextmanager
def stage(name: str):
    """Add the block's CPU time to ``shares``, and take it from the stage around it; nothing outside all stages."""
    if not running and name != "rest":
        yield
        return
    start = cpu()
    running.append(name)
    yield
    running.pop()
    spent = cpu() - start
    shares[name] += spent
    if running:
        shares[running[-1]] -= spent


def timed(owner, name: str, label: str) -> None:
    plain = getattr(owner, name)

    def wrapped(*arguments, **options):
        with stage(label):
            return plain(*arguments, **options)

    setattr(owner, name, wrapped)


def read_timed(*arguments, **options):
    """Yield the pictures; decoding one is a stage."""
    pictures = read_pictures(*arguments, **options)
    while True:
        with stage("decode"):
            picture = next(pictures, None)
        if picture is None:
            return
        yield picture


def face_landmarker() -> vision.FaceLandmarker:
    """Return mediapipe's own, as users call it."""
    options = BaseOptions(model_asset_path=str(find_face_model()))
    return vision.FaceLandmarker.create_from_options(vision.FaceLandmarkerOptions(options, num_faces=4))


def landmarks_of(frame: np.ndarray, landmarker: vision.FaceLandmarker) -> list[np.ndarray]:
    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
    size = np.array([frame.shape[1], frame.shape[0]], np.float32)
    faces = landmarker.detect(image).face_landmarks
    return [np.array([(point.x, point.y) for point in face], np.float32) * size for face in faces]


def every_frame(path: Path, landmarker: vision.FaceLandmarker) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (crops, placements, points) by FaceLandmarker on every whole frame, and a second decode for the crops."""
    found = [[needed_points(one) for one in landmarks_of(frame, landmarker)] for frame in read_frames(path)]
    face = Face(0, *fill_gaps(link_faces(found)[0], 12))
    followed = FollowedFaces((face,), len(found), len(found))
    (mouth_THW,) = crop_faces(path, followed, [[FaceSpan(0, 0, len(found))]])
    return mouth_THW, face.placements_over(len(found)), face.points_TN2


def enlarged(source: Path, size: tuple[int, int], folder: Path, num_frames: int) -> Path:
    """Return the clip at another size, its height filled, mirrored beside it, played to and fro until it is so long."""
    path = folder / f"{source.stem}.{size[1]}.mp4"
    frames = []
    for frame in read_frames(source):
        scale = size[1] / frame.shape[0]
        large = cv2.resize(frame, (round(frame.shape[1] * scale), size[1]), interpolation=cv2.INTER_CUBIC)
        side = size[0] - large.shape[1]
        frames.append(cv2.copyMakeBorder(large, 0, 0, side // 2, side - side // 2, cv2.BORDER_REFLECT_101))
    there_and_back = itertools.cycle([*frames, *frames[-2:0:-1]])
    write_video(path, itertools.islice(there_and_back, num_frames), crf=23)
    return path


def main(
    folder: Path, clips: int = 4, out: Path | None = None, seed: int = 0, looks: int = 8, num_frames: int = 75
) -> None:
    """Print a table.

    Args:
        folder: clips of single faces, each person's in a folder of their own.
        clips: how many, of as many people as there are.
        out: JSON of the figures.
        seed: draws the clips.
        looks: see ``Sparseness.every``.
        num_frames: of each clip.
    """
    cv2.setNumThreads(1)
    files = sorted(one for one in folder.rglob("*") if one.suffix in (".mp4", ".mpg"))
    rng, people = np.random.default_rng(seed), sorted({one.parent for one in files})
    theirs = [[one for one in files if one.parent == person] for person in rng.permutation(people)]
    chosen = [theirs[n % len(theirs)][rng.integers(len(theirs[n % len(theirs)]))] for n in range(clips)]
    rows = []
    with FaceFinder() as finder, face_landmarker() as landmarker, TemporaryDirectory() as temporary:
        for name, size in SIZES.items():
            ratios, before, now, decode, apart, share = [], [], [], [], [], []
            shares.clear()
            for number, clip in enumerate(chosen):
                path = enlarged(clip, size, Path(temporary), num_frames)
                times = {}
                for way in ("old", "new") if number % 2 else ("new", "old"):
                    start = cpu()
                    if way == "old":
                        _, placed_T23, points_TN2 = every_frame(path, landmarker)
                    else:
                        got = few_looks(path, finder, looks)
                    times[way] = cpu() - start
                start = cpu()
                num_frames = sum(1 for _ in read_pictures(path))
                decode.append((cpu() - start) / num_frames * 1e3)
                ratios.append(times["old"] / times["new"])
                before.append(times["old"] / num_frames * 1e3)
                now.append(times["new"] / num_frames * 1e3)
                apart.append(lips_apart(points_TN2, got, placed_T23))
                share.append(got[1])
            total = sum(shares.values())
            row = {
                "size": name,
                "decode_ms": np.median(decode),
                "before_ms": np.median(before),
                "now_ms": np.median(now),
            }
            row |= {
                "times": np.median(ratios),
                "least": min(ratios),
                "lips_px": np.mean(apart),
                "looked": np.mean(share),
            }
            row |= {"shares": {label: spent / total for label, spent in sorted(shares.items())} if total else {}}
            rows.append({key: round(float(v), 3) if not isinstance(v, str | dict) else v for key, v in row.items()})
            print(json.dumps(rows[-1]), flush=True)
    if out is not None:
        out.write_text(json.dumps(rows, indent=1) + "\n")


def few_looks(path: Path, finder: FaceFinder, looks: int):
    kept = []
    plain = lips.follow_faces

    def keeping(*arguments, **options):
        kept.append(plain(*arguments, **options))
        return kept[-1]

    lips.follow_faces = keeping
    try:
        with stage("rest"):
            clip = extract_lips(path, finder, every=looks)
    finally:
        lips.follow_faces = plain
    return clip, kept[-1].num_looked / kept[-1].num_frames, kept[-1].faces[0].points_TN2


def lips_apart(points_TN2: np.ndarray, got, placed_T23: np.ndarray) -> float:
    """Return the mean distance of the lip points in crop pixels."""
    scale_T = np.hypot(placed_T23[:, 0, 0], placed_T23[:, 1, 0])
    span = slice(len(STABLE), len(STABLE) + len(LIPS))
    num = min(len(points_TN2), len(got[2]))
    distance_TN = np.linalg.norm(points_TN2[:num, span] - got[2][:num, span], axis=-1)
    return float((distance_TN.mean(axis=1) * scale_T[:num]).mean())


if __name__ == "__main__":
    timed(sparse, "carry_between", "flow")
    timed(seeking.Seeker, "_seek", "search")
    timed(seeking.Seeker, "_look_at", "looks")
    lips.read_pictures = read_timed
    timed(lips, "crop_picture", "crops")
    timed(early, "crop_picture", "crops")
    auto_cli(main)
