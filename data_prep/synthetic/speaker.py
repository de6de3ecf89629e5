"""Speakers: face seed, voice, habits. Sets of a corpus share no espeak-ng variant."""

import hashlib
from dataclasses import dataclass

import numpy as np

from data_prep.synthetic.espeak import Voice

VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "female": ("f1", "f2", "f4", "Alicia", "linda", "steph", "grandma"),
        "male": ("m1", "m2", "m3", "m5", "m7", "Alex", "Andy", "Gene", "Mario", "Michael", "adam", "iven"),
    },
    "valid": {"female": ("Annie",), "male": ("boris", "edward", "klatt3")},
    "test": {"female": ("f3", "belinda", "shelby"), "male": ("m4", "m6", "Denis", "max", "robert", "paul")},
    "babble_train": {"female": ("f5", "steph3"), "male": ("m8", "Mike", "Lee", "benjamin", "norbert", "miguel")},
    "babble_test": {"female": ("aunty", "rob"), "male": ("Reed", "john", "sandro", "travis", "pablo", "marcelo")},
}
"""espeak-ng variants by set, without whispers, croaks, fast voices and robots."""
SETS = tuple(VARIANTS)


@dataclass(frozen=True)
class Speaker:
    """A face and a voice."""

    name: str
    """Set and number, such as "train-03"."""
    seed: int
    """Seed of the face."""
    sex: str
    """"male" or "female", for face and voice."""
    voice: Voice
    opening: float
    """Opening of the mouth; 1 is usual."""
    clarity: float
    """Sharpness of changes between mouth shapes; 1 is usual."""


def stable_seed(*parts: str | int) -> int:
    """Return a seed for ``numpy.random.default_rng``, a function of the parts alone."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little") >> 1


def draw_speakers(part: str, count: int, seed: int) -> list[Speaker]:
    """Draw the speakers of set ``part`` (one of ``SETS``), alternating male and female.

    If there are more speakers than variants, variants repeat at another pitch and rate.
    """
    rng = np.random.default_rng(stable_seed("voices", part, seed))
    order = {sex: [str(name) for name in rng.permutation(names)] for sex, names in VARIANTS[part].items()}
    variants = sorted(
        ((sex, name) for sex in order for name in order[sex]), key=lambda one: order[one[0]].index(one[1])
    )
    speakers: list[Speaker] = []
    while len(speakers) < count:
        sex, variant = variants[len(speakers) % len(variants)]
        voice = Voice(variant, int(rng.integers(150, 186)), int(rng.integers(35, 66)), int(rng.integers(35, 66)))
        if any(speaker.voice == voice for speaker in speakers):
            continue
        face = stable_seed("face", part, seed, len(speakers))
        opening, clarity = rng.uniform(0.85, 1.2), rng.uniform(0.85, 1.25)
        speakers.append(Speaker(f"{part}-{len(speakers):02d}", face, sex, voice, opening, clarity))
    return speakers
