"""Fixtures made with the official code on random weights; they lie outside the project (AVSPEECH_SHARED)."""

import json
import os
import tarfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture(scope="session")
def official(tmp_path_factory):
    """Return a function: name of a fixture folder -> (config, tensors, official state dict in fp32)."""
    if not os.environ.get("AVSPEECH_SHARED"):
        pytest.skip("AVSPEECH_SHARED is not set: the reference tensors are not part of the project")
    archive = Path(os.environ["AVSPEECH_SHARED"]) / "fixtures.tar.xz"
    if not archive.exists():
        pytest.skip(f"{archive} does not exist")
    folder = tmp_path_factory.mktemp("fixtures")
    wanted = ("avhubert_base_tiny", "avhubert_large_tiny", "avhubert_seq2seq_tiny")
    with tarfile.open(archive) as tar:
        members = [
            member for member in tar.getmembers() if member.name.split("/")[1:2] and member.name.split("/")[1] in wanted
        ]
        tar.extractall(folder, members, filter="data")

    def load(name):
        here = folder / "fixtures" / name
        state = torch.load(here / "checkpoint.pt", weights_only=True)["model"]
        state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
        return json.loads((here / "config.json").read_text()), load_file(here / "inputs_outputs.safetensors"), state

    return load
