"""A model as a folder in the Hugging Face hub's layout.

config.json         class, sizes, SHA-256 of the weights
model.safetensors   the model file
README.md           the model card
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avspeech import __version__
from avspeech.files import file_sha256, write_json, write_text, written_whole
from avspeech.hub.card import model_card, read_results
from avspeech.models.files import FORMAT as WEIGHTS_FORMAT
from avspeech.models.files import Model, ModelFileError, save_model

FORMAT, VERSION = "avspeech model", 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FILES = (CONFIG, WEIGHTS, CARD)


def save_pretrained(
    folder: str | Path,
    network: Model,
    *,
    name: str | None = None,
    results: str | Path | Mapping[str, Any] | None = None,
    results_of: str | None = None,
    training: Mapping[str, Any] | None = None,
    languages: Sequence[str] | None = None,
    license: str | None = None,
    limitations: Sequence[str] = (),
) -> Path:
    """Write a model as a folder for ``from_pretrained`` and the hub, whole or not at all; return the folder.

    Raises ModelFileError if the folder holds something else or the results are unreadable, OSError if writing fails.

    Args:
        folder: new, empty, or of an earlier call, which is replaced.
        name: ``owner/name``, for loading; None: the folder's name.
        results: ``results.json`` of ``avspeech.evaluate``, or its content; None: no results.
        results_of: name of the model in ``results``; None if there is only one.
        training, license, limitations: see ``model_card``.
        languages: ISO 639 codes; None: those of the results.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - set(FILES)):
        raise ModelFileError(f"{folder} exists and holds more than a saved model; give an empty or a new folder")
    rows, run = read_results(results, results_of) if results is not None else ([], {})
    if languages is None:
        languages = list(dict.fromkeys(row["language"] for row in rows if row["language"] != "all"))
    card = model_card(network, name or folder.name, rows, run, training, languages, license, limitations)
    former = folder.with_name(folder.name + ".old.part")
    shutil.rmtree(former, ignore_errors=True)
    with written_whole(folder) as unfinished:
        unfinished.mkdir()
        save_model(unfinished / WEIGHTS, network)
        (unfinished / WEIGHTS).chmod(0o644)  # safetensors makes it readable for its owner only
        write_json(unfinished / CONFIG, _config(unfinished / WEIGHTS, network, languages, license), indent=2)
        write_text(unfinished / CARD, card)
        if folder.exists():
            folder.rename(former)
    shutil.rmtree(former, ignore_errors=True)
    return folder


def _config(weights: Path, network: Model, languages: Sequence[str], license: str | None) -> dict[str, Any]:
    sizes = network.to_config()
    tokenizer = sizes.pop("tokenizer", None)  # long, and the weights' file has it
    return {
        "avspeech": __version__,
        "format": FORMAT,
        "kind": network.kind,
        "languages": list(languages),
        "license": license,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "sizes": sizes,
        "tokenizer": None if tokenizer is None else tokenizer["kind"],
        "version": VERSION,
        "weights": {"file": WEIGHTS, "format": WEIGHTS_FORMAT, "sha256": file_sha256(weights)},
    }


def check_folder(folder: str | Path) -> Path:
    """Return a folder's model file, its SHA-256 checked against any ``config.json``; ModelFileError if broken."""
    folder = Path(folder)
    weights = folder / WEIGHTS
    wanted = read_config(folder)["weights"]["sha256"] if (folder / CONFIG).is_file() else None
    if not weights.is_file():
        inside = sorted(folder.glob(f"*/{WEIGHTS}"))
        hint = f"wanted one of {', '.join(map(str, inside[:3]))}" if inside else "wanted a folder of save_pretrained"
        raise ModelFileError(f"{folder} is a folder without {WEIGHTS}; {hint}")
    if wanted is not None and (got := file_sha256(weights)) != wanted:
        raise ModelFileError(
            f"{weights} is not the file that {CONFIG} was written for (SHA-256 {got[:9]}..., wanted {wanted[:9]}...): "
            f"delete {weights.resolve()} and download it again, or write the folder anew with save_pretrained"
        )
    return weights


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return a folder's ``config.json``; ModelFileError if unreadable, another library's or too new."""
    path = Path(folder) / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        other = config.get("model_type") if isinstance(config, dict) else None
        what = f"a {other} of Hugging Face's transformers" if other else "another library's model"
        hint = "wanted a folder of avspeech's save_pretrained; for a Whisper give OpenAI's name (tiny ... turbo)"
        raise ModelFileError(f"{path} is of {what}; {hint}")
    if config.get("version") != VERSION:
        raise ModelFileError(f"{path} is of version {config.get('version')}, this avspeech reads {VERSION}; update it")
    weights = config.get("weights")
    if not isinstance(weights, dict) or not isinstance(weights.get("sha256"), str):
        raise ModelFileError(f"{path} has no SHA-256 of its weights; write the folder anew")
    return config
