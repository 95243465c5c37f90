"""A console for a database that another process has open: sends statements to that process and checks the rows.

Arrow's reader does not check the lengths, offsets and indices that the other side sends. If they are forged, reading a
value reads other memory or crashes. `validate(full=True)` checks all of them. That takes 5 to 8 % of the time in which
a result of a million rows arrives. It also refuses values that exist in DuckDB but not in Arrow: a HUGEINT of 39
digits, the time 24:00:00. These are harmless, so decimals are checked as bytes and times as integers.

`wire.py` defines the messages; `server.py` is the other side.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tui_runner.errors import DatabaseError, UserError
from tui_runner.store.arrow_batches import PIECE_ROWS
from tui_runner.store.lock import LockRecord, silent_owner
from tui_runner.store.query.errors import QueryCancelled
from tui_runner.store.query.result import TYPE_KEY, Result
from tui_runner.store.remote.endpoint import connect
from tui_runner.store.remote.handshake import Token, introduce
from tui_runner.store.remote.wire import (
    ARROW,
    END,
    FAILED,
    FRAME_BYTES,
    PROGRESS,
    REQUEST,
    Request,
    UnreadableAnswer,
    pack_request,
    receive_frame,
    send_frame,
    unpack_error,
)


class AnswerCheck:
    """A check of the batches that a query returns.

    Args:
        schema: schema as the other side sent it.

    Raises:
        ValueError: no tui-runner sends such a schema.
    """

    def __init__(self, schema: pa.Schema) -> None:
        names = schema.names
        if not names or len(set(names)) < len(names):
            raise ValueError("columns without distinct names")
        for field in schema:
            _check_text(field)
        self._types = [_stored(field.type) for field in schema]

    def check(self, batch: pa.RecordBatch) -> None:
        """Check that a batch refers only to memory that belongs to it.

        Raises:
            ValueError, pa.ArrowException: the batch refers to other memory, or has too many rows.
        """
        if batch.num_rows > PIECE_ROWS:
            raise ValueError("more rows than a tui-runner sends at once")
        batch.validate()  # checks the sizes of buffers, on which `view` relies
        for column, kind in zip(batch.columns, self._types, strict=True):
            (column if kind == column.type else column.view(kind)).validate(full=True)


def _stored(kind: pa.DataType) -> pa.DataType:
    """Return the type to which values of type `kind` are converted to be checked.

    Raises:
        ValueError: `Readable` (store/query/result.py) never produces this type.
    """
    types = pa.types
    if types.is_decimal(kind):
        return pa.binary(kind.byte_width)
    if types.is_time(kind):
        return pa.int64() if types.is_time64(kind) else pa.int32()
    if types.is_struct(kind):
        return pa.struct([_stored_field(field) for field in kind])
    if types.is_large_list(kind):
        return pa.large_list(_stored_field(kind.value_field))
    if types.is_list(kind):
        return pa.list_(_stored_field(kind.value_field))
    if types.is_fixed_size_list(kind):
        return pa.list_(_stored_field(kind.value_field), kind.list_size)
    if types.is_map(kind):
        return pa.map_(_stored_field(kind.key_field), _stored_field(kind.item_field))
    if any(is_such(kind.value_type if types.is_dictionary(kind) else kind) for is_such in _SCALARS):
        return kind
    raise ValueError(f"{kind} is no type of an answer")


_SCALARS = (
    pa.types.is_null,
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_date,
    pa.types.is_timestamp,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
)
"""Functions that recognise the types which contain no other types and may be in an answer."""


def _stored_field(field: pa.Field) -> pa.Field:
    _check_text(field)
    return field.with_type(_stored(field.type))


def _check_text(field: pa.Field) -> None:
    """Raise `ValueError` if the name of a field or of its DuckDB type is not valid UTF-8."""
    field.name.encode()
    (field.metadata or {}).get(TYPE_KEY, b"").decode()


_LAST_PROGRESS = 1000
"""Progress of a finished statement, in thousandths."""


@dataclass(frozen=True, slots=True)
class RemoteLimits:
    """Time limits for the owner of a database, by which a user learns within 10 seconds that the owner hangs.

    Attributes:
        greeting: seconds until the handshake is complete. The owner greets as soon as it accepts a connection.
        silence: seconds without any data after the handshake. The owner sends a frame at least every 2 seconds
            (`ServerLimits.alive`).
    """

    greeting: float = 4.0  # the owner needs milliseconds, but may be busy
    silence: float = 8.0  # four times `ServerLimits.alive`


class OwnerGone(DatabaseError):
    """Raised if the process that had the database open has ended, or has closed the connection."""

    def __init__(self, path: Path, *, midway: bool = False) -> None:
        what = "the tui-runner that had it open no longer answers"
        if midway:
            what = "the answer was cut off: its tui-runner ended, or its rows were not read for too long"
        super().__init__(what, str(path), "run the statement again" if midway else "try again")


class OwnerSilent(DatabaseError):
    """Raised if the process that has the database open lives but does not respond, because it is stopped or hangs."""

    def __init__(self, path: Path, record: LockRecord) -> None:
        super().__init__(*silent_owner(record, str(path)))


class RemoteConsole:
    """A console whose statements run, one at a time, in the process that has `path` open. It never changes data.

    Args:
        path: path of the database.
        record: the owner's note in the lock file.
        address: address at which the owner answers queries.
        limits: seconds for which the owner may be silent.
    """

    can_write = False
    impatient = True
    """True because the other side disconnects a client that reads no rows for some seconds."""

    def __init__(self, path: Path, record: LockRecord, address: str, limits: RemoteLimits) -> None:
        self._path = path
        self._record = record
        self._address = address
        self._limits = limits
        self._guard = threading.Lock()
        """Protects `_frames`, which `cancel` and `progress` read from other threads."""
        self._result: _Received | None = None
        self._frames: _Frames | None = None

    @property
    def write(self) -> bool:
        """False, because data cannot be changed through another process."""
        return False

    @write.setter
    def write(self, wanted: bool) -> None:
        if wanted:
            raise UserError("another process has this database open", do="change data when it has ended")

    def query(self, sql: str, parameters: Mapping[str, object] | None = None, *, light: bool = False) -> Result:
        """Execute a statement like `Console.query`.

        Raises:
            UserError: an error of `Console.query`, or the owner executes as many queries as it may.
            OwnerGone: the owner does not respond any more, or has closed the connection.
            OwnerSilent: the owner is stopped or hangs.
            DatabaseError: the answer is not one that a tui-runner of this version sends.
        """
        asked_at = time.monotonic()
        if self._result is not None:
            self._result.close()
            self._result = None
        request = pack_request(Request(sql, parameters or {}, light))
        frames = self._connect()
        try:
            frames.ask(request)
            self._result = _Received(frames, asked_at)
        except BaseException:  # also for Ctrl-C: closing the connection makes the owner end the statement
            frames.end()
            raise
        return self._result

    def greet(self) -> None:
        """Check that the owner responds and runs for this user.

        Raises:
            OwnerGone: the owner does not respond.
            OwnerSilent: the owner is stopped or hangs.
            TooManyQueries: the owner executes as many queries as it may.
            DatabaseError: the owner uses another version of the protocol.
        """
        self._connect().end()

    def cancel(self) -> None:
        """End the running statement. Do not wait. Thread-safe."""
        with self._guard:
            frames = self._frames
        if frames is not None:
            frames.cancel()

    def progress(self) -> float | None:
        """Return the last progress that the owner has sent, 0.0 to 1.0; None if it has sent none."""
        with self._guard:
            frames = self._frames
        return None if frames is None else frames.progress

    def close(self) -> None:
        """End the running statement. Repeated calls do nothing."""
        self.cancel()
        if self._result is not None:
            self._result.close()
            self._result = None

    def __enter__(self) -> RemoteConsole:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self) -> _Frames:
        """Connect to the owner and exchange greetings. Raise `OwnerGone` or `OwnerSilent` if that fails."""
        until = time.monotonic() + self._limits.greeting
        try:
            connection, token = connect(self._address, until)
        except OSError as error:
            # A stopped process accepts no connections once its queue of connections is full.
            silent = isinstance(error, TimeoutError) or self._record.is_stopped
            raise OwnerSilent(self._path, self._record) if silent else OwnerGone(self._path) from error
        frames = _Frames(connection, self._path, self._record)
        with self._guard:
            self._frames = frames
        try:
            frames.introduce(token, until)
        except BaseException:  # also for Ctrl-C, because the owner must not keep an unused connection
            frames.end()
            raise
        connection.settimeout(self._limits.silence)
        return frames


_NO_ARROW = (pa.ArrowException, OSError, ValueError)
"""Errors from reading and checking an invalid Arrow stream. Sometimes Arrow raises an OSError for it."""


class _Received(Result):
    """Rows that arrive from another process."""

    def __init__(self, frames: _Frames, asked_at: float) -> None:
        try:
            self._reader = pa.ipc.open_stream(frames)
            super().__init__(self._reader.schema, asked_at)
            self._check = AnswerCheck(self.schema)
        except _NO_ARROW as error:
            raise frames.unreadable() from error
        self._frames = frames

    def _next(self) -> pa.RecordBatch | None:
        """Return the next batch after checking it; None after the last batch."""
        try:
            batch = self._reader.read_next_batch()
            self._check.check(batch)
        except StopIteration:
            self._frames.finish()
            return None
        except _NO_ARROW as error:
            raise self._frames.unreadable() from error
        return batch

    def _close(self) -> None:
        self._frames.end()


class _Frames:
    """The Arrow stream of an answer, as a file for `pyarrow`. `read` raises an error that the other side has sent.

    Attributes:
        progress: progress of the statement, 0.0 to 1.0; None if none was received yet.
    """

    closed = False
    """`pyarrow` requires this attribute."""

    def __init__(self, connection: socket.socket, path: Path, record: LockRecord) -> None:
        self._connection = connection
        self._path = path
        self._record = record
        self._cancelled = False
        self._content = memoryview(b"")
        self._over = False
        self.progress: float | None = None

    def introduce(self, token: Token | None, until: float) -> None:
        """Wait for the owner's greeting, and check that the owner runs for this user."""
        try:
            introduce(self._connection, token, until, str(self._path))
        except (OSError, EOFError) as error:  # the owner has ended
            raise self._broken(error, OwnerGone(self._path)) from error

    def ask(self, request: bytes) -> None:
        """Send the request."""
        try:
            send_frame(self._connection, REQUEST, request)
        except OSError as error:
            raise self._broken(error, OwnerGone(self._path, midway=True)) from error

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, or fewer at the end."""
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
        """Return True."""
        return True

    def close(self) -> None:
        """Do nothing, because `end` closes the connection."""

    def finish(self) -> None:
        """Read to the end of the answer, because an error may follow the last batch."""
        while self._next_frame():
            pass

    def cancel(self) -> None:
        """Close the connection, in any thread. The reader gets an error, and the other side ends the statement."""
        self._cancelled = True
        with contextlib.suppress(OSError):  # the connection is already closed
            self._connection.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Close the connection. Call it in the reading thread, or when no thread reads."""
        with contextlib.suppress(OSError):  # the connection is already closed
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def unreadable(self) -> UserError:
        """Return the error for an answer that is not valid, or that was cancelled."""
        return QueryCancelled() if self._cancelled else UnreadableAnswer(str(self._path))

    def _broken(self, error: Exception, gone: OwnerGone) -> UserError:
        """Return the error for a failed connection: a cancelled statement, a silent owner, or otherwise `gone`."""
        if self._cancelled:
            return QueryCancelled()
        return OwnerSilent(self._path, self._record) if isinstance(error, TimeoutError) else gone

    def _next_frame(self) -> bool:
        """Read the next frame that has Arrow data. Return False if there is none."""
        if self._over:
            return False
        try:
            kind, content = receive_frame(self._connection, 2 * FRAME_BYTES)
            while kind == PROGRESS:
                self._take_progress(content)
                kind, content = receive_frame(self._connection, 2 * FRAME_BYTES)
        except (OSError, EOFError) as error:
            raise self._broken(error, OwnerGone(self._path, midway=True)) from error
        if kind == ARROW:
            self._content = memoryview(content)
            return True
        self._over = True
        if kind == FAILED:
            raise unpack_error(content)
        if kind != END:
            raise self.unreadable()
        return False

    def _take_progress(self, content: bytes) -> None:
        """Store the progress in a frame. Raise `UnreadableAnswer` if it is not a number from 0 to 1,000."""
        if not content:
            return  # the frame only shows that the owner lives
        try:
            done = int(content)
        except ValueError as error:  # no owner sends this
            raise self.unreadable() from error
        if not 0 <= done <= _LAST_PROGRESS:
            raise self.unreadable()
        self.progress = done / _LAST_PROGRESS
