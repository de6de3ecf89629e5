"""Print CPU time and memory of an epoch's plan and of a resume, each in a process of its own.

    python experiments/2026-11-order/plan_cost.py 10000 100000 1000000 10000000

Lengths are drawn (seed 0): gamma, 3 s on average, 0.4 to 20 s, int32. "before" is the order of commit 9d757b9: lists of
Python numbers, all epochs planned anew on a resume. "after" is the package's.
"""

import itertools
import json
import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np

from avspeech.data.balance import Balance, BalanceConfig
from avspeech.data.batching import BatchConfig, Place, TrainingBatches

CONFIG = BatchConfig(max_frames=1000)
EPOCHS = 100


def draw_lengths(count: int) -> np.ndarray:
    """Return lengths in frames at 25 Hz, (N,) int32."""
    return np.random.default_rng(0).gamma(2.0, 37.5, count).clip(10, 500).astype(np.int32)


def plan_in_lists(lengths: list[int], generator: np.random.Generator) -> list[list[int]]:
    """Return an epoch's batches as the order planned them before."""
    keys = np.asarray(lengths, dtype=float)
    keys = keys * generator.uniform(0.95, 1.05, len(keys)) + generator.uniform(0, 1, len(keys))
    batches, longest = [], 0
    for index in np.argsort(-keys, kind="stable").tolist():
        longest = max(longest, lengths[index])
        full = not batches or len(batches[-1]) == CONFIG.max_clips
        if full or longest * (len(batches[-1]) + 1) > CONFIG.max_frames:
            batches.append([])
            longest = lengths[index]
        batches[-1].append(index)
    return [batches[i] for i in generator.permutation(len(batches))]


def status(name: str) -> float:
    """Return a field of this process's memory status, in MiB."""
    with Path("/proc/self/status").open() as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(f"{name}:"))


def first_batch(kind: str, lengths_N: np.ndarray, epoch: int) -> list[int]:
    """Return the clips of an epoch's first batch."""
    if kind == "before":
        lengths = lengths_N.tolist()
        for number in range(epoch + 1):
            plan = plan_in_lists(lengths, np.random.default_rng((0, number)))
        return plan[0]
    balance = None
    if kind == "balanced":
        language_N = np.searchsorted([0.5, 0.8, 0.95], np.random.default_rng(1).random(len(lengths_N)))
        balance = Balance(BalanceConfig(0.7, 0.9), language_N, np.arange(len(lengths_N)) % 3)
    order = TrainingBatches(lengths_N, CONFIG, start=Place(epoch * 10**6, epoch, 0), balance=balance)
    return [key.index for key in next(iter(order))]


def measure(kind: str, count: int, epoch: int) -> None:
    """Print seconds of CPU time, and MiB of memory beyond the lengths', until the first batch."""
    lengths_N = draw_lengths(count)
    held, start = status("VmRSS"), time.process_time()
    batch = first_batch(kind, lengths_N, epoch)
    facts = {"kind": kind, "clips": count, "epoch": epoch, "seconds": round(time.process_time() - start, 3)}
    print(json.dumps(facts | {"peak_mib": round(status("VmHWM") - held, 1), "first": batch[:3]}), flush=True)


def main(counts: list[int]) -> None:
    """Measure each kind, number of clips and epoch to begin with, three times."""
    for _, count in itertools.product(range(3), counts):
        for kind, epoch in (("before", 0), ("after", 0), ("after", EPOCHS), ("balanced", 0), ("before", EPOCHS)):
            if kind != "before" or count * (epoch + 1) < 1.1e7:
                child = multiprocessing.get_context("fork").Process(target=measure, args=(kind, count, epoch))
                child.start()
                child.join()


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]])
