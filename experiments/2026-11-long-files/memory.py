"""Measure the memory that long files take, against a minute of the same.

    python experiments/2026-11-long-files/memory.py sound CLIP MODEL 1 600
    python experiments/2026-11-long-files/memory.py picture CLIP HEIGHT 1 60

Each file of so many minutes repeats the packets of CLIP, for ``picture`` scaled to HEIGHT once, so nothing long is
encoded. ``sound`` runs avspeech.transcribe with MODEL, ``picture`` data_prep/extract_rois.py with one worker, each as
users do. Prints the peak of the sum of all processes' memory (shared pages counted once), looked at twice a second,
and the largest that one process had by the kernel's own count.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import av

MIB = 2**20


def repeat(clip: Path, out: Path, seconds: float, kind: str) -> None:
    """Write the packets of one stream of a clip again and again."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as container:
        old = next(stream for stream in source.streams if stream.type == kind)
        new = container.add_stream_from_template(old)
        packets = [packet for packet in source.demux(old) if packet.size]
        whole: Any = max(packet.pts + packet.duration for packet in packets) - min(packet.dts for packet in packets)
        for turn in range(int(seconds / (whole * old.time_base)) + 1):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts = packet.pts + turn * whole, packet.dts + turn * whole
                copy.duration, copy.time_base, copy.stream = packet.duration, old.time_base, new
                copy.is_keyframe = packet.is_keyframe
                container.mux(copy)


def scaled(clip: Path, out: Path, height: int) -> Path:
    with av.open(str(clip)) as source, av.open(str(out), "w") as container:
        old = source.streams.video[0]
        stream: Any = container.add_stream("libx264", 25, options={"preset": "veryfast", "crf": "23", "bf": "0"})
        stream.height, stream.width = height, round(old.width * height / old.height / 2) * 2
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(source.decode(old)):
            frame = frame.reformat(stream.width, stream.height, "yuv420p")
            frame.pts, frame.time_base = number, 1 / stream.average_rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out


def pss(process: int) -> int:
    """Return the bytes of a process and all that it started."""
    total = 0
    with suppress(OSError, ValueError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            total += sum(pss(int(child)) for child in (thread / "children").read_text().split())
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def measure(command: list[str], log: Path) -> dict[str, float]:
    start = time.monotonic()
    with log.open("w") as file:
        environment = os.environ | {"XDG_CACHE_HOME": str(log.parent), "OMP_NUM_THREADS": "1", "PYTHONPATH": "."}
        process = subprocess.Popen([sys.executable, *command], stdout=file, stderr=file, env=environment)
    peak = 0
    while True:
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        peak = max(peak, pss(process.pid))
        time.sleep(0.5)
    assert status == 0, log.read_text()[-2000:]
    cpu_s, wall_s = used.ru_utime + used.ru_stime, time.monotonic() - start
    return {"sum_mib": peak / MIB, "largest_mib": used.ru_maxrss / 1024, "cpu_s": cpu_s, "wall_s": wall_s}


def main(kind: str, clip: str, what: str, *minutes: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = scaled(Path(clip), folder / "scaled.mp4", int(what)) if kind == "picture" else Path(clip)
        for length in minutes:
            long = folder / f"{kind}{length}.mp4"
            repeat(source, long, 60 * float(length), {"sound": "audio", "picture": "video"}[kind])
            if kind == "sound":
                command = ["-m", "avspeech.transcribe", str(long), "--model", what, "--modality", "audio"]
                command += ["--quiet", "--fresh"]
            else:
                (folder / "manifest.jsonl").write_text(json.dumps({"id": length, "video": str(long)}) + "\n")
                command = ["data_prep/extract_rois.py", str(folder / "manifest.jsonl"), str(folder / length)]
                command += ["--workers", "1"]
            found = measure(command, folder / "log")
            size = long.stat().st_size / MIB
            print(length, "min,", f"{size:.0f} MiB:", {name: round(value) for name, value in found.items()}, flush=True)
            long.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
