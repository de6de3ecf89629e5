"""Share of frames with lips in clips of other views, at their own size and set small into 1920x1080 pictures."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from jsonargparse import auto_cli
from scenes import HEIGHT, WIDTH, background

from avspeech.media.video import read_frames, read_pictures, write_video
from avspeech.roi.faces import follow_faces
from avspeech.roi.landmarks import FaceFinder


def set_small(frames: list[np.ndarray], share: float, seed: int) -> Iterator[np.ndarray]:
    """Yield the frames, scaled by ``share``, at a drawn place of a cluttered picture."""
    rng = np.random.default_rng(seed)
    picture = background(seed)
    height, width = (round(side * share) for side in frames[0].shape[:2])
    top, left = int(rng.integers(HEIGHT - height)), int(rng.integers(WIDTH - width))
    for frame in frames:
        large = picture.copy()
        large[top : top + height, left : left + width] = cv2.resize(
            frame, (width, height), interpolation=cv2.INTER_AREA
        )
        yield large


def seen_whole(frames: list[np.ndarray], finder: FaceFinder, yunet: Path | None) -> tuple[int, int]:
    """Return in how many of the pictures the landmark model, and YuNet, see a face."""
    height, width = frames[0].shape[:2]
    theirs = yunet and cv2.FaceDetectorYN.create(str(yunet), "", (width, height), 0.6)
    by_yunet = [theirs.detect(np.ascontiguousarray(one[..., ::-1]))[1] is not None for one in frames] if theirs else []
    return sum(bool(finder.detect(one)) for one in frames), sum(by_yunet)


def main(
    folders: list[Path],
    clips: int = 4,
    num_frames: int = 50,
    share: float = 0.25,
    seed: int = 0,
    yunet: Path | None = None,
) -> None:
    """Print a table.

    Args:
        folders: clips of one view each.
        clips: of each folder, drawn.
        num_frames: at the start of each clip.
        share: scale of the small ones.
        seed: draws clips, places and backgrounds.
        yunet: OpenCV Zoo's face_detection_yunet_2023mar.onnx, to be tried on whole pictures.
    """
    cv2.setNumThreads(1)
    rng = np.random.default_rng(seed)
    with FaceFinder() as finder, TemporaryDirectory() as folder:
        for view in folders:
            files = sorted(one for one in view.iterdir() if one.suffix in (".mp4", ".mpg", ".mov"))
            rows: dict[str, list[tuple[float, float]]] = {"own size": [], "small": []}
            whole = np.zeros(3, int)  # pictures, and those in which the landmark model and YuNet see a face
            for number in rng.choice(len(files), min(clips, len(files)), replace=False):
                frames = list(itertools.islice(read_frames(files[number]), num_frames))
                whole += (len(frames[::8]), *seen_whole(frames[::8], finder, yunet))
                for name, shown in (("own size", frames), ("small", set_small(frames, share, int(number)))):
                    write_video(Path(folder) / "view.mp4", shown, crf=18)
                    followed = follow_faces(read_pictures(Path(folder) / "view.mp4"), finder)
                    faces = followed.faces
                    found = faces[0].share_found(0, followed.num_frames) if faces else 0.0
                    height = float(np.median(np.ptp(faces[0].boxes_T4[:, 1::2], axis=1))) if faces else np.nan
                    rows[name].append((found, height))
            print("{}: of {} whole pictures, the landmark model sees a face in {}, YuNet in {}".format(view, *whole))
            for name, found in rows.items():
                shares, heights = np.array(found).T
                print(f"{view} {name}: found {shares.mean():.1%} (worst clip {shares.min():.0%}), "
                      f"{np.nanmedian(heights):.0f} px high", flush=True)  # fmt: skip


if __name__ == "__main__":
    auto_cli(main)
