"""Lines of a noise plan: an utterance's speech, and a mix. ``plan`` describes the format."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class PlanError(ValueError):
    """A plan was altered, or a file that it names is missing or another."""


@dataclass(frozen=True)
class Piece:
    """A stretch of noise."""

    file: str | None = None
    """Relative to the root of its noise; None for generated noise."""
    sha256: str | None = None
    samples_sha256: str | None = None
    generator: str | None = None
    key: str | None = None
    offset: int = 0
    gain: float = 1.0
    """Factor before the pieces are summed."""


@dataclass(frozen=True)
class Reverb:
    """The room of a mix."""

    file: str
    """Impulse response, relative to its root."""
    sha256: str
    samples_sha256: str
    gain: float
    """Factor of the convolution of int16 steps."""


@dataclass(frozen=True)
class Speech:
    """Facts of the speech of an utterance."""

    id: str
    num_samples: int
    speech_sha256: str


@dataclass(frozen=True)
class Mix:
    """An utterance under a condition."""

    id: str
    noise: str
    snr_db: float | None
    pieces: tuple[Piece, ...] = ()
    scale: float = 0.0
    """Factor of the sum of the pieces."""
    measured_snr_db: float | None = None
    """SNR in dB before rounding; None where nothing is added."""
    sha256: str = ""
    reverb: Reverb | None = None
    note: str | None = None
    """Why nothing is added; None where something is."""


def mix_to_json(mix: Mix) -> dict[str, Any]:
    """Return the record of a mix; ``reverb`` and ``note`` only if set."""
    record = vars(mix) | {
        "pieces": [_present(piece) for piece in mix.pieces],
        "reverb": mix.reverb and vars(mix.reverb),
    }
    return {name: value for name, value in record.items() if value is not None or name not in ("reverb", "note")}


def _present(piece: Piece) -> dict[str, Any]:
    # ``vars`` and not ``asdict``, whose deep copies took most of the time that reading a plan takes.
    return {name: value for name, value in vars(piece).items() if value is not None}


def mix_from_json(record: dict[str, Any]) -> Mix:
    """Return the mix of a record. TypeError, KeyError: wrong keys."""
    pieces = tuple(Piece(**piece) for piece in record["pieces"])
    reverb = Reverb(**record["reverb"]) if "reverb" in record else None
    return Mix(**(record | {"pieces": pieces, "reverb": reverb}))


def parse_line(path: Path, number: int, line: str) -> dict[str, Any]:
    """Return the JSON object of a line. PlanError: it is none."""
    try:
        record = json.loads(line)
    except ValueError as error:
        raise PlanError(f"{path}, line {number}: is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise PlanError(f"{path}, line {number}: is no JSON object")
    return record


def without_hints(facts: Any) -> Any:
    """Return facts of noises without the paths, which differ between machines."""
    if isinstance(facts, Mapping):
        return {key: without_hints(value) for key, value in facts.items() if key not in ("root", "manifest_sha256")}
    return facts


def canonical(record: Any) -> bytes:
    """Return the bytes of a record that are hashed."""
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def same_level(snr_db: float | None) -> float | None:
    """Return an SNR such that 5 and 5.0, and 0.0 and -0.0, are one condition."""
    return None if snr_db is None else float(snr_db) + 0.0


def label(noise: str, snr_db: float | None) -> str:
    """Return ``babble -5 dB``, or ``hall`` where there is no SNR."""
    return noise if snr_db is None else f"{noise} {snr_db:g} dB"
