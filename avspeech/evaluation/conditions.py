"""The grid that a model is evaluated on: modality x noise x SNR, read from a conditions YAML.

Noise is acoustic, so it cannot touch a model that only sees lips: ``video`` is decoded once, clean, and its rows
in noise repeat that result (``decoded_as``). An error names the key as it is written in the YAML.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from avspeech.degrade.noise import KINDS

MODALITIES = ("audio", "video", "audio+video")
Method = Literal["ctc", "attention", "joint"]
METHODS: tuple[str, ...] = get_args(Method)
SEARCH_OPTIONS = ("length_penalty", "min_length", "official_limit")
CLEAN = "none"


@dataclass(frozen=True)
class Condition:
    """One cell of the grid: which streams the model gets, and what is mixed into the audio."""

    modality: str
    """``audio``, ``video`` or ``audio+video``."""
    noise: str = CLEAN
    """Name of the noise in ``noises``; ``none`` is clean."""
    snr_db: float | None = None
    """Signal-to-noise ratio over the whole clip; None when clean."""

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(f"modality {self.modality!r} must be one of {', '.join(MODALITIES)}")
        if (self.noise == CLEAN) != (self.snr_db is None):
            raise ValueError(f"noise {self.noise!r} does not go with snr_db={self.snr_db}: only {CLEAN!r} has no SNR")

    @property
    def keeps_audio(self) -> bool:
        return "audio" in self.modality

    @property
    def keeps_video(self) -> bool:
        return "video" in self.modality

    @property
    def label(self) -> str:
        """For people and file names: ``audio+video, babble -5 dB``."""
        return f"{self.modality}, {noise_label(self.noise, self.snr_db)}"

    @property
    def decoded_as(self) -> "Condition":
        """The condition whose transcripts are the same: clean for ``video``, itself for the others."""
        return self if self.keeps_audio else Condition(self.modality)


def noise_label(noise: str, snr_db: float | None) -> str:
    """``clean``, or ``babble -5 dB``."""
    return "clean" if snr_db is None else f"{noise} {snr_db:g} dB"


@dataclass(frozen=True)
class NoiseSpec:
    """Where one kind of noise comes from."""

    kind: str
    """``babble`` (sum of voices from a manifest), ``white``, or ``file`` (recordings of noise)."""
    manifest: Path | None = None
    """Manifest of the voices (babble) or recordings (file); relative to the working directory."""
    num_voices: tuple[int, int] = (6, 6)
    """Fewest and most voices of babble; one whole number in YAML means exactly that many."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r} must be one of {', '.join(KINDS)}")
        if self.kind == "white" and self.manifest is not None:
            raise ValueError(f"manifest={str(self.manifest)!r} has no use with kind=white; remove it")
        low, high = self.num_voices
        if not 1 <= low <= high:
            raise ValueError(f"num_voices={[low, high]} must be [fewest, most] with 1 <= fewest <= most")


@dataclass(frozen=True)
class EvaluationConfig:
    """The grid and how it is decoded and scored."""

    modalities: tuple[str, ...] = MODALITIES
    """Which streams the model gets, each in turn."""
    noises: Mapping[str, NoiseSpec] = field(default_factory=dict)
    """Noises by the name that stands in the results."""
    snrs_db: tuple[float, ...] = ()
    """Signal-to-noise ratios; every noise is mixed in at every one."""
    include_clean: bool = True
    """Also evaluate without noise."""
    seed: int = 0
    """Of the noise (which pieces, which offset, per utterance) and of the bootstrap."""
    method: Method = "attention"
    """``attention`` (the text decoder), ``ctc`` (greedy), or ``joint`` (a beam scored by both)."""
    beam_size: int = 1
    """Hypotheses kept by the attention decoder; 1 is greedy."""
    ctc_weight: float = 0.3
    """Share of CTC in the score of ``joint``, 0 to 1; the other methods do not read it."""
    length_penalty: float = 1.0
    """Exponent of the length that a beam's score is divided by; ``ctc`` does not read it."""
    min_length: int = 0
    """Fewest tokens of a transcript; AV-HuBERT's decoding config has 1. ``ctc`` does not read it."""
    official_limit: bool = False
    """Allow as many tokens as AV-HuBERT's published decoder (``official_length_limit``), not one a frame."""
    normalization: str = "basic"
    """Rule of ``avspeech.text.normalize`` applied to references and hypotheses before they are compared."""

    def __post_init__(self) -> None:
        _need_unique("modalities", self.modalities)
        _need_unique("snrs_db", self.snrs_db)
        for modality in self.modalities:
            if modality not in MODALITIES:
                raise ValueError(f"modalities: {modality!r} must be one of {', '.join(MODALITIES)}")
        if not self.modalities:
            raise ValueError(f"modalities is empty; name at least one of {', '.join(MODALITIES)}")
        for name in self.noises:
            if name == CLEAN or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(f"noises.{name}: a noise needs a name of letters, digits, - and _, other than {CLEAN}")
        if bool(self.noises) != bool(self.snrs_db):
            raise ValueError(f"noises={list(self.noises)} with snrs_db={list(self.snrs_db)}: give both, or neither")
        if not self.noises and not self.include_clean:
            raise ValueError("include_clean=false without noises leaves nothing to evaluate; add noises and snrs_db")
        for index, snr_db in enumerate(self.snrs_db):
            if not math.isfinite(snr_db):
                raise ValueError(f"snrs_db[{index}]={snr_db} must be a number; clean speech is include_clean: true")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} must not be negative")
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r} must be one of {', '.join(METHODS)}")
        if self.beam_size < 1:
            raise ValueError(f"beam_size={self.beam_size} must be at least 1")
        if self.method == "ctc" and self.beam_size > 1:
            raise ValueError(f"beam_size={self.beam_size} has no use with method=ctc, which is greedy; set it to 1")
        if not 0 <= self.ctc_weight <= 1:
            raise ValueError(f"ctc_weight={self.ctc_weight} must be from 0 (decoder only) to 1 (CTC only)")
        if not math.isfinite(self.length_penalty):
            raise ValueError(f"length_penalty={self.length_penalty} must be a number; 0 leaves scores as they are")
        if self.min_length < 0:
            raise ValueError(f"min_length={self.min_length} must not be negative")

    @property
    def decoding(self) -> dict[str, Any]:
        """What the decoder is told, as arguments of ``transcribe_batch``: only what ``method`` reads."""
        names = {"ctc": (), "attention": SEARCH_OPTIONS, "joint": (*SEARCH_OPTIONS, "ctc_weight")}[self.method]
        return {name: getattr(self, name) for name in ("method", "beam_size", *names)}

    def grid(self) -> list[Condition]:
        """Every condition, in the order of the report: by modality, then clean, then each noise as listed."""
        noisy = [(name, snr_db) for name in self.noises for snr_db in self.snrs_db]
        clean = [(CLEAN, None)] if self.include_clean else []
        return [Condition(modality, *noise) for modality in self.modalities for noise in [*clean, *noisy]]

    def with_noise_manifests(self, manifests: Mapping[str, Path]) -> "EvaluationConfig":
        """Return a copy whose named noises draw from ``manifests``; a name that is no noise is an error."""
        if unknown := sorted(set(manifests) - set(self.noises)):
            raise ValueError(f"noise_manifests names {', '.join(unknown)}, but noises has {', '.join(self.noises)}")
        noises = {
            name: replace(spec, manifest=manifests.get(name, spec.manifest)) for name, spec in self.noises.items()
        }
        return replace(self, noises=noises)


