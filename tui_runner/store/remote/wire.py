"""The protocol between a process that has a database open and the processes that query it: frames over a socket.

greets:  one frame HELLO, as soon as it has accepted the connection (`handshake.py`); or BUSY, and hangs up
    proves:  where the socket is a port, each side one frame PROOF (`handshake.py`)
    asks:    one frame REQUEST, JSON: {"sql": …, "parameters": [[name, type, text], …], "light": true or false}
    answers: frames ARROW, an Arrow IPC stream cut into pieces, then END; or FAILED at any point, JSON;
             between them frames PROGRESS, the progress in per mille as text; an empty one only says that the process
             lives, and comes every few seconds

A frame is its kind (one byte), its length (four bytes, big-endian) and that many bytes. Closing the connection ends the
statement. Each connection carries one statement. Neither side trusts the other: the client reports what it cannot read
as an error, the server hangs up.
"""

from __future__ import annotations

import datetime as dt
import json
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from tui_runner.errors import DatabaseError, UserError
from tui_runner.store.query.errors import QueryCancelled, QueryError

_SMALL_BYTES = 64 << 10
"""Bytes up to which writes are gathered into one frame, because Arrow writes each column and its padding separately.
With 40 columns of 2,048 numbers (16 kB each), 200 batches are 134 frames, not 8,605."""


class FrameSink:
    """A file object for `pyarrow` that sends what is written as frames.

    Only small writes are copied: a batch may be one value of gigabytes, and several copies of it exist already.

    Args:
        send: function that sends a piece of at most `FRAME_BYTES`. It must not keep the piece.
    """

    closed = False
    """Required by `pyarrow`."""

    def __init__(self, send: Callable[[bytes | memoryview], None]) -> None:
        self._send = send
        self._gathered = bytearray()

    def write(self, content: bytes | pa.Buffer) -> int:
        """Send `content` now, or together with later writes."""
        view = memoryview(content)
        if view.nbytes <= _SMALL_BYTES:
            self._gathered += view
            if len(self._gathered) > FRAME_BYTES - _SMALL_BYTES:
                self.flush()
        else:
            self.flush()
            for start in range(0, view.nbytes, FRAME_BYTES):
                self._send(view[start : start + FRAME_BYTES])
        return view.nbytes

    def flush(self) -> None:
        """Send the bytes gathered since the last frame."""
        if self._gathered:
            gathered, self._gathered = bytes(self._gathered), bytearray()
            self._send(gathered)

    def writable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Do nothing: the owner of the connection closes it."""


HELLO, BUSY, PROOF = b"H", b"B", b"T"
REQUEST, ARROW, END, FAILED, PROGRESS = b"Q", b"A", b"Z", b"E", b"P"
FRAME_BYTES = 1 << 20
"""Bytes of Arrow data in a frame at most: a slow client must receive one frame within the server's time limit."""
REQUEST_BYTES = 16 << 20
"""Bytes of a request at most, so that a client cannot fill the owner's memory."""

_HEAD = struct.Struct(">cI")
"""Kind and length before the content of each frame."""
_ERRORS: dict[str, type[UserError]] = {"UserError": UserError, "DatabaseError": DatabaseError}
"""Errors that a client raises again by their type; all others become `UserError`."""


def send_frame(connection: socket.socket, kind: bytes, content: bytes | memoryview = b"") -> None:
    """Send one frame.

    Raises:
        OSError: the other side is gone, or accepted no data within the socket's timeout.
    """
    connection.sendall(_HEAD.pack(kind, len(content)))
    if content:
        connection.sendall(content)


def receive_frame(connection: socket.socket, most: int, until: float | None = None) -> tuple[bytes, bytes]:
    """Return kind and content of the next frame.

    Args:
        connection: the socket.
        most: bytes of content at most.
        until: when the whole frame must have arrived, on the monotonic clock. It overwrites the socket's timeout.
            Without it, the timeout applies to each piece of the frame.

    Raises:
        EOFError: the other side has closed the connection.
        TimeoutError: the frame did not arrive in time.
        OSError: the connection failed, or the frame is larger than `most`.
    """
    kind, size = _HEAD.unpack(_receive(connection, _HEAD.size, until))
    if size > most:
        raise OSError(f"a frame of {size} bytes is too large")
    return kind, _receive(connection, size, until)


@dataclass(frozen=True, slots=True)
class Request:
    """A statement to run.

    Attributes:
        sql: the statement.
        parameters: values by name.
        light: True for a statement of this program that needs little memory and time. Beside a run, the run's process
            answers it; every other statement gets its own process, with a memory limit.
    """

    sql: str
    parameters: Mapping[str, object]
    light: bool = False


