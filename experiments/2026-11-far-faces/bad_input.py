"""What odd pictures come to, and what they cost: one frame, stills, a face too large, a crowd, nobody, a long file."""

import itertools
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from jsonargparse import auto_cli
from scenes import HEIGHT, WIDTH, background

from avspeech.media.video import read_frames, read_pictures, write_video
from avspeech.roi.faces import follow_faces
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.lips import find_lips

SIDE = 60  # pixels of height of a face of the crowd


def box_of_face(frame: np.ndarray, finder: FaceFinder) -> np.ndarray:
    """Return (left, top, right, bottom) of the largest face's mesh."""
    face_J2 = max(finder.detect(frame), key=np.ptp)
    return np.concatenate([face_J2.min(axis=0), face_J2.max(axis=0)])


def enlarged(frames: list[np.ndarray], finder: FaceFinder) -> list[np.ndarray]:
    """Return the frames from mouth to forehead of the first one's face, 720x720."""
    left, top, right, bottom = box_of_face(frames[0], finder)
    wide, high = right - left, bottom - top
    rows = slice(int(top + 0.12 * high), int(top + 0.85 * high))
    columns = slice(int(left + 0.08 * wide), int(right - 0.08 * wide))
    return [cv2.resize(one[rows, columns], (720, 720), interpolation=cv2.INTER_CUBIC) for one in frames]


def crowd(stills: list[np.ndarray], finder: FaceFinder) -> np.ndarray:
    """Return a picture of 200 faces in ten rows."""
    picture, heads = background(1).copy(), []
    for still in stills:
        left, top, right, bottom = box_of_face(still, finder)
        high, wide = bottom - top, right - left
        rows = slice(max(int(top - 0.35 * high), 0), int(bottom + 0.1 * high))
        head = still[rows, max(int(left - 0.1 * wide), 0) : int(right + 0.1 * wide)]
        heads.append(cv2.resize(head, None, fx=SIDE / high, fy=SIDE / high, interpolation=cv2.INTER_AREA))
    for row, column in itertools.product(range(10), range(20)):
        y, x = 8 + 106 * row, 10 + 95 * column
        head = heads[(column + 7 * row) % len(heads)][: min(100, HEIGHT - y), : min(90, WIDTH - x)]
        picture[y : y + head.shape[0], x : x + head.shape[1]] = head
    return picture


def wandering(num_frames: int) -> Iterable[np.ndarray]:
    """Yield a part of a large cluttered picture that moves to and fro."""
    large = cv2.resize(background(3, 960, 540), (2400, 1400))
    for t in range(num_frames):
        y, x = 60 + int(50 * np.sin(t / 9)), 200 + int(180 * np.sin(t / 40))
        yield np.ascontiguousarray(large[y : y + HEIGHT, x : x + WIDTH])


def main(speakers: Path, only: list[str] | None = None, seconds: int = 60, minutes: int = 2) -> None:
    """Print a line for each kind of picture.

    Args:
        speakers: a folder of folders of GRID clips.
        only: kinds to try: one, stills, enlarged, crowd, nobody, long; by default all.
        seconds: of the moving picture without a face.
        minutes: of the long file, 1920x1080, a clip's head over and over; its peak is of this process.
    """
    cv2.setNumThreads(1)
    clips = [sorted(one.glob("*.mpg"))[4] for one in sorted(speakers.iterdir()) if one.is_dir()]
    stills = [next(read_frames(clip)) for clip in clips]
    with FaceFinder() as finder, TemporaryDirectory() as folder:
        first = list(itertools.islice(read_frames(clips[0]), 25))
        kinds: dict[str, Callable[[], Iterable[np.ndarray]]] = {
            "one": lambda: stills[:1],
            "stills": lambda: (still for still in stills for _ in range(50)),
            "enlarged": lambda: enlarged(first, finder),
            "crowd": lambda: [crowd(stills, finder)] * 25,
            "nobody": lambda: wandering(25 * seconds),
            "long": lambda: (cv2.resize(first[t % 25], (WIDTH, HEIGHT)) for t in range(1500 * minutes)),
        }
        for kind in only or kinds:
            path = Path(folder) / "odd.mp4"
            write_video(path, kinds[kind](), crf=20, preset="ultrafast")
            begin = time.process_time()
            if kind == "long":
                found = find_lips(path, finder)
                num_crops = sum(1 for _ in found.crops())
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(f"{kind}: {num_crops} crops, {found.counts}, peak {peak:.0f} MiB", flush=True)
                continue
            followed = follow_faces(read_pictures(path), finder)
            shares = [f"{face.share_found(0, followed.num_frames):.0%}" for face in followed.faces[:3]]
            spent = time.process_time() - begin
            said = " ".join(followed.notes) or "no note"
            print(f"{kind}: {len(followed.faces)} faces in {shares} of {followed.num_frames} frames; {said}")
            print(f"    {spent:.1f} s of CPU with decoding", flush=True)


if __name__ == "__main__":
    auto_cli(main)
