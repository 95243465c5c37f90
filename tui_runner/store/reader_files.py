"""Reads a database file while another process writes it, in its state at one moment.

While one process writes a file, DuckDB lets no other process read it, because a checkpoint overwrites blocks. Between
two checkpoints, what a reader sees does not change: blocks in use are not written, and the write-ahead log only grows
at its end. So reading is safe under three conditions. It starts between two transactions, it reads only that part of
the log which existed at that moment, and it ends before the next checkpoint. `Database.hold_checkpoints` ensures all
three.

DuckDB reads through `OtherFile` instead of its own file system, which would request the lock that the writer holds.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
from typing import Any

from fsspec import AbstractFileSystem

from tui_runner.store.records import PROTOCOL, Moment


class OtherFile:
    """A file that several threads read without a lock, each at its own position."""

    def __init__(self, path: str, most: int | None) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._most = most
        # By thread id. `threading.local` cannot be used, because its values are lost between two calls from a thread
        # that DuckDB created.
        self._places: dict[int, int] = {}

    def seek(self, place: int) -> int:
        """Set the position of the next `read`, in bytes. DuckDB calls this before each `read`."""
        self._places[threading.get_ident()] = place
        return place

    def tell(self) -> int:
        """Return the position of the next `read`, in bytes."""
        return self._places.get(threading.get_ident(), 0)

    def read(self, count: int) -> bytes:
        """Return up to `count` bytes; fewer at the end of the file, or of that part of the log which may be read."""
        place = self.tell()
        if self._most is not None:
            count = max(min(count, self._most - place), 0)
        content = os.pread(self._descriptor, count, place)
        self._places[threading.get_ident()] = place + len(content)
        return content

    def close(self) -> None:
        """Close the file. Repeated calls do nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class OtherFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A file system that consists of two files: the database and its write-ahead log, in their state at one moment."""

    protocol = PROTOCOL
    cachable = False  # without this, fsspec would keep every instance forever

    def __init__(self, moment: Moment) -> None:
        super().__init__()
        self._files = {str(moment.file): None, str(moment.log): moment.log_bytes}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix(f"{PROTOCOL}://")

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return name, size and type of a file, as fsspec defines them.

        Raises:
            FileNotFoundError: the path is neither the database nor its log.
        """
        path = self._strip_protocol(path)
        most = self._most(path)
        size = os.stat(path).st_size  # noqa: PTH116 - DuckDB passes the path as text that may not be UTF-8
        return {"name": path, "size": size if most is None else most, "type": "file"}

    def exists(self, path: str, **_: Any) -> bool:
        """Return True if the file exists. A log without bytes to read counts as missing."""
        path = self._strip_protocol(path)
        return path in self._files and self._files[path] != 0

    def modified(self, path: str) -> dt.datetime:
        """Return the time at which the file was last changed."""
        return dt.datetime.fromtimestamp(os.stat(self._strip_protocol(path)).st_mtime, dt.UTC)  # noqa: PTH116

    def open(self, path: str, mode: str = "rb", **_: Any) -> OtherFile:
        """Open a file for reading.

        Raises:
            FileNotFoundError: the path is neither the database nor its log.
            PermissionError: DuckDB requests write access.
        """
        if set(mode) & set("wax+"):
            raise PermissionError(f"{path} belongs to another process")
        path = self._strip_protocol(path)
        return OtherFile(path, self._most(path))

    def _most(self, path: str) -> int | None:
        if path not in self._files:
            raise FileNotFoundError(path)
        return self._files[path]
