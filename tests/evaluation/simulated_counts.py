"""Error counts of a known rate: speakers of different skill, utterances of different hardness, uneven talk."""

import numpy as np

from avspeech.evaluation.error_rate import ErrorCounts


def simulate(
    rng: np.random.Generator,
    speakers: int,
    rate: float,
    utterances: int = 15,
    spread: float = 0.4,
    uneven: bool = False,
    systems: int = 1,
) -> tuple[list[list[ErrorCounts]], list[str]]:
    """Return the counts of each system, all with the same true ``rate``, and who speaks each utterance.

    The speakers' rates have the standard deviation ``spread`` times ``rate``. ``utterances`` of a speaker are a mean
    where they are ``uneven`` (geometric). Each system has its own luck on the same speakers and utterances.
    """
    sizes = rng.geometric(1 / utterances, speakers) if uneven else np.full(speakers, utterances)
    of_entry = np.repeat(np.arange(speakers), sizes)
    words = rng.integers(3, 15, len(of_entry))
    variance = min((spread * rate) ** 2, rate * (1 - rate) / 2)
    hardness = _beta(rng, np.full(speakers, rate), rate * (1 - rate) / variance - 1)
    counts = []
    for _ in range(systems):
        skill = _beta(rng, hardness, 50.0)
        errors = rng.binomial(words, _beta(rng, skill[of_entry], 4.0))
        counts.append([ErrorCounts(num_words=int(w), substitutions=int(e)) for w, e in zip(words, errors, strict=True)])
    return counts, [f"s{number}" for number in of_entry]


def _beta(rng: np.random.Generator, mean: np.ndarray, weight: float) -> np.ndarray:
    return rng.beta(np.maximum(mean * weight, 1e-9), np.maximum((1 - mean) * weight, 1e-9))
