"""A conditions YAML -> ``EvaluationConfig``; an error names the file and the key as typed there."""

from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any

import yaml

from avspeech.evaluation.conditions import EvaluationConfig
from avspeech.noise.spec import parse_noise, typed


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, where YAML would take the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
            raise ValueError(f"line {node.start_mark.line + 1}: {twice[0]} stands twice; remove one")
        return super().construct_mapping(node, deep)


def read_conditions(path: str | Path) -> EvaluationConfig:
    """Read a conditions YAML.

    Raises:
        ValueError: names the file, the key as typed there, what came and what was wanted.
    """
    path = Path(path)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
        return _parse_config({} if values is None else values)
    except OSError as error:
        raise ValueError(f"conditions file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _parse_config(values: Any) -> EvaluationConfig:
    values = dict(typed("the file", values, dict, "keys with values"))
    _refuse_unknown(values, EvaluationConfig)
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
        ("rule", str, "a word"),
        ("level", str, "a word"),
        ("language", str, "a word"),
        ("task", str, "a word"),
        ("suppress", str, "a word"),
        ("normalization", str, "a word"),
        ("metric", str, "a word"),
    ):
        if key in values:
            typed(key, values[key], kind, wanted)
    for key in ("modalities", "video_streams", "video_streams_at"):
        if key in values and (key != "video_streams_at" or values[key] is not None):  # only there null says something
            words = typed(key, values[key], list, "a list")
            values[key] = tuple(typed(f"{key}[{index}]", word, str, "a word") for index, word in enumerate(words))
    for key in ("snrs_db", "temperatures"):
        if key in values:
            numbers = enumerate(typed(key, values[key], list, "a list of numbers"))
            values[key] = tuple(float(typed(f"{key}[{i}]", one, (int, float), "a number")) for i, one in numbers)
    if "noises" in values:
        noises = typed("noises", values["noises"], dict, "names with noises")
        values["noises"] = {str(name): parse_noise(f"noises.{name}", spec) for name, spec in noises.items()}
    return EvaluationConfig(**values)


def _refuse_unknown(values: dict, config: type) -> None:
    known = [entry.name for entry in fields(config)]
    for name in values:
        if name not in known:
            raise ValueError(f"{name} is no known key; known are {', '.join(known)}")
