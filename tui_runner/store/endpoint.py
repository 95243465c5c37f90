"""Where a process answers queries: on a Unix socket that only its user may use.

Where there can be none (a platform or a file system without them, a folder with too long a path), it is a port of
this machine's loopback. Everybody on the machine reaches that, so each connection begins with a token, which stands in
a file that only the user may read. An address, as noted in the database's lock, is the path of the socket, or
`tcp:PORT:PATH` with that of the token.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from tui_runner.private_folder import private_folder
from tui_runner.store.wire import TOKEN, send_frame

_LOOPBACK = "127.0.0.1"
_TCP = "tcp:"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place where connections are accepted.

    Attributes:
        listener: the socket that listens.
        address: for `connect`.
        path: the file that stands for it.
        token: what a connection must begin with, None on a Unix socket.
    """

    listener: socket.socket
    address: str
    path: Path
    token: bytes | None = None

    def wake(self, seconds: float) -> None:
        """Make `accept` return."""
        with contextlib.suppress(OSError):
            _connected(self.address, seconds).close()

    def close(self) -> None:
        """Accept nothing any more. Calling it again does nothing."""
        self.listener.close()
        self.path.unlink(missing_ok=True)


def listen(backlog: int) -> Endpoint:
    """A new place, with room for `backlog` connections that were not yet accepted.

    Raises:
        OSError: there is no place for one.
    """
    if hasattr(socket, "AF_UNIX"):
        with contextlib.suppress(OSError):
            return _listen_unix(backlog)
    return _listen_tcp(backlog)


def connect(address: str, seconds: float) -> socket.socket:
    """A connection to an `Endpoint` of this user, which blocks from then on.

    Args:
        address: that of the endpoint.
        seconds: how long to wait for it.

    Raises:
        OSError: nobody answers there, or the token cannot be read.
    """
    connection = _connected(address, seconds)
    try:
        if address.startswith(_TCP):
            send_frame(connection, TOKEN, Path(address.split(":", 2)[2]).read_bytes())
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return connection


def _new_name() -> str:
    return f"queries-{os.urandom(4).hex()}"


def _listen_unix(backlog: int) -> Endpoint:
    path = private_folder(for_sockets=True) / _new_name()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The folder lets nobody else in, so the mode before `chmod` does not matter.
        listener.bind(os.fspath(path))
        path.chmod(0o600)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        path.unlink(missing_ok=True)
        raise
    return Endpoint(listener, os.fspath(path), path)


def _listen_tcp(backlog: int) -> Endpoint:
    path = private_folder() / _new_name()
    token = secrets.token_hex(32).encode()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(token)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.bind((_LOOPBACK, 0))
        listener.listen(backlog)
    except BaseException:
        listener.close()
        path.unlink(missing_ok=True)
        raise
    return Endpoint(listener, f"{_TCP}{listener.getsockname()[1]}:{path}", path, token)


def _connected(address: str, seconds: float) -> socket.socket:
    if not address.startswith(_TCP):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(seconds)
            connection.connect(address)
        except BaseException:
            connection.close()
            raise
        return connection
    port = address.split(":", 2)[1]
    connection = socket.create_connection((_LOOPBACK, int(port)), seconds)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
