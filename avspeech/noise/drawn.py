"""Random noise for each utterance, in training and in the demo, by the same rules as a test plan."""

from collections.abc import Sequence

import numpy as np

from avspeech.manifest import Utterance
from avspeech.noise.mixing import mix_at_snr, to_audio, to_steps
from avspeech.noise.pools import open_pools
from avspeech.noise.room import choose_gain, reverberate
from avspeech.noise.sampling import NumpyDraws, Sampler
from avspeech.noise.spec import NoiseConfig


class DrawnNoise:
    """Adds random noise to utterances; the result depends on the call's arguments alone.

    ``voices`` are clips for babble without a manifest, never test clips. ``split`` is the default split of a corpus.
    ValueError: a noise has no files, or babble no voices.
    """

    def __init__(self, config: NoiseConfig, voices: Sequence[Utterance] = (), split: str = "train") -> None:
        self.config = config
        noises = config.noises if config.probability else {}
        self.names = list(noises)
        pools = open_pools(noises, (), [one for one in voices if one.audio is not None], split)
        self._sampler = Sampler(noises, pools, config.rule, exact=False)

    def __call__(self, audio_S: np.ndarray, rng: np.random.Generator, utterance: Utterance) -> np.ndarray:
        """Return the audio with noise or, with chance 1 - probability, as it came."""
        if rng.random() >= self.config.probability:
            return audio_S
        snr_db = float(rng.uniform(*self.config.snr_db))
        name = self.names[int(rng.integers(len(self.names)))]
        return self.add(audio_S, name, snr_db, rng, utterance)

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
