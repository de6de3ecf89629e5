"""From IPA to visemes: 17 classes of similar-looking phones, each with a mouth shape and a strength.

Classes and shapes are our own, in cm on a face 15 cm wide. Strength and reach weigh a shape against its neighbours
(Cohen & Massaro 1993, "Modeling coarticulation in synthetic visual speech"; blended in ``motion.py``).
"""

import re
import unicodedata
from dataclasses import dataclass

MOUTH = ("open", "width", "thick", "press", "lift", "upper_teeth", "lower_teeth", "tongue", "jaw", "tuck")
"""Columns of ``mouth_TF``: height of the gap in cm; width and lip thickness relative to rest; lips pressed 0..1;
share of the opening that the upper lip takes on top of .3; visibility of the teeth 0..1; height of the
tongue 0..1 (above 1.05 it comes between the teeth); drop of the jaw in cm; lower lip under the upper teeth 0..1."""
OPEN, WIDTH, JAW, TUCK = MOUTH.index("open"), MOUTH.index("width"), MOUTH.index("jaw"), MOUTH.index("tuck")


@dataclass(frozen=True)
class Viseme:
    """Mouth shape of a class of phones."""

    shape: tuple[float, ...]
    """Target of each ``MOUTH`` parameter."""
    strength: float
    """Weight against neighbours while the phone sounds."""
    falloff: float
    """Decay of the weight outside the phone, 1/s."""


#          open  width thick press lift  upT  loT  tongue jaw  tuck
SHAPES = {
    "SIL": ((0.00, 1.00, 1.00, 0.0, 0.00, 1.0, 0.0, 0.20, 0.00, 0.0), 0.25, 9),
    "PBM": ((0.00, 0.98, 1.00, 0.9, 0.00, 1.0, 0.0, 0.20, 0.05, 0.0), 3.00, 22),
    "FV": ((0.28, 1.00, 1.00, 0.0, 0.10, 1.0, 0.0, 0.20, 0.15, 1.0), 2.20, 20),
    "TH": ((0.55, 1.00, 1.00, 0.0, 0.05, 1.0, 0.3, 1.35, 0.25, 0.0), 1.60, 18),
    "TDN": ((0.45, 1.03, 1.00, 0.0, 0.00, 1.0, 0.4, 0.95, 0.20, 0.0), 0.70, 16),
    "L": ((0.65, 1.00, 1.00, 0.0, 0.00, 1.0, 0.3, 1.00, 0.35, 0.0), 0.70, 15),
    "SZ": ((0.38, 1.10, 0.95, 0.0, 0.08, 1.0, 1.0, 0.40, 0.08, 0.0), 1.00, 16),
    "SH": ((0.50, 0.76, 1.10, 0.0, 0.12, 1.0, 0.8, 0.30, 0.12, 0.0), 1.50, 13),
    "KG": ((0.60, 1.00, 1.00, 0.0, 0.00, 0.8, 0.2, 0.35, 0.30, 0.0), 0.45, 15),
    "R": ((0.45, 0.84, 1.10, 0.0, 0.05, 0.8, 0.2, 0.50, 0.25, 0.0), 0.80, 14),
    "A": ((1.75, 1.02, 1.00, 0.0, 0.00, 1.0, 0.6, 0.15, 1.30, 0.0), 1.40, 11),
    "E": ((1.05, 1.10, 0.97, 0.0, 0.03, 1.0, 0.6, 0.35, 0.60, 0.0), 1.10, 12),
    "I": ((0.55, 1.20, 0.92, 0.0, 0.08, 1.0, 0.8, 0.50, 0.20, 0.0), 1.10, 12),
    "SCHWA": ((0.70, 1.00, 1.00, 0.0, 0.00, 0.8, 0.3, 0.30, 0.40, 0.0), 0.50, 12),
    "O": ((1.15, 0.76, 1.03, 0.0, 0.00, 0.4, 0.1, 0.15, 0.85, 0.0), 1.40, 11),
    "U": ((0.55, 0.62, 1.05, 0.0, 0.00, 0.1, 0.0, 0.15, 0.35, 0.0), 1.70, 11),
    "Y": ((0.50, 0.70, 1.05, 0.0, 0.05, 0.4, 0.1, 0.50, 0.25, 0.0), 1.60, 11),
}
VISEMES = {name: Viseme(shape, strength, falloff) for name, (shape, strength, falloff) in SHAPES.items()}
NAMES = tuple(VISEMES)
"""Class names, indexed by viseme labels."""

PHONES = {
    "PBM": "pbmɓʙɸβ",
    "FV": "fvʋɱ",
    "TH": "θð",
    "TDN": "tdnɾʈɖɳɗ",
    "L": "lɫɭɬʎ",
    "SZ": "sz",
    "SH": "ʃʒɕʑʂʐ",
    "KG": "kɡgŋxɣχhɦħʕʔqɴcɟçʝɲɰʁʀʜʢ",
    "R": "rɹɻɽ",
    "A": "aɑæɐʌ",
    "E": "eɛ",
    "I": "iɪjɨ",
    "SCHWA": "əɜɘɝɚ",
    "O": "oɔɒɤœɵ",
    "U": "uʊwʉɯ",
    "Y": "yʏøɥ",
}
VISEME_OF = {phone: name for name, phones in PHONES.items() for phone in phones}
VISEME_IN_LANGUAGE = {"ru": {"y": "I"}}  # espeak-ng writes the unrounded Russian vowel as "y"
VOICELESS_STOPS = frozenset("ptkqʔcʈ")
VOICED_STOPS = frozenset("bdɡgɟɖɓɗ")
SWITCH = re.compile(r"\([^)]*\)?")  # "(en)": espeak-ng changes language; no phone, though its letters look like some


def is_switch(ipa: str) -> bool:
    """Return True if a phone event only reports a change of language."""
    return bool(ipa) and not SWITCH.sub("", ipa).strip()


def split_ipa(ipa: str, language: str) -> list[tuple[str, str]]:
    """Return (phone, viseme) for each phone in one event: two for a diphthong or affricate, none for a mark.

    ``ipa`` may have stress and length marks; ``language`` (ISO 639-1) changes the sound of a few letters.
    """
    known = VISEME_OF | VISEME_IN_LANGUAGE.get(language, {})
    letters = unicodedata.normalize("NFD", SWITCH.sub("", ipa))
    return [(letter, known[letter]) for letter in letters if letter in known]
