"""The grid that a model is evaluated on: modality x noise x SNR, read from a conditions YAML.

Noise is acoustic, so it cannot touch a model that only sees lips: ``video`` is decoded once, clean, and its rows
in noise repeat that result (``decoded_as``). ``audio+video`` may also be decoded with the video taken away in two
ways (``video_streams``), because a model with gates can lean on the audio alone and nothing else shows it.
An error names the key as it is written in the YAML.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args

import yaml

from avspeech.degrade.noise import KINDS
from avspeech.text.whisper_tokens import Task

MODALITIES = ("audio", "video", "audio+video")
Method = Literal["ctc", "attention", "joint"]
METHODS: tuple[str, ...] = get_args(Method)
SEARCH_OPTIONS = ("min_length", "official_limit")
TASKS: tuple[str, ...] = get_args(Task)
Metric = Literal["error_rate", "bleu"]
METRICS: tuple[str, ...] = get_args(Metric)
LANGUAGES = ("given", "detected")
SUPPRESSIONS = ("default", "none")
OWN, BLANK, SHUFFLED = VIDEO_STREAMS = ("own", "blank", "shuffled")
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
    video_stream: str = OWN
    """What ``audio+video`` sees: its ``own`` clip, ``blank`` (mean grey) or ``shuffled`` (another utterance's clip)."""

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(f"modality {self.modality!r} must be one of {', '.join(MODALITIES)}")
        if (self.noise == CLEAN) != (self.snr_db is None):
            raise ValueError(f"noise {self.noise!r} does not go with snr_db={self.snr_db}: only {CLEAN!r} has no SNR")
        if self.video_stream not in VIDEO_STREAMS:
            raise ValueError(f"video stream {self.video_stream!r} must be one of {', '.join(VIDEO_STREAMS)}")
        if self.video_stream != OWN and self.modality != "audio+video":
            raise ValueError(f"video stream {self.video_stream!r} does not go with {self.modality!r}: audio+video only")

    @property
    def keeps_audio(self) -> bool:
        return "audio" in self.modality

    @property
    def keeps_video(self) -> bool:
        return "video" in self.modality

    @property
    def label(self) -> str:
        """For people and file names: ``audio+video, babble -5 dB``, and ``, blank video`` where it is not its own."""
        seen = "" if self.video_stream == OWN else f", {self.video_stream} video"
        return f"{self.modality}, {noise_label(self.noise, self.snr_db)}{seen}"

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
    video_streams: tuple[str, ...] = (OWN,)
    """What ``audio+video`` sees, each in turn; ``blank`` and ``shuffled`` let the report say what the lips give.

    The other modalities have no use for it: without sound a wrong video only measures how well the model guesses."""
    seed: int = 0
    """Of the noise (which pieces, which offset, per utterance), of the shuffled videos and of the bootstrap."""
    method: Method = "attention"
    """``attention`` (the text decoder), ``ctc`` (greedy), or ``joint`` (a beam scored by both)."""
    beam_size: int = 1
    """Hypotheses kept by the attention decoder or by Whisper's; 1 is greedy."""
    ctc_weight: float = 0.3
    """Share of CTC in the score of ``joint``, 0 to 1; the other methods do not read it."""
    length_penalty: float | None = None
    """Exponent of the length that a beam's score is divided by, null is 1; ``ctc`` does not read it.

    A Whisper divides by its length on null, by ((5 + length) / 6) ** length_penalty on a number, as OpenAI's does."""
    min_length: int = 0
    """Fewest tokens of a transcript; AV-HuBERT's decoding config has 1. ``ctc`` does not read it."""
    official_limit: bool = False
    """Allow as many tokens as AV-HuBERT's published decoder (``official_length_limit``), not one a frame."""
    language: str = "given"
    """Whisper only: ``given`` takes each utterance's language from the manifest, ``detected`` the model's guess."""
    task: Task = "transcribe"
    """Whisper only: ``translate`` is into English; what was trained to translate from English has ``transcribe``."""
    pad_to_30s: bool = False
    """Whisper only: silence after the clip up to 30 s; a model as published needs it, a fine-tuned one does not."""
    temperatures: tuple[float, ...] = (0.0,)
    """Whisper only: tried in turn until a transcript looks sound; OpenAI's are 0, 0.2, ..., 1."""
    suppress: str = "default"
    """Whisper only: ``default`` never gives the tokens that are no speech, such as brackets and notes; or ``none``."""
    max_tokens: int | None = None
    """Whisper only: most tokens of a transcript; null is half of what the model has room for."""
    normalization: str = "basic"
    """Rule of ``avspeech.text.normalize`` applied to references and hypotheses before they are compared."""
    metric: Metric = "error_rate"
    """``bleu`` adds BLEU of the texts as they come, for translations; errors are counted either way."""

    def __post_init__(self) -> None:
        _need_unique("modalities", self.modalities)
        _need_unique("snrs_db", self.snrs_db)
        _need_unique("video_streams", self.video_streams)
        for modality in self.modalities:
            if modality not in MODALITIES:
                raise ValueError(f"modalities: {modality!r} must be one of {', '.join(MODALITIES)}")
        if not self.modalities:
            raise ValueError(f"modalities is empty; name at least one of {', '.join(MODALITIES)}")
        for name in self.noises:
            if name == CLEAN or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(f"noises.{name}: a noise needs a name of letters, digits, - and _, other than {CLEAN}")
        for stream in self.video_streams:
            if stream not in VIDEO_STREAMS:
                raise ValueError(f"video_streams: {stream!r} must be one of {', '.join(VIDEO_STREAMS)}")
        if OWN not in self.video_streams:
            raise ValueError(f"video_streams={list(self.video_streams)} lacks {OWN!r}, which the others stand beside")
        if bool(self.noises) != bool(self.snrs_db):
            raise ValueError(f"noises={list(self.noises)} with snrs_db={list(self.snrs_db)}: give both, or neither")
        if not self.noises and not self.include_clean:
            raise ValueError("include_clean=false without noises leaves nothing to evaluate; add noises and snrs_db")
        for index, snr_db in enumerate(self.snrs_db):
            if not math.isfinite(snr_db):
                raise ValueError(f"snrs_db[{index}]={snr_db} must be a number; clean speech is include_clean: true")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} must not be negative")
        for key, known in (
            ("method", METHODS),
            ("metric", METRICS),
            ("language", LANGUAGES),
            ("task", TASKS),
            ("suppress", SUPPRESSIONS),
        ):
            if getattr(self, key) not in known:
                raise ValueError(f"{key}={getattr(self, key)!r} must be one of {', '.join(known)}")
        if self.beam_size < 1:
            raise ValueError(f"beam_size={self.beam_size} must be at least 1")
        if self.method == "ctc" and self.beam_size > 1:
            raise ValueError(f"beam_size={self.beam_size} has no use with method=ctc, which is greedy; set it to 1")
        if not 0 <= self.ctc_weight <= 1:
            raise ValueError(f"ctc_weight={self.ctc_weight} must be from 0 (decoder only) to 1 (CTC only)")
        if self.length_penalty is not None and not math.isfinite(self.length_penalty):
            raise ValueError(f"length_penalty={self.length_penalty} must be a number; 0 leaves scores as they are")
        if self.min_length < 0:
            raise ValueError(f"min_length={self.min_length} must not be negative")
        if not self.temperatures or not all(math.isfinite(one) and one >= 0 for one in self.temperatures):
            raise ValueError(f"temperatures={list(self.temperatures)} must be numbers from 0 up, at least one")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens={self.max_tokens} must be at least 1; null takes what the model has room for")

    @property
    def decoding(self) -> dict[str, Any]:
        """What a recogniser's decoder is told, as arguments of ``transcribe_batch``: only what ``method`` reads."""
        told: dict[str, Any] = {"method": self.method, "beam_size": self.beam_size}
        if self.method != "ctc":
            told["length_penalty"] = 1.0 if self.length_penalty is None else self.length_penalty
            told |= {name: getattr(self, name) for name in SEARCH_OPTIONS}
        if self.method == "joint":
            told["ctc_weight"] = self.ctc_weight
        return told

    @property
    def whisper_decoding(self) -> dict[str, Any]:
        """What a Whisper's decoder is told, as arguments of ``WhisperOptions``.

        Raises:
            ValueError: ``method`` is not the one that a Whisper has.
        """
        if self.method != "attention":
            raise ValueError(f"method={self.method!r} came for a Whisper, which has no CTC head; set method: attention")
        names = ("task", "beam_size", "length_penalty", "temperatures", "suppress", "max_tokens")
        told = {name: getattr(self, name) for name in names}
        if max(self.temperatures) > 0:  # without sampling the seed decides nothing, so it does not decode afresh
            told["seed"] = self.seed
        return {**told, "detect_language": self.language == "detected"}

    @property
    def whisper_settings(self) -> dict[str, Any]:
        """What decides a Whisper's transcripts, ready for JSON: what its decoder is told, and the padding of audio."""
        listed = {"temperatures": list(self.temperatures), "pad_to_30s": self.pad_to_30s}
        return {"method": self.method, **self.whisper_decoding, **listed}

    @property
    def shuffles_video(self) -> bool:
        """Whether some condition shows a model another utterance's clip."""
        return SHUFFLED in self.video_streams and "audio+video" in self.modalities

    def grid(self) -> list[Condition]:
        """Every condition, in the order of the report: by modality, then what is seen, then noise, clean first."""
        noisy = [(name, snr_db) for name in self.noises for snr_db in self.snrs_db]
        clean: list[tuple[str, float | None]] = [(CLEAN, None)] if self.include_clean else []
        return [
            Condition(modality, name, snr_db, video_stream)
            for modality in self.modalities
            for video_stream in (self.video_streams if modality == "audio+video" else (OWN,))
            for name, snr_db in [*clean, *noisy]
        ]

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
        ("length_penalty", (int, float, NoneType), "a number or null"),
        ("min_length", int, "a whole number"),
        ("official_limit", bool, "true or false"),
        ("pad_to_30s", bool, "true or false"),
        ("max_tokens", (int, NoneType), "a whole number or null"),
        ("method", str, "a word"),
        ("language", str, "a word"),
        ("task", str, "a word"),
        ("suppress", str, "a word"),
        ("normalization", str, "a word"),
        ("metric", str, "a word"),
    ):
        if key in values:
            _typed(key, values[key], kind, wanted)
    for key in ("modalities", "video_streams"):
        if key in values:
            words = _typed(key, values[key], list, "a list")
            values[key] = tuple(_typed(f"{key}[{index}]", word, str, "a word") for index, word in enumerate(words))
    for key in ("snrs_db", "temperatures"):
        if key in values:
            numbers = enumerate(_typed(key, values[key], list, "a list of numbers"))
            values[key] = tuple(float(_typed(f"{key}[{i}]", one, (int, float), "a number")) for i, one in numbers)
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
