"""The address at which a process answers queries: a Unix socket that only its user may use.

A Unix socket is not always possible: the file system may not support it, the platform may not report the user at its
other end, or its path may be too long. Then a port on the loopback interface is used. Every user of the machine can
connect to a port, so both sides of each connection first prove that they know a token, which is in a file that only the
user may read (`handshake.py`). An address, as written in the lock file, is the path of the socket, or `tcp:PORT:PATH`
with the path of the token.

Every process that can write beside the database can forge an address. So an address is used only if its path is in the
private folder of a process of this user.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from tui_runner.store.remote.handshake import KNOWS_PEERS, Token
from tui_runner.system.files import PRIVATE, check_own, open_own
from tui_runner.system.private_folder import is_private, private_folder

_LOOPBACK = "127.0.0.1"
"""Address on which a port is opened. It must be no other interface: other machines must not reach the port."""
_TCP = "tcp:"
"""Prefix of an address that is a port and not a Unix socket."""
_TOKEN_BYTES = 64
"""Size of the file with a token, in bytes: 256 random bits as hexadecimal digits."""
_LAST_PORT = 65_535
"""Largest number of a port. A larger one in a lock file is refused."""


@dataclass(frozen=True, slots=True)
class _Place:
    """The parts of an address.

    Attributes:
        path: path of the socket, or of the file with the token.
        port: the port; None for a Unix socket.
    """

    path: Path
    port: int | None = None

    @classmethod
    def read(cls, address: str) -> _Place:
        """Return the parts of an address.

        Raises:
            ValueError: the text is not an address.
        """
        if not address.startswith(_TCP):
            return cls(Path(address))
        _, port, path = address.split(":", 2)
        if not 0 < int(port) <= _LAST_PORT:
            raise ValueError(f"{port} is no port")
        return cls(Path(path), int(port))

    def __str__(self) -> str:
        return os.fspath(self.path) if self.port is None else f"{_TCP}{self.port}:{self.path}"

    def reach(self, seconds: float) -> socket.socket:
        """Return a new connection to the address, with a timeout of `seconds`.

        Raises:
            OSError: no process listens at the address.
        """
        if self.port is not None:
            connection = socket.create_connection((_LOOPBACK, self.port), seconds)
            # A frame is small. Nagle's algorithm would hold it back until the frame before is acknowledged.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(seconds)
            connection.connect(os.fspath(self.path))
        except BaseException:  # also for Ctrl-C, because the socket must not leak
            connection.close()
            raise
        return connection


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A listening socket and its address.

    Attributes:
        listener: the listening socket.
        token: the secret that both sides of a connection must prove to know; None for a Unix socket.
    """

    listener: socket.socket
    token: Token | None
    _place: _Place

    @property
    def address(self) -> str:
        """Address that clients pass to `connect`."""
        return str(self._place)

    def wake(self, seconds: float) -> None:
        """Connect once, so that a blocked `accept` returns."""
        with contextlib.suppress(OSError):  # it is already closed
            self._place.reach(seconds).close()

    def close(self) -> None:
        """Stop listening and remove the file of the socket or token. Repeated calls do nothing."""
        self.listener.close()
        self._place.path.unlink(missing_ok=True)


def listen(backlog: int) -> Endpoint:
    """Return a new endpoint that queues up to `backlog` connections.

    Raises:
        OSError: neither a socket nor a port can be opened.
    """
    if hasattr(socket, "AF_UNIX") and KNOWS_PEERS:
        with contextlib.suppress(OSError):  # no Unix socket is possible here, so a port is used
            return _listen_unix(backlog)
    return _listen_tcp(backlog)


def connect(address: str, until: float) -> tuple[socket.socket, Token | None]:
    """Connect to an `Endpoint` of this user. Return the connection and its token, which is None for a Unix socket.

    Args:
        address: address from the lock file.
        until: monotonic time at which to give up.

    Raises:
        TimeoutError: the process accepts no connection in time.
        OSError: `address` is not an address of this user, or no process listens at it.
    """
    try:
        place = _Place.read(address)
    except ValueError as error:  # the lock file was written by an earlier version, or edited
        raise OSError("the lock file has no address") from error
    if not is_private(place.path):
        raise PermissionError("the address is not in a private folder of this user")
    token = None
    if place.port is not None:
        token = Token(_read_token(place.path), place.port)
    elif not _is_own_socket(place.path):
        raise PermissionError("the address is no socket of this user")
    return place.reach(max(until - time.monotonic(), 0.0)), token


def _new_path(*, for_sockets: bool) -> Path:
    return private_folder(for_sockets=for_sockets) / f"queries-{os.urandom(4).hex()}"


def _listen_unix(backlog: int) -> Endpoint:
    """Listen on a Unix socket in a private folder."""
    path = _new_path(for_sockets=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Other users cannot enter the folder, so it does not matter which mode the socket has before `chmod`.
        listener.bind(os.fspath(path))
        path.chmod(PRIVATE)
        listener.listen(backlog)
    except BaseException:  # remove the socket
        listener.close()
        path.unlink(missing_ok=True)
        raise
    return Endpoint(listener, None, _Place(path))


def _listen_tcp(backlog: int) -> Endpoint:
    """Listen on a port of the loopback interface, with a token in a private file."""
    path = _new_path(for_sockets=False)
    secret = secrets.token_hex(_TOKEN_BYTES // 2).encode()
    with open(path, "xb", opener=open_own) as file:
        file.write(secret)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.bind((_LOOPBACK, 0))
        listener.listen(backlog)
    except BaseException:  # remove the token
        listener.close()
        path.unlink(missing_ok=True)
        raise
    port = listener.getsockname()[1]
    return Endpoint(listener, Token(secret, port), _Place(path, port))


def _read_token(path: Path) -> bytes:
    """Return the token in a file.

    Raises:
        OSError: others may read the file, or it does not have the length of a token.
    """
    # Check the mode first, because `open_own` would correct it. A file that others may read was not written by
    # tui-runner.
    if stat.S_IMODE(check_own(path).st_mode) != PRIVATE:
        raise PermissionError("others may read the token")
    with open(path, "rb", opener=open_own) as file:
        secret = file.read(_TOKEN_BYTES + 1)
    if len(secret) != _TOKEN_BYTES:
        raise OSError(f"a token has {_TOKEN_BYTES} bytes")
    return secret


def _is_own_socket(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.geteuid()
