"""Clips made from the videos of a manifest: kept over restarts, failures listed, a crash costs one job.

A clip ``<id>.mp4`` has its record ``<id>.json`` with its settings beside it, and gets its name after its record.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from avspeech.files import write_lines, written_whole
from avspeech.manifest import Utterance
from avspeech.media.video import write_video
from avspeech.roi.landmarks import FaceFinder
from data_prep.run_each import Crash, run_each

Job = tuple[Utterance, tuple[str, ...]]
"""An utterance and the labels of the clips to make of it."""
NO_VIDEO = "the manifest names no video; fill in the field 'video'"
GONE = "its clip or record was removed or changed during the run; run again"


def settings_of(utterance: Utterance, settings: dict[str, Any]) -> dict[str, Any]:
    """Return a run's settings for one clip, with the part of the file that it is made of, if it is one."""
    return settings if utterance.span is None else settings | {"span": list(utterance.span)}


def kept_record(clip: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the record of a finished clip; None if one is missing or made with other settings."""
    if not clip.exists() or not clip.with_suffix(".json").exists():
        return None
    record = json.loads(clip.with_suffix(".json").read_text())
    return record if record["settings"] == settings else None


def write_kept(clip: Path, record: dict[str, Any], frames: Iterable[np.ndarray], **encoding: Any) -> None:
    """Write a clip and its record, whose ``num_frames`` is filled in; ``encoding`` goes to ``write_video``."""
    with written_whole(clip) as unfinished:
        record["num_frames"] = write_video(unfinished, frames, **encoding)
        clip.unlink(missing_ok=True)  # made with other settings; remove it before its record changes
        write_lines(clip.with_suffix(".json"), [record])


def run_jobs(
    make: Callable[[Job], dict[str, str]], jobs: Sequence[Job], total: int, workers: int, timeout_s: float | None
) -> dict[tuple[str, str], str]:
    """Run the jobs behind a progress bar of ``total`` utterances; return why clips failed, by id and label."""
    why: dict[tuple[str, str], str] = {}
    with tqdm(total=total, initial=total - len(jobs), unit="clip", smoothing=0.05) as progress:
        for (utterance, labels), result in run_each(make, jobs, workers, _one_thread, timeout_s):
            failed = dict.fromkeys(labels, result.why) if isinstance(result, Crash) else result
            for label, reason in failed.items():
                why[utterance.id, label] = reason
                progress.write(f"{', '.join(filter(None, (utterance.id, label)))}: {reason}", file=sys.stderr)
            progress.set_postfix(failed=len(why), refresh=False)
            progress.update()
    return why


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)  # the workers are the parallelism


face_finder = cache(FaceFinder)
"""Returns this process's landmark model, loaded once."""
