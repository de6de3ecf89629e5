"""One file -> a model, whatever wrote it: the file's content decides, never its name.

Ours is a safetensors file with our header. Official files are pickled checkpoints that differ in their keys: fairseq's
``cfg`` and ``model`` (AV-HuBERT), ``dims`` and ``model_state_dict`` (OpenAI's Whisper), or one ``state_dict`` in
OpenAI's names (Whisper-Flamingo, and Whisper fine-tuned by its authors). Nothing in a file can run, see
``avspeech.interop.restricted``.
"""

import codecs
import json
from pathlib import Path

import torch

from avspeech.hub.errors import ModelNameError
from avspeech.interop.avhubert import import_checkpoint
from avspeech.interop.restricted import read_checkpoint
from avspeech.interop.whisper import load_openai
from avspeech.interop.whisper_flamingo import import_flamingo
from avspeech.models.files import HEADER, Model, load_model

WANTED = "wanted a model file of ours (.safetensors) or a checkpoint of AV-HuBERT, Whisper or Whisper-Flamingo (.pt)"
_FLAMINGO_KEY = "model.decoder.token_embedding.weight"
"""Every file of Whisper-Flamingo's authors has it; our own training checkpoints call this weight otherwise."""
_LONGEST_HEADER = 100_000_000
"""Bytes; the safetensors format allows no longer one."""
_MEDIA = {
    (4, b"ftyp"): "an MP4 or MOV video",
    (0, b"\x1aE\xdf\xa3"): "a Matroska or WebM video",
    (0, b"RIFF"): "an AVI or WAV file",
    (0, b"OggS"): "an Ogg file",
    (0, b"fLaC"): "a FLAC file",
    (0, b"ID3"): "an MP3 file",
    (0, b"\x00\x00\x01\xba"): "an MPEG video",
    (0, b"\x89PNG"): "a PNG picture",
    (0, b"\xff\xd8\xff"): "a JPEG picture",
    (0, b"\x1f\x8b"): "a gzip archive",
}
"""What people hand over by mistake: (offset, signature) -> its name."""


def load_any(path: str | Path, device: torch.device | str = "cpu") -> Model:
    """Return the model of a file in evaluation mode, floats as fp32.

    Args:
        path: a model file of ours or an official checkpoint.
        device: where the weights go.

    Raises:
        ModelNameError: there is no such file, it is empty, cut off or of another kind, or it could run code.
    """
    path = Path(path)
    try:
        network = load_model(path) if _is_safetensors(path) else _from_checkpoint(path)
    except ModelNameError:
        raise
    except (ValueError, OSError) as error:  # the readers' own errors, and a disk's
        raise ModelNameError(error) from error
    except (RuntimeError, KeyError, TypeError) as error:  # load_state_dict's, and fields of a header that are missing
        raise ModelNameError(
            f"{path} holds other weights than its header says ({type(error).__name__}: {error}); download or export "
            "it again"
        ) from error
    return network.to(device)


def _is_safetensors(path: Path) -> bool:
    """Return whether a file is safetensors of ours; False: a pickled checkpoint.

    Raises:
        ModelNameError: it is neither.
    """
    if not path.is_file():
        raise ModelNameError(f"{path} {'is no regular file' if path.exists() else 'does not exist'}; {WANTED}")
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise ModelNameError(f"{path} is empty; {WANTED}")
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return False
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and length <= _LONGEST_HEADER:
        _check_safetensors(path, length)
        return True
    raise ModelNameError(f"{path} is {_looks_like(head)}; {WANTED}")


def _looks_like(head: bytes) -> str:
    for (offset, signature), name in _MEDIA.items():
        if head[offset:].startswith(signature):
            return f"{name} and no model"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last letter may be cut in two
    except UnicodeDecodeError:
        return f"of a format that is not known here (it begins with {head[:8].hex(' ')})"
    return "text and no model" if b"\0" not in head else f"no model (it begins with {head[:8].hex(' ')})"


def _check_safetensors(path: Path, length: int) -> None:
    """Raise unless a safetensors file is whole and ours.

    The library says neither how much of a file is missing nor whose keys it holds.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(8)
        text = file.read(length)
    if len(text) < length:
        raise ModelNameError(f"{path} is cut off within its header; copy or download it again")
    try:
        header = json.loads(text)
        metadata = header.pop("__metadata__", {})
        end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelNameError(f"{path} is a safetensors file with a broken header; download it again") from error
    if size < end:
        raise ModelNameError(f"{path} is cut off: {size:,} of {end:,} bytes; copy or download it again")
    if HEADER not in metadata and not {"kind", "config"} <= set(metadata):  # the latter: before there was one entry
        keys = ", ".join(list(header)[:3]) or "none"
        hint = WANTED
        if any(key.startswith(("model.encoder.layers.", "model.decoder.layers.")) for key in header):
            hint = "this is the layout of Hugging Face's transformers; for a Whisper give OpenAI's name or .pt file"
        raise ModelNameError(f"{path} is a safetensors file without our header (its keys: {keys} ...); {hint}")


def _from_checkpoint(path: Path) -> Model:
    content = read_checkpoint(path)
    if not isinstance(content, dict):
        raise ModelNameError(f"{path} is a PyTorch file that holds a {type(content).__name__}; {WANTED}")
    if "dims" in content and "model_state_dict" in content:
        return load_openai(path, content=content)
    if "cfg" in content and "model" in content:
        return import_checkpoint(path, content=content).model
    state = content.get("state_dict")
    if isinstance(state, dict) and _FLAMINGO_KEY in state:
        return import_flamingo(path, content=content).model  # type: ignore[return-value] - a Whisper or a Flamingo
    if "pytorch-lightning_version" in content:
        raise ModelNameError(f"{path} is a training checkpoint of Lightning, which resumes a run; {_beside(path)}")
    keys = ", ".join(str(key) for key in list(content)[:5]) or "none"
    raise ModelNameError(f"{path} is a PyTorch file of another program (its keys: {keys}); {WANTED}")


def _beside(path: Path) -> str:
    """Return where the model file of a run is, seen from its checkpoint."""
    for folder in (path.parent, path.parent.parent):
        if (folder / "model.safetensors").is_file():
            return f"wanted the model file that the run wrote: {folder / 'model.safetensors'}"
    return "wanted the model.safetensors that the run wrote beside its folder of checkpoints"
