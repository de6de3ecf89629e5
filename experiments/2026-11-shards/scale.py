"""Time and memory of a training's start from 10 k to 10 M clips: a simulated index over one real shard that repeats.

    OMP_NUM_THREADS=1 python experiments/2026-11-shards/scale.py path/to/shards scratch/folder --out results/scale.json

Reads   shards with lips, sound and units (data_prep/write_shards.py --units '{km: ...}').
Writes  scratch/<number>/index.arrow, whose rows name the clips of the real shards again and again under other ids;
        --out: CPU seconds and MiB of each size.
Every size is measured in a process of its own, a worker in its fork.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from jsonargparse import auto_cli

from avspeech.files import write_json
from avspeech.shards.index import Facts, read_index, write_index

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
TOUCHED = 100_000  # random clips that a worker reads


def simulated(shards: Path, out: Path, number: int) -> Path:
    """Return the folder of an index of ``number`` clips; lengths vary from 1 to 6 s as modelled, 10,000 speakers."""
    if (folder := out / str(number)).joinpath("index.arrow").exists():
        return folder
    table, facts = read_index(shards / "index.arrow")
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    table = table.set_column(table.schema.get_field_index("words"), "words", pa.nulls(len(table), pa.large_string()))
    again = table.take(pa.array(np.arange(number) % len(table)))  # word times would only fill the disk
    ids = [f"corpus/speaker{i % 10_000:05}/clip{i:09}" for i in range(number)]
    new = {
        "id": pa.array(ids, pa.large_string()),
        "id_hash": pa.array(rng.integers(0, 1 << 63, number, dtype=np.uint64)),
        "speaker": pa.DictionaryArray.from_arrays(
            pa.array((np.arange(number) % 10_000).astype(np.int32)), pa.array([f"speaker{i:05}" for i in range(10_000)])
        ),
        "num_frames": pa.array(rng.integers(25, 150, number).astype(np.int32)),
    }
    for name, column in new.items():
        again = again.set_column(again.schema.get_field_index(name), name, column)
    files = [os.path.relpath(shards / name, folder) for name in facts.files]
    write_index(folder / "index.arrow", again, Facts(facts.profile, facts.units, files))
    return folder


def memory(field: str) -> float:
    """Return a figure of /proc in MiB."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(field)) / 1024


def start(folder: Path) -> dict[str, float]:
    """Set up training from this index in this process, take the first batch, fork a worker."""
    from avspeech.data.batching import BatchConfig
    from avspeech.training.data import AVDataModule

    before, begin = memory("Rss:"), time.process_time()
    batches = BatchConfig(max_frames=1000)
    data = AVDataModule(str(folder), train_units="km", batches=batches)
    data.setup("fit")
    setup_s, keys = time.process_time() - begin, next(iter(data.train_dataloader().batch_sampler))
    keys_s = time.process_time() - begin
    batch = [data._train[key] for key in keys]
    found = {"setup_s": setup_s, "first_keys_s": keys_s, "first_batch_s": time.process_time() - begin}
    found |= {"clips_of_batch": len(batch), "rss_mib": memory("Rss:") - before}
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    found["peak_mib"] = int(peak.split()[1]) / 1024 - before  # ru_maxrss would be that of the process which started us
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        own, begin = memory("Private_Dirty:"), time.process_time()
        clips, units = data._train.clips, data._train.units[0]
        rng = np.random.default_rng(1)
        for _ in range(TOUCHED):
            index = int(rng.integers(len(clips)))
            clips.utterance(index)
            units.at_frames(index, 75)
        spent = time.process_time() - begin
        os.write(write_end, json.dumps([memory("Private_Dirty:") - own, spent / TOUCHED * 1e6]).encode())
        os._exit(0)
    os.close(write_end)
    found["worker_mib"], found["worker_us_a_clip"] = json.loads(os.read(read_end, 1000))
    os.wait()
    return found


def plot(rows: dict[str, dict[str, float]], path: Path) -> None:
    """Draw time and memory against the number of clips."""
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    sizes = [int(size) for size in rows]
    for name in ("setup_s", "first_keys_s", "first_batch_s"):
        left.loglog(sizes, [row[name] for row in rows.values()], marker="o", label=name)
    for name in ("rss_mib", "peak_mib", "worker_mib"):
        right.loglog(sizes, [max(row[name], 0.1) for row in rows.values()], marker="o", label=name)
    for axis, unit in ((left, "CPU s"), (right, "MiB")):
        axis.set_xlabel("clips")
        axis.set_ylabel(unit)
        axis.legend()
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)


def main(shards: Path, scratch: Path, out: Path | None = None, only: Path | None = None) -> None:
    """Measure.

    Args:
        shards: folder of real shards.
        scratch: folder for the simulated indices, 3 GB at 10 M clips.
        out: JSON file, and a PNG beside it.
        only: measure this simulated index in this process and print it.
    """
    if only is not None:
        print(json.dumps(start(only)))
        return
    rows = {}
    for number in SIZES:
        folder = simulated(shards.resolve(), scratch.resolve(), number)
        call = [sys.executable, __file__, str(shards), str(scratch), f"--only={folder}"]
        rows[str(number)] = json.loads(subprocess.check_output(call, text=True).splitlines()[-1])
        print(number, {name: round(value, 2) for name, value in rows[str(number)].items()})
    if out is not None:
        write_json(out, rows)
        plot(rows, out.with_suffix(".png"))


if __name__ == "__main__":
    auto_cli(main)
