"""Draw an utterance's noise: ``Sampler`` for training and for plans, ``DrawnNoise`` for training and the web page."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from avspeech.manifest import Utterance
from avspeech.noise.exact_noise import ExactDraws, exact_noise
from avspeech.noise.mixing import lay_over, mix_at_snr, to_audio, to_steps
from avspeech.noise.plan import Piece
from avspeech.noise.pools import Pool, open_pools
from avspeech.noise.recordings import Place, Recordings
from avspeech.noise.room import choose_gain, reverberate
from avspeech.noise.spec import GENERATED, NoiseConfig, NoiseSpec
from avspeech.shards.reading import Shards

ATTEMPTS = 8  # at noise with sound in it
_VOICE_RMS = 0.05  # level of every voice of babble
_SPARES = 8  # files that training draws beyond what is needed, to stand in for those that cannot be read


class NumpyDraws:
    """Training's random choices, with the methods of ``ExactDraws`` that ``Sampler`` needs."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def below(self, bound: int) -> int:
        return int(self._rng.integers(bound))

    def between(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high + 1))

    def order(self, allowed: np.ndarray, wanted: int) -> Iterator[int]:
        """Yield ``wanted`` allowed indices and a few spare ones in random order."""
        candidates = np.flatnonzero(allowed)
        if len(candidates):
            yield from self._rng.choice(candidates, min(len(candidates), wanted + _SPARES), replace=False)

    def generated(self, kind: str, num_samples: int) -> np.ndarray:
        """Return float32 white noise in [-1, 1], or pink noise in int16 steps."""
        if kind == "white":
            return self._rng.standard_normal(num_samples, dtype=np.float32) * np.float32(_VOICE_RMS)
        return exact_noise(kind, str(self._rng.integers(1 << 62)), num_samples)


Draws = ExactDraws | NumpyDraws


class Sampler:
    """Draws noise from ``pools`` by one of ``avspeech.noise.mixing.RULES``.

    ``exact`` True (plans) sums in float64 and rejects too few voices; False (training) uses what there is.
    """

    def __init__(self, noises: Mapping[str, NoiseSpec], pools: Mapping[str, Pool], rule: str, exact: bool) -> None:
        self.noises, self.pools, self.rule, self.exact = noises, pools, rule, exact
        self.recordings = Recordings()

    def draw(
        self, noise: str, utterance: Utterance, draws: Draws, num_samples: int
    ) -> tuple[list[Piece], np.ndarray | None]:
        """Return recordings without hashes and their sum, None after eight silent draws. ValueError: too few files."""
        spec = self.noises[noise]
        for _ in range(ATTEMPTS):
            if spec.kind in GENERATED:
                heard: list[tuple[Piece, Place]] = []
                samples_S = draws.generated(spec.kind, num_samples)
                if samples_S.dtype != np.int16:
                    return [], samples_S
                pieces = [(samples_S, 0, 1.0)]
            else:
                heard = self._pieces(noise, utterance, draws, num_samples)
                pieces = [(self.recordings.steps(place), one.offset, one.gain) for one, place in heard]
            noise_S = lay_over(self.rule, pieces, num_samples, spec.is_babble, self.exact)
            if noise_S.any():
                return [one for one, _ in heard], noise_S
        return [], None

    def room(self, noise: str, draws: Draws) -> tuple[str, np.ndarray]:
        """Return a drawn impulse response: file and steps. ValueError: none is readable and not silent."""
        rooms = self.pools[noise].rooms
        assert rooms is not None
        for index in draws.order(np.ones(len(rooms.files), bool), 1):
            path = rooms.root / rooms.files[index]
            if self.recordings.level(path, noise):
                return rooms.files[index], self.recordings.steps(path)
        raise ValueError(f"noises.{noise}.impulse_responses={rooms.source}: none of the files can be read or has sound")

    def _pieces(self, noise: str, utterance: Utterance, draws: Draws, num_samples: int) -> list[tuple[Piece, Place]]:
        spec, pool = self.noises[noise], self.pools[noise]
        count = draws.between(*spec.voices) if spec.is_babble else spec.num_recordings
        heard: list[tuple[Piece, Place]] = []
        allowed = pool.allowed(utterance)
        for index in draws.order(allowed, count):
            if len(heard) == count:  # only now: plans have drawn one more index than they need from the start
                break
            place = pool.place(index)
            level = self.recordings.level(place, noise) if allowed[index] else None
            if level or (level is not None and not spec.is_babble):  # a voice without sound is no voice
                gain = _VOICE_RMS / level if spec.is_babble else 1 / spec.num_recordings
                gain = 1.0 if self.rule == "avhubert" else gain
                file = pool.files[index] if pool.files else None
                heard.append((Piece(file, offset=self._offset(draws, place, num_samples), gain=gain), place))
        if len(heard) < (count if self.exact else 1):
            wanted = "voices with sound" if spec.is_babble else "readable recordings"
            raise ValueError(
                f"noises.{noise}: {len(heard)} {wanted} are left for utterance {utterance.id!r}, wanted {count}, of "
                f"the {pool.size} of {pool.source}; add some, the log names those that cannot be read"
            )
        return heard

    def _offset(self, draws: Draws, place: Place, num_samples: int) -> int:
        if self.rule == "avhubert":
            return 0
        available = self.recordings.num_samples(place)
        return draws.below(max(1, available - num_samples + 1) if self.rule == "auto_avsr" else available)


class DrawnNoise:
    """Adds random noise to utterances; the result depends on the call's arguments alone.

    ``voices`` and ``split`` are those of ``open_pools``, as is ValueError.
    """

    def __init__(self, config: NoiseConfig, voices: Sequence[Utterance] | Shards = (), split: str = "train") -> None:
        self.config = config
        noises = config.noises if config.probability else {}
        self.names = list(noises)
        if not isinstance(voices, Shards):
            voices = [one for one in voices if one.audio is not None]
        pools = open_pools(noises, (), voices, split)
        self._sampler = Sampler(noises, pools, config.rule, exact=False)

    def __call__(self, audio_S: np.ndarray, rng: np.random.Generator, utterance: Utterance) -> np.ndarray:
        """Return the audio with noise or, with chance 1 - probability, as it came."""
        if rng.random() >= self.config.probability:
            return audio_S
        snr_db = float(rng.uniform(*self.config.snr_db))
        return self.add(audio_S, self.names[int(rng.integers(len(self.names)))], snr_db, rng, utterance)

    def add(
        self, audio_S: np.ndarray, name: str, snr_db: float, rng: np.random.Generator, utterance: Utterance
    ) -> np.ndarray:
        """Return the audio with a noise of ``names``, (S,) float32. ValueError: no voice or recording is left."""
        spec, draws = self.config.noises[name], NumpyDraws(rng)
        if spec.impulse_responses is not None:
            steps_S, (_, response_S) = to_steps(audio_S), self._sampler.room(name, draws)
            audio_S = to_audio(reverberate(steps_S, response_S, choose_gain(steps_S, response_S)))
        if not spec.has_snr:
            return audio_S
        _, noise_S = self._sampler.draw(name, utterance, draws, len(audio_S))
        rule, level = self.config.rule, self.config.level
        return audio_S if noise_S is None else mix_at_snr(audio_S, noise_S, snr_db, rule, level)
