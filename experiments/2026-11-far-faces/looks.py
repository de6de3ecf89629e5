"""Landmarks and CPU time of a look: mediapipe's FaceLandmarker against ours, which runs its networks by LiteRT."""

import time
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from jsonargparse import auto_cli
from speed import face_landmarker, landmarks_of

from avspeech.media.video import read_frames
from avspeech.roi.landmarks import FaceFinder


def main(folder: Path, clips: int = 12, every: int = 25) -> None:
    """Print the mean distance of landmarks in pixels, and milliseconds a frame.

    Args:
        folder: of clips of faces.
        clips: how many, evenly from all.
        every: frames between two that are looked at.
    """
    cv2.setNumThreads(1)
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".mp4", ".mpg"))
    apart, taken, same, count = [], {"mediapipe": 0.0, "ours": 0.0}, 0, 0
    with FaceFinder() as finder, face_landmarker() as landmarker:
        for path in files[:: max(len(files) // clips, 1)][:clips]:
            for frame in islice(read_frames(path), 5, None, every):
                start = time.process_time()
                theirs = landmarks_of(frame, landmarker)
                middle = time.process_time()
                ours = finder.detect(frame)
                taken["mediapipe"] += middle - start
                taken["ours"] += time.process_time() - middle
                count, same = count + 1, same + (len(ours) == len(theirs))
                apart += [np.hypot(*(a - b).T).mean() for a, b in zip(ours, theirs, strict=False)]
    print(f"{count} frames, {same} with as many faces")
    print(f"landmarks {np.mean(apart):.3f} pixels apart, {max(apart):.3f} at most")
    print(", ".join(f"{name} {1000 * spent / count:.1f} ms" for name, spent in taken.items()))


if __name__ == "__main__":
    auto_cli(main)
