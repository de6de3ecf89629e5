"""The model file: safetensors whose header carries the configuration; no Lightning, no pickle, no paths.

What evaluation and users load. The header holds ``kind`` (which class), ``config`` (its sizes; for a recogniser also
the tokenizer, so that the one file turns clips into text) and ``source`` (where imported weights came from).
"""

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.encoder import EncoderConfig
from avspeech.models.flamingo import Flamingo, FlamingoConfig
from avspeech.models.recognizer import Recognizer, RecognizerConfig
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig

FORMAT = "2"
_FORMER_NAMES = {"unit_embedding": "unit_head.embedding", "unit_project.": "unit_head.project."}
"""What weights were called in format 1."""
HEADER = "avspeech"
"""Name of the header's one entry."""
CARRIED = "carried."
"""Prefix of tensors that came with an imported model and that ours does not use."""


_PREDICTOR_FIELDS = (
    "num_units",
    "mask_features",
    "unit_width",
    "special_units",
    "similarity",
    "temperature",
    "supervised_blocks",
)


Model = Recognizer | ClusterPredictor | Whisper | Flamingo


class ModelFileError(ValueError):
    """A file is no model file of ours, or does not fit what it is wanted for."""


def save_model(path: str | Path, model: Model) -> None:
    """Write a model file; it appears only when whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(model, Recognizer):
        kind, config = "recognizer", {"recognizer": dataclasses.asdict(model.config), "vocab_size": model.vocab_size}
        config["tokenizer"] = model.tokenizer_config
    elif isinstance(model, Flamingo):
        kind, config = "flamingo", {"flamingo": dataclasses.asdict(model.config)}
    elif isinstance(model, Whisper):
        kind, config = "whisper", {"whisper": dataclasses.asdict(model.sizes)}
    else:
        kind, config = "cluster_predictor", {"encoder": dataclasses.asdict(model.encoder.config)}
        config |= {name: getattr(model, name) for name in _PREDICTOR_FIELDS}
    header = {"format": FORMAT, "kind": kind, "config": config, "source": model.source}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    weights |= {CARRIED + name: tensor.contiguous() for name, tensor in model.carried.items()}
    unfinished = path.with_name(path.name + ".part")
    # One entry: safetensors writes several in random order, and equal models should be equal files.
    save_file(weights, unfinished, metadata={HEADER: json.dumps(header, sort_keys=True)})
    unfinished.rename(path)


def load_model(path: str | Path, device: torch.device | str = "cpu") -> Model:
    """Load a model file, in evaluation mode.

    Raises:
        ModelFileError: the file is missing, broken, no model file, or of a later format.
    """
    header, weights = _read(path, device)
    config = header["config"]
    carried = {name: weights.pop(name).cpu() for name in list(weights) if name.startswith(CARRIED)}
    model: Model
    if header["kind"] == "recognizer":
        sizes = build_config(RecognizerConfig, config["recognizer"])
        model = Recognizer(sizes, config["vocab_size"], config["tokenizer"])
    elif header["kind"] == "cluster_predictor":
        encoder = build_config(EncoderConfig, config.pop("encoder"))
        model = ClusterPredictor(encoder, **config)
    elif header["kind"] == "flamingo":
        model = Flamingo(build_config(FlamingoConfig, config["flamingo"]))
    elif header["kind"] == "whisper":
        model = Whisper(build_config(WhisperConfig, config["whisper"]))
    else:
        known = "recognizer, cluster_predictor, whisper and flamingo"
        raise ModelFileError(f"{path} holds a {header['kind']!r}, this version knows {known}; update avspeech")
    model.to(device)
    model.load_state_dict(weights)
    model.carried = {name.removeprefix(CARRIED): tensor for name, tensor in carried.items()}
    model.source = header.get("source")
    return model.eval()


def load_recognizer(path: str | Path, device: torch.device | str = "cpu") -> Recognizer:
    """Load a model file that must hold a recogniser.

    Raises:
        ModelFileError: as ``load_model``, or the model only predicts units.
    """
    model = load_model(path, device)
    if not isinstance(model, Recognizer):
        raise ModelFileError(f"{path} holds a {type(model).__name__}, wanted a Recognizer; fine-tune it first")
    return model


def load_encoder(path: str | Path, encoder: nn.Module) -> None:
    """Copy the encoder of a model file, of either kind, into ``encoder``.

    Raises:
        ModelFileError: as ``load_model``, or the encoders differ in size; the message names the weights.
    """
    _, weights = _read(path, "cpu")
    prefix = "encoder."
    given = {name[len(prefix) :]: tensor for name, tensor in weights.items() if name.startswith(prefix)}
    own = encoder.state_dict()
    missing, unknown = sorted(set(own) - set(given)), sorted(set(given) - set(own))
    shapes = [
        f"{name}: {tuple(given[name].shape)} in the file, {tuple(own[name].shape)} here"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    if missing or unknown or shapes:
        raise ModelFileError(
            f"{path} has another encoder than this run's config; missing: {missing[:5]}, unknown: {unknown[:5]}, "
            f"of another shape: {shapes[:5]}"
        )
    encoder.load_state_dict(given)


def _read(path: str | Path, device: torch.device | str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with safe_open(str(path), framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        hint = ""
        if Path(path).suffix in (".pt", ".ckpt"):
            hint = "; an official checkpoint is imported first: python -m avspeech.interop."
            hint += "{avhubert,whisper,whisper_flamingo}"
        raise ModelFileError(f"{path} cannot be read as a model file: {error}{hint}") from error
    if HEADER in metadata:
        header = json.loads(metadata[HEADER])
    elif "kind" in metadata and "config" in metadata:
        header = metadata | {"config": json.loads(metadata["config"])}
    else:
        raise ModelFileError(f"{path} is a safetensors file without our header; wanted one written by save_model")
    if header.get("format") == "1":
        for former, name in _FORMER_NAMES.items():
            weights = {key.replace(former, name) if key.startswith(former) else key: weights[key] for key in weights}
    elif header.get("format") != FORMAT:
        raise ModelFileError(
            f"{path} has format {header.get('format')}, this version reads 1 and {FORMAT}; update avspeech"
        )
    return header, weights


def build_config(kind: type, values: dict[str, Any]) -> Any:
    """Return the dataclass ``kind`` from plain values, nested dataclasses and tuples included.

    Raises:
        ModelFileError: a field that this version does not know.
    """
    hints = typing.get_type_hints(kind)
    if unknown := sorted(set(values) - set(hints)):
        raise ModelFileError(f"{kind.__name__} has no field {', '.join(unknown)}; the file is from another version")
    return kind(**{name: _build(hints[name], value) for name, value in values.items()})


def _build(hint: Any, value: Any) -> Any:
    if isinstance(hint, types.UnionType):
        hint = next((kind for kind in typing.get_args(hint) if dataclasses.is_dataclass(kind)), hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return build_config(typing.cast(type, hint), value)
    if isinstance(value, list) and typing.get_origin(hint) is tuple:
        return tuple(tuple(entry) if isinstance(entry, list) else entry for entry in value)
    return value


def check_device(device: str) -> None:
    """Check that there is such a device.

    Raises:
        ValueError: there is none.
    """
    try:
        torch.zeros((), device=device).item()  # "meta" has no values to ask for
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device={device!r} cannot be used ({reason}); the default is cpu") from error
