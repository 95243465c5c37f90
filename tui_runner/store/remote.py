"""A console on a database that another process has open: statements go there, rows come back.

See `wire.py` for what is said, and `query_server.py` for the other side.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from tui_runner.errors import DatabaseError, UserError
from tui_runner.store.endpoint import connect
from tui_runner.store.mistakes import QueryCancelled
from tui_runner.store.result import Result
from tui_runner.store.wire import (
    ARROW,
    END,
    FAILED,
    FRAME_BYTES,
    PROGRESS,
    REQUEST,
    pack_request,
    receive_frame,
    send_frame,
    unpack_error,
)

_CONNECT_SECONDS = 5.0


class OwnerGone(DatabaseError):
    """The process that had the database open does not answer any more."""

    def __init__(self, path: Path, *, midway: bool = False) -> None:
        what = "the tui-runner that had it open does not answer any more"
        if midway:
            what = "the answer broke off: its tui-runner ended, or nobody read on for too long"
        super().__init__(what, str(path), "run the statement again" if midway else "try again")


class RemoteConsole:
    """Runs statements in the process that owns `path`, one at a time; the same as `Console`, but it never writes."""

    can_write = False
    impatient = True
    """Whoever takes no rows for some seconds is cut off."""

    def __init__(self, path: Path, address: str) -> None:
        self._path = path
        self._address = address
        self._guard = threading.Lock()
        self._result: _Received | None = None
        self._frames: _Frames | None = None

    @property
    def write(self) -> bool:
        """Whether statements that change data are run: never."""
        return False

    @write.setter
    def write(self, wanted: bool) -> None:
        if wanted:
            raise UserError("another process has this database open", do="change data when it has ended")

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> Result:
        """As `Console.query`.

        Raises:
            OwnerGone: the owner does not answer, or cut the connection off.
        """
        asked_at = time.monotonic()
        if self._result is not None:
            self._result.close()
            self._result = None
        request = pack_request(sql, parameters or {})
        frames = self._connect()
        try:
            frames.ask(request)
            reader = pa.ipc.open_stream(frames)
            self._result = _Received(reader, asked_at, frames)
        except BaseException:
            frames.end()
            raise
        return self._result

    def cancel(self) -> None:
        """End what runs, from any thread; returns at once."""
        with self._guard:
            frames = self._frames
        if frames is not None:
            frames.cancel()

    def progress(self) -> float | None:
        """How far the statement has come, as the owner last said; None when it has said nothing."""
        with self._guard:
            frames = self._frames
        return None if frames is None else frames.progress

    def close(self) -> None:
        """End what runs. Calling it again does nothing."""
        self.cancel()
        if self._result is not None:
            self._result.close()
            self._result = None

    def __enter__(self) -> RemoteConsole:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> _Frames:
        try:
            connection = connect(self._address, _CONNECT_SECONDS)
        except OSError as error:
            raise OwnerGone(self._path) from error
        frames = _Frames(connection, self._path)
        with self._guard:
            self._frames = frames
        return frames


class _Received(Result):
    """Rows that come from another process."""

    def __init__(self, reader: pa.RecordBatchReader, asked_at: float, frames: _Frames) -> None:
        super().__init__(reader.schema, asked_at)
        self._reader = reader
        self._frames = frames

    def _next(self) -> pa.RecordBatch | None:
        try:
            batch = self._reader.read_next_batch()
        except StopIteration:
            self._frames.finish()
            return None
        except pa.ArrowException as error:
            # The stream broke off in the middle of a batch.
            raise self._frames.broken() from error
        return batch

    def _close(self) -> None:
        self._frames.end()


class _Frames:
    """The Arrow stream of an answer as a file to read; an error that the other side met is raised by `read`.

    Attributes:
        progress: how far the statement has come, 0.0 to 1.0; None while nothing was said of it.
    """

    closed = False
    """What `pyarrow` asks of a file."""

    def __init__(self, connection: socket.socket, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._cancelled = False
        self._content = memoryview(b"")
        self._over = False
        self.progress: float | None = None

    def ask(self, request: bytes) -> None:
        """Send the request."""
        try:
            send_frame(self._connection, REQUEST, request)
        except OSError as error:
            # Whoever refuses us says why before it hangs up.
            self._next_frame()
            raise self.broken() from error

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer at the end."""
        parts = []
        while size > 0:
            if not self._content and not self._next_frame():
                break
            part = self._content[:size]
            self._content = self._content[len(part) :]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def readable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Nothing: `end` closes the connection."""

    def finish(self) -> None:
        """Read on to the end of the answer, behind the last batch, where an error may still be."""
        while self._next_frame():
            pass

    def cancel(self) -> None:
        """Hang up, from any thread: who reads gets an error, and the other side ends the statement."""
        self._cancelled = True
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Hang up; in the thread that reads, or when nobody does."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def broken(self) -> UserError:
        """Why the answer has no end."""
        return QueryCancelled() if self._cancelled else OwnerGone(self._path, midway=True)

    def _next_frame(self) -> bool:
        """Take the next frame; False behind the last."""
        if self._over:
            return False
        try:
            kind, content = receive_frame(self._connection, 2 * FRAME_BYTES)
            while kind == PROGRESS:
                self.progress = int(content) / 1000
                kind, content = receive_frame(self._connection, 2 * FRAME_BYTES)
        except (OSError, EOFError, ValueError) as error:
            raise self.broken() from error
        if kind == ARROW:
            self._content = memoryview(content)
            return True
        self._over = True
        if kind == FAILED:
            raise unpack_error(content)
        if kind != END:
            raise self.broken()
        return False
