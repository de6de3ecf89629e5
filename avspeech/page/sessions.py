"""Delete a visit's files when they are replaced or its tab is closed.

A visit holds at most one upload and the results of its last job. Gradio stores equal uploads once, so a file is deleted
when no visit holds it.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock


class Sessions:
    """Files of all visits: Gradio's ``uploads`` (files elsewhere are never deleted), and ``results`` of jobs."""

    def __init__(self, uploads: Path, results: Path) -> None:
        self.uploads, self.results = uploads.resolve(), results.resolve()
        for folder in (self.uploads, self.results):
            folder.mkdir(parents=True, exist_ok=True)
        self._upload_of: dict[str, Path] = {}
        self._folder_of: dict[str, Path] = {}
        self._running: dict[str, bool] = {}
        """Visit with a running job -> whether its tab is closed by now."""
        self._lock = Lock()

    def hold(self, session: str, upload: Path | None) -> None:
        """Record a visit's upload, or none; delete the one before."""
        with self._lock:
            before = self._upload_of.pop(session, None)
            if upload is not None:
                self._upload_of[session] = upload.resolve()
            if before is not None and before not in self._upload_of.values():
                self._delete_upload(before)

    @contextmanager
    def job(self, session: str) -> Iterator[Path]:
        """Give a new folder for a job's results; delete the previous one."""
        folder = Path(tempfile.mkdtemp(dir=self.results))
        with self._lock:
            before = self._folder_of.pop(session, None)
            self._folder_of[session] = folder
            self._running[session] = False
        if before is not None:
            shutil.rmtree(before, ignore_errors=True)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            with self._lock:
                left = self._running.pop(session, False)
            if left:
                self.forget(session)

    def forget(self, session: str) -> None:
        """Delete a visit's files, after its running job if there is one."""
        with self._lock:
            if session in self._running:
                self._running[session] = True
                return
            folder = self._folder_of.pop(session, None)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        self.hold(session, None)

    def _delete_upload(self, path: Path) -> None:
        if path.is_relative_to(self.uploads) and path != self.uploads:
            path.unlink(missing_ok=True)
            if path.parent != self.uploads and not any(path.parent.iterdir()):
                path.parent.rmdir()  # Gradio makes a folder for each upload
