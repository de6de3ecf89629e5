"""Model name -> model, for every command and configuration.

Names listed by ``python -m avspeech.hub`` come before files: write ``./demo`` for a file called ``demo``.
"""

import difflib
import os
import re
from pathlib import Path

import torch

from avspeech.hub.folder import check_folder
from avspeech.hub.official import FAMILIES, OPENAI, RELEASES, fetch_official
from avspeech.hub.remote import download
from avspeech.interop.official_files import load_any
from avspeech.models.encoder import AVEncoder, Encoder
from avspeech.models.files import Model, ModelFileError

DEMO_MODELS = {"demo": "av/model.safetensors", "demo-audio": "audio/model.safetensors"}
"""Name -> audio-visual or audio-only model file of the run."""
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_FILE_ENDINGS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
_POSSIBLE = (
    f"wanted a model file or folder, {', '.join(DEMO_MODELS)}, OpenAI's tiny ... large-v3 or turbo, "
    f"{', '.join(f'{family}/...' for family in FAMILIES)} (python -m avspeech.hub lists them), or owner/name of the "
    "Hugging Face hub"
)


def open_model(name: str | Path, device: torch.device | str = "cpu") -> Model:
    """Return the named model in evaluation mode, floats as fp32; see ``find_model``."""
    return load_any(find_model(name), device)


def open_encoder(name: str | Path, device: torch.device | str = "cpu") -> AVEncoder:
    """Return a model's audio-visual encoder in evaluation mode; ModelFileError if it has none."""
    model = open_model(name, device)
    try:
        return model.av_encoder
    except ValueError as error:
        raise ModelFileError(f"{name}: {error}") from error


def load_encoder(name: str | Path, encoder: Encoder) -> None:
    """Copy a model's video encoder into ``encoder``, drawing no random number; ModelFileError if sizes differ."""
    with torch.random.fork_rng(devices=[]):
        source = open_model(name).lip_encoder
    if source is None:
        raise ModelFileError(f"{name} has no encoder that reads lips, which a training could start from")
    given, own = ({key: tuple(x.shape) for key, x in one.state_dict().items()} for one in (source, encoder))
    missing, unknown = sorted(own.keys() - given), sorted(given.keys() - own)
    shapes = [
        f"{key}: {given[key]} in the file, {own[key]} here" for key in own if given.get(key, own[key]) != own[key]
    ]
    if missing or unknown or shapes:
        raise ModelFileError(
            f"{name} has another encoder than this run's config; missing: {missing[:5]}, unknown: {unknown[:5]}, "
            f"of another shape: {shapes[:5]}"
        )
    encoder.load_state_dict(source.state_dict())
    encoder.crop = source.crop


def find_model(name: str | Path) -> Path:
    """Return the file of a named model, downloaded if needed; ModelFileError if there is none.

    ``name`` is a file or folder (as any ``Path``), a name of ``python -m avspeech.hub``, or ``owner/name`` or
    ``owner/name@revision`` of the Hugging Face hub.
    """
    if isinstance(name, str):
        if not name.strip():
            raise ModelFileError(f"an empty name came for a model; {_POSSIBLE}")
        if name in DEMO_MODELS:
            return _find_demo(name)
        if name in RELEASES or name in OPENAI:
            return fetch_official(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return check_folder(path)
    if path.exists():
        return path
    if isinstance(name, Path) or name.endswith(_FILE_ENDINGS) or name.startswith(("/", ".", "~")):
        raise ModelFileError(f"{path} does not exist; {_POSSIBLE}")
    if name.split("/")[0] in FAMILIES:  # misspelt, and the error names close ones
        return fetch_official(name)
    if _HUB_NAME.fullmatch(name):
        return check_folder(download(name))
    close = difflib.get_close_matches(name, [*DEMO_MODELS, *OPENAI, *RELEASES], n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise ModelFileError(f"{name!r} is no file and no model's name{hint}; {_POSSIBLE}")


def demo_run() -> Path:
    """Return the folder of ``make demo``, which may not exist: ``AVSPEECH_DEMO``, else ``runs/demo``."""
    return Path(os.environ.get("AVSPEECH_DEMO") or "runs/demo").absolute()


def _find_demo(name: str) -> Path:
    file = demo_run() / DEMO_MODELS[name]
    if file.is_file():
        return file
    if named := os.environ.get("AVSPEECH_DEMO"):
        raise ModelFileError(f"AVSPEECH_DEMO={named} has no {DEMO_MODELS[name]}; wanted the runs/demo of `make demo`")
    raise ModelFileError(
        f"the model {name} has not been trained here: there is no {file}; run `make demo` in the checkout and call "
        "from there, or set AVSPEECH_DEMO to its runs/demo"
    )
