"""Recordings as int16 steps, with level and hashes; decoded once and cached."""

import logging
import math
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avspeech.files import file_sha256
from avspeech.media.errors import MediaError
from avspeech.noise.mixing import rms, steps_sha256, to_audio, to_steps
from avspeech.shards.reading import Shards
from avspeech.timebase import FRAME_RATE, Span

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Voice:
    """The sound of a clip in shards, which hold its level and length."""

    shards: Shards
    index: int


Place = Path | Voice


class Recordings:
    """Reads recordings; samples stay in a least-recently-used cache of ``cache_bytes`` per process."""

    def __init__(self, cache_bytes: int = 1 << 30) -> None:
        self._cache_bytes, self._num_bytes = cache_bytes, 0
        self._samples: OrderedDict[Path, np.ndarray] = OrderedDict()
        self._levels: dict[Path, float | None] = {}
        self._hashes: dict[Path, dict[str, str]] = {}

    def steps(self, path: Place) -> np.ndarray:
        """Return int16 samples, (S,), read-only. MediaError: the file cannot be read. ShardError: a shard is damaged.

        Voices of shards need no cache: they cost no decoder.
        """
        from avspeech.media.audio import read_audio  # needs PyAV, which generated noise does not

        if isinstance(path, Voice):
            return path.shards.sound(path.index)
        if path in self._samples:
            self._samples.move_to_end(path)
            return self._samples[path]
        file, span = split_part(path)
        steps_S = self._samples[path] = to_steps(read_audio(file, span=span))
        self._num_bytes += steps_S.nbytes
        while self._num_bytes > self._cache_bytes and len(self._samples) > 1:
            self._num_bytes -= self._samples.popitem(last=False)[1].nbytes
        return steps_S

    def num_samples(self, path: Place) -> int:
        """Return how many samples ``steps`` gives."""
        return int(path.shards.numbers("num_samples")[path.index]) if isinstance(path, Voice) else len(self.steps(path))

    def level(self, path: Place, noise: str) -> float | None:
        """Return the rms over the file, full scale 1; None, logged once, without samples or if it cannot be read."""
        if isinstance(path, Voice):
            level = float(path.shards.numbers("level")[path.index])
            return None if math.isnan(level) else level
        if path not in self._levels:
            self._levels[path] = None
            try:
                if len(steps_S := self.steps(path)):
                    self._levels[path] = rms(to_audio(steps_S))
                else:
                    logger.warning("noises.%s: %s has no samples and is left out", noise, path)
            except MediaError as error:
                logger.warning("noises.%s: left out: %s", noise, error)
        return self._levels[path]

    def hashes(self, path: Path) -> dict[str, str]:
        """Return ``sha256`` of the file and ``samples_sha256`` of its int16 samples. MediaError: it cannot be read."""
        if path not in self._hashes:
            try:
                digest = file_sha256(split_part(path)[0])
            except OSError as error:
                raise MediaError(path, f"cannot be read: {error.strerror}") from error
            self._hashes[path] = {"sha256": digest, "samples_sha256": steps_sha256(self.steps(path))}
        return self._hashes[path]


def name_part(file: Path, span: Span | None) -> Path:
    """Return the name of a part of a recording: with a media fragment (W3C, Media Fragments URI 1.0) in seconds."""
    if span is None:
        return file
    times = ("" if frame is None else f"{frame / FRAME_RATE:.2f}" for frame in span)
    return file.with_name(f"{file.name}#t={','.join(times)}")


def split_part(path: Path) -> tuple[Path, Span | None]:
    """Return the file and the part that ``name_part`` named."""
    if (found := re.fullmatch(r"(.+)#t=(\d+\.\d\d),(\d+\.\d\d|)", path.name)) is None:
        return path, None
    name, start_s, end_s = found.groups()
    return path.with_name(name), Span.between(float(start_s), float(end_s) if end_s else None)
