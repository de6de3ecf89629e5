"""Where does the time go? Seconds of work for each second of video, stage by stage.

    python experiments/2026-11-any-video/real_time.py MODEL MANIFEST OUT.json [--num_clips 30]

Transcribes clips one by one, as a user's single file, then all of them joined to one video, which is decoded in
batches. Threads: torch's default. Every stage is timed where it is called.
"""

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli

import avspeech
from avspeech.manifest import read_manifest
from avspeech.media.audio import read_audio
from avspeech.media.video import read_frames, write_video
from avspeech.timebase import SAMPLES_PER_FRAME
from avspeech.transcription import segment_decoding, streams

STAGES = {
    "read the sound": (streams, "read_audio_if_any"),
    "find speech": (streams, "speech_probability"),
    "find faces": (streams, "follow_faces"),
    "cut lips": (streams, "crop_faces"),
    "encode": (segment_decoding, "encode_batch"),
    "decode": (segment_decoding, "decode_memory"),
    "time the words": (segment_decoding, "word_times"),
}
"""Name -> the module in whose namespace the function is called."""


def timed(name: str, work: Callable, seconds: dict[str, float]) -> Callable:
    """Return the function, whose time is added up."""

    @wraps(work)
    def run(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return work(*args, **kwargs)
        finally:
            seconds[name] += time.perf_counter() - start

    return run


def measure(model: Any, videos: list[Path]) -> dict[str, Any]:
    """Return the factors of each stage over all of the videos."""
    seconds: dict[str, float] = defaultdict(float)
    kept = {name: getattr(module, function) for name, (module, function) in STAGES.items()}
    for name, (module, function) in STAGES.items():
        setattr(module, function, timed(name, kept[name], seconds))
    start, length_s, texts = time.perf_counter(), 0.0, []
    try:
        for video in videos:
            transcript = model.transcribe(video, language="en")
            length_s += transcript.duration_s
            texts.append(transcript.text)
    finally:
        for name, (module, function) in STAGES.items():
            setattr(module, function, kept[name])
    total = time.perf_counter() - start
    factors = {name: round(seconds[name] / length_s, 4) for name in STAGES}
    factors["the rest"] = round(total / length_s - sum(factors.values()), 4)
    return {"seconds_of_video": round(length_s, 1), "real_time_factor": round(total / length_s, 4), "stages": factors}


def main(model: str, manifest: Path, out: Path, num_clips: int = 30) -> None:
    """Measure.

    Args:
        model: a Whisper that reads lips.
        manifest: clips with video.
        out: JSON of the results.
        num_clips: how many clips.
    """
    loaded = avspeech.load_model(model)
    videos = [utterance.video for utterance in read_manifest(manifest)[:num_clips] if utterance.video is not None]
    loaded.transcribe(videos[0], language="en")  # loads what is loaded once
    results = {"threads": torch.get_num_threads(), "one by one": measure(loaded, videos)}
    with tempfile.TemporaryDirectory() as folder:
        path, sounds, frames = Path(folder) / "joined.mp4", [], []
        for video in videos:
            shown = list(read_frames(video))
            sound_S = np.zeros(len(shown) * SAMPLES_PER_FRAME, np.float32)
            heard_S = read_audio(video)[: len(sound_S)]
            sound_S[: len(heard_S)] = heard_S
            frames += shown
            sounds.append(sound_S)
        write_video(path, frames, np.concatenate(sounds))
        del frames
        results["joined"] = measure(loaded, [path])
    out.write_text(json.dumps(results, indent=1))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    auto_cli(main)
