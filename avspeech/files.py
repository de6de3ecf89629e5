"""Files on disk: written whole or not at all, hashed, downloaded once into the user's cache."""

import codecs
import hashlib
import http.client
import json
import logging
import os
import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

log = logging.getLogger(__name__)


class DownloadError(Exception):
    """A download is not the file that was expected."""


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a path to write to; rename it to ``path`` when the block ends without an error, else delete it.

    The folder of ``path`` is created. The temporary name keeps the suffix (``x.part.mp4``), which tells encoders the
    format. The block may also make a folder, which replaces only an empty one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.stem}.part{path.suffix}")
    if len(os.fsencode(unfinished.name)) > 255:  # most file systems' longest name
        unfinished = path.with_name(f"{hashlib.sha256(os.fsencode(path.name)).hexdigest()}.part{path.suffix}")
    _remove(unfinished)
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        _remove(unfinished)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def read_text(path: str | Path) -> str:
    """Return a text file in UTF-8, or UTF-16 with its byte order mark; a mark is no text, and line ends stay."""
    content = Path(path).read_bytes()
    return content.decode("utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")


def read_text_lines(path: str | Path) -> list[str]:
    """Return the lines of ``read_text``, as ``split_lines``."""
    return split_lines(read_text(path))


def split_lines(text: str) -> list[str]:
    """Return a text's lines. Only "\\n" and "\\r\\n" end one: U+2028, U+0085 and others may be in a transcript."""
    lines = [line.removesuffix("\r").removeprefix("\ufeff") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


def write_json(path: str | Path, value: Any, indent: int | None = 1) -> None:
    """Write JSON with a final line feed, whole or not at all."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


def write_lines(path: str | Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines, whole or not at all."""
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """Return the records of a JSON-lines file; a file that does not exist has none."""
    path = Path(path)
    if not path.is_file():
        return []
    return [json.loads(line) for line in read_text_lines(path) if line.strip()]


def walk_files(folder: str | Path, tell: Callable[[str, str], object] = lambda name, reason: None) -> Iterator[Path]:
    """Yield the files below a folder, also those in linked folders, each folder once; hidden ones are left out.

    ``tell`` is called with the name of a folder that cannot be read, and the reason.
    """
    seen: set[str] = set()
    for here, inner, files in os.walk(folder, followlinks=True, onerror=lambda one: _tell_unreadable(one, tell)):
        real = os.path.realpath(here)
        inner[:] = [] if real in seen else sorted(name for name in inner if not name.startswith("."))
        if real in seen:
            continue
        seen.add(real)
        yield from (Path(here, name) for name in sorted(files) if not name.startswith("."))


def _tell_unreadable(error: OSError, tell: Callable[[str, str], object]) -> None:
    tell(str(error.filename), f"is a folder that may not be read ({error.strerror}); change its permissions")


def make_folder(folder: Path, option: str) -> None:
    """Create an output folder, which may exist, before the work starts.

    ``option`` is the flag that named it. Raises ValueError if it cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{option} {folder} cannot be made a folder: {error.strerror}; name another") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"{option} {folder} must not be written to here; name another")


def make_place(file: Path, option: str) -> None:
    """Create an output file's folder. Raises ValueError as ``make_folder``, or if ``file`` is an existing folder."""
    make_folder(file.parent, option)
    if file.is_dir():
        raise ValueError(f"{option} {file} is a folder, wanted a file; name another")


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    """Download ``address`` (https, http or file) to ``target``, which appears only when whole; return its SHA-256.

    Args:
        sha256: expected hash in hexadecimal digits. None: only the size that the server announces is compared.
        timeout_s: longest silence of the network, in seconds.
        check: called with the path of the unfinished file; an exception stops the download.

    Raises:
        DownloadError: the file has another SHA-256 or size, or the server's answer is not HTTP.
        OSError: no network, no such address, no space.
    """
    log.info("downloading %s to %s", address, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A unique name, because two workers may start downloading at the same moment.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.stem + ".", suffix=".part")
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(address, timeout=timeout_s) as response:
            promised = int(response.headers.get("Content-Length") or 0)  # 0: the length is not announced
            units: Any = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
            with tqdm(total=promised or None, desc=target.name, disable=None, **units) as bar:
                while piece := response.read(1 << 20):
                    file.write(piece)
                    bar.update(len(piece))
        size = unfinished.stat().st_size
        if promised and size != promised:
            raise DownloadError(f"{address} broke off after {size:,} of {promised:,} bytes; the file was deleted")
        got = file_sha256(unfinished)
        if sha256 is not None and got != sha256:
            raise DownloadError(f"{address} gave a file with SHA-256 {got}, expected {sha256}; the file was deleted")
        if check is not None:
            check(unfinished)
        unfinished.replace(target)
    except http.client.HTTPException as error:  # the only network error that is no OSError
        raise DownloadError(f"{address} gave no proper answer: {type(error).__name__} {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return got
