"""Errors of media files; every message names the file and the reason."""

from pathlib import Path


class MediaError(Exception):
    """A media file cannot be used; ``reason`` says why and how to fix it."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(path, reason)  # both as arguments, so that the error survives pickling between processes
        self.path, self.reason = Path(path), reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class NoVideo(MediaError):
    """The file is intact but has no video track (a cover picture does not count)."""


class NoAudio(MediaError):
    """The file is intact but has no audio track."""
