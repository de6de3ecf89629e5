"""Where reference tensors of the official code lie, and what kind each folder is. They are not part of the project.

``AVSPEECH_FIXTURES`` names a folder of fixture folders; without it ``$AVSPEECH_SHARED/fixtures.tar.xz`` is unpacked,
once, into the user's cache. Nothing is known here about a particular fixture: kinds and sizes are read from it.
"""

import json
import os
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from avspeech.files import cache_folder, file_sha256


@dataclass(frozen=True)
class Fixture:
    """A folder with config.json, inputs_outputs.safetensors and, for a model, checkpoint.pt."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def config(self) -> dict[str, Any]:
        return json.loads((self.folder / "config.json").read_text())

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return load_file(self.folder / "inputs_outputs.safetensors")

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def kind(self) -> str | None:
        """``frontend``, ``encoder``, ``pretrain``, ``seq2seq`` or ``flamingo``; None: nothing that is known here."""
        if "avhubert_kind" in self.config:
            return "flamingo"
        model = self.config.get("model", {}).get("_name")
        if model == "av_hubert":
            return "pretrain" if "runs" in self.config else "encoder"
        if model == "av_hubert_seq2seq":
            return "seq2seq"
        return "frontend" if "n_fbank" in self.config else None

    @property
    def streams(self) -> tuple[Tensor, Tensor, Tensor]:
        """audio (B, T, F), video (B, T, H, W) normalised, valid (B, T)."""
        audio, video, padding = (self.tensors[f"in.{name}"] for name in ("audio", "video", "padding_mask"))
        return audio.transpose(1, 2), video[:, 0], ~padding


def find_fixtures() -> tuple[list[Fixture], str]:
    """Return the fixtures, and why there are none."""
    if given := os.environ.get("AVSPEECH_FIXTURES"):
        root = Path(given)
        if not root.is_dir():
            raise FileNotFoundError(f"AVSPEECH_FIXTURES={given} is no folder")
    elif shared := os.environ.get("AVSPEECH_SHARED"):
        archive = Path(shared) / "fixtures.tar.xz"
        if not archive.exists():
            return [], f"{archive} does not exist"
        root = _unpacked(archive)
    else:
        return [], "neither AVSPEECH_FIXTURES nor AVSPEECH_SHARED is set: reference tensors are no part of the project"
    folders = sorted(path.parent for path in root.rglob("inputs_outputs.safetensors"))
    return [Fixture(folder) for folder in folders], f"{root} holds no fixture"


def _unpacked(archive: Path) -> Path:
    """Unpack an archive into the cache, once for each content; the folder appears only when whole."""
    root = cache_folder() / f"fixtures-{file_sha256(archive)[:16]}"
    if not root.exists():
        unfinished = root.with_name(f"{root.name}.{os.getpid()}.part")
        with tarfile.open(archive) as tar:
            tar.extractall(unfinished, filter="data")
        try:
            unfinished.rename(root)
        except OSError:  # another process was faster
            if not root.exists():
                raise
    return root
