"""Draw one frame of a real mouth clip under every visual fault and severity.

    python experiments/2026-11-noise-bench/fault_sheet.py test.jsonl experiments/2026-11-noise-bench/faults.png

Reads   the mouth clip and the video of one utterance of a manifest.
Writes  a labelled picture: a row for each kind (several for things and hands: other keys, other things), a column for
        each level; faults in time are strips of frames 80 ms apart. The last row is whole video (face model).
"""

from pathlib import Path

import cv2
import numpy as np
from jsonargparse import auto_cli

from avspeech.degrade.visual import KINDS, Fault, degrade_clip, degrade_frames, fault_key
from avspeech.manifest import read_manifest
from avspeech.media.video import read_frames, read_grey_clip
from avspeech.roi.landmarks import FaceFinder
from data_prep.degrade_videos import find_mouth_boxes

TEXT = 13
STRIP = ("drop", "freeze", "offset")


def main(
    manifest: Path,
    out: Path,
    utterance: str | None = None,
    object_seeds: tuple[int, ...] = (2, 5, 7, 10),
    hand_seeds: tuple[int, ...] = (1, 4, 6),
    at: int = 40,
) -> None:
    """Draw the sheet.

    Args:
        manifest: JSON lines with ``mouth`` and ``video``.
        out: the picture.
        utterance: its id; None takes the first.
        object_seeds: a row for each; which thing is drawn depends on the seed.
        hand_seeds: a row for each.
        at: frame that is shown; of things and hands, the frame in place that is nearest to it.
    """
    utterances = read_manifest(manifest, require=("mouth", "video"))
    chosen = next(one for one in utterances if utterance in (None, one.id))
    assert chosen.mouth is not None and chosen.video is not None
    mouth_THW = read_grey_clip(chosen.mouth)
    rows = [[labelled("clean", mouth_THW[at])]]
    for kind, described in KINDS.items():
        faults = [Fault(kind, level) for level in described.levels]
        for seed in {"object": object_seeds, "hand": hand_seeds}.get(kind, (0,)):
            cells = [strip("clean", mouth_THW, at)] if kind in STRIP else []
            for fault in faults:
                clip_THW = degrade_clip(mouth_THW, fault, fault_key(seed, chosen.id, fault))
                if kind in STRIP:
                    cells.append(strip(fault.label, clip_THW, at))
                else:
                    cells.append(labelled(fault.label, clip_THW[in_place(kind, clip_THW, mouth_THW, at)]))
            per_row = 2 if kind in STRIP else 5
            rows += [cells[i : i + per_row] for i in range(0, len(cells), per_row)] if faults else []
    rows.append(whole_video(chosen.id, chosen.video, at))
    joined = [np.concatenate(row, axis=1) for row in rows]
    width = max(row.shape[1] for row in joined)
    sheet = np.concatenate(
        [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in joined]
    )
    grey = cv2.cvtColor(sheet, cv2.COLOR_RGB2GRAY)  # a third of the bytes
    cv2.imwrite(
        str(out), grey, [cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_FILTERED]
    )
    print(f"{out}: {sheet.shape[1]}x{sheet.shape[0]}, {out.stat().st_size // 1000} kB")


def in_place(kind: str, clip_THW: np.ndarray, mouth_THW: np.ndarray, at: int) -> int:
    """Return the frame to show: the nearest to ``at`` in which a thing hides nearly as much as it ever does."""
    if kind not in ("object", "hand"):
        return at
    change_T = np.abs(clip_THW.astype(int) - mouth_THW).mean(axis=(1, 2))
    good = np.flatnonzero(change_T >= 0.85 * np.quantile(change_T, 0.95))
    return int(good[np.argmin(np.abs(good - at))])


def labelled(label: str, picture: np.ndarray) -> np.ndarray:
    """Return the picture in colours with its label above and a margin."""
    rgb = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture
    framed = np.pad(rgb, ((TEXT, 3), (2, 2), (0, 0)), constant_values=255)
    return cv2.putText(framed, label, (2, TEXT - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)


def strip(label: str, clip_THW: np.ndarray, at: int) -> np.ndarray:
    """Return six frames, every second one, half as large."""
    frames = [
        cv2.resize(frame, (48, 48), interpolation=cv2.INTER_AREA)[8:40] for frame in clip_THW[at - 8 : at + 4 : 2]
    ]
    return labelled(label, np.concatenate(frames, axis=1))


def whole_video(name: str, video: Path, at: int) -> list[np.ndarray]:
    """Return cells of the whole picture."""
    with FaceFinder() as finder:
        boxes = find_mouth_boxes(video, finder)
    cells = []
    for fault in (Fault("object", 4), Fault("hand", 5), Fault("no_face"), Fault("low_resolution", 4)):
        frames = degrade_frames(read_frames(video), fault, fault_key(1, name, fault), len(boxes), boxes)
        cells.append(
            labelled(fault.label, cv2.resize(list(frames)[at], None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA))
        )
    return cells


if __name__ == "__main__":
    auto_cli(main)
