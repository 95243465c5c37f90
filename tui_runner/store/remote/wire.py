"""The protocol between a process that has a database open (the owner) and a process that queries it (the client).

Both send frames over a socket. A frame consists of its kind (one byte), the length of its content (four bytes,
big-endian) and its content. In order:

    owner:  HELLO as soon as it accepts the connection (`handshake.py`); or BUSY, after which it closes the connection
    both:   PROOF, only on a port (`handshake.py`)
    client: REQUEST, as JSON: {"sql": …, "parameters": [[name, type, text], …], "light": true or false}
    owner:  ARROW any number of times, the pieces of an Arrow IPC stream, then END; or FAILED at any point, as JSON
    owner:  PROGRESS among these, every 2 s at least: the progress in thousandths as text, or no content if unknown

A connection is used for one statement; closing the connection ends the statement. Neither side trusts the other: if it
receives something invalid, the client reports an error, and the owner closes the connection.
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
"""Bytes up to which writes are collected for one frame, because Arrow writes each column and its padding separately.
With 40 columns of 2,048 numbers (16 kB each), 200 batches are 134 frames instead of 8,605."""


class FrameSink:
    """A file object for `pyarrow` that sends what is written as frames.

    Only small writes are copied: a batch may consist of one value of gigabytes, and several copies of it already exist.

    Args:
        send: sends a piece of at most `FRAME_BYTES`. It must not store the piece.
    """

    closed = False
    """`pyarrow` requires this attribute."""

    def __init__(self, send: Callable[[bytes | memoryview], None]) -> None:
        self._send = send
        self._gathered = bytearray()

    def write(self, content: bytes | pa.Buffer) -> int:
        """Send `content` now, or later together with other writes."""
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
        """Send the bytes that were collected since the last frame."""
        if self._gathered:
            gathered, self._gathered = bytes(self._gathered), bytearray()
            self._send(gathered)

    def writable(self) -> bool:
        """Return True, because pyarrow asks a file object before it writes to it."""
        return True

    def close(self) -> None:
        """Do nothing, because the owner of the connection closes it."""


HELLO, BUSY, PROOF = b"H", b"B", b"T"
"""Kinds of frames in a handshake."""
REQUEST, ARROW, END, FAILED, PROGRESS = b"Q", b"A", b"Z", b"E", b"P"
"""Kinds of frames after the handshake."""
FRAME_BYTES = 1 << 20
"""Bytes of Arrow data in a frame at most. A slow client must receive one frame within the server's time limit."""
REQUEST_BYTES = 16 << 20
"""Largest request in bytes, so that a client cannot fill the owner's memory."""

_HEAD = struct.Struct(">cI")
"""Format of a frame's kind and length, which precede its content."""
_ERRORS: dict[str, type[UserError]] = {"UserError": UserError, "DatabaseError": DatabaseError}
"""Errors that a client raises with the same type. All other errors become `UserError`."""


def send_frame(connection: socket.socket, kind: bytes, content: bytes | memoryview = b"") -> None:
    """Send one frame.

    Raises:
        OSError: the other side is gone, or accepted no data within the socket's timeout.
    """
    connection.sendall(_HEAD.pack(kind, len(content)))
    if content:
        connection.sendall(content)


def receive_frame(connection: socket.socket, most: int, until: float | None = None) -> tuple[bytes, bytes]:
    """Return the kind and the content of the next frame.

    Args:
        connection: the socket.
        most: largest length of the content in bytes.
        until: monotonic time until which the whole frame must arrive; it changes the socket's timeout. If None, the
            socket's timeout applies to each piece of the frame.

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
    """A statement to execute.

    Attributes:
        sql: the statement.
        parameters: values of its parameters, by name.
        light: True for a statement of tui-runner itself that needs little memory and time. While a run is active, the
            run's process executes it. Every other statement gets its own process, with a memory limit.
    """

    sql: str
    parameters: Mapping[str, object]
    light: bool = False


def pack_request(request: Request) -> bytes:
    """Return the content of the frame for a request.

    Raises:
        UserError: the value of a parameter cannot be sent.
    """
    parameters = [[name, *_packed(name, value)] for name, value in request.parameters.items()]
    content = {"sql": request.sql, "parameters": parameters, "light": request.light}
    return json.dumps(content).encode("utf-8", "backslashreplace")


def unpack_request(content: bytes) -> Request:
    """Return the request in the content of a frame.

    Raises:
        UserError: the content is not a request.
    """
    try:
        request = json.loads(content)
        sql = request["sql"]
        parameters = {str(name): _unpacked(kind, text) for name, kind, text in request["parameters"]}
        if not isinstance(sql, str):
            raise TypeError("the statement is no text")
        sql.encode()  # raises an error for a lone surrogate, for which DuckDB's message would be worse
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise UserError("the request cannot be read", do="use the same tui-runner on both sides") from error
    return Request(sql, parameters, request.get("light") is True)


class UnreadableAnswer(DatabaseError):
    """Raised for an answer that no tui-runner of this version sends."""

    def __init__(self, where: str = "") -> None:
        super().__init__("the answer cannot be read", where, "use the same tui-runner on both sides")


def pack_error(error: UserError) -> bytes:
    """Return the content of the frame for an error that the user must see."""
    content: dict[str, Any] = {"what": error.what, "where": error.where, "do": error.do, "type": "UserError"}
    if isinstance(error, QueryError):
        content |= {"type": "QueryError", "line": error.line, "column": error.column}
    elif isinstance(error, QueryCancelled):
        content["type"] = "QueryCancelled"
    elif isinstance(error, DatabaseError):
        content["type"] = "DatabaseError"
    return json.dumps(content).encode()


def unpack_error(content: bytes) -> UserError:
    """Return the error in the content of a frame."""
    try:
        fields = json.loads(content)
        what, where, do = str(fields["what"]), str(fields["where"]), str(fields["do"])
        match fields["type"]:
            case "QueryError":
                return QueryError(what, where, do, line=_place(fields["line"]), column=_place(fields["column"]))
            case "QueryCancelled":
                return QueryCancelled()
            case kind:
                return _ERRORS.get(kind, UserError)(what, where, do)
    except (ValueError, KeyError, TypeError, RecursionError):  # `pack_error` never returns this
        return UnreadableAnswer()


def _place(number: object) -> int | None:
    """Return a line or column number that the other side sent, or None. Raise `TypeError` for anything else."""
    if number is None or type(number) is int:
        return number
    raise TypeError(number)


def _receive(connection: socket.socket, size: int, until: float | None) -> bytes:
    """Return the next `size` bytes. Raise `EOFError` at the end of the connection, `TimeoutError` after `until`."""
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
    """Return the kind and text of a parameter. Raise `UserError` if values of its type cannot be sent."""
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
    """Return the parameter that `_packed` has packed. Raise `ValueError` or `TypeError` for anything else."""
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
