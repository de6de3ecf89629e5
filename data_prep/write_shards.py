"""Pack the clips of a manifest into shards, which training reads several times faster than files.

    python data_prep/write_shards.py data/lrs3/train.jsonl data/lrs3/shards/train --workers 8
    python data_prep/write_shards.py data/lrs3/train.jsonl data/lrs3/shards/voices --modality audio

Reads   a manifest with mouth clips (extract_rois.py) and sound; unit files (--units '{mfcc: train.km}').
Writes  OUT/shard-000000.tar ... in WebDataset's layout, OUT/shard-000000.arrow ... beside them, OUT/index.arrow, which
        training takes as data.train, data.val or data.noise_manifest, and OUT/failures.jsonl.
A restart keeps whole shards and gives the same bytes. Several of these commands may work on one folder at once, on one
machine or on several that share it (the file system must know flock); the last one writes the index.
To try failed clips again, remove their shard. Shards that are no longer of the manifest are left alone.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

from avspeech.data.clips import read_steps
from avspeech.data.unit_sets import UnitSet
from avspeech.files import make_folder
from avspeech.inputs import Modality
from avspeech.manifest import ManifestError, Utterance, read_manifest
from avspeech.media import reading
from avspeech.media.errors import MediaError
from avspeech.media.video import read_grey_clip
from avspeech.noise.mixing import rms, to_audio
from avspeech.shards.index import INDEX, Profile, merge
from avspeech.shards.writing import Content, claimed, is_whole, recipe_of, write_shard
from data_prep.run_each import Crash, report_failures, run_each

_PAUSE_S = 0.5  # between looks at shards that others write


@dataclass(frozen=True)
class Settings:
    profile: Profile
    modality: Modality
    units: dict[str, int]  # units per second, by name


@dataclass(frozen=True)
class Job:
    """One shard: clips ``first`` and on of the manifest."""

    tar: Path
    first: int
    utterances: list[Utterance]
    units: dict[str, list[np.ndarray]]

    def recipe(self, settings: Settings) -> str:
        clips = [asdict(replace(one, video=None, audio=None, mouth=None)) for one in self.utterances]
        rows = {name: [row.tolist() for row in rows] for name, rows in self.units.items()}
        return recipe_of(asdict(settings), self.first, clips, rows)


def main(
    manifest: Path,
    out: Path,
    profile: Profile = "fast",
    modality: Modality = "audio+video",
    units: dict[str, Path] | None = None,
    clips_per_shard: int = 1000,
    workers: int = 2,
    max_failed: float = 0.02,
    safe_decoding: bool = True,
) -> None:
    """Write shards.

    Args:
        manifest: JSON lines, one Utterance each.
        out: folder of the shards.
        profile: fast (a JPEG picture of all frames and PCM, 2.7 kB a frame) or small (H.264 and FLAC, several times
            smaller, several times slower).
        modality: streams to store; audio alone makes voices for babble.
        units: unit files (.km) of the manifest by name; training then takes the name as data.train_units.
        clips_per_shard: clips of a shard; 1000 of 3 s are 0.2 GB in the fast profile.
        workers: processes.
        max_failed: share of failures beyond which the exit status is 1.
        safe_decoding: decode sound in processes that can do nothing else; only common formats.
    """
    try:
        make_folder(out, "out")
        unit_sets = {name: UnitSet.read(path) for name, path in (units or {}).items()}
        utterances = read_manifest(manifest)
        for name, unit_set in unit_sets.items():
            if len(unit_set.rows) != len(utterances):
                raise ManifestError(f"units {name} have {len(unit_set.rows)} lines for {len(utterances)} utterances")
    except ValueError as error:  # before hours of work
        sys.exit(str(error))
    settings = Settings(profile, modality, {name: unit_set.rate for name, unit_set in unit_sets.items()})
    tars = {out / f"shard-{start // clips_per_shard:06}.tar": start
            for start in range(0, len(utterances), clips_per_shard)}  # fmt: skip

    def jobs() -> Iterator[Job]:
        for tar, start in tars.items():
            places = range(start, min(start + clips_per_shard, len(utterances)))
            rows = {name: [np.asarray(unit_set.rows[i]) for i in places] for name, unit_set in unit_sets.items()}
            job = Job(tar, start, [utterances[i] for i in places], rows)
            if not is_whole(tar, job.recipe(settings)):
                yield job

    write = partial(write_one, settings=settings, safe=safe_decoding)
    while True:
        results = list(run_each(write, jobs(), workers))
        if crashes := [f"{job.tar}: {result.why}" for job, result in results if isinstance(result, Crash)]:
            sys.exit(f"{len(crashes)} shards were not written: {crashes[0]}")
        if all(written for _, written in results):
            break
        time.sleep(_PAUSE_S)
    with claimed(out / "index.part", wait=True):  # others of these commands end at the same time
        failures = merge(out / INDEX, [tar.with_suffix(".arrow") for tar in tars])
        print(f"{len(utterances) - len(failures)} of {len(utterances)} clips in {len(tars)} shards, see {out / INDEX}")
        report_failures(out / "failures.jsonl", failures, len(utterances), max_failed)


def write_one(job: Job, settings: Settings, safe: bool) -> bool:
    """Write a shard; return False while another process does."""
    with reading.safe_decoding(safe):
        return write_shard(job.tar, job.recipe(settings), settings.profile, settings.units, _contents(job, settings))


def _contents(job: Job, settings: Settings) -> Iterator[tuple[int, str, Content | str]]:
    for place, utterance in enumerate(job.utterances):
        mouth_THW = steps_S = None
        level = float("nan")
        try:
            for name, stream in (("audio", utterance.audio), ("video", utterance.mouth)):
                if name in settings.modality and stream is None:
                    raise ValueError(f"the manifest names no {'mouth' if name == 'video' else name}")
            if "video" in settings.modality and utterance.mouth is not None:
                mouth_THW = read_grey_clip(utterance.mouth)
            if "audio" in settings.modality:
                steps_S = read_steps(utterance, reading.read_audio)
                level = rms(to_audio(steps_S))
            units = {name: rows[place] for name, rows in job.units.items()}
            content = Content(utterance, mouth_THW, steps_S, level, units)
        except (MediaError, ValueError) as error:  # a bad file is data; a bug still raises
            content = str(error)
        yield job.first + place, utterance.id, content


if __name__ == "__main__":
    auto_cli(main)
