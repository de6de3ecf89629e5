"""Several synchrony models on the same few pairs and offsets, without the other methods.

    python experiments/2026-11-who-speaks/few_pairs.py runs/who-speaks/clips '[c2.safetensors, c7.safetensors]' \
        '[s26, s30, s31, lombard_s3]'
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import WINDOWS, Judge, choose, judge_offsets, window
from jsonargparse import auto_cli

from avspeech.interop.official_files import load_any
from avspeech.models.synchrony import Synchrony, odds


def main(clips: Path, models: list[Path], speakers: list[str], each: int = 6, partners: int = 5) -> None:
    """Print a line for each model.

    Args:
        clips: folder of prepare.py.
        models: synchrony models.
        speakers: people, by their folders' names.
        each: clips of each of them.
        partners: other people's faces that each voice meets.
    """
    torch.set_num_threads(1)
    chosen = [clip.read() for clip in choose(clips, speakers, each)]
    no_detector: Any = None
    for path in models:
        model = load_any(path)
        assert isinstance(model, Synchrony)
        judge, rng, shares = Judge(model, no_detector), np.random.default_rng(0), []
        for length in WINDOWS.values():
            right = []
            for heard in chosen:
                others = [clip for clip in chosen if clip.speaker != heard.speaker]
                for other in rng.choice(len(others), partners, replace=False):
                    first, count = window([heard, others[other]], length, rng)
                    own, foreign = (
                        float(odds(judge.profile(face, heard.audio_S, first, count))[0])
                        for face in (heard, others[other])
                    )
                    right.append(own > foreign)
            shares.append(f"{np.mean(right):.1%} of {len(right)} pairs")
        found = judge_offsets(chosen, judge, seed=0)
        near = np.mean([abs(one["both"]["offset"] - one["shift"]) <= 1 for one in found])
        print(f"{path.stem}: 1 s {shares[0]}, 3 s {shares[1]}; {near:.1%} of {len(found)} offsets", flush=True)


if __name__ == "__main__":
    auto_cli(main)
