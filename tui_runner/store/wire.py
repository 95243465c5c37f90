"""How a process that has a database open talks to those that ask it: frames over a socket.

    asks:    one frame TOKEN where the socket is a port (`endpoint.py`);
             one frame REQUEST, JSON: {"sql": …, "parameters": [[name, type, text], …]}
    answers: frames ARROW, an Arrow IPC stream cut into pieces, then END; or FAILED at any place, JSON;
             between them frames PROGRESS, how far the statement has come in per mille, as text

A frame is its kind (one byte), its length (four bytes, big-endian) and that many bytes. Closing the connection ends
the statement. Each connection carries one statement.
"""

from __future__ import annotations

import datetime as dt
import json
import socket
import struct
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tui_runner.errors import DatabaseError, UserError
from tui_runner.store.mistakes import QueryCancelled, QueryError

TOKEN, REQUEST, ARROW, END, FAILED, PROGRESS = b"T", b"Q", b"A", b"Z", b"E", b"P"
FRAME_BYTES = 1 << 20
"""Of Arrow data in one frame, at most: what a slow connection must take before its time is up."""
REQUEST_BYTES = 16 << 20
"""Of a request, at most."""
TOKEN_BYTES = 64
"""Of a token: as much is read of somebody who may be anybody."""

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


def receive_frame(connection: socket.socket, most: int) -> tuple[bytes, bytes]:
    """The next frame: its kind and content.

    Raises:
        EOFError: the other side closed the connection.
        OSError: the connection failed, the frame is larger than `most`.
    """
    kind, size = _HEAD.unpack(_receive(connection, _HEAD.size))
    if size > most:
        raise OSError(f"a frame of {size} bytes is too large")
    return kind, _receive(connection, size)


def pack_request(sql: str, parameters: Mapping[str, object]) -> bytes:
    """A request.

    Raises:
        UserError: a parameter has a value that cannot be sent.
    """
    return json.dumps(
        {"sql": sql, "parameters": [[name, *_packed(name, value)] for name, value in parameters.items()]}
    ).encode("utf-8", "backslashreplace")


def unpack_request(content: bytes) -> tuple[str, dict[str, object]]:
    """The statement and its parameters.

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
    return sql, parameters


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
                return QueryError(what, where, do, line=said["line"], column=said["column"])
            case "QueryCancelled":
                return QueryCancelled()
            case kind:
                return _ERRORS.get(kind, UserError)(what, where, do)
    except (ValueError, KeyError, TypeError):
        return UserError("the answer cannot be read", do="use the same tui-runner on both sides")


def _receive(connection: socket.socket, size: int) -> bytes:
    content = bytearray(size)
    view, filled = memoryview(content), 0
    while filled < size:
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


def _unpacked(kind: str, text: str) -> object:
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
