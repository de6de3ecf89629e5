"""The grid that a model is evaluated on: modality x noise x SNR x what is seen.

Noise is acoustic, so it cannot touch a model that only sees lips: ``video`` is decoded once, clean, and its rows
in noise repeat that result (``decoded_as``); a model whose video is missing (``no_face``) is one that only hears.
``audio+video`` and ``video`` may also see a picture with a fault (``video_streams``; ``avspeech.faults.visual``), and
``audio+video`` no picture or another utterance's, because a model with gates can lean on the audio alone and nothing
else shows it. An error names the key as it is written in a conditions YAML (``conditions_file``).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from avspeech.faults.visual import Fault, parse_fault
from avspeech.noise.plan import CLEAN
from avspeech.noise.rules import LEVELS, RULES, check_snrs
from avspeech.noise.spec import NoiseSpec
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
WRONG_SPEAKER, NO_FACE = "wrong_speaker", "no_face"
NEEDS_SOUND = ("offset", WRONG_SPEAKER, NO_FACE)
"""Kinds of fault that say nothing of a model that only sees: there is no sound to be out of step with."""


@dataclass(frozen=True)
class Condition:
    """One cell of the grid: which streams the model gets, what is mixed into the audio, what it sees."""

    modality: str
    """``audio``, ``video`` or ``audio+video``."""
    noise: str = CLEAN
    """Name of the noise in ``noises``; ``none`` is clean."""
    snr_db: float | None = None
    """Signal-to-noise ratio; None when clean, and for a noise that has none, such as reverberation."""
    video_stream: str = OWN
    """What is seen: the ``own`` clip, ``blank`` (mean grey), ``shuffled`` (another utterance's clip), or the own clip
    with a fault, such as ``blur-3`` (``avspeech.faults.visual``)."""

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(f"modality {self.modality!r} must be one of {', '.join(MODALITIES)}")
        if self.noise == "clean":
            raise ValueError(f"noise 'clean' came; clean speech is the noise {CLEAN!r}")
        if self.noise == CLEAN and self.snr_db is not None:
            raise ValueError(f"noise {self.noise!r} does not go with snr_db={self.snr_db}: clean speech has no SNR")
        if not goes_with(self.video_stream, self.modality):
            raise ValueError(f"video stream {self.video_stream!r} says nothing of modality {self.modality!r}")

    @property
    def is_clean(self) -> bool:
        """Whether the speech is heard as it was recorded."""
        return self.noise == CLEAN

    @property
    def keeps_audio(self) -> bool:
        return "audio" in self.modality

    @property
    def keeps_video(self) -> bool:
        return "video" in self.modality

    @property
    def fault(self) -> Fault | None:
        """What is wrong with the picture; None for ``own``, ``blank`` and ``shuffled``."""
        return None if self.video_stream in VIDEO_STREAMS else parse_fault(self.video_stream)

    @property
    def is_drawn(self) -> bool:
        """Whether the seed decides what is seen."""
        if self.video_stream in VIDEO_STREAMS:
            return self.video_stream == SHUFFLED
        fault = parse_fault(self.video_stream)
        return fault.kind == WRONG_SPEAKER or fault.is_drawn

    @property
    def label(self) -> str:
        """For people and file names: ``audio+video, babble -5 dB``, and ``, blur-3`` where it does not see its own."""
        return f"{self.modality}, {noise_label(self.noise, self.snr_db)}{_seen(self.video_stream)}"

    @property
    def file_name(self) -> str:
        """The label without spaces, for names of files."""
        return self.label.replace(", ", "_").replace(" ", "_")

    @property
    def decoded_as(self) -> "Condition":
        """The condition whose transcripts are the same: clean for ``video``, ``audio`` for a missing video.

        The sound is cut to its video's length (see ``loading``); where there is no video, there is no such length.
        """
        if not self.keeps_audio:
            return Condition(self.modality, video_stream=self.video_stream)
        if self.video_stream == NO_FACE:
            return Condition("audio", self.noise, self.snr_db)
        return self


def goes_with(video_stream: str, modality: str) -> bool:
    """Return whether it makes sense to evaluate ``modality`` with what ``video_stream`` shows.

    Raises:
        ValueError: there is no such stream.
    """
    if video_stream in VIDEO_STREAMS:
        return video_stream == OWN or modality == "audio+video"
    fault = parse_fault(video_stream)
    return modality == "audio+video" or (modality == "video" and fault.kind not in NEEDS_SOUND)


def noise_label(noise: str, snr_db: float | None) -> str:
    """``clean``, ``babble -5 dB``, or ``reverb`` where there is no SNR."""
    if snr_db is None:
        return "clean" if noise == CLEAN else noise
    return f"{noise} {snr_db:g} dB"


def _seen(video_stream: str) -> str:
    if video_stream == OWN:
        return ""
    return f", {video_stream} video" if video_stream in VIDEO_STREAMS else f", {video_stream}"


@dataclass(frozen=True)
class EvaluationConfig:
    """The grid and how it is decoded and scored."""

    modalities: tuple[str, ...] = MODALITIES
    """Which streams the model gets, each in turn."""
    noises: Mapping[str, NoiseSpec] = field(default_factory=dict)
    """Noises by the name that stands in the results."""
    snrs_db: tuple[float, ...] = ()
    """Signal-to-noise ratios; every noise that has one is mixed in at every one."""
    rule: str = "avspeech"
    """How noise is mixed in: ``avspeech``, ``avhubert`` or ``auto_avsr`` (see ``avspeech.noise.rules``)."""
    level: str = "clip"
    """What the SNR compares the noise with: the whole ``clip``, or its ``active`` speech (ITU-T P.56)."""
    include_clean: bool = True
    """Also evaluate without noise."""
    video_streams: tuple[str, ...] = (OWN,)
    """What is seen, each in turn: ``own``; ``blank`` and ``shuffled``, which let the report say what the lips give; and
    faults of the picture by name and severity, such as ``blur-3``, ``drop-50`` or ``offset+80``.

    ``video`` alone sees only faults of the picture itself; a wrong video there measures how well the model guesses."""
    video_streams_at: tuple[str, ...] | None = None
    """Noises in which streams other than ``own`` are seen, such as ``clean`` and ``babble 0``; null: in all of them."""
    seed: int = 0
    """Of the noise (which pieces, which offset, per utterance), of the faults and shuffled videos, of the bootstrap."""
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
            if name in (CLEAN, "clean") or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(
                    f"noises.{name}: a noise needs a name of letters, digits, - and _, other than {CLEAN} and clean"
                )
        for stream in self.video_streams:
            if stream not in VIDEO_STREAMS:
                try:
                    parse_fault(stream)
                except ValueError as error:
                    raise ValueError(f"video_streams: {error}; or one of {', '.join(VIDEO_STREAMS)}") from error
        if OWN not in self.video_streams:
            raise ValueError(f"video_streams={list(self.video_streams)} lacks {OWN!r}, which the others stand beside")
        if any(spec.has_snr for spec in self.noises.values()) != bool(self.snrs_db):
            raise ValueError(f"noises={list(self.noises)} with snrs_db={list(self.snrs_db)}: give both, or neither")
        labels = [noise_label(*noise) for noise in self.noise_columns()]
        for place in self.video_streams_at or ():
            if _with_unit(place) not in labels:
                raise ValueError(f"video_streams_at: {place!r} must be one of {', '.join(labels)}")
        if not self.noises and not self.include_clean:
            raise ValueError("include_clean=false without noises leaves nothing to evaluate; add noises and snrs_db")
        check_snrs(self.snrs_db)
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} must not be negative")
        for key, known in (
            ("method", METHODS),
            ("metric", METRICS),
            ("language", LANGUAGES),
            ("task", TASKS),
            ("suppress", SUPPRESSIONS),
            ("rule", RULES),
            ("level", LEVELS),
        ):
            if getattr(self, key) not in known:
                raise ValueError(f"{key}={getattr(self, key)!r} must be one of {', '.join(known)}")
        if self.beam_size < 1:
            raise ValueError(f"beam_size={self.beam_size} must be at least 1")
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

    def noise_columns(self) -> list[tuple[str, float | None]]:
        """Every noise and SNR, clean first."""
        columns: list[tuple[str, float | None]] = [(CLEAN, None)] if self.include_clean else []
        for name, spec in self.noises.items():
            columns += [(name, snr_db) for snr_db in self.snrs_db] if spec.has_snr else [(name, None)]
        return columns

    def grid(self) -> list[Condition]:
        """Every condition, in the order of the report: by modality, then what is seen, then noise, clean first."""
        places = None if self.video_streams_at is None else {_with_unit(place) for place in self.video_streams_at}
        return [
            Condition(modality, name, snr_db, stream)
            for modality in self.modalities
            for stream in self.video_streams
            for name, snr_db in self.noise_columns()
            if goes_with(stream, modality) and (stream == OWN or places is None or noise_label(name, snr_db) in places)
        ]

    def with_noise_files(
        self,
        manifests: Mapping[str, Path] | None = None,
        paths: Mapping[str, Path] | None = None,
        only: Sequence[str] | None = None,
    ) -> "EvaluationConfig":
        """Return a copy whose named noises draw from ``manifests`` and ``paths``, and with no noises but ``only``.

        Raises:
            ValueError: a name is no noise, or its kind has no manifest or path.
        """
        noises = dict(self.noises)
        given = (("noise_manifests", "manifest", manifests), ("noise_paths", "path", paths))
        for option, names in (("noises", only), *((option, files) for option, _, files in given)):
            if unknown := sorted(set(names or ()) - set(noises)):
                raise ValueError(f"{option} names {', '.join(unknown)}, but noises has {', '.join(noises) or 'none'}")
        for option, key, files in given:
            for name, file in (files or {}).items():
                try:
                    noises[name] = replace(noises[name], **{key: Path(file)})
                except ValueError as error:
                    raise ValueError(f"{option}: noises.{name}.{error}") from error
        if only is not None:
            noises = {name: spec for name, spec in noises.items() if name in only}
        snrs_db = self.snrs_db if any(spec.has_snr for spec in noises.values()) else ()
        places, gone = self.video_streams_at, self.noises.keys() - noises.keys()
        places = None if places is None else tuple(place for place in places if place.split(" ")[0] not in gone)
        return replace(self, noises=noises, snrs_db=snrs_db, video_streams_at=places)


def _with_unit(place: str) -> str:
    """``babble 0`` and ``babble 0 dB`` are one noise."""
    return place if place == "clean" or " " not in place or place.endswith(" dB") else f"{place} dB"


def _need_unique(key: str, values: tuple) -> None:
    if len(set(values)) < len(values):
        raise ValueError(f"{key}={list(values)} names something twice")
