"""Where noise comes from: babble of a corpus's own voices, white noise, recordings.

A source's ``draw`` depends only on its arguments, so a seed gives the same noise whatever was drawn before. Babble
never holds the utterance itself, and its own speaker only where the pool has no other (GRID's s1). Give it the
training manifest: test voices must not be heard in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from avspeech.noise.audio_cache import AudioCache
from avspeech.noise.mixing import (
    NoiseConfig,
    average,
    babble,
    mix_at_snr,
    mix_officially,
    repeat_to_length,
    white_noise,
)

_SPARES = 8  # candidates drawn beyond what is needed, to stand in for files that cannot be read


@dataclass(frozen=True)
class Voice:
    """A clip that babble may be made of."""

    id: str
    audio: Path | np.ndarray = field(repr=False)
    """Media file, or the samples themselves."""
    speaker: str | None = None


class NoiseSource(Protocol):
    """Anything that gives noise for an utterance."""

    def draw(
        self,
        num_samples: int,
        rng: np.random.Generator,
        exclude_speaker: str | None = None,
        exclude_id: str | None = None,
    ) -> np.ndarray:
        """Return noise, (num_samples,) float32 at any level, without that speaker and that clip in it."""
        ...


class WhiteSource:
    """White noise."""

    def draw(
        self,
        num_samples: int,
        rng: np.random.Generator,
        exclude_speaker: str | None = None,
        exclude_id: str | None = None,
    ) -> np.ndarray:
        """Return white noise; there is nothing to exclude."""
        return white_noise(num_samples, rng)


class BabbleSource:
    """Babble of clips of a corpus.

    Args:
        voices: the pool, from the training manifest.
        num_voices: fewest and most voices at once; (6, 6) always takes six. A smaller pool gives what it has.
        cache_bytes: memory for decoded audio, in each process.

    Raises:
        ValueError: the pool is empty or holds an id twice.
    """

    def __init__(
        self, voices: Sequence[Voice], num_voices: tuple[int, int] = (2, 8), cache_bytes: int = 1 << 30
    ) -> None:
        if not voices:
            raise ValueError("babble got no voices, wanted at least one clip; give it the training manifest")
        self.voices, self.num_voices = list(voices), num_voices
        self._index_of = {voice.id: index for index, voice in enumerate(self.voices)}
        if len(self._index_of) != len(self.voices):
            raise ValueError("babble got two voices with the same id; check the manifest they come from")
        numbers: dict[str | None, int] = {}
        self._speakers = np.array([numbers.setdefault(voice.speaker, len(numbers)) for voice in self.voices])
        self._number_of = numbers
        self._cache = AudioCache(cache_bytes)

    def candidates(self, exclude_speaker: str | None = None, exclude_id: str | None = None) -> np.ndarray:
        """Return the indices of the voices allowed for an utterance: other speakers' where there are any."""
        allowed = np.ones(len(self.voices), dtype=bool)
        if exclude_id in self._index_of:
            allowed[self._index_of[exclude_id]] = False
        if exclude_speaker is not None and exclude_speaker in self._number_of:
            others = allowed & (self._speakers != self._number_of[exclude_speaker])
            allowed = others if others.any() else allowed
        return np.flatnonzero(allowed)

    def draw(
        self,
        num_samples: int,
        rng: np.random.Generator,
        exclude_speaker: str | None = None,
        exclude_id: str | None = None,
    ) -> np.ndarray:
        """Return babble of voices drawn without repetition; clips that cannot be read are replaced.

        Raises:
            ValueError: no voice is left, or none of those drawn can be read.
        """
        candidates = self.candidates(exclude_speaker, exclude_id)
        count = int(rng.integers(self.num_voices[0], self.num_voices[1] + 1))
        drawn = rng.choice(candidates, min(len(candidates), count + _SPARES), replace=False) if len(candidates) else ()
        heard: list[np.ndarray] = []
        for index in drawn:
            audio_S = self._cache.get(self.voices[index].audio)
            if audio_S is not None:
                heard.append(audio_S)
            if len(heard) == count:
                break
        if not heard:
            raise ValueError(
                f"no voice is left for babble around utterance {exclude_id!r} of speaker {exclude_speaker!r} "
                f"({len(candidates)} of {len(self.voices)} clips allowed); add clips to the babble manifest"
            )
        return babble(heard, num_samples, rng)


