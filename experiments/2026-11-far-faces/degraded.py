"""Share of degraded large faces that are found, and faces seen in mouths, hair and clutter, which show none."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from jsonargparse import auto_cli
from scenes import background

from avspeech.media.video import read_frames, read_pictures, write_video
from avspeech.roi.faces import follow_faces
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.mouth import LIPS, STABLE, crop_mouth, placements
from avspeech.roi.track import overlap

LEVELS = [("clean", 0.0)]
LEVELS += [("blur", level) for level in (2, 3.5, 5, 6.5, 8)]  # deviation in pixels of the 96x96 crop
LEVELS += [("jpeg", level) for level in (30, 10, 5)]  # libjpeg's quality
LEVELS += [("darker", level) for level in (0.15, 0.08)]  # factor
LEVELS += [("flatter", level) for level in (0.3, 0.15)]  # factor on the contrast
LEVELS += [("noise", level) for level in (28, 44, 64)]  # deviation in grey levels
LARGE = 288  # side of an enlarged mouth crop


def degraded(frame: np.ndarray, kind: str, level: float, scale: float) -> np.ndarray:
    """Return the frame made worse; ``scale``: its pixels per crop pixel."""
    if kind == "blur":
        return cv2.GaussianBlur(frame, (0, 0), level * scale)
    if kind == "jpeg":
        _, packed = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(level)])
        return np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1])
    if kind == "noise":
        noise_HW = np.random.default_rng(0).normal(0, level, frame.shape[:2])
        return np.clip(frame + noise_HW[..., None], 0, 255).round().astype(np.uint8)
    if kind == "clean":
        return frame
    return (level * frame + (110 * (1 - level) if kind == "flatter" else 0)).round().astype(np.uint8)


def faceless(frame: np.ndarray, face_J2: np.ndarray, matrix_23: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield parts of a picture that show no face: its mouth, also enlarged, and the hair above its brows."""
    grey_HW = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    for name, side in (("mouth, 96x96", 96), ("mouth, 288x288", LARGE)):
        crop_HW = crop_mouth(grey_HW, matrix_23 * (side / 96), side)
        yield name, cv2.cvtColor(crop_HW, cv2.COLOR_GRAY2RGB)
    (left, _), (right, _) = face_J2.min(axis=0), face_J2.max(axis=0)
    hair = frame[: max(int(face_J2[[105, 334], 1].mean()), 8), max(int(left), 0) : int(right)]
    yield "hair", cv2.resize(hair, (LARGE, max(round(LARGE * hair.shape[0] / hair.shape[1] / 2) * 2, 32)))


def main(folders: list[Path], clips: int = 2, num_clutter: int = 8, seed: int = 0) -> None:
    """Print a table.

    Args:
        folders: of clips, one person each.
        clips: of each folder, drawn.
        num_clutter: drawn pictures of clutter.
        seed: draws the clips and the clutter.
    """
    cv2.setNumThreads(1)
    rng, rows = np.random.default_rng(seed), defaultdict(list)
    with FaceFinder() as finder, TemporaryDirectory() as temporary:

        def seen(frame: np.ndarray) -> list[np.ndarray]:
            """Return the boxes of the faces that are found in a video of this frame."""
            even = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
            write_video(Path(temporary) / "one.mp4", [even], crf=8)
            return [face.boxes_T4[0] for face in follow_faces(read_pictures(Path(temporary) / "one.mp4"), finder).faces]

        empty = [("clutter", background(seed + number, 640, 360), 1.0) for number in range(num_clutter)]
        for folder in folders:
            files = sorted(one for one in folder.rglob("*") if one.suffix in (".mp4", ".mpg", ".mov"))
            for number in rng.choice(len(files), clips, replace=False):
                frame = next(islice(read_frames(files[number]), 3, None))
                (face_J2, *_) = finder.detect(frame)
                points_TN2 = np.concatenate([face_J2[list(STABLE)], face_J2[list(LIPS)]])[None]
                matrix_23 = placements(points_TN2, "official")[0]
                scale, box = 1 / np.hypot(*matrix_23[:, 0]), np.concatenate([face_J2.min(axis=0), face_J2.max(axis=0)])
                empty += [(name, part, scale) for name, part in faceless(frame, face_J2, matrix_23)]
                for kind, level in LEVELS:
                    boxes = seen(degraded(frame, kind, level, scale))
                    good = [one for one in boxes if overlap(one, box) > 0.5]
                    rows[f"face, {kind} {level}"].append((bool(good), len(boxes) - len(good[:1])))
        for name, part, scale in empty:
            for kind, level in LEVELS[::5]:
                rows[name].append((False, len(seen(degraded(part, kind, level, scale)))))
    for name, counts in rows.items():
        found, others = np.sum(counts, axis=0).tolist()
        print(f"| {name} | {len(counts)} | {found} | {others} |")


if __name__ == "__main__":
    auto_cli(main)
