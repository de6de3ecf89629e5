"""Model file: safetensors; no pickle, no paths.

Header: ``kind`` (class), ``config`` (sizes; tokenizer of a recogniser), ``source`` (origin of imported weights),
``about`` (notes, such as the training modality, and the name of the mouth crops; files without it are of before the
official crops).
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor

from avspeech.files import written_whole
from avspeech.models.base import Model
from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.configs import ModelFileError, find_kind
from avspeech.models.flamingo import Flamingo
from avspeech.models.lr_asd import LrAsd
from avspeech.models.recognizer import Recognizer
from avspeech.models.synchrony import Synchrony
from avspeech.models.whisper import Whisper

KINDS: dict[str, type[Model]] = {
    one.kind: one for one in (Recognizer, ClusterPredictor, Whisper, Flamingo, LrAsd, Synchrony)
}
"""Model classes by kind; other packages add their own."""
FORMAT = "2"
HEADER = "avspeech"  # key of the header's only entry
CARRIED = "carried."  # name prefix of unused tensors of an imported model


def save_model(path: str | Path, model: Model, write: bool = True) -> None:
    """Write a model file atomically. Raises ModelFileError, and keeps a former file, if a weight is not finite.

    A model in shards over processes is gathered: all of them call this, and one has ``write``.
    """
    state = model.state_dict()
    gathered = ((name, one.full_tensor() if isinstance(one, DTensor) else one) for name, one in state.items())
    weights = {name: one.detach().cpu().contiguous() for name, one in gathered if write}
    if not write:
        return
    header = {"format": FORMAT, "kind": model.kind, "config": model.to_config(), "source": model.source}
    if about := model.about | ({} if model.lip_encoder is None else {"crop": model.inputs.crop}):
        header["about"] = about
    if bad := [name for name, one in weights.items() if one.is_floating_point() and not one.isfinite().all()]:
        numbers = f"{len(bad)} of {len(weights)} tensors hold NaN or infinity, {bad[0]} among them"
        raise ModelFileError(f"{path} is not written: {numbers}; start again from the last checkpoint")
    weights |= {CARRIED + name: tensor.contiguous() for name, tensor in model.carried.items()}
    with written_whole(path) as unfinished:
        # One entry: safetensors writes several in random order, and equal models should be equal files.
        save_file(weights, unfinished, metadata={HEADER: json.dumps(header, sort_keys=True)})


def load_model(path: str | Path, device: torch.device | str = "cpu") -> Model:
    """Load a model file in evaluation mode. Raises ModelFileError if it is missing, broken or of another format."""
    header, weights = _read(path, device)
    carried = [name for name in weights if name.startswith(CARRIED)]
    model: Model = find_kind(KINDS, "models", header["kind"]).from_config(header["config"])
    model.carried = {name.removeprefix(CARRIED): weights.pop(name).cpu() for name in carried}
    model.to(device).load_state_dict(weights)
    model.source, model.about = header.get("source"), header.get("about", {})
    if model.lip_encoder is not None:
        imported = model.source is not None and not model.source.get("fine_tuned")
        model.lip_encoder.crop = model.about.pop("crop", "official" if imported else "former")
    return model.eval()


def _read(path: str | Path, device: torch.device | str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with safe_open(str(path), framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        mend = "an official checkpoint becomes one by python -m avspeech.interop"
        raise ModelFileError(f"{path} cannot be read as a model file: {error}; {mend}") from error
    header = json.loads(metadata[HEADER]) if HEADER in metadata else metadata
    if "kind" not in header or "config" not in header:
        raise ModelFileError(f"{path} is a safetensors file without our header; wanted one written by save_model")
    if (format_ := header.get("format")) != FORMAT:
        convert = (
            "convert it with avspeech at commit 62863e7, the last that reads both: save_model(path, load_model(path))"
        )
        mend = convert if format_ == "1" else "update avspeech"
        raise ModelFileError(f"{path} has format {format_}, this version reads {FORMAT}; {mend}")
    return header, weights


def check_device(device: str) -> None:
    """Raise ValueError if the device does not exist."""
    try:
        torch.zeros((), device=device).item()  # "meta" has no values to ask for
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device={device!r} cannot be used ({reason}); the default is cpu") from error
