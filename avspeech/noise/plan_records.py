"""The lines of a noise plan: what is said of an utterance's speech and of a mix. ``noise_plan`` has the format."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class PlanError(ValueError):
    """A plan, or a file that it names, is not what the plan says."""


@dataclass(frozen=True)
class Piece:
    """Something that is heard as noise."""

    file: str | None = None
    """Relative to the root of its noise; None for generated noise."""
    sha256: str | None = None
    """Of the file's bytes."""
    samples_sha256: str | None = None
    """Of the file's int16 samples."""
    generator: str | None = None
    """``white`` or ``pink``."""
    key: str | None = None
    """Of the generator's stream."""
    offset: int = 0
    """First sample that is heard."""
    gain: float = 1.0
    """What it is multiplied by before the pieces are summed."""


@dataclass(frozen=True)
class Reverb:
    """The room that speech is heard in."""

    file: str
    """Impulse response, relative to its root."""
    sha256: str
    """Of the file's bytes."""
    samples_sha256: str
    """Of the file's int16 samples."""
    gain: float
    """What the convolution of int16 steps is multiplied by."""


@dataclass(frozen=True)
class Speech:
    """What is known of an utterance's speech."""

    id: str
    num_samples: int
    speech_sha256: str
    """Of its int16 samples."""


@dataclass(frozen=True)
class Mix:
    """An utterance under a condition."""

    id: str
    noise: str
    snr_db: float | None
    pieces: tuple[Piece, ...] = ()
    scale: float = 0.0
    """What the sum of the pieces is multiplied by."""
    measured_snr_db: float | None = None
    """Before rounding; None where nothing is added."""
    sha256: str = ""
    """Of what is heard."""
    reverb: Reverb | None = None
    note: str | None = None
    """Why nothing is added, where something should be."""


def mix_to_json(mix: Mix) -> dict[str, Any]:
    """Return a mix as in the file; a room and a note are there only where they are."""
    record = vars(mix) | {
        "pieces": [_present(piece) for piece in mix.pieces],
        "reverb": mix.reverb and vars(mix.reverb),
    }
    return {name: value for name, value in record.items() if value is not None or name not in ("reverb", "note")}


def _present(piece: Piece) -> dict[str, Any]:
    # ``vars`` and not ``asdict``, whose deep copies took most of the time that reading a plan takes.
    return {name: value for name, value in vars(piece).items() if value is not None}


def mix_from_json(record: dict[str, Any]) -> Mix:
    """Return the mix that a line describes.

    Raises:
        TypeError, KeyError: it has other keys than a mix.
    """
    pieces = tuple(Piece(**piece) for piece in record["pieces"])
    reverb = Reverb(**record["reverb"]) if "reverb" in record else None
    return Mix(**(record | {"pieces": pieces, "reverb": reverb}))


def parse_line(path: Path, number: int, line: str) -> dict[str, Any]:
    """Return the object in a line of a file.

    Raises:
        PlanError: it is none.
    """
    try:
        record = json.loads(line)
    except ValueError as error:
        raise PlanError(f"{path}, line {number}: is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise PlanError(f"{path}, line {number}: is no JSON object")
    return record


def without_hints(facts: Any) -> Any:
    """Return facts of noises without what says where files lay, which differs between machines."""
    if isinstance(facts, Mapping):
        return {key: without_hints(value) for key, value in facts.items() if key not in ("root", "manifest_sha256")}
    return facts


def canonical(record: Any) -> bytes:
    """Return a record as it is hashed."""
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def same_level(snr_db: float | None) -> float | None:
    """Return an SNR such that 5 and 5.0, and 0.0 and -0.0, are one condition."""
    return None if snr_db is None else float(snr_db) + 0.0


def label(noise: str, snr_db: float | None) -> str:
    """Return ``babble -5 dB``, or ``hall`` where there is no SNR."""
    return noise if snr_db is None else f"{noise} {snr_db:g} dB"
