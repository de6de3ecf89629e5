"""Time extract_rois clip by clip, in this process and confined, in turn.

    python experiments/2026-11-safe-decoding/speed.py CLIPS_FOLDER NUMBER SEED

Prints medians and ratios of processor time (this process, the server and its children) and of wall time.
"""

import os
import random
import resource
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from avspeech.manifest import Utterance
from data_prep.extract_rois import RoiConfig, extract_one


def cpu_s() -> float:
    """Return the processor time of this process and all its descendants."""
    children = children_of(os.getpid())
    while any(children_of(int(one)) for one in children):  # a child counts when it has ended
        time.sleep(0.001)
    own = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    ticks = [Path(f"/proc/{one}/stat").read_text().rsplit(") ", 1)[1].split()[11:15] for one in children]
    return own + sum(sum(map(int, one)) for one in ticks) / os.sysconf("SC_CLK_TCK")


def children_of(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


def main(folder: str, number: str, seed: str) -> None:
    cv2.setNumThreads(1)
    clips = sorted(path for path in Path(folder).rglob("*") if path.suffix in (".mp4", ".mpg"))
    chosen = random.Random(int(seed)).sample(clips, int(number))
    roi = RoiConfig()
    settings = asdict(roi) | {"already_cropped": False}
    times: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as out:
        for index, clip in enumerate([chosen[0], *chosen]):  # the first warms up, and is not counted
            made = []
            for safe in (False, True) if index % 2 else (True, False):
                name = f"{index}_{safe}"
                job = (Utterance(id=name, video=clip, audio=clip), ("",))
                start = cpu_s(), time.monotonic()
                failed = extract_one(job, Path(out), roi, None, settings, False, safe)
                wall_end = time.monotonic()
                end = cpu_s(), wall_end
                if failed:
                    print(clip.name, failed)
                else:
                    made.append((Path(out) / f"{name}.mp4").read_bytes())
                if index:
                    times[safe].append((end[0] - start[0], end[1] - start[1]))
            assert len(set(made)) < 2, f"{clip} gives other bytes"
    plain, safe = (np.array(times[one]) for one in (False, True))
    for column, name in enumerate(("processor", "wall")):
        a, b = plain[:, column], safe[:, column]
        print(
            f"{name}: in process {np.median(a):.3f} s, confined {np.median(b):.3f} s a clip; medians' ratio "
            f"{np.median(b) / np.median(a):.3f}, ratio of sums {b.sum() / a.sum():.3f}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