def pack_request(request: Request) -> bytes:
    """Return the content of a request's frame.

    Raises:
        UserError: the value of a parameter cannot be sent.
    """
    parameters = [[name, *_packed(name, value)] for name, value in request.parameters.items()]
    content = {"sql": request.sql, "parameters": parameters, "light": request.light}
    return json.dumps(content).encode("utf-8", "backslashreplace")


def unpack_request(content: bytes) -> Request:
    """Return the request in a frame's content.

    Raises:
        UserError: it is not a request.
    """
    try:
        request = json.loads(content)
        sql = request["sql"]
        parameters = {str(name): _unpacked(kind, text) for name, kind, text in request["parameters"]}
        sql.encode()  # raises for a lone surrogate, which DuckDB would reject with a worse message
    except (ValueError, KeyError, TypeError, ArithmeticError, AttributeError, RecursionError) as error:
        raise UserError("the request cannot be read", do="use the same tui-runner on both sides") from error
    if not isinstance(sql, str):
        raise UserError("the request has no statement")
    return Request(sql, parameters, request.get("light") is True)


class UnreadableAnswer(DatabaseError):
    """Raised for an answer that no tui-runner of this version sends."""

    def __init__(self, where: str = "") -> None:
        super().__init__("the answer cannot be read", where, "use the same tui-runner on both sides")


def pack_error(error: UserError) -> bytes:
    """Return the frame content of an error for the user."""
    content: dict[str, Any] = {"what": error.what, "where": error.where, "do": error.do, "type": "UserError"}
    if isinstance(error, QueryError):
        content |= {"type": "QueryError", "line": error.line, "column": error.column}
    elif isinstance(error, QueryCancelled):
        content["type"] = "QueryCancelled"
    elif isinstance(error, DatabaseError):
        content["type"] = "DatabaseError"
    return json.dumps(content).encode()


def unpack_error(content: bytes) -> UserError:
    """Return the error in a frame's content."""
    try:
        said = json.loads(content)
        what, where, do = str(said["what"]), str(said["where"]), str(said["do"])
        match said["type"]:
            case "QueryError":
                return QueryError(what, where, do, line=_place(said["line"]), column=_place(said["column"]))
            case "QueryCancelled":
                return QueryCancelled()
            case kind:
                return _ERRORS.get(kind, UserError)(what, where, do)
    except (ValueError, KeyError, TypeError, RecursionError):  # not what `pack_error` makes
        return UnreadableAnswer()


def _place(number: object) -> int | None:
    """Return the number of a line or column that the other side sent, or None. Raise TypeError for anything else."""
    if number is None or type(number) is int:
        return number
    raise TypeError(number)


def _receive(connection: socket.socket, size: int, until: float | None) -> bytes:
    """Return the next `size` bytes. Raise EOFError at the end, TimeoutError after `until`."""
    content = bytearray(size)
    view, filled = memoryview(content), 0
    while filled < size:
        if until is not None:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the frame did not come in time")
            connection.settimeout(left)
        received = connection.recv_into(view[filled:])
        if not received:
            raise EOFError
        filled += received
    return bytes(content)


def _packed(name: str, value: object) -> tuple[str, str]:
    """Return kind and text of a parameter. Raise UserError for a type that cannot be sent."""
    match value:
        case None:
            return "null", ""
        case bool():
            return "bool", str(int(value))
        case int():
            return "int", str(value)
        case float():
            return "float", repr(value)
        case Decimal():
            return "decimal", str(value)
        case str():
            return "text", value
        case dt.datetime():
            return "datetime", value.isoformat()
        case dt.date():
            return "date", value.isoformat()
    raise UserError(
        f"the value of {name} cannot be sent to another process ({type(value).__name__})",
        do="use a number, a text, a date or None",
    )


def _unpacked(kind: object, text: object) -> object:
    """Return the parameter that `_packed` has packed. Raise ValueError or TypeError for anything else."""
    if not isinstance(text, str):
        raise TypeError(text)
    match kind:
        case "null":
            return None
        case "bool":
            return text == "1"
        case "int":
            return int(text)
        case "float":
            return float(text)
        case "decimal":
            return Decimal(text)
        case "text":
            return text
        case "datetime":
            return dt.datetime.fromisoformat(text)
        case "date":
            return dt.date.fromisoformat(text)
    raise ValueError(kind)
