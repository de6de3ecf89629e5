"""Cache transcripts of whole files, and finished segments of interrupted files.

A record is one line after its checksum. Segments are appended with one ``write`` each, safe between processes; a line
starts with a newline, because a killed process may leave an unfinished one.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from avspeech import __version__
from avspeech.files import cache_folder, file_sha256
from avspeech.transcription.result import Segment, Transcript

log = logging.getLogger(__name__)

_WHOLE, _SEGMENTS, _PART = ".transcript", ".segments", ".part"


class Kept:
    """Cache of transcripts in a folder, for any number of processes; its first failure is logged and ends ``works``."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = cache_folder() / "transcripts" if folder is None else Path(folder)
        self.works = True

    def key(self, media: str | Path, model_sha256: str, options: Mapping[str, Any]) -> str:
        """Return the key of a result: contents of file and model, version, and ``options``, all else that changes it.

        Raises OSError if the file cannot be read.
        """
        went_in = [file_sha256(Path(media)), model_sha256, dict(options), __version__]
        return hashlib.sha256(json.dumps(went_in, sort_keys=True).encode()).hexdigest()

    def load(self, key: str) -> Transcript | None:
        """Return the transcript with its old ``source``; None if there is none, or it is damaged."""
        line = self._read(key + _WHOLE)
        try:
            transcript = Transcript.from_json(_unsealed(line.strip())) if line else None
            if transcript is not None and self.works:
                with self._noted_failure():
                    self._clear(key)
            return transcript
        except ValueError as error:
            log.warning("%s is damaged, the file is transcribed again (%s)", self.folder / (key + _WHOLE), error)
            return None

    def save(self, key: str, transcript: Transcript) -> None:
        """Keep a finished transcript and delete its single segments."""
        if not self.works:
            return
        with self._noted_failure():
            self.folder.mkdir(parents=True, exist_ok=True)
            # A unique name, because two processes may finish the same file at the same moment.
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=f"{key}.{os.getpid()}.", suffix=_PART)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_sealed(transcript.to_json()))
                Path(name).replace(self.folder / (key + _WHOLE))
            finally:
                Path(name).unlink(missing_ok=True)
            self._clear(key)

    def _clear(self, key: str) -> None:
        """Delete what a finished transcript makes needless, also what a killed process left."""
        (self.folder / (key + _SEGMENTS)).unlink(missing_ok=True)
        for path in self.folder.glob(f"{key}.*{_PART}"):
            pid = path.name.split(".")[1]
            if not pid.isdecimal() or not _is_running(int(pid)):
                path.unlink(missing_ok=True)

    def append_segment(self, key: str, segment: Segment) -> None:
        """Keep a finished segment of an unfinished file."""
        if not self.works:
            return
        line = b"\n" + _sealed(segment.to_json())
        with self._noted_failure():
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / (key + _SEGMENTS)).open("ab", buffering=0) as file:
                written = file.write(line)
            if written < len(line):
                raise OSError(f"only {written} of {len(line)} bytes fit: is the disk full?")

    def segments(self, key: str) -> list[Segment]:
        """Return the segments of an unfinished file, sorted by start, each once."""
        found: dict[tuple[float, float, str, str | None], Segment] = {}
        num_damaged = 0
        for line in filter(None, self._read(key + _SEGMENTS).split(b"\n")):
            try:
                segment = Segment.from_json(_unsealed(line))
                found[segment.key] = segment
            except (KeyError, TypeError):
                num_damaged += 1
        if num_damaged:
            path = self.folder / (key + _SEGMENTS)
            log.warning("%s: %d of its lines are damaged, their segments are transcribed again", path, num_damaged)
        return sorted(found.values(), key=lambda one: (one.start_s, one.end_s, one.speaker or ""))

    def _read(self, name: str) -> bytes:
        if not self.works:
            return b""
        with self._noted_failure(), suppress(FileNotFoundError):
            return (self.folder / name).read_bytes()
        return b""

    @contextmanager
    def _noted_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.works = False
            log.warning("nothing is kept for another run in %s: %s", self.folder, error.strerror or error)


def _is_running(pid: int) -> bool:
    """Return False if there is no such process for sure."""
    with suppress(PermissionError):
        try:
            os.kill(pid, 0) if os.name == "posix" else None  # elsewhere, this would end it
        except ProcessLookupError:
            return False
    return True


def _sealed(record: dict[str, Any]) -> bytes:
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    content = text.encode(errors="backslashreplace")  # a file name that is not UTF-8 holds surrogates
    return hashlib.sha256(content).hexdigest().encode() + b" " + content + b"\n"


def _unsealed(line: bytes) -> Any:
    """Return the record of a line; None if it is damaged."""
    checksum, _, content = line.partition(b" ")
    return json.loads(content) if hashlib.sha256(content).hexdigest().encode() == checksum else None
