"""Exchange frames over a socket between a process that has a database open and those that ask it.

greets:  one frame HELLO, as soon as it has accepted the connection (`handshake.py`); or BUSY, and hangs up
    proves:  where the socket is a port, each side one frame PROOF (`handshake.py`)
    asks:    one frame REQUEST, JSON: {"sql": …, "parameters": [[name, type, text], …], "light": true or false}
    answers: frames ARROW, an Arrow IPC stream cut into pieces, then END; or FAILED at any place, JSON;
             between them frames PROGRESS, how far the statement has come in per mille, as text; an empty one says only
             that the process lives, and comes every few seconds

A frame is its kind (one byte), its length (four bytes, big-endian) and that many bytes. Closing the connection ends
the statement. Each connection carries one statement. Neither side trusts what the other sends: the client reports
what it cannot read as an error, the server hangs up.
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
"""Up to here writes are gathered: Arrow writes the padding of each column by itself."""


class FrameSink:
    """File object for `pyarrow` that writes frames.

    A batch may be one value of gigabytes, which beside a run is there often enough already.

    Args:
        send: takes pieces of at most `FRAME_BYTES`, which it must not keep.
    """

    closed = False
    """A file as `pyarrow` uses it."""

    def __init__(self, send: Callable[[bytes | memoryview], None]) -> None:
        self._send = send
        self._gathered = bytearray()

    def write(self, content: bytes | pa.Buffer) -> int:
        """Send `content`, now or with what follows."""
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
        """Send what was gathered."""
        if self._gathered:
            gathered, self._gathered = bytes(self._gathered), bytearray()
            self._send(gathered)

    def writable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Do nothing: the sender closes the connection."""


HELLO, BUSY, PROOF = b"H", b"B", b"T"
REQUEST, ARROW, END, FAILED, PROGRESS = b"Q", b"A", b"Z", b"E", b"P"
FRAME_BYTES = 1 << 20
"""Of Arrow data in one frame, at most: what a slow connection must take before its time is up."""
REQUEST_BYTES = 16 << 20
"""Of a request, at most."""

_HEAD = struct.Struct(">cI")
_ERRORS: dict[str, type[UserError]] = {"UserError": UserError, "DatabaseError": DatabaseError}


def send_frame(connection: socket.socket, kind: bytes, content: bytes | memoryview = b"") -> None:
    """Send one frame.

    Raises:
        OSError: the other side is gone, or took nothing for as long as the socket's timeout.
    """
    connection.sendall(_HEAD.pack(kind, len(content)))
    if content:
        connection.sendall(content)


def receive_frame(connection: socket.socket, most: int, until: float | None = None) -> tuple[bytes, bytes]:
    """The next frame: its kind and content.

    Args:
        connection: the socket.
        most: bytes of content.
        until: when the whole frame must have arrived, on the monotonic clock. It overwrites the socket's timeout;
            without it, that timeout bounds each piece of the frame.

    Raises:
        EOFError: the other side closed the connection.
        TimeoutError: it did not come in time.
        OSError: the connection failed, the frame is larger than `most`.
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
        light: True for a statement of this program that is known to need little memory and time. Beside a run it is
            answered by the process of the run; any other one gets a process of its own, with a bound.
    """

    sql: str
    parameters: Mapping[str, object]
    light: bool = False


def pack_request(request: Request) -> bytes:
    """Return a request as its frame has it.

    Raises:
        UserError: a parameter has a value that cannot be sent.
    """
    parameters = [[name, *_packed(name, value)] for name, value in request.parameters.items()]
    content = {"sql": request.sql, "parameters": parameters, "light": request.light}
    return json.dumps(content).encode("utf-8", "backslashreplace")


def unpack_request(content: bytes) -> Request:
    """Return the request of a frame.

    Raises:
        UserError: it is no request.
    """
    try:
        request = json.loads(content)
        sql = request["sql"]
        parameters = {str(name): _unpacked(kind, text) for name, kind, text in request["parameters"]}
        sql.encode()  # a lone surrogate is no text that a database could be asked
    except (ValueError, KeyError, TypeError, ArithmeticError, AttributeError, RecursionError) as error:
        raise UserError("the request cannot be read", do="use the same tui-runner on both sides") from error
    if not isinstance(sql, str):
        raise UserError("the request has no statement")
    return Request(sql, parameters, request.get("light") is True)


class UnreadableAnswer(DatabaseError):
    """The answer is not one that a tui-runner of this version sends."""

    def __init__(self, where: str = "") -> None:
        super().__init__("the answer cannot be read", where, "use the same tui-runner on both sides")


def pack_error(error: UserError) -> bytes:
    """An error that a person can mend."""
    content: dict[str, Any] = {"what": error.what, "where": error.where, "do": error.do, "type": "UserError"}
    if isinstance(error, QueryError):
        content |= {"type": "QueryError", "line": error.line, "column": error.column}
    elif isinstance(error, QueryCancelled):
        content["type"] = "QueryCancelled"
    elif isinstance(error, DatabaseError):
        content["type"] = "DatabaseError"
    return json.dumps(content).encode()


def unpack_error(content: bytes) -> UserError:
    """The error that the other side met."""
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
    except (ValueError, KeyError, TypeError, RecursionError):
        return UnreadableAnswer()


def _place(number: object) -> int | None:
    """Return the number of a line or a column as the other side sent it."""
    if number is None or type(number) is int:
        return number
    raise TypeError(number)


def _receive(connection: socket.socket, size: int, until: float | None) -> bytes:
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
