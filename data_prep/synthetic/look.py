"""The look of a face, drawn per speaker: skin, hair, lips, eyes, light, background, clothes, camera."""

import colorsys
from dataclasses import dataclass

import numpy as np

SKINS = np.array([
    (240, 212, 192), (228, 190, 164), (212, 168, 136), (192, 144, 108),
    (168, 120, 88), (138, 96, 70), (112, 78, 58), (90, 62, 48),
], np.float32)  # fmt: skip
"""Skin tones from light to deep; a speaker's lies between two neighbours."""
HAIR = np.array(
    [(28, 24, 22), (48, 34, 26), (84, 58, 38), (128, 94, 58), (176, 142, 94), (120, 118, 116), (96, 48, 32)], np.float32
)
IRIS = np.array([(66, 44, 28), (92, 104, 72), (84, 116, 148), (44, 32, 24)], np.float32)
MAKE_UP = np.array([(170, 48, 58), (158, 72, 84), (186, 86, 88)], np.float32)
STYLES = {"male": ("short", "short", "swept", "buzz", "bald"), "female": ("long", "long", "swept", "bob", "short")}


@dataclass(frozen=True)
class Look:
    """Colours and light of a speaker; RGB, 0 to 255."""

    skin: np.ndarray
    hair: np.ndarray
    lips: np.ndarray
    iris: np.ndarray
    style: str
    """One of ``STYLES``."""
    hairline: float
    """Height of the hairline, cm."""
    beard: float
    """Opacity of the beard; 0 is shaven."""
    glasses: bool
    light: np.ndarray
    """Unit vector towards the lamp."""
    ambient: float
    """Share of ambient light."""
    gloss: float
    """Strength of skin highlights, grey levels."""
    background: np.ndarray
    clothes: np.ndarray
    blur: float
    """Sigma of the lens blur, px."""
    grain: float
    """Standard deviation of the camera noise, grey levels."""
    exposure: float


def draw_look(rng: np.random.Generator, sex: str) -> Look:
    """Draw the look of a speaker; ``sex`` is "male" or "female", as for the voice."""
    tone = rng.uniform(0, len(SKINS) - 1)
    skin = SKINS[int(tone)] + (tone % 1) * (SKINS[int(tone) + 1] - SKINS[int(tone)])
    depth = tone / (len(SKINS) - 1)  # 0 light, 1 deep
    hair = HAIR[rng.integers(len(HAIR)) if depth < 0.5 else rng.integers(2)]
    lips = skin * (0.86, 0.6, 0.59) + np.array((14, 0, 3)) * (2 if sex == "female" else 1)
    if sex == "female" and rng.random() < 0.5:
        lips = (lips + MAKE_UP[rng.integers(len(MAKE_UP))]) / 2
    azimuth, elevation = rng.uniform(-0.7, 0.7), rng.uniform(0.1, 0.7)
    light = [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    return Look(
        skin=skin.astype(np.float32),
        hair=hair,
        lips=lips.astype(np.float32),
        iris=IRIS[rng.integers(len(IRIS)) if depth < 0.4 else 3],
        style=STYLES[sex][rng.integers(len(STYLES[sex]))],
        hairline=rng.uniform(5.9, 7.3),
        beard=rng.uniform(0.15, 0.6) if sex == "male" and rng.random() < 0.4 else 0.0,
        glasses=bool(rng.random() < 0.15),
        light=np.array(light, np.float32),
        ambient=rng.uniform(0.46, 0.6) + 0.18 * depth,  # deep skin in hard light leaves the lips without contrast
        gloss=rng.uniform(8, 26),
        background=_muted(rng, saturation=(0.03, 0.32), value=(0.35, 0.85)),
        clothes=_muted(rng, saturation=(0.05, 0.55), value=(0.15, 0.8)),
        blur=rng.uniform(0.3, 0.8),
        grain=rng.uniform(1, 3.5),
        exposure=rng.uniform(0.92, 1.08),
    )


def _muted(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> np.ndarray:
    colour = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return 255 * np.array(colour, np.float32)
