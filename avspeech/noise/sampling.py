"""Draw an utterance's noise from pools: from ``ExactDraws`` for a plan, from numpy's generator in training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from avspeech.manifest import Utterance
from avspeech.noise.exact_noise import exact_noise
from avspeech.noise.mixing import lay_over
from avspeech.noise.pools import Pool
from avspeech.noise.recordings import Recordings
from avspeech.noise.spec import GENERATED, NoiseSpec

ATTEMPTS = 8  # at noise with sound in it
_VOICE_RMS = 0.05  # level of every voice of babble
_SPARES = 8  # files that training draws beyond what is needed, to stand in for those that cannot be read


class Draws(Protocol):
    """A source of random choices."""

    def below(self, bound: int) -> int:
        """Return a whole number from 0 to ``bound`` - 1."""
        ...

    def between(self, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``, both included."""
        ...

    def order(self, allowed: np.ndarray, wanted: int) -> Iterator[int]:
        """Yield file indices in random order, all or only the allowed; the caller needs ``wanted`` allowed ones."""
        ...

    def generated(self, kind: str, num_samples: int) -> np.ndarray:
        """Return white or pink noise: int16 steps, or float32 in [-1, 1]."""
        ...


class NumpyDraws:
    """Training's choices."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def below(self, bound: int) -> int:
        return int(self._rng.integers(bound))

    def between(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high + 1))

    def order(self, allowed: np.ndarray, wanted: int) -> Iterator[int]:
        candidates = np.flatnonzero(allowed)
        if len(candidates):
            yield from self._rng.choice(candidates, min(len(candidates), wanted + _SPARES), replace=False)

    def generated(self, kind: str, num_samples: int) -> np.ndarray:
        if kind == "white":
            return self._rng.standard_normal(num_samples, dtype=np.float32) * np.float32(_VOICE_RMS)
        return exact_noise(kind, str(self._rng.integers(1 << 62)), num_samples)


@dataclass(frozen=True)
class Heard:
    """A recording that is heard as noise."""

    file: str
    """Relative to the root of its pool."""
    offset: int
    gain: float


class Sampler:
    """Draws noise from ``pools`` by one of ``avspeech.noise.mixing.RULES``.

    ``exact`` True (plans) sums in float64 and rejects too few voices; False (training) uses what there is.
    ``cache_bytes`` is the memory for decoded audio, per process.
    """

    def __init__(
        self,
        noises: Mapping[str, NoiseSpec],
        pools: Mapping[str, Pool],
        rule: str,
        exact: bool,
        cache_bytes: int = 1 << 30,
    ) -> None:
        self.noises, self.pools, self.rule, self.exact = noises, pools, rule, exact
        self.recordings = Recordings(cache_bytes)

    def draw(
        self, noise: str, utterance: Utterance, draws: Draws, num_samples: int
    ) -> tuple[list[Heard], np.ndarray | None]:
        """Return the pieces and their sum, (num_samples,), None after eight silent draws. ValueError: too few files."""
        spec = self.noises[noise]
        for _ in range(ATTEMPTS):
            if spec.kind in GENERATED:
                heard, samples_S = [], draws.generated(spec.kind, num_samples)
                if samples_S.dtype != np.int16:
                    return heard, samples_S
                pieces = [(samples_S, 0, 1.0)]
            else:
                heard = self._pieces(noise, utterance, draws, num_samples)
                root = self.pools[noise].root
                pieces = [(self.recordings.steps(root / one.file), one.offset, one.gain) for one in heard]
            noise_S = lay_over(self.rule, pieces, num_samples, spec.is_babble, self.exact)
            if noise_S.any():
                return heard, noise_S
        return [], None

    def room(self, noise: str, draws: Draws) -> tuple[str, np.ndarray]:
        """Return a drawn impulse response: file and steps. ValueError: none is readable and not silent."""
        rooms = self.pools[noise].rooms
        assert rooms is not None
        for index in draws.order(np.ones(len(rooms.files), bool), 1):
            path = rooms.root / rooms.files[index]
            if self.recordings.usable(path, noise) and self.recordings.level(path):
                return rooms.files[index], self.recordings.steps(path)
        raise ValueError(f"noises.{noise}.impulse_responses={rooms.source}: none of the files can be read or has sound")

    def _pieces(self, noise: str, utterance: Utterance, draws: Draws, num_samples: int) -> list[Heard]:
        spec, pool = self.noises[noise], self.pools[noise]
        count = draws.between(*spec.voices) if spec.is_babble else spec.num_recordings
        heard: list[Heard] = []
        allowed = pool.allowed(utterance)
        for index in draws.order(allowed, count):
            if len(heard) == count:  # only now: plans have drawn one more index than they need from the start
                break
            path = pool.root / pool.files[index]
            if not allowed[index] or not self.recordings.usable(path, noise):
                continue
            level = self.recordings.level(path)
            if level or not spec.is_babble:  # a voice without sound is no voice
                offset = self._offset(draws, path, num_samples)
                gain = _VOICE_RMS / level if spec.is_babble else 1 / spec.num_recordings
                heard.append(Heard(pool.files[index], offset, 1.0 if self.rule == "avhubert" else gain))
        if len(heard) < (count if self.exact else 1):
            wanted = "voices with sound" if spec.is_babble else "readable recordings"
            raise ValueError(
                f"noises.{noise}: {len(heard)} {wanted} are left for utterance {utterance.id!r}, wanted {count}, of "
                f"the {len(pool.files)} of {pool.source}; add some, the log names those that cannot be read"
            )
        return heard

    def _offset(self, draws: Draws, path: Path, num_samples: int) -> int:
        if self.rule == "avhubert":
            return 0
        available = len(self.recordings.steps(path))
        return draws.below(max(1, available - num_samples + 1) if self.rule == "auto_avsr" else available)
