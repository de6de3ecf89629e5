"""A model as a folder, in the layout of the Hugging Face hub.

config.json         which class, its sizes, the SHA-256 of the weights
model.safetensors   our model file; it alone is enough to load
README.md           the model card
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from avspeech import __version__
from avspeech.files import file_sha256
from avspeech.hub.card import languages_of, model_card, read_results
from avspeech.models.files import HEADER, Model, ModelFileError, save_model

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
    """Write a model as a folder that ``from_pretrained`` and the hub read; it appears only when whole.

    Args:
        folder: it may exist if it is empty or such a folder, which is then replaced.
        network: the model.
        name: what users will call it, ``owner/name``; None: the folder's name.
        results: ``results.json`` of ``avspeech.evaluate``, or what it holds; None: the card shows none.
        results_of: whose results, as that file calls the model; None where it has one only.
        training: configuration; None: what came with imported weights. Paths in it are left out.
        languages: ISO 639 codes; None: those of the results.
        license: as the hub spells it (``apache-2.0``); None: AV-HuBERT's where its weights are inside, else unsaid.
        limitations: sentences for the card, beside our own.

    Returns:
        The folder.

    Raises:
        ModelFileError: the folder holds something else, or the results cannot be read.
        OSError: the disk is full or may not be written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - set(FILES)):
        raise ModelFileError(f"{folder} exists and holds more than a saved model; give an empty or a new folder")
    rows, run = read_results(_as_path(results), results_of) if results is not None else ([], {})
    languages = languages_of(rows) if languages is None else list(languages)
    card = model_card(network, name or folder.name, rows, run, training, languages, license, limitations)
    unfinished, former = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old.part")
    for left_over in (unfinished, former):
        shutil.rmtree(left_over, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        save_model(unfinished / WEIGHTS, network)
        (unfinished / WEIGHTS).chmod(0o644)  # safetensors makes it readable to its owner only
        config = json.dumps(_config(unfinished / WEIGHTS, network, languages, license), indent=2, sort_keys=True)
        (unfinished / CONFIG).write_text(config + "\n", encoding="utf-8")
        (unfinished / CARD).write_text(card, encoding="utf-8")
        if folder.exists():
            folder.rename(former)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(former, ignore_errors=True)
    return folder


def _as_path(results: str | Path | Mapping[str, Any]) -> Path | Mapping[str, Any]:
    return results if isinstance(results, Mapping) else Path(results)


def _config(weights: Path, network: Model, languages: list[str], license: str | None) -> dict[str, Any]:
    with safe_open(str(weights), framework="pt") as file:
        header = json.loads(file.metadata()[HEADER])
    tokenizer = header["config"].pop("tokenizer", None)  # long, and it is in the weights' file
    return {
        "format": FORMAT,
        "version": VERSION,
        "avspeech": __version__,
        "kind": header["kind"],
        "sizes": header["config"],
        "tokenizer": None if tokenizer is None else tokenizer["kind"],
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "weights": {"file": WEIGHTS, "format": header["format"], "sha256": file_sha256(weights)},
        "languages": languages,
        "license": license,
    }


def check_folder(folder: str | Path) -> Path:
    """Return the model file of a folder, its SHA-256 checked against ``config.json``.

    A folder of a training run, which has a model file and no ``config.json``, will do.

    Raises:
        ModelFileError: the folder holds no model of ours, or a broken one.
    """
    folder = Path(folder)
    weights = folder / WEIGHTS
    config = read_config(folder) if (folder / CONFIG).is_file() else None
    if not weights.is_file():
        inside = sorted(folder.glob(f"*/{WEIGHTS}"))
        hint = f"wanted one of {', '.join(map(str, inside[:3]))}" if inside else "wanted a folder of save_pretrained"
        raise ModelFileError(f"{folder} is a folder without {WEIGHTS}; {hint}")
    if config is not None and (got := file_sha256(weights)) != config["weights"]["sha256"]:
        raise ModelFileError(
            f"{weights} is not the file that {CONFIG} was written for (SHA-256 {got[:12]}..., wanted "
            f"{config['weights']['sha256'][:12]}...): delete {weights.resolve()} and download it again, or write the "
            "folder anew with save_pretrained"
        )
    return weights


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return ``config.json`` of a folder.

    Raises:
        ModelFileError: it cannot be read, is of another library or of a later version.
    """
    path = Path(folder) / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        other = config.get("model_type") if isinstance(config, dict) else None
        what = f"a {other} of Hugging Face's transformers" if other else "another library's model"
        raise ModelFileError(
            f"{path} is of {what}; wanted a model that save_pretrained of avspeech wrote; for a Whisper give OpenAI's "
            "name (tiny ... turbo)"
        )
    if config.get("version") != VERSION:
        raise ModelFileError(f"{path} is of version {config.get('version')}, this avspeech reads {VERSION}; update it")
    weights = config.get("weights")
    if not isinstance(weights, dict) or not isinstance(weights.get("sha256"), str):
        raise ModelFileError(f"{path} does not say the SHA-256 of its weights; write the folder anew")
    return config
