"""Fetch a file whose SHA-256 is known, once, into the user's cache."""

import hashlib
import http.client
import logging
import os
import shutil
import tempfile
import urllib.request
from pathlib import Path

log = logging.getLogger(__name__)


class DownloadError(Exception):
    """What came from an address is not the file that was expected."""


def cache_folder() -> Path:
    """Return the user's cache folder of avspeech; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "avspeech"


def fetch(address: str, target: Path, sha256: str, timeout_s: float = 30.0) -> None:
    """Fetch ``address`` into ``target``, which appears only when its SHA-256 is right.

    Args:
        address: what ``urllib`` opens: https, http or file.
        target: path of the file; its folder is made.
        sha256: in hexadecimal digits.
        timeout_s: how long the network may stay silent.

    Raises:
        DownloadError: what came has another SHA-256, or is no answer of a web server.
        OSError: no network, no such address, no space.
    """
    log.info("downloading %s to %s", address, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own, because two workers may start downloading at the same moment.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.stem + ".", suffix=".part")
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(address, timeout=timeout_s) as response:
            shutil.copyfileobj(response, file)
        got = hash_of(unfinished)
        if got != sha256:
            raise DownloadError(f"{address} gave a file with SHA-256 {got}, expected {sha256}; it was thrown away")
        unfinished.replace(target)
    except http.client.HTTPException as error:  # the only kind that is no OSError
        raise DownloadError(f"{address} gave no proper answer: {type(error).__name__} {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
