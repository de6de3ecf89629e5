"""The front-end fixture: tensors of the official code, found through AVSPEECH_SHARED, unpacked once a session."""

import json
import os
import tarfile
from pathlib import Path

import pytest
from safetensors.torch import load_file

WANTED = ("inputs_outputs.safetensors", "config.json")


@pytest.fixture(scope="session")
def frontend(tmp_path_factory):
    """Tensors of ``frontend_tiny`` by name, and the official code's draws under "config"."""
    shared = os.environ.get("AVSPEECH_SHARED")
    if not shared:
        pytest.skip("AVSPEECH_SHARED is not set: no reference tensors of the official code")
    folder = tmp_path_factory.mktemp("frontend")
    with tarfile.open(Path(shared) / "fixtures.tar.xz") as archive:
        for member in archive:  # the archive is large: stop at the last file that is wanted
            name = Path(member.name).name
            if "frontend_tiny/" in member.name and name in WANTED:
                (folder / name).write_bytes(archive.extractfile(member).read())
            if all((folder / name).exists() for name in WANTED):
                break
    tensors = load_file(folder / "inputs_outputs.safetensors")
    return {**tensors, "config": json.loads((folder / "config.json").read_text())}
