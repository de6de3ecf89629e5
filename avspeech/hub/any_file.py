"""One file of any project -> a model, whatever its name."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from avspeech.interop.official_files import WANTED, import_official
from avspeech.interop.restricted import read_checkpoint
from avspeech.models.files import Model, ModelFileError, load_model


def load_any(path: str | Path, device: torch.device | str = "cpu") -> Model:
    """Return the model in a file of ours or an official one, in evaluation mode, floats as fp32.

    Raises ModelFileError if the file is missing, broken, of another kind or unsafe.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path} {'is no regular file' if path.exists() else 'does not exist'}; {WANTED}")
    try:
        return _load(path).to(device)
    except ModelFileError:
        raise
    except (RuntimeError, KeyError, TypeError, ValueError) as error:  # a header that does not fit its weights
        raise ModelFileError(
            f"{path} holds weights that do not fit its header ({type(error).__name__}: {error}); download or export "
            "it again"
        ) from error


def _load(path: Path) -> Model:
    try:
        with safe_open(str(path), framework="pt"):
            pass
        return load_model(path)
    except (SafetensorError, OSError) as error:
        not_ours = str(error).removeprefix("Error while deserializing header: ")
    try:
        return import_official(path, read_checkpoint(path)).model
    except ModelFileError as error:
        reason = str(error).removeprefix(f"{path} ")
        if "is no whole" not in reason:
            raise
        raise ModelFileError(
            f"{path} is no model: it is no safetensors file ({not_ours}), and as a checkpoint it {reason}; {WANTED}"
        ) from error