def _need_unique(key: str, values: tuple) -> None:
    if len(set(values)) < len(values):
        raise ValueError(f"{key}={list(values)} names something twice")


def read_conditions(path: str | Path) -> EvaluationConfig:
    """Read a conditions YAML.

    Raises:
        ValueError: names the file, the key as typed there, what came and what was wanted.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        return _parse_config({} if values is None else values)
    except OSError as error:
        raise ValueError(f"conditions file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _parse_config(values: Any) -> EvaluationConfig:
    values = dict(_typed("the file", values, dict, "keys with values"))
    _refuse_unknown("", values, EvaluationConfig)
    for key, kind, wanted in (
        ("include_clean", bool, "true or false"),
        ("seed", int, "a whole number"),
        ("beam_size", int, "a whole number"),
        ("ctc_weight", (int, float), "a number"),
        ("length_penalty", (int, float), "a number"),
        ("min_length", int, "a whole number"),
        ("official_limit", bool, "true or false"),
        ("method", str, "a word"),
        ("normalization", str, "a word"),
    ):
        if key in values:
            _typed(key, values[key], kind, wanted)
    if "modalities" in values:
        modalities = _typed("modalities", values["modalities"], list, "a list")
        values["modalities"] = tuple(
            _typed(f"modalities[{index}]", modality, str, "a word") for index, modality in enumerate(modalities)
        )
    if "snrs_db" in values:
        snrs_db = _typed("snrs_db", values["snrs_db"], list, "a list of numbers")
        values["snrs_db"] = tuple(
            float(_typed(f"snrs_db[{index}]", snr_db, (int, float), "a number")) for index, snr_db in enumerate(snrs_db)
        )
    if "noises" in values:
        noises = _typed("noises", values["noises"], dict, "names with noises")
        values["noises"] = {str(name): _parse_noise(f"noises.{name}", spec) for name, spec in noises.items()}
    return EvaluationConfig(**values)


def _parse_noise(key: str, values: Any) -> NoiseSpec:
    values = dict(_typed(key, values, dict, "keys with values, such as {kind: white}"))
    _refuse_unknown(f"{key}.", values, NoiseSpec)
    if "kind" not in values:
        raise ValueError(f"{key}.kind is missing; it must be one of {', '.join(KINDS)}")
    if values.get("manifest") is not None:
        values["manifest"] = Path(_typed(f"{key}.manifest", values["manifest"], str, "a path"))
    if "num_voices" in values:
        voices = values["num_voices"] if isinstance(values["num_voices"], list) else [values["num_voices"]] * 2
        wanted = "one whole number, or a list of two"
        if len(voices) != 2:
            raise ValueError(f"{key}.num_voices={voices!r} must be {wanted}")
        values["num_voices"] = tuple(_typed(f"{key}.num_voices", voice, int, wanted) for voice in voices)
    try:
        return NoiseSpec(**values)
    except ValueError as error:
        raise ValueError(f"{key}.{error}") from error


def _typed(key: str, value: Any, kind: type | tuple[type, ...], wanted: str) -> Any:
    """Return ``value`` if it has the type; a bool is no number."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{key}={value!r} must be {wanted}")
    return value


def _refuse_unknown(prefix: str, values: dict, config: type) -> None:
    known = [entry.name for entry in fields(config)]
    for name in values:
        if name not in known:
            raise ValueError(f"{prefix}{name} is no known key; known are {', '.join(known)}")
