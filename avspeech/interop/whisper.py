"""OpenAI's Whisper checkpoints (Radford et al. 2023, arXiv:2212.04356; MIT licence) -> our ``Whisper``, and back."""

import base64
import gzip
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avspeech.files import DownloadError, cache_folder, fetch, file_sha256
from avspeech.interop.state_dicts import Imported, dropped_parts, named_errors, new_model, official_state, read_layout
from avspeech.interop.whisper_keys import whisper_keys, whisper_sizes
from avspeech.models.files import ModelFileError, load_model
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig
from avspeech.text.whisper_tokens import ENGLISH_ONLY, MULTILINGUAL

ADDRESS = "https://openaipublic.azureedge.net/main/whisper/models/{sha256}/{file}.pt"
SHA256 = {
    "tiny.en": "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
    "tiny": "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
    "base.en": "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead",
    "base": "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
    "small.en": "f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872",
    "small": "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
    "medium.en": "d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f",
    "medium": "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
    "large-v1": "e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a",
    "large-v2": "81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524",
    "large-v3": "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
    "large-v3-turbo": "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
}
"""OpenAI's file name -> SHA-256, which is part of its address."""
ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}
_BY_SIZE = {
    (depth, depth, width, vocab_size): name + ending
    for name, depth, width in (("tiny", 4, 384), ("base", 6, 512), ("small", 12, 768), ("medium", 24, 1024))
    for ending, vocab_size in (("", MULTILINGUAL), (".en", ENGLISH_ONLY))
} | {(32, 32, 1280, 51_866): "large-v3", (32, 4, 1280, 51_866): "large-v3-turbo"}
"""(Encoder blocks, decoder blocks, width, vocabulary) -> name; large-v1 has large-v2's sizes."""


def load_whisper(name_or_path: str | Path, official_padding: bool = False, address: str = ADDRESS) -> Whisper:
    """Return a Whisper in evaluation mode; ModelFileError if it cannot be found or read.

    ``name_or_path`` is OpenAI's name (``tiny`` ... ``turbo``, downloaded from ``address``), a file in OpenAI's layout,
    or a model file, which has its own ``official_padding`` (see ``WhisperConfig``).
    """
    name = ALIASES.get(str(name_or_path), str(name_or_path))
    if name in SHA256:
        return load_openai(download_whisper(name, address), official_padding, name)
    path = Path(name_or_path)
    if not path.is_file():
        names = ", ".join([*SHA256, *ALIASES])
        raise ModelFileError(f"{path} is no file and no name of OpenAI's; the names are {names}")
    if path.suffix != ".safetensors":
        return load_openai(path, official_padding)
    model = load_model(path)
    if not isinstance(model, Whisper):
        raise ModelFileError(f"{path} holds a {type(model).__name__}, wanted a Whisper")
    return model


def download_whisper(name: str, address: str = ADDRESS) -> Path:
    """Return one of OpenAI's files, downloaded once; ModelFileError if that fails."""
    sha256 = SHA256[name]
    path, url = cache_folder() / "whisper" / f"{name}.pt", address.format(sha256=sha256, file=name)
    if path.is_file() and file_sha256(path) == sha256:
        return path
    try:
        fetch(url, path, sha256)
    except (OSError, DownloadError) as error:
        raise ModelFileError(
            f"Whisper {name} is missing or incomplete in the cache, and its download from {url} failed ({error}); "
            f"fetch that address on another machine and save it as {path}, or give a path in place of the name"
        ) from error
    return path


def load_openai(path: str | Path, official_padding: bool = False, name: str | None = None) -> Whisper:
    """Return the model of ``import_openai``."""
    return import_openai(path, official_padding, name).model


def import_openai(
    path: str | Path, official_padding: bool = False, name: str | None = None, content: Any = None
) -> Imported[Whisper]:
    """Read a ``.pt`` file in OpenAI's layout; ModelFileError if it is broken, unsafe or something else.

    ``name`` is OpenAI's and selects the heads for word times, None: by sizes, then by file name. ``content`` is of
    ``read_checkpoint``, None reads the file; ``official_padding`` is of ``WhisperConfig``.
    """
    path = Path(path)
    file = read_layout(path, content, "model_state_dict", ("dims",), "OpenAI")
    state, dims = file["model_state_dict"], file["dims"]
    with named_errors(path):
        sizes = whisper_sizes(state, dims["n_audio_head"], dims["n_text_head"], official_padding=official_padding)
        if name is None and (name := name_of(sizes)) is None and sizes.audio_depth == sizes.text_depth == 32:
            name = path.stem if path.stem in ("large-v1", "large-v2") else None
        sizes = replace(sizes, alignment_heads=alignment_heads(sizes, name))
    model = new_model(lambda: Whisper(sizes), state, whisper_keys(sizes), path)
    model.source = {"model": "whisper", "name": name}
    return Imported(model, dropped_parts(file, ("dims", "model_state_dict"), model))


def name_of(sizes: WhisperConfig) -> str | None:
    """Return OpenAI's name for these sizes; None if there is none or several."""
    return _BY_SIZE.get((sizes.audio_depth, sizes.text_depth, sizes.text_width, sizes.vocab_size))


def alignment_heads(sizes: WhisperConfig, name: str | None) -> tuple[tuple[int, int], ...]:
    """Return OpenAI's (block, head) pairs for word times; empty for no name, or a model of other sizes."""
    if name is None:
        return ()
    from whisper import _ALIGNMENT_HEADS

    flags = np.frombuffer(gzip.decompress(base64.b85decode(_ALIGNMENT_HEADS[name])), dtype=bool)
    if flags.size != sizes.text_depth * sizes.text_heads:
        return ()
    pairs = np.argwhere(flags.reshape(sizes.text_depth, sizes.text_heads)).tolist()
    return tuple((int(block), int(head)) for block, head in pairs)


def export_openai(model: Whisper, dtype: torch.dtype | None = torch.float16) -> dict[str, Any]:
    """Return the file of a Whisper, or of a Flamingo without its gated layers; ``dtype=None`` keeps the model's."""
    sizes = model.sizes
    dims = {"n_mels": sizes.mel_bins, "n_vocab": sizes.vocab_size}
    for side in ("audio", "text"):
        for theirs, ours in (("ctx", "positions"), ("state", "width"), ("head", "heads"), ("layer", "depth")):
            dims[f"n_{side}_{theirs}"] = getattr(sizes, f"{side}_{ours}")
    return {"dims": dims, "model_state_dict": official_state(model, whisper_keys(sizes), dtype)}


if __name__ == "__main__":
    runpy.run_module("avspeech.interop", run_name="__main__")
