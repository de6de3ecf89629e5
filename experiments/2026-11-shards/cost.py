"""Frames a second of one core from shards, from files and by plain webdataset, and what babble costs.

    OMP_NUM_THREADS=1 python experiments/2026-11-shards/cost.py data/grid/train.jsonl scratch/fast scratch/small \
        scratch/voices --out results/cost.json

Reads   a manifest of mouth clips, and the same clips in shards of both profiles (data_prep/write_shards.py).
Writes  scratch/voices: shards of 5,000 voices of 50 speakers from the sound of the fast shards, each its own bytes on
        the disk; --out: figures of every round, and their medians.
The ways are interleaved: each round does the clips of one way after the other. CPU time (time.process_time), one
thread, ``AVDataset[i]``: decoding, 104 filterbanks, the crop to 88x88.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from jsonargparse import auto_cli

from avspeech.data.clips import open_clips
from avspeech.data.dataset import AVDataset
from avspeech.files import write_json
from avspeech.inputs import InputSpec, make_sample
from avspeech.manifest import Utterance
from avspeech.noise.drawn import DrawnNoise
from avspeech.noise.mixing import rms, to_audio
from avspeech.noise.spec import NoiseConfig
from avspeech.shards.index import INDEX, merge
from avspeech.shards.reading import Shards
from avspeech.shards.writing import Content, write_shard

VOICES, SPEAKERS, PER_SHARD = 5_000, 50, 1_000


def make_voices(shards: Shards, out: Path) -> Shards:
    """Write voices; number i is the sound of clip i modulo their number, turned round by another number of samples."""
    out.mkdir(parents=True, exist_ok=True)
    tars = [out / f"shard-{number:06}.tar" for number in range(VOICES // PER_SHARD)]

    def voices(first: int):
        for i in range(first, first + PER_SHARD):
            steps_S = np.roll(shards.sound(i % len(shards)), 7 * i)
            utterance = Utterance(f"voice{i}", speaker=f"speaker{i % SPEAKERS}")
            yield i, utterance.id, Content(utterance, None, steps_S, rms(to_audio(steps_S)))

    for number, tar in enumerate(tars):
        write_shard(tar, "voices", "fast", {}, voices(number * PER_SHARD))
    merge(out / INDEX, [tar.with_suffix(".arrow") for tar in tars])
    return Shards(out)


def by_webdataset(folder: Path, count: int) -> Callable[[], int]:
    """Return a pass over the fast shards by webdataset's own reader: it cannot take clip i, only the next one."""
    import webdataset

    tars = [str(path) for path in sorted(folder.glob("*.tar"))]

    def run() -> int:
        frames = 0
        for number, one in enumerate(webdataset.WebDataset(tars, shardshuffle=False).decode("l8")):
            if number == count:
                break
            mouth_THW = one["lips.jpg"].reshape(-1, 96, 96)
            audio_S = to_audio(np.frombuffer(one["sound.pcm"], "<i2"))
            frames += make_sample(InputSpec(), one["json"]["id"], None, audio_S, mouth_THW).num_frames
        return frames

    return run


def over(dataset: AVDataset, count: int) -> Callable[[], int]:
    return lambda: sum(dataset[index].num_frames for index in range(count))  # type: ignore[union-attr]


def main(
    manifest: Path, fast: Path, small: Path, voices: Path, rounds: int = 5, count: int = 200, out: Path | None = None
):
    """Measure.

    Args:
        manifest: mouth clips and the sound as extract_rois.py leaves them: the sound inside the source video.
        fast: their shards, profile fast.
        small: their shards, profile small.
        voices: folder for the voices.
        rounds: rounds over all ways.
        count: clips of a round.
        out: JSON file.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    files, shards = open_clips(manifest), open_clips(fast)
    errors = [
        np.abs(shards.streams(i, False, True)[0].astype(int) - files.streams(i, False, True)[0]).mean()
        for i in range(count)
    ]
    babble = DrawnNoise(NoiseConfig(1.0, (0.0, 0.0)), make_voices(Shards(fast), voices))  # 2 to 8 voices, all clips
    ways = {
        "files": over(AVDataset(files), count),
        "fast": over(AVDataset(shards), count),
        "small": over(AVDataset(open_clips(small)), count),
        "webdataset": by_webdataset(fast, count),
        "fast with babble": over(AVDataset(shards, noise=babble), count),
    }
    figures: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            begin = time.process_time()
            frames = run()
            figures[name].append(frames / (time.process_time() - begin))
    found = {
        "pixel_error": float(np.mean(errors)),
        "pixel_error_of_worst_clip": float(np.max(errors)),
        "rounds": figures,
    }
    found["median_frames_a_second"] = {name: round(median(rates)) for name, rates in figures.items()}
    cost = [clean / noisy for clean, noisy in zip(figures["fast"], figures["fast with babble"], strict=True)]
    found["babble_cost"] = median(cost)
    found["speed_up"] = median(a / b for a, b in zip(figures["fast"], figures["files"], strict=True))
    print({name: value for name, value in found.items() if name != "rounds"})
    if out is not None:
        write_json(out, found)


if __name__ == "__main__":
    auto_cli(main)
