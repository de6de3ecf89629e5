"""What a result was made from: hashes of files and texts, versions, machine."""

import os
import platform
from importlib.metadata import version

import torch

PACKAGES = ("avspeech", "torch", "numpy", "scipy", "av", "opencv-python", "jiwer", "openai-whisper")


def describe_environment(device: str) -> dict[str, str]:
    """Return versions and machine, for the report."""
    found = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    found["system"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    kind = torch.device(device).type
    found["device"] = torch.cuda.get_device_name(device) if kind == "cuda" else kind
    return found