class FileSource:
    """Recorded noise: one file an utterance, or the mean of several, from a drawn sample on, repeated.

    Args:
        files: media files or arrays.
        cache_bytes: memory for decoded audio, in each process.
        num_files: files laid over each other.
        from_start: begin at the first sample and not at a drawn one.
    """

    def __init__(
        self,
        files: Sequence[str | Path | np.ndarray],
        cache_bytes: int = 1 << 30,
        num_files: int = 1,
        from_start: bool = False,
    ) -> None:
        if not len(files):
            raise ValueError("a noise source got no files, wanted at least one; see noise.files in the config")
        self.num_files, self.from_start = num_files, from_start
        self.files = [Path(file) if isinstance(file, str) else file for file in files]
        self._cache = AudioCache(cache_bytes)

    def draw(
        self,
        num_samples: int,
        rng: np.random.Generator,
        exclude_speaker: str | None = None,
        exclude_id: str | None = None,
    ) -> np.ndarray:
        """Return a stretch of one file or of the mean of several; recordings have no speaker to exclude.

        Raises:
            ValueError: none of the files drawn can be read.
        """
        heard: list[np.ndarray] = []
        for index in rng.choice(len(self.files), min(len(self.files), self.num_files + _SPARES), replace=False):
            audio_S = self._cache.get(self.files[index])
            if audio_S is not None:
                heard.append(audio_S)
            if len(heard) == self.num_files:
                break
        if not heard:
            raise ValueError(f"no noise file of {len(self.files)} tried can be read or has sound; see noise.files")
        noise_S = average(heard)
        return repeat_to_length(noise_S, num_samples, 0 if self.from_start else int(rng.integers(len(noise_S))))


class TrainingNoise:
    """Adds noise to some training utterances, as a ``NoiseConfig`` says.

    Args:
        config: how often, how loud and of what kind.
        voices: the training clips, for babble.

    Raises:
        ValueError: the config wants babble and there are no voices.
    """

    def __init__(self, config: NoiseConfig, voices: Sequence[Voice] = ()) -> None:
        self.config = config
        kinds = config.kinds if config.probability else ()
        official = config.rule == "official"
        self.mix = mix_officially if official else mix_at_snr
        self.sources: dict[str, NoiseSource] = {
            kind: FileSource(config.files, num_files=config.num_files, from_start=official)
            if kind == "file"
            else make_source(kind, voices, config.files, config.num_voices)
            for kind in kinds
        }

    def __call__(
        self,
        audio_S: np.ndarray,
        rng: np.random.Generator,
        exclude_speaker: str | None = None,
        exclude_id: str | None = None,
    ) -> np.ndarray:
        """Return the audio with noise or, with chance 1 - probability, as it came."""
        if rng.random() >= self.config.probability:
            return audio_S
        snr_db = float(rng.uniform(*self.config.snr_db))
        source = self.sources[self.config.kinds[int(rng.integers(len(self.config.kinds)))]]
        return self.mix(audio_S, source.draw(len(audio_S), rng, exclude_speaker, exclude_id), snr_db)


def make_source(
    kind: str,
    voices: Sequence[Voice] = (),
    files: Sequence[str | Path] = (),
    num_voices: tuple[int, int] = (2, 8),
) -> NoiseSource:
    """Return the source of a kind named in ``avspeech.noise.mixing.KINDS``.

    Raises:
        ValueError: the kind is unknown, or what it is made of was not given.
    """
    if kind == "babble":
        return BabbleSource(voices, num_voices)
    if kind == "white":
        return WhiteSource()
    if kind == "file":
        return FileSource(files)
    raise ValueError(f"noise kind {kind!r} came, wanted one of babble, white, file; see noise.kinds in the config")
