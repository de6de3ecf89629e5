"""OpenAI's Whisper checkpoints: by name or file into our ``Whisper``, and back.

    python -m avspeech.interop.whisper small small.safetensors
    python -m avspeech.interop.whisper base.pt base.safetensors
    python -m avspeech.interop.whisper base.safetensors back.pt

Reads   a name of OpenAI's (tiny ... large-v3, turbo; downloaded once, its SHA-256 checked), a file in OpenAI's layout
        (``dims`` and ``model_state_dict``), or a model file of ours.
Writes  a model file, or a file in OpenAI's layout.

The weights are OpenAI's (MIT); Radford et al. 2023, arXiv:2212.04356.
"""

import base64
import gzip
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from torch import Tensor

from avspeech.files import DownloadError, cache_folder, fetch, file_sha256
from avspeech.interop.restricted import CheckpointError, read_checkpoint
from avspeech.interop.state_dicts import check_keys, fill, write_checkpoint
from avspeech.interop.whisper_keys import whisper_keys, whisper_sizes
from avspeech.models.files import load_model, save_model
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig

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
"""OpenAI's files by name; the hash is part of the address."""
ALIASES = {"large": "large-v3", "turbo": "large-v3-turbo"}
_BY_SIZE = {
    (4, 4, 384, 51_865): "tiny",
    (4, 4, 384, 51_864): "tiny.en",
    (6, 6, 512, 51_865): "base",
    (6, 6, 512, 51_864): "base.en",
    (12, 12, 768, 51_865): "small",
    (12, 12, 768, 51_864): "small.en",
    (24, 24, 1024, 51_865): "medium",
    (24, 24, 1024, 51_864): "medium.en",
    (32, 32, 1280, 51_866): "large-v3",
    (32, 4, 1280, 51_866): "large-v3-turbo",
}
"""Name by (encoder blocks, decoder blocks, width, vocabulary); large-v1 and large-v2 look alike."""


def load_whisper(name_or_path: str | Path, official_padding: bool = False, address: str = ADDRESS) -> Whisper:
    """Return a Whisper in evaluation mode, from OpenAI's name, a file in OpenAI's layout, or a model file of ours.

    Args:
        name_or_path: ``tiny`` ... ``large-v3``, ``turbo``, or a path.
        official_padding: see ``WhisperConfig``; a model file of ours says it itself.
        address: where names are downloaded from.

    Raises:
        CheckpointError: no such name and no such file, the download failed, or the file holds something else.
    """
    name = str(name_or_path)
    if name in SHA256 or name in ALIASES:
        name = ALIASES.get(name, name)
        model = load_openai(download_whisper(name, address), official_padding, name)
        return model
    path = Path(name_or_path)
    if not path.is_file():
        raise CheckpointError(
            f"{path} is no file and no name of OpenAI's; the names are {', '.join([*SHA256, *ALIASES])}"
        )
    if path.suffix == ".safetensors":
        model = load_model(path)
        if not isinstance(model, Whisper):
            raise CheckpointError(f"{path} holds a {type(model).__name__}, wanted a Whisper")
        return model
    return load_openai(path, official_padding)


def download_whisper(name: str, address: str = ADDRESS, timeout_s: float = 30.0) -> Path:
    """Return the path of one of OpenAI's files, downloaded into the user's cache unless it is there.

    Raises:
        CheckpointError: the download failed; says what to do without a network.
    """
    sha256 = SHA256[name]
    path, url = cache_folder() / "whisper" / f"{name}.pt", address.format(sha256=sha256, file=name)
    if path.is_file() and file_sha256(path) == sha256:
        return path
    try:
        fetch(url, path, sha256, timeout_s)
    except (OSError, DownloadError) as error:
        raise CheckpointError(
            f"Whisper {name} is not whole in the cache and its download from {url} failed ({error}); fetch that "
            f"address on another machine and save it as {path}, or give a path in place of the name"
        ) from error
    return path


