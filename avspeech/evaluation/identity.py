"""What a result was made from: hashes of files and texts, versions, machine."""

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version

import torch

from avspeech.data.manifest import Utterance

PACKAGES = ("avspeech", "torch", "numpy", "scipy", "av", "opencv-python", "jiwer", "openai-whisper")


def hash_test_set(utterances: Sequence[Utterance]) -> str:
    """Return a hash of what is to be recognised: ids, texts, languages and speakers, in any order.

    Unlike the manifest's own hash it does not depend on where the files lie, so two laboratories get the same one.
    """
    lines = sorted(json.dumps([one.id, one.text, one.language, one.speaker]) for one in utterances)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def describe_environment(device: str) -> dict[str, str]:
    """Return versions and machine, for the report."""
    found = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    found["system"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    kind = torch.device(device).type
    found["device"] = torch.cuda.get_device_name(device) if kind == "cuda" else kind
    return found
