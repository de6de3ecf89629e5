"""Keep what was transcribed between runs: whole files, and the finished segments of a file that was interrupted.

A record is found by what went in: the media file's content, the model's content, the options, the version. It is one
line that starts with its checksum, so a line that was cut off or has rotted is told from a whole one. Whole
transcripts are renamed into place. Segments are appended with one ``write`` each to a file opened for appending, which
the system does not mix with another process's, and a line starts with a newline, so that it does not stick to a line
that a killed process left half-written.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avspeech import __version__
from avspeech.files import cache_folder, file_sha256
from avspeech.transcription.result import Segment, Transcript

log = logging.getLogger(__name__)

_WHOLE, _SEGMENTS, _PART = ".transcript", ".segments", ".part"


class Kept:
    """Results of earlier runs in a folder. Any number of processes may use one folder at once.

    Args:
        folder: made when something is kept; None: ``transcripts`` in the user's cache.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = cache_folder() / "transcripts" if folder is None else Path(folder)

    def key(self, media: str | Path, model_sha256: str, options: Mapping[str, Any]) -> str:
        """Return the name under which a result is kept; it changes with everything that can change the result.

        The file is read once for its hash; its path does not count, so a moved file is known again.

        Args:
            media: the file.
            model_sha256: of the model's file.
            options: whatever else changes the result; plain values.

        Raises:
            OSError: the file cannot be read.
        """
        went_in = [file_sha256(Path(media)), model_sha256, dict(options), __version__]
        return hashlib.sha256(json.dumps(went_in, sort_keys=True).encode()).hexdigest()

    def load(self, key: str) -> Transcript | None:
        """Return what was kept, its ``source`` as it was then; None: nothing, or nothing that can be read."""
        path = self.folder / (key + _WHOLE)
        try:
            line = path.read_bytes()
        except FileNotFoundError:
            return None
        record = _unsealed(line.strip())
        try:
            return Transcript.from_json(record)
        except ValueError as error:
            log.warning("%s is damaged, the file is transcribed anew (%s)", path, error)
            return None

    def save(self, key: str, transcript: Transcript) -> None:
        """Keep a finished transcript; its segments need not be kept by themselves any more.

        Raises:
            OSError: the folder cannot be written.
        """
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

    def append_segment(self, key: str, segment: Segment) -> None:
        """Keep a finished segment of a file that is not finished.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        line = b"\n" + _sealed(segment.to_json())
        handle = os.open(self.folder / (key + _SEGMENTS), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            written = os.write(handle, line)
        finally:
            os.close(handle)
        if written < len(line):
            raise OSError(f"only {written} of {len(line)} bytes fit into {self.folder}: is the disk full?")

    def segments(self, key: str) -> list[Segment]:
        """Return the finished segments of an unfinished file, by start; the same from two processes counts once."""
        path = self.folder / (key + _SEGMENTS)
        try:
            lines = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        found: dict[tuple[float, float, str, str | None], Segment] = {}
        num_damaged = 0
        for line in filter(None, lines):
            try:
                segment = Segment.from_json(_unsealed(line))
            except (KeyError, TypeError):
                num_damaged += 1
                continue
            found[segment.key] = segment
        if num_damaged:
            log.warning("%s: %d of its lines are damaged, their segments are transcribed anew", path, num_damaged)
        return sorted(found.values(), key=lambda one: (one.start_s, one.end_s, one.speaker or ""))

    def forget(self) -> int:
        """Delete everything that is kept in the folder, and nothing else, and return how many files that were."""
        if not self.folder.is_dir():
            return 0
        ours = [path for path in self.folder.iterdir() if path.suffix in (_WHOLE, _SEGMENTS, _PART)]
        for path in ours:
            path.unlink(missing_ok=True)
        return len(ours)


def _sealed(record: dict[str, Any]) -> bytes:
    """Return a line: the checksum of a record, and the record."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    content = text.encode(errors="backslashreplace")  # a name that is no UTF-8 holds surrogates; so json escapes them
    return hashlib.sha256(content).hexdigest().encode() + b" " + content + b"\n"


def _unsealed(line: bytes) -> Any:
    """Return the record of a line; None where it is not as it was written."""
    checksum, _, content = line.partition(b" ")
    if hashlib.sha256(content).hexdigest().encode() != checksum:
        return None
    return json.loads(content)
