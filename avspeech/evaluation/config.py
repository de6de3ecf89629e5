"""Settings of an evaluation: its grid of conditions, decoding and scoring."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from avspeech.config_file import parse_config, read_config
from avspeech.decoding.config import DecodingConfig
from avspeech.evaluation.conditions import CLEAN, MODALITIES, OWN, VIDEO_STREAMS, Condition, goes_with, noise_label
from avspeech.faults.visual import parse_fault
from avspeech.inputs import Modality
from avspeech.noise.mixing import check_rule as check_mixing
from avspeech.noise.mixing import check_snrs
from avspeech.noise.spec import NoiseSpec
from avspeech.text.normalize import check_rule as check_normalization

Metric = Literal["error_rate", "bleu"]
MOVED = {
    **{key: f"decoding.{key}" for key in ("method", "beam_size", "ctc_weight", "length_penalty", "min_length")},
    **{key: f"decoding.{key}" for key in ("official_limit", "task", "pad_to_30s", "temperatures", "suppress")},
    "max_tokens": "decoding.max_tokens",
    "language": "decoding.detect_language, true for 'detected'",
    "normalization": "scoring.normalization",
    "metric": "scoring.metric",
}
"""Keys of version 0.1.0 and their replacements."""


@dataclass(frozen=True)
class Scoring:
    """How hypotheses are compared with references."""

    normalization: str = "basic"
    """Rule of ``avspeech.text.normalize``: basic, none, fairseq, whisper or muavic."""
    metric: Metric = "error_rate"
    """``bleu`` adds BLEU of the texts as they are, for translations; errors are counted either way."""

    def __post_init__(self) -> None:
        check_normalization(self.normalization)


@dataclass(frozen=True)
class EvaluationConfig:
    """Grid of conditions, decoding and scoring."""

    modalities: tuple[Modality, ...] = MODALITIES
    """Streams that the model gets, each in turn."""
    noises: dict[str, NoiseSpec] = field(default_factory=dict)
    """Noises by their name in the results."""
    snrs_db: tuple[float, ...] = ()
    """SNRs in dB, for every noise that has one."""
    rule: str = "avspeech"
    """Mixing rule: ``avspeech``, ``avhubert`` or ``auto_avsr`` (``avspeech.noise.mixing``)."""
    level: str = "clip"
    """Speech level of the SNR: of the whole ``clip``, or of its ``active`` speech (ITU-T P.56)."""
    include_clean: bool = True
    """Also evaluate without noise."""
    video_streams: tuple[str, ...] = (OWN,)
    """Videos shown, each in turn: ``own``, ``blank``, ``shuffled``, or faults such as ``blur-3``, ``offset+80``.

    ``video`` alone sees only ``own`` and faults of the picture itself.
    """
    video_streams_at: tuple[str, ...] | None = None
    """Noises with streams other than ``own``, such as ``clean`` and ``babble 0``; null: all."""
    seed: int = 0
    """Seed of noise, faults, shuffled videos, temperatures and bootstrap."""
    decoding: DecodingConfig = DecodingConfig()
    """How the model decodes."""
    scoring: Scoring = Scoring()
    """How hypotheses are scored."""

    def __post_init__(self) -> None:
        for key in ("modalities", "snrs_db", "video_streams"):
            values = getattr(self, key)
            if values is None or len(set(values)) < len(values):
                raise ValueError(f"{key}={values and list(values)} must be a list that names nothing twice")
        if not self.modalities:
            raise ValueError(f"modalities is empty; name at least one of {', '.join(MODALITIES)}")
        for name in self.noises:
            if name in ("none", "clean") or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(f"noises.{name}: a name has letters, digits, - and _, and is not none or clean")
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
        check_mixing(self.rule, self.level)
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} must not be negative")

    def noise_columns(self) -> list[tuple[str, float | None]]:
        """Return every noise and SNR, clean first."""
        noises = [
            (name, snr_db) for name, one in self.noises.items() for snr_db in (self.snrs_db if one.has_snr else (None,))
        ]
        return [(CLEAN, None), *noises] if self.include_clean else noises

    def grid(self) -> list[Condition]:
        """Return every condition in the report's order: by modality, video stream, noise."""
        places = None if self.video_streams_at is None else {_with_unit(place) for place in self.video_streams_at}
        return [
            Condition(modality, name, snr_db, stream)
            for modality in self.modalities
            for stream in self.video_streams
            for name, snr_db in self.noise_columns()
            if goes_with(stream, modality) and (stream == OWN or places is None or noise_label(name, snr_db) in places)
        ]

    def with_options(
        self, modalities: Sequence[Modality] | None = None, decoding: Mapping[str, Any] | None = None
    ) -> "EvaluationConfig":
        """Return a copy with other modalities and options of ``decoding``; ``ValueError`` for a wrong one."""
        options = parse_config({**asdict(self.decoding), **(decoding or {})}, DecodingConfig)
        return replace(self, modalities=tuple(modalities or self.modalities), decoding=options)

    def with_noise_files(
        self,
        manifests: Mapping[str, Path] | None = None,
        paths: Mapping[str, Path] | None = None,
        only: Sequence[str] | None = None,
    ) -> "EvaluationConfig":
        """Return a copy with only the noises ``only``, and ``manifests`` and ``paths`` by name of noise."""
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


def read_conditions(path: str | Path) -> EvaluationConfig:
    """Read a conditions YAML; a ``ValueError`` is one line with file, key and wanted value."""
    return read_config(path, EvaluationConfig, MOVED)


def _with_unit(place: str) -> str:
    return place if place == "clean" or " " not in place or place.endswith(" dB") else f"{place} dB"
