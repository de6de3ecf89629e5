"""Delete the files of a visit with the visit.

A visit (Gradio's session, one open tab) holds at most one upload and the results of its last job. Both are deleted
when they are replaced and when the tab is closed. Gradio stores uploads of the same content as one file, so an upload
is deleted when no visit holds it any more.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock


class Sessions:
    """The files of all visits.

    Args:
        uploads: folder of Gradio's uploads; files elsewhere are never deleted.
        results: folder for the results of jobs.
    """

    def __init__(self, uploads: Path, results: Path) -> None:
        self.uploads, self.results = uploads.resolve(), results.resolve()
        for folder in (self.uploads, self.results):
            folder.mkdir(parents=True, exist_ok=True)
        self._upload_of: dict[str, Path] = {}
        self._folder_of: dict[str, Path] = {}
        self._left: set[str] = set()
        """Visits that ended while their job was running."""
        self._running: set[str] = set()
        self._lock = Lock()

    def hold(self, session: str, upload: Path | None) -> None:
        """Record the upload of a visit, None for none any more; delete the one before."""
        with self._lock:
            before = self._upload_of.pop(session, None)
            if upload is not None:
                self._upload_of[session] = upload.resolve()
            if before is not None and before not in self._upload_of.values():
                self._delete_upload(before)

    @contextmanager
    def job(self, session: str) -> Iterator[Path]:
        """Give a new folder for the results of a visit's job; delete those of the job before."""
        folder = Path(tempfile.mkdtemp(dir=self.results))
        with self._lock:
            before = self._folder_of.pop(session, None)
            self._folder_of[session] = folder
            self._running.add(session)
        if before is not None:
            shutil.rmtree(before, ignore_errors=True)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            with self._lock:
                self._running.discard(session)
                left = session in self._left
                self._left.discard(session)
            if left:
                self.forget(session)

    def forget(self, session: str) -> None:
        """Delete the files of a visit; while its job is running, as soon as it is done."""
        with self._lock:
            if session in self._running:
                self._left.add(session)
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