def load_openai(
    path: str | Path, official_padding: bool = False, name: str | None = None, content: Any = None
) -> Whisper:
    """Return the Whisper of a file in OpenAI's layout, in evaluation mode, as fp32.

    Args:
        path: ``{"dims": ..., "model_state_dict": ...}``.
        official_padding: see ``WhisperConfig``.
        name: OpenAI's name, for the heads that word times come from; None guesses it by the sizes, and by the file's
            own name where they leave it open.
        content: what ``read_checkpoint`` gave for this file; None reads it.

    Raises:
        CheckpointError: the file is broken, could run code, or holds something else.
    """
    path = Path(path)
    file = read_checkpoint(path) if content is None else content
    if not isinstance(file, dict) or not isinstance(file.get("model_state_dict"), dict) or "dims" not in file:
        found = f"keys {sorted(map(str, file))[:6]}" if isinstance(file, dict) else f"a {type(file).__name__}"
        hint = "; see python -m avspeech.interop.whisper_flamingo" if "state_dict" in found else ""
        raise CheckpointError(f"{path} holds {found}; wanted OpenAI's 'dims' and 'model_state_dict'{hint}")
    state, dims = file["model_state_dict"], file["dims"]
    if odd := [str(key) for key, value in state.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(f"{path} has something else than tensors in its state dict: {', '.join(odd[:5])}")
    try:
        sizes = whisper_sizes(state, dims["n_audio_head"], dims["n_text_head"], official_padding=official_padding)
        if name is None and (name := name_of(sizes)) is None and sizes.audio_depth == sizes.text_depth == 32:
            name = path.stem if path.stem in ("large-v1", "large-v2") else None
        sizes = replace(sizes, alignment_heads=alignment_heads(sizes, name))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: {type(error).__name__}: {error}") from error
    keys = whisper_keys(sizes)
    check_keys(state, keys, (), path)
    with torch.device("meta"):
        model = Whisper(sizes)
    fill(model, {ours: state[theirs] for theirs, ours in keys.items()}, path)
    model.source = {"model": "whisper", "name": name}
    return model.eval()


def name_of(sizes: WhisperConfig) -> str | None:
    """Return OpenAI's name of a model of these sizes; None where there is none, or several."""
    return _BY_SIZE.get((sizes.audio_depth, sizes.text_depth, sizes.text_width, sizes.vocab_size))


def alignment_heads(sizes: WhisperConfig, name: str | None) -> tuple[tuple[int, int], ...]:
    """Return the heads that OpenAI found to follow the words in time; none for an unknown model."""
    name = name or name_of(sizes)
    if name is None:
        return ()
    from whisper import _ALIGNMENT_HEADS

    flags = np.frombuffer(gzip.decompress(base64.b85decode(_ALIGNMENT_HEADS[name])), dtype=bool)
    if flags.size != sizes.text_depth * sizes.text_heads:
        return ()
    pairs = np.argwhere(flags.reshape(sizes.text_depth, sizes.text_heads)).tolist()
    return tuple((int(block), int(head)) for block, head in pairs)


def export_openai(model: Whisper, path: str | Path, dtype: torch.dtype | None = torch.float16) -> None:
    """Write a Whisper in OpenAI's layout; the file appears only when whole.

    Args:
        model: a plain Whisper; of a Flamingo, the audio model without its gated layers is written.
        path: of the file.
        dtype: of the weights; OpenAI's are float16. None keeps the model's.
    """
    sizes, weights = model.sizes, model.state_dict()
    state = {theirs: weights[ours].detach().cpu().to(dtype) for theirs, ours in whisper_keys(sizes).items()}
    if not model.has_video:
        assert len(state) == len(weights)
    dims = {
        "n_mels": sizes.mel_bins,
        "n_vocab": sizes.vocab_size,
        "n_audio_ctx": sizes.audio_positions,
        "n_audio_state": sizes.audio_width,
        "n_audio_head": sizes.audio_heads,
        "n_audio_layer": sizes.audio_depth,
        "n_text_ctx": sizes.text_positions,
        "n_text_state": sizes.text_width,
        "n_text_head": sizes.text_heads,
        "n_text_layer": sizes.text_depth,
    }
    write_checkpoint(path, {"dims": dims, "model_state_dict": state})


def main(source: str, target: Path, official_padding: bool = False) -> None:
    """Turn a Whisper from OpenAI's layout into ours or back; the target's ending says which.

    Args:
        source: OpenAI's name, a ``.pt`` file, or a model file.
        target: ``.safetensors`` for a model file, ``.pt`` for OpenAI's layout.
        official_padding: let the model hear the padding of a batch, as OpenAI's does.
    """
    try:
        if target.suffix not in (".safetensors", ".pt"):
            raise ValueError(f"{target} must end in .safetensors (our model file) or .pt (OpenAI's layout)")
        if official_padding and (target.suffix == ".pt" or Path(source).suffix == ".safetensors"):
            raise ValueError(
                "official_padding is written into a model file made from OpenAI's layout; leave it out here"
            )
        model = load_whisper(source, official_padding)
        if target.suffix == ".pt":
            export_openai(model, target)
        else:
            save_model(target, model)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print(f"{target}: {sum(weight.numel() for weight in model.parameters()):,} weights")


if __name__ == "__main__":
    auto_cli(main)
