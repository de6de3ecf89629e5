"""Read a YAML file into a dataclass; jsonargparse checks keys and types."""

import re
import sys
from argparse import ArgumentError
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import yaml
from jsonargparse import ArgumentParser

Config = TypeVar("Config")


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key given twice in one mapping; YAML would take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
            raise ValueError(f"line {node.start_mark.line + 1}: {twice[0]} stands twice; remove one")
        return super().construct_mapping(node, deep)


def read_config(path: str | Path, kind: type[Config], moved: Mapping[str, str] | None = None) -> Config:
    """Read a YAML file into a dataclass, which may nest dataclasses; ``moved`` maps old keys to new ones.

    Raises ValueError, one line with the file and the wrong key.
    """
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), _UniqueKeys)
        return parse_config({} if values is None else values, kind, moved)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def parse_config(values: Any, kind: type[Config], moved: Mapping[str, str] | None = None) -> Config:
    """Return a dataclass from YAML values; arguments and errors as in ``read_config``."""
    if not isinstance(values, dict):
        raise ValueError(f"{values!r} came, wanted keys with values")
    for old, new in (moved or {}).items():
        if old in values:
            raise ValueError(f"{old} is now {new}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "top")
    try:
        return parser.instantiate(parser.parse_object({"top": deepcopy(values)})).top
    except ArgumentError as error:
        message = re.sub(r"\btop\.", "", " ".join(str(error).split()))
        raise ValueError(message.replace("Group 'top' does not accept option", "there is no key")) from error


def refuse_moved_flags(moved: Mapping[str, str]) -> None:
    """End the command with one message if it was given a flag of an earlier version (old flag -> new)."""
    for argument in sys.argv[1:]:
        if (flag := argument.split("=")[0]) in moved:
            sys.exit(f"{flag} is now {moved[flag]}")
