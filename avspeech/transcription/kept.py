"""Keep transcripts between runs: of whole files, and finished segments of a file that was interrupted.

A record is found by the content of the media file and of the model, the options, and the version. It is one line that
starts with its checksum, so that a damaged line is noticed. Whole transcripts are renamed into place. Segments are
appended with one ``write`` each to a file opened for appending, which the system does not mix with another process's;
a line starts with a newline, so that it does not stick to one that a killed process left unfinished.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from avspeech import __version__
from avspeech.files import cache_folder, file_sha256
from avspeech.transcription.result import Segment, Transcript

log = logging.getLogger(__name__)

_WHOLE, _SEGMENTS, _PART = ".transcript", ".segments", ".part"
_Result = TypeVar("_Result")


class Kept:
    """Results of earlier runs in a folder, which any number of processes may use at once.

    Where the folder cannot be used, this is logged once and nothing is kept: a transcript is worth more than the next
    run's time.

    Args:
        folder: created when something is kept; None: ``transcripts`` in the user's cache.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = cache_folder() / "transcripts" if folder is None else Path(folder)
        self.works = True
        """False after the folder could not be used."""

    def key(self, media: str | Path, model_sha256: str, options: Mapping[str, Any]) -> str:
        """Return the name under which a result is kept; it does not depend on the file's path.

        Args:
            media: the file, which is read once for its hash.
            model_sha256: hash of the model's file.
            options: whatever else changes the result; plain values.

        Raises:
            OSError: the file cannot be read.
        """
        went_in = [file_sha256(Path(media)), model_sha256, dict(options), __version__]
        return hashlib.sha256(json.dumps(went_in, sort_keys=True).encode()).hexdigest()

    def load(self, key: str) -> Transcript | None:
        """Return the kept transcript, its ``source`` as it was then; None: there is none, or it is damaged."""
        line = self._try(lambda: self._read(key + _WHOLE), b"")
        if not line:
            return None
        try:
            return Transcript.from_json(_unsealed(line.strip()))
        except ValueError as error:
            log.warning("%s is damaged, the file is transcribed again (%s)", self.folder / (key + _WHOLE), error)
            return None

    def save(self, key: str, transcript: Transcript) -> None:
        """Keep a finished transcript, and delete its single segments."""

        def write() -> None:
            self.folder.mkdir(parents=True, exist_ok=True)
            # A unique name, because two processes may finish the same file at the same moment.
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=key + ".", suffix=_PART)
            unfinished = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_sealed(transcript.to_json()))
                unfinished.replace(self.folder / (key + _WHOLE))
            finally:
                unfinished.unlink(missing_ok=True)
            (self.folder / (key + _SEGMENTS)).unlink(missing_ok=True)

        self._try(write, None)

    def append_segment(self, key: str, segment: Segment) -> None:
        """Keep a finished segment of a file that is not finished."""

        def write() -> None:
            self.folder.mkdir(parents=True, exist_ok=True)
            line = b"\n" + _sealed(segment.to_json())
            handle = os.open(self.folder / (key + _SEGMENTS), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                written = os.write(handle, line)
            finally:
                os.close(handle)
            if written < len(line):
                raise OSError(f"only {written} of {len(line)} bytes fit: is the disk full?")

        self._try(write, None)

    def segments(self, key: str) -> list[Segment]:
        """Return the finished segments of an unfinished file, sorted by start, each once."""
        found: dict[tuple[float, float, str, str | None], Segment] = {}
        num_damaged = 0
        for line in filter(None, self._try(lambda: self._read(key + _SEGMENTS), b"").split(b"\n")):
            try:
                segment = Segment.from_json(_unsealed(line))
            except (KeyError, TypeError):
                num_damaged += 1
                continue
            found[segment.key] = segment
        if num_damaged:
            path = self.folder / (key + _SEGMENTS)
            log.warning("%s: %d of its lines are damaged, their segments are transcribed again", path, num_damaged)
        return sorted(found.values(), key=lambda one: (one.start_s, one.end_s, one.speaker or ""))

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return b""

    def _try(self, action: Callable[[], _Result], otherwise: _Result) -> _Result:
        """Return the action's result; ``otherwise`` where the folder cannot be used."""
        if not self.works:
            return otherwise
        try:
            return action()
        except OSError as error:
            self.works = False
            log.warning("nothing is kept for another run in %s: %s", self.folder, error.strerror or error)
            return otherwise


def _sealed(record: dict[str, Any]) -> bytes:
    """Return a line: the checksum of a record, and the record."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    content = text.encode(errors="backslashreplace")  # a file name that is not UTF-8 holds surrogates
    return hashlib.sha256(content).hexdigest().encode() + b" " + content + b"\n"


def _unsealed(line: bytes) -> Any:
    """Return the record of a line; None where the line is damaged."""
    checksum, _, content = line.partition(b" ")
    if hashlib.sha256(content).hexdigest().encode() != checksum:
        return None
    return json.loads(content)
