"""Fetch a file once into the user's cache, where it appears only when whole."""

import hashlib
import http.client
import logging
import os
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

log = logging.getLogger(__name__)

_PIECE = 1 << 20


class DownloadError(Exception):
    """What came from an address is not the file that was expected."""


def cache_folder() -> Path:
    """Return the user's cache folder of avspeech; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "avspeech"


def fetch(
    address: str,
    target: Path,
    sha256: str | None,
    timeout_s: float = 30.0,
    check: Callable[[Path], object] | None = None,
) -> str:
    """Fetch ``address`` into ``target``, which appears only when it is whole, and return its SHA-256.

    A progress bar is shown where a terminal is.

    Args:
        address: what ``urllib`` opens: https, http or file.
        target: path of the file; its folder is made.
        sha256: in hexadecimal digits; None where none was published, then the size that the server names is all that
            is known of the file, and ``check`` should look into it.
        timeout_s: how long the network may stay silent.
        check: called with the path of the unfinished file; what it raises stops the download.

    Raises:
        DownloadError: what came has another SHA-256 or another size, or is no answer of a web server.
        OSError: no network, no such address, no space.
    """
    log.info("downloading %s to %s", address, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own, because two workers may start downloading at the same moment.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.stem + ".", suffix=".part")
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(address, timeout=timeout_s) as response:
            promised = int(response.headers.get("Content-Length") or 0)  # without one, the end is where the server ends
            with tqdm(
                total=promised or None, desc=target.name, unit="B", unit_scale=True, unit_divisor=1024, disable=None
            ) as bar:
                while piece := response.read(_PIECE):
                    file.write(piece)
                    bar.update(len(piece))
        size = unfinished.stat().st_size
        if promised and size != promised:
            raise DownloadError(f"{address} broke off after {size:,} of {promised:,} bytes; what came was thrown away")
        got = hash_of(unfinished)
        if sha256 is not None and got != sha256:
            raise DownloadError(f"{address} gave a file with SHA-256 {got}, expected {sha256}; it was thrown away")
        if check is not None:
            check(unfinished)
        unfinished.replace(target)
    except http.client.HTTPException as error:  # the only kind that is no OSError
        raise DownloadError(f"{address} gave no proper answer: {type(error).__name__} {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return got


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
