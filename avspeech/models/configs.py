"""Configurations as JSON values; classes of encoders and models by kind, never by an import path in a model file.

Other packages register a class on import, or by an entry point of its kind in ``avspeech.encoders`` or ``.models``.
"""

import dataclasses
import types
import typing
from importlib.metadata import entry_points
from typing import Any

from avspeech.models.encoder import ENCODERS, BaseEncoderConfig, EncoderConfig


class ModelFileError(ValueError):
    """No model, or not the expected one; the message is one line."""

    def __init__(self, reason: object) -> None:
        super().__init__(" ".join(str(reason).split()))  # libraries break their messages into lines


def find_kind(registry: dict[str, Any], group: str, kind: str) -> Any:
    """Return the class of a kind from ``registry`` or an entry point of ``group``; ModelFileError if there is none."""
    if kind not in registry:
        for point in entry_points(group=f"avspeech.{group}", name=kind):
            registry[kind] = point.load()
    if kind not in registry:
        known, mend = ", ".join(sorted(registry)), f"import the package that defines {kind!r} first"
        raise ModelFileError(
            f"the file holds a {kind!r}, and the {group} known are {known}; update avspeech, or {mend}"
        )
    return registry[kind]


def to_plain(config: Any) -> dict[str, Any]:
    """Return a configuration as JSON values; encoders other than AV-HuBERT's include their kind."""
    pairs = ((one.name, getattr(config, one.name)) for one in dataclasses.fields(config))
    values = {name: to_plain(x) if dataclasses.is_dataclass(x) else x for name, x in pairs}
    if isinstance(config, BaseEncoderConfig) and config.kind != EncoderConfig.kind:
        values["kind"] = config.kind
    return values


def from_plain(cls: type, values: dict[str, Any]) -> Any:
    """Return the dataclass ``cls`` from ``to_plain``'s values; ModelFileError for an unknown field or encoder kind."""
    values = dict(values)
    if issubclass(cls, BaseEncoderConfig):
        cls = find_kind(ENCODERS, "encoders", values.pop("kind", EncoderConfig.kind))
    hints = typing.get_type_hints(cls)
    if unknown := sorted(values.keys() - {field.name for field in dataclasses.fields(cls)}):
        raise ModelFileError(f"{cls.__name__} has no field {', '.join(unknown)}; the file is from another version")
    return cls(**{name: _build(hints[name], value) for name, value in values.items()})


def _build(hint: Any, value: Any) -> Any:
    if isinstance(hint, types.UnionType):
        hint = next((kind for kind in typing.get_args(hint) if dataclasses.is_dataclass(kind)), hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_plain(typing.cast(type, hint), value)
    if isinstance(value, list) and typing.get_origin(hint) is tuple:
        return tuple(tuple(entry) if isinstance(entry, list) else entry for entry in value)
    return value
