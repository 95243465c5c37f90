"""Reads a database file beside the process that writes it, as it is at one moment.

DuckDB lets one process write a file and no other read it meanwhile: a checkpoint gives blocks of the file a new
content. Between two checkpoints what a moment's readers see does not change: blocks that are in use are not written,
the write-ahead log grows at its end. So a reader is right that begins between two transactions, reads no more of the
log than there was then, and ends before the next checkpoint; `Database.hold_checkpoints` sees to that.

DuckDB reads through `OtherFile` instead of its own file system, which would ask for the lock that the writer has.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
from typing import Any

from fsspec import AbstractFileSystem

from tui_runner.store.records import PROTOCOL, Moment


class OtherFile:
    """A file that is read without a lock, by several threads, each of which has its own place in it."""

    def __init__(self, path: str, most: int | None) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._most = most
        # DuckDB's threads are none of Python's: what is `threading.local` in them is lost between two calls.
        self._places: dict[int, int] = {}

    def seek(self, place: int) -> int:
        """Read from byte `place` on next; DuckDB calls it before each `read`."""
        self._places[threading.get_ident()] = place
        return place

    def tell(self) -> int:
        """Return the byte that is read next."""
        return self._places.get(threading.get_ident(), 0)

    def read(self, count: int) -> bytes:
        """Return `count` bytes, fewer at the end."""
        place = self.tell()
        if self._most is not None:
            count = max(min(count, self._most - place), 0)
        content = os.pread(self._descriptor, count, place)
        self._places[threading.get_ident()] = place + len(content)
        return content

    def close(self) -> None:
        """Close it. Calling it again does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class OtherFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The database and its log, as they were at one moment."""

    protocol = PROTOCOL
    cachable = False  # fsspec would keep one for ever

    def __init__(self, moment: Moment) -> None:
        super().__init__()
        self._files = {str(moment.file): None, str(moment.log): moment.log_bytes}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix(f"{PROTOCOL}://")

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Describe a file.

        Raises:
            FileNotFoundError: it is neither the database nor its log.
        """
        path = self._strip_protocol(path)
        most = self._most(path)
        size = os.stat(path).st_size  # noqa: PTH116 - DuckDB's own text, maybe no UTF-8
        return {"name": path, "size": size if most is None else most, "type": "file"}

    def exists(self, path: str, **_: Any) -> bool:
        """Return True if there is such a file; the log counts only with something in it."""
        path = self._strip_protocol(path)
        return path in self._files and self._files[path] != 0

    def modified(self, path: str) -> dt.datetime:
        """Return when the file was changed."""
        return dt.datetime.fromtimestamp(os.stat(self._strip_protocol(path)).st_mtime, dt.UTC)  # noqa: PTH116

    def open(self, path: str, mode: str = "rb", **_: Any) -> OtherFile:
        """Open a file for reading.

        Raises:
            FileNotFoundError: it is neither the database nor its log.
            PermissionError: DuckDB asks to write it.
        """
        if set(mode) & set("wax+"):
            raise PermissionError(f"{path} belongs to another process")
        path = self._strip_protocol(path)
        return OtherFile(path, self._most(path))

    def _most(self, path: str) -> int | None:
        if path not in self._files:
            raise FileNotFoundError(path)
        return self._files[path]
