"""Byte ranges of files in a folder, or below a URL by way of a cache on the disk."""

import errno
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from avspeech.files import cache_folder

BLOCK = 1 << 18
"""Bytes that are fetched at once from a URL."""
_OPEN_FILES = 128
"""Most files that a process keeps open; its limit is often 1,024."""


class ShardError(ValueError):
    """Shards cannot be used; the message names the file, what is wrong with it and how to mend it."""


def is_url(path: str | Path) -> bool:
    return "://" in str(path)


class Storage:
    """Reads files below ``root``, a folder or a URL that fsspec opens (s3, gs, http and others).

    What comes from a URL is kept in blocks in the user's cache, below ``version``, which all processes share: a block
    is written before it is marked, so that a death at any moment costs that block only. Safe after a fork.
    """

    def __init__(self, root: str, version: str = "") -> None:
        self.root, self.version, self._remote = root.rstrip("/"), version, is_url(root)
        self._cache = cache_folder() / "shards" / quote(root, safe="") / version
        self._files: OrderedDict[str, int] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._fs: tuple[int, Any] | None = None

    def __reduce__(self) -> tuple:
        return Storage, (self.root, self.version)

    def read(self, name: str, start: int, size: int) -> bytes:
        """Return ``size`` bytes, fewer at the end of the file. ShardError: the file cannot be read."""
        try:
            if not self._remote:
                return os.pread(self._open(f"{self.root}/{name}", os.O_RDONLY), size, start)
            file, marks = self._cached(name)
            self._fetch(name, file, marks, start, size)
            return os.pread(file, size, start)
        except OSError as error:
            raise ShardError(f"{self.root}/{name} cannot be read: {error or type(error).__name__}") from error

    def forget(self, name: str, start: int, size: int) -> bool:
        """Let these bytes be fetched anew; False if they are on this machine anyway."""
        if self._remote:
            first, last = start // BLOCK, (start + size - 1) // BLOCK + 1
            os.pwrite(self._cached(name)[1], bytes(last - first), first)
        return self._remote

    def facts(self, name: str) -> str:
        """Return what changes when a file behind the URL does: size, and tag or time. ShardError: it is missing."""
        try:
            info = self._filesystem().info(self._address(name))
        except OSError as error:
            raise ShardError(f"{self.root}/{name} cannot be read: {error or type(error).__name__}") from error
        return "-".join(str(info.get(key)) for key in ("size", "ETag", "mtime", "LastModified"))

    def local(self, name: str) -> Path:
        """Return a whole file on this machine, fetched if need be. ShardError as ``read``."""
        if not self._remote:
            return Path(self.root, name)
        self.read(name, 0, self._size(name))
        return self._cache / quote(name, safe="")

    def _size(self, name: str) -> int:
        if name not in self._sizes:
            self._sizes[name] = int(self._filesystem().info(self._address(name))["size"])
        return self._sizes[name]

    def _cached(self, name: str) -> tuple[int, int]:
        """Return the descriptors of a cached file and of its marks, one byte per block."""
        self._cache.mkdir(parents=True, exist_ok=True)
        path = str(self._cache / quote(name, safe=""))
        return self._open(path, os.O_RDWR | os.O_CREAT), self._open(f"{path}.marks", os.O_RDWR | os.O_CREAT)

    def _fetch(self, name: str, file: int, marks: int, start: int, size: int) -> None:
        first, last = start // BLOCK, (start + size - 1) // BLOCK + 1
        missing = [first + i for i, mark in enumerate(os.pread(marks, last - first, first).ljust(last - first, b"\0"))
                   if not mark]  # fmt: skip
        if not missing:
            return
        begin, end = missing[0] * BLOCK, min((missing[-1] + 1) * BLOCK, self._size(name))
        if begin >= end:
            return  # beyond the end: ``read`` gives fewer bytes
        content = self._filesystem().cat_file(self._address(name), start=begin, end=end)
        if len(content) > end - begin:
            raise OSError(errno.ENOTSUP, "the server sends whole files, wanted the byte range that was asked for")
        os.pwrite(file, content, begin)
        os.pwrite(marks, b"\1" * (missing[-1] + 1 - missing[0]), missing[0])

    def _address(self, name: str) -> str:
        """Return a file's address; "../" in its name leads to shards of other folders (``index.merge``)."""
        folder = self._below
        while name.startswith("../"):
            folder, name = folder.rpartition("/")[0], name[3:]
        return f"{folder}/{name}"

    def _filesystem(self) -> Any:
        """Return fsspec's file system, made anew in each process: its threads do not survive a fork."""
        import fsspec  # local shards need none

        if self._fs is None or self._fs[0] != os.getpid():
            try:
                found = fsspec.core.url_to_fs(self.root, skip_instance_cache=True)
            except (ImportError, ValueError) as error:
                raise ShardError(f"{self.root} cannot be opened: {error}; pip install 'avspeech[remote]'") from error
            self._fs, self._below = (os.getpid(), found[0]), found[1].rstrip("/")
        return self._fs[1]

    def _open(self, path: str, flags: int) -> int:
        if path in self._files:
            self._files.move_to_end(path)
            return self._files[path]
        while len(self._files) >= _OPEN_FILES:
            os.close(self._files.popitem(last=False)[1])
        self._files[path] = os.open(path, flags, 0o644)
        return self._files[path]

    def __del__(self) -> None:
        for file in getattr(self, "_files", {}).values():
            os.close(file)
