"""Measure how fast each stage is: frames (or updates) per second of one core, and the memory of a process.

    OMP_NUM_THREADS=1 python experiments/2026-11-speed/measure.py path/to/video.mp4 ... --out results.json

Every figure is the median of ``repeats`` passes in one process, in CPU time (`time.process_time`), on one thread.
"""

import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import torch
from jsonargparse import auto_cli

from avspeech.features.logfbank import fbank_TF
from avspeech.media.audio import read_audio
from avspeech.media.video import read_frames, read_grey_clip, write_video
from avspeech.models.encoder import AVEncoder, EncoderConfig
from avspeech.models.frontends import VideoConfig
from avspeech.models.fusion import fixed_keep
from avspeech.roi.landmarks import FaceFinder, find_landmarks
from avspeech.roi.mouth import extract_mouth
from data_prep.synthetic.clip import make_clip, perform, renderer_of
from data_prep.synthetic.espeak import Espeak
from data_prep.synthetic.plan import CorpusConfig, plan_corpus
from data_prep.synthetic.speaker import SETS

SMALL = EncoderConfig(
    width=128,
    depth=3,
    num_heads=4,
    ffn_width=512,
    position_kernel=31,
    position_groups=8,
    layer_drop=0.0,
    video=VideoConfig(
        shrink=2, stem_kernel=5, stem_width=16, widths=(16, 32, 64, 128), blocks=(1, 1, 1, 1), activation="relu"
    ),
)
"""The encoder of configs/finetune/small.yaml."""


def rate(work: Callable[[], int], repeats: int) -> float:
    """Return the median of units of work per CPU second; the first pass only warms up."""
    work()
    rates = []
    for _ in range(repeats):
        start = time.process_time()
        count = work()
        rates.append(count / (time.process_time() - start))
    return round(statistics.median(rates), 1)


def measure_rendering(folder: Path, repeats: int) -> dict[str, float]:
    """Return frames per second of drawing and encoding synthetic faces; the speaker's one-off rig is built before."""
    clips = {name: 4 if name == "train" else 0 for name in SETS}
    plan = plan_corpus(CorpusConfig(clips, dict.fromkeys(SETS, 1), ("en",), "sentences", 0))
    with Espeak() as espeak:
        _, motion = perform(plan[0], espeak)
        renderer = renderer_of(plan[0].speaker)

        def draw() -> int:
            return sum(1 for _ in renderer.frames(motion))

        def make() -> int:
            for path in folder.rglob("*.mp4"):
                path.unlink()
            return sum(make_clip(clip, folder, espeak).num_frames or 0 for clip in plan)

        return {"render": rate(draw, repeats), "render and encode, with speech": rate(make, repeats)}


def measure_roi(videos: list[Path], folder: Path, repeats: int) -> dict[str, float]:
    """Return frames per second of decoding, landmarks and the whole ROI step on real clips."""
    mouth = folder / "mouth.mp4"
    with FaceFinder() as finder:
        frames = [list(read_frames(video)) for video in videos]
        write_video(mouth, extract_mouth(videos[0], finder).mouth_THW)

        def whole() -> int:
            count = 0
            for video in videos:
                clip = extract_mouth(video, finder)
                write_video(folder / "out.mp4", clip.mouth_THW)
                count += len(clip.mouth_THW)
            return count

        return {
            "decode, colour": rate(lambda: sum(1 for video in videos for _ in read_frames(video)), repeats),
            "decode, grey": rate(lambda: sum(1 for video in videos for _ in read_frames(video, grey=True)), repeats),
            "landmarks": rate(lambda: sum(len(find_landmarks(clip, finder)) for clip in frames), repeats),
            "whole ROI step": rate(whole, repeats),
            "read a mouth clip": rate(lambda: sum(len(read_grey_clip(mouth)) for _ in range(20)), repeats),
        }


def measure_training(repeats: int) -> dict[str, float]:
    """Return frames per second of forward and backward passes, on 4 clips of 3 s."""
    results = {}
    batch, frames = 4, 75
    audio_BTF = torch.randn(batch, frames, 104)
    video_BTHW = torch.randint(0, 256, (batch, frames, 88, 88), dtype=torch.uint8)
    valid_BT = torch.ones(batch, frames, dtype=torch.bool)
    for name, config in (("small", SMALL), ("base", EncoderConfig())):
        encoder = AVEncoder(config).train()
        for modality in ("audio+video", "audio"):

            def step(encoder: AVEncoder = encoder, modality: str = modality) -> int:
                encoder.zero_grad()
                memory_BTD = encoder(audio_BTF, video_BTHW, valid_BT, fixed_keep(batch, modality))
                memory_BTD.square().mean().backward()
                return batch * frames

            results[f"train {name} encoder, {modality}"] = rate(step, repeats if name == "small" else 1)
    return results


def measure_features(videos: list[Path], repeats: int) -> dict[str, float]:
    """Return frames per second of decoding sound and of filterbanks."""
    sound = [torch.from_numpy(read_audio(video)) for video in videos]
    return {
        "decode sound": rate(lambda: sum(len(read_audio(video)) // 640 for video in videos), repeats),
        "filterbanks": rate(lambda: sum(len(fbank_TF(audio_S, len(audio_S) // 640)) for audio_S in sound), repeats),
    }


def main(videos: list[Path], out: Path | None = None, repeats: int = 5) -> None:
    """Measure every stage.

    Args:
        videos: real talking-face clips.
        out: JSON file for the figures.
        repeats: passes of which the median counts.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = measure_rendering(folder, repeats) | measure_roi(videos, folder, repeats)
    figures |= measure_features(videos, repeats) | measure_training(repeats)
    for stage, value in figures.items():
        print(f"{stage:40} {value:10.1f} frames/s of one core")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{'largest memory of this process':40} {peak:10.2f} GiB")
    if out is not None:
        out.write_text(json.dumps({"frames_per_cpu_second": figures, "peak_gib": round(peak, 2)}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(auto_cli(main))
