"""The recipe of a pre-training in iterations, read from YAML, and what it stands for.

AV-HuBERT (Shi et al. 2022, arXiv:2201.02184): cluster MFCCs, train on the clusters, cluster a layer of the trained
encoder, train a new one on those, and so on. ``configs/iterations/`` has the paper's recipe and a toy.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from data_prep.clip_vectors import Kind, Modality

Config = TypeVar("Config")


class RecipeError(ValueError):
    """A recipe cannot be used; the message names the key."""


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, by dotted names; lists and empty mappings stay values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


@dataclass(frozen=True)
class FeatureConfig:
    """What is clustered."""

    kind: Kind
    """mfcc, or encoder for a layer of the previous iteration's model, or of ``start`` in the first."""
    rate: int = 25
    """Vectors per second: 100 or 25 for MFCCs, 25 for an encoder."""
    layer: int | None = None
    """Which block's output, 1 is the first; 0 is the fused input."""
    modality: Modality = "audio+video"
    """The streams that the encoder is given."""


OWNED = (
    *(f"data.init_args.{name}" for name in ("train", "val", "train_units", "val_units", "units_rate")),
    *(f"model.init_args.{name}" for name in ("num_units", "init_from")),
    *(f"trainer.{name}" for name in ("default_root_dir", "logger", "callbacks", "enable_checkpointing")),
    *("ckpt_path", "config", "model_file"),
)
"""What nobody else may set: where things are, and checkpoints and curves, which restarting relies on."""


@dataclass(frozen=True)
class TrainingConfig:
    """Arguments of ``python -m avspeech.train fit``."""

    configs: tuple[Path, ...] = ()
    """Configuration files, composed from left to right."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Values by their dotted names, such as ``model.init_args.masking.on``; they come after the files."""

    def __post_init__(self) -> None:
        for key in flatten(self.overrides):
            if any(key == owned or key.startswith(owned + ".") for owned in OWNED):
                raise RecipeError(f"overrides.{key} is set by this command, from the recipe and --run; leave it out")


SEEDS = ("seed_everything", "model.init_args.seed", "data.init_args.seed")


@dataclass(frozen=True)
class Iteration:
    """One round: features, units, training."""

    features: FeatureConfig
    """What is clustered."""
    num_units: int
    """K."""
    percent: float = 1.0
    """Share of the training clips that k-means sees, above 0 and up to 1."""
    max_vectors: int | None = None
    """Most vectors of these clips that k-means sees, drawn uniformly; null takes all."""
    units_seed: int = 0
    """Seed of the choice of clips and vectors and of k-means."""
    training_seed: int | None = None
    """Seed of weights, order, masks and dropout; null leaves the configurations' own."""
    init_from: Literal["start", "previous"] | None = None
    """Encoder that training starts from; null starts afresh, as AV-HuBERT does."""
    training: TrainingConfig = TrainingConfig()
    """Comes after the recipe's own ``training`` and wins over it."""

    def __post_init__(self) -> None:
        kind, layer = self.features.kind, self.features.layer
        if self.num_units < 1:
            raise RecipeError(f"num_units={self.num_units} must be at least 1")
        if not 0 < self.percent <= 1:
            raise RecipeError(f"percent={self.percent} must be a share above 0 and up to 1")
        if (kind == "encoder") != (layer is not None):
            raise RecipeError(f"features.layer={layer} with kind {kind}: encoder features need a layer, mfcc have none")
        if self.features.rate not in ((25, 100) if kind == "mfcc" else (25,)):
            raise RecipeError(f"features.rate={self.features.rate}: mfcc run at 100 or 25 Hz, encoder features at 25")


@dataclass(frozen=True)
class DumpConfig:
    """Write features to disk before clustering, by several processes; what is there survives a restart.

    40 hours of a 768-channel layer take 11 GB. The folder is removed once both unit files are there.
    """

    shards: int = 1
    """Processes, and parts of the manifest."""
    devices: tuple[str, ...] = ()
    """Device of each shard, in turn; empty takes the recipe's device."""


