"""A name -> a model: a local path, an official name, ``owner/name`` of the Hugging Face hub, or ``demo``.

A name of the table (``avspeech.hub.official``) and the demo's come first: write ``./demo`` for a file of that name.
"""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from avspeech.hub.any_file import load_any
from avspeech.hub.demo import DEMO_MODELS, find_demo
from avspeech.hub.errors import ModelNameError
from avspeech.hub.folder import check_folder
from avspeech.hub.official import FAMILIES, OPENAI, RELEASES, fetch_official
from avspeech.hub.remote import download
from avspeech.models.files import Model

Origin = Literal["file", "official", "hub", "demo"]
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_FILE_ENDINGS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")


@dataclass(frozen=True)
class Resolved:
    """A model and where it came from."""

    network: Model
    """In evaluation mode."""
    name: str
    """As it was given."""
    origin: Origin
    path: Path
    """The file that the weights were read from."""


def resolve(
    name: str | Path, device: torch.device | str = "cpu", *, cache_dir: str | Path | None = None, offline: bool = False
) -> Resolved:
    """Return the model of a name.

    Args:
        name: a file or a folder (a ``Path`` is always one), ``demo``, ``demo-audio``, a name of
            ``python -m avspeech.hub``, or ``owner/name`` or ``owner/name@revision`` of the Hugging Face hub.
        device: where the weights go.
        cache_dir: of the Hugging Face hub; None: its own default.
        offline: ask no hub; take what is in its cache.

    Raises:
        ModelNameError: the name stands for nothing, or its model cannot be had or read; the message is one line.
    """
    origin, path = _locate(name, cache_dir, offline)
    return Resolved(load_any(path, device), str(name), origin, path)


def _locate(name: str | Path, cache_dir: str | Path | None, offline: bool) -> tuple[Origin, Path]:
    if isinstance(name, str):
        if not name.strip():
            raise ModelNameError(f"an empty name came for a model; {possible_names()}")
        if name in DEMO_MODELS:
            return "demo", find_demo(name)
        if name in RELEASES or name in OPENAI:
            return "official", fetch_official(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return "file", check_folder(path)
    if path.exists():
        return "file", path
    if isinstance(name, Path) or name.endswith(_FILE_ENDINGS) or name.startswith(("/", ".", "~")):
        raise ModelNameError(f"{path} does not exist; {possible_names()}")
    if name.split("/")[0] in FAMILIES:  # misspelt, and the error says so
        return "official", fetch_official(name)
    if _HUB_NAME.fullmatch(name):
        return "hub", check_folder(download(name, None, cache_dir, offline))
    close = difflib.get_close_matches(name, [*DEMO_MODELS, *OPENAI, *RELEASES], n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise ModelNameError(f"{name!r} is no file and no model's name{hint}; {possible_names()}")


def possible_names() -> str:
    """Return what a model may be called, in half a sentence."""
    families = ", ".join(f"{family}/..." for family in FAMILIES)
    return (
        f"wanted a model file or folder, {', '.join(DEMO_MODELS)}, OpenAI's tiny ... large-v3 or turbo, {families} "
        "(python -m avspeech.hub lists them), or owner/name of the Hugging Face hub"
    )