@dataclass(frozen=True)
class Recipe:
    """A whole pre-training. Paths are relative to the folder that the command runs in."""

    train: Path
    """Manifest of the training clips."""
    val: Path
    """Manifest of the validation clips."""
    iterations: tuple[Iteration, ...]
    """In order."""
    training: TrainingConfig = TrainingConfig()
    """Common to all iterations."""
    start: Path | None = None
    """A model file, or an official checkpoint (.pt): the "previous model" of the first iteration."""
    device: str = "cpu"
    """Where encoders make features and vectors are compared. Training says for itself (trainer.accelerator)."""
    max_frames: int | None = None
    """Frames at 25 Hz that go through an encoder at once, for a GPU; null takes clip after clip."""
    dump: DumpConfig | None = None
    """Null makes features as they are needed: a share of them once, all of them once more."""
    checkpoint_every: int = 500
    """Updates between checkpoints of a training; up to twice as many are lost when it is killed, or three times where
    trainer.log_every_n_steps is as large."""
    max_failed: float = 0.02
    """Share of clips without features beyond which the run ends."""

    def __post_init__(self) -> None:
        if not self.iterations:
            raise RecipeError("iterations is empty; wanted at least one")
        if self.checkpoint_every < 1:
            raise RecipeError(f"checkpoint_every={self.checkpoint_every} must be at least 1")
        for number, iteration in enumerate(self.iterations):
            where = f"iterations[{number}]"
            if self.start is None and iteration.init_from == "start":
                raise RecipeError(f"{where}.init_from is start, and the recipe has no 'start'")
            if self.start is None and number == 0 and iteration.features.kind == "encoder":
                raise RecipeError(f"{where}.features.kind is encoder, and there is no model yet; give 'start', or mfcc")
            if self.start is None and number == 0 and iteration.init_from == "previous":
                raise RecipeError(f"{where}.init_from is previous, and there is no model yet; give 'start', or null")

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        """Read a recipe from YAML.

        Raises:
            RecipeError: the file is missing or no YAML, or names the key that is unknown, missing or of a wrong type.
        """
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise RecipeError(f"{path} cannot be read as a recipe: {error}") from error
        return _build(cls, values, str(path), "")

    def settings(self, number: int) -> dict[str, Any]:
        """Return what an iteration's configurations and overrides come to, by dotted names.

        Args:
            number: 0 for the first iteration.

        Raises:
            RecipeError: a configuration file is missing or no YAML.
        """
        settings: dict[str, Any] = {}
        for kind, value in self._composed(number):
            settings |= flatten(_read_config(value)) if kind == "config" else value
        return settings

    def training_arguments(self, number: int) -> list[str]:
        """Return the recipe's part of an iteration's training command: later arguments win."""
        arguments: list[str] = []
        for kind, value in self._composed(number):
            if kind == "config":
                arguments.append(f"--config={value}")
            else:
                arguments += [f"--{key}={as_argument(setting)}" for key, setting in value.items()]
        return arguments

    def _composed(self, number: int) -> Iterator[tuple[str, Any]]:
        iteration = self.iterations[number]
        for training in (self.training, iteration.training):
            yield from (("config", path) for path in training.configs)
            if training is iteration.training and iteration.training_seed is not None:
                yield "overrides", dict.fromkeys(SEEDS, iteration.training_seed)
            yield "overrides", flatten(training.overrides)


def as_argument(value: Any) -> str:
    """Return a value as it stands in a command line."""
    return value if isinstance(value, str) else json.dumps(value)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"training.configs names {path}, which cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"training.configs names {path}, which holds no mapping of settings")
    return values


def _build(kind: type[Config], values: Any, source: str, where: str) -> Config:
    """Return the dataclass ``kind`` from plain values; errors name the key as it stands in the file."""
    at = where or "the recipe"
    if not isinstance(values, dict):
        raise RecipeError(f"{source}: {at} is {values!r}, wanted keys and values")
    hints = typing.get_type_hints(kind)
    known = dataclasses.fields(typing.cast(Any, kind))
    if unknown := [str(key) for key in values if key not in hints]:
        raise RecipeError(f"{source}: {at} has no key {', '.join(unknown)}; known are {', '.join(hints)}")
    no_default = dataclasses.MISSING
    for one in known:
        if one.name not in values and one.default is no_default and one.default_factory is no_default:
            raise RecipeError(f"{source}: {at} lacks the key {one.name}")
    dot = f"{where}." if where else ""
    built = {name: _value(hints[name], value, source, dot + name) for name, value in values.items()}
    try:
        return kind(**built)
    except RecipeError as error:
        raise RecipeError(f"{source}: {dot}{error}") from None


def _value(hint: Any, value: Any, source: str, where: str) -> Any:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        if value is None and type(None) in typing.get_args(hint):
            return None
        (hint,) = (one for one in typing.get_args(hint) if one is not type(None))
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, source, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(inner[0], one, source, f"{where}[{number}]") for number, one in enumerate(value))
    if origin is Literal and value in inner:
        return value
    if origin is dict and isinstance(value, dict):
        return {str(key): one for key, one in value.items()}
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str) and type(value) is hint:
        return value
    kinds = {int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    kinds |= {tuple: "a list", Literal: f"one of {inner}", dict: "keys and values"}
    raise RecipeError(f"{source}: {where} is {value!r}, wanted {kinds[origin or hint]}")
