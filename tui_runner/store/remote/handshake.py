"""Checks that both sides of a query connection run for the same user, before a statement is sent.

On a Unix socket, the system reports the user of the process at the other end. A port can be reached by every user of
the machine. On a port, each side proves that it can read the user's token file, without sending the token:

    server: HELLO  protocol, nonce S
    client: PROOF  nonce C, HMAC(token, "client", port, S, C)
    server: PROOF  HMAC(token, "server", port, S, C)

A proof covers the port and the role. The port prevents a relay: a process that listens on another port and forwards
frames to the owner gets a proof that the owner refuses. The role keeps an attacker from sending a side's own proof back
to it. The client sends its statement only after the server's proof.
"""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import struct
import sys
from dataclasses import dataclass, field

from tui_runner.errors import DatabaseError
from tui_runner.store.query.errors import TooManyQueries
from tui_runner.store.remote.wire import BUSY, HELLO, PROOF, receive_frame, send_frame

PROTOCOL = 2
"""Version of the protocol in `wire.py`; increase it with every change. Version 1 had no greeting."""

_NUMBER = struct.Struct(">H")
"""Format of the version of the protocol, in network byte order."""
_NONCE_BYTES = 32
"""Length of a random number that is used once, so that a recorded proof cannot be used later."""
_PROOF_BYTES = 32
"""Length of an HMAC-SHA256."""
_LONGEST_GREETING = 1024
"""Largest length of a greeting. A later version may have a longer greeting, whose version number must still be
readable."""
_UCRED = struct.Struct("iII")
"""On Linux, `struct ucred`: ids of the process, its user and its group."""
_XUCRED = struct.Struct("II")
"""On macOS, the start of `struct xucred`: version of the structure, id of the user."""
_XUCRED_BYTES = 128
"""Bytes to request for `struct xucred`, which has 76."""
_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1
"""On macOS, level and option of `getsockopt`, from `sys/un.h`."""

KNOWS_PEERS = sys.platform in ("linux", "darwin")
"""True if this module knows how the platform reports the user at the other end of a Unix socket. Other platforms have
other structures for that."""


@dataclass(frozen=True, slots=True)
class Token:
    """The secret that both sides of a connection to a port must know.

    Attributes:
        secret: content of the token's file.
        port: the port at which the secret is valid.
    """

    secret: bytes = field(repr=False)
    port: int

    def proof(self, role: bytes, server_nonce: bytes, client_nonce: bytes) -> bytes:
        """Return the proof that the side `role` (`client` or `server`) knows the secret."""
        return hmac.digest(self.secret, role + _NUMBER.pack(self.port) + server_nonce + client_nonce, "sha256")


def is_own_peer(connection: socket.socket) -> bool:
    """Return True if the process at the other end of a Unix socket runs for this user."""
    try:
        return _peer_uid(connection) == os.geteuid()
    except OSError:  # macOS raises it if that process has already closed the connection
        return False


def admit(connection: socket.socket, token: Token | None, until: float) -> bool:
    """Greet a client. Return True if the client proves that it may connect. Called by the server.

    Args:
        connection: the socket. Its timeout is changed.
        token: secret of the port; None on a Unix socket, whose peer the caller has checked with `is_own_peer`.
        until: monotonic time until which the proof must arrive.

    Raises:
        EOFError, OSError: the client is gone or too slow.
    """
    if token is None:
        send_frame(connection, HELLO, _NUMBER.pack(PROTOCOL))
        return True
    ours = secrets.token_bytes(_NONCE_BYTES)
    send_frame(connection, HELLO, _NUMBER.pack(PROTOCOL) + ours)
    kind, content = receive_frame(connection, _NONCE_BYTES + _PROOF_BYTES, until)
    theirs, proof = content[:_NONCE_BYTES], content[_NONCE_BYTES:]
    if kind != PROOF or not hmac.compare_digest(proof, token.proof(b"client", ours, theirs)):
        return False
    send_frame(connection, PROOF, token.proof(b"server", ours, theirs))
    return True


def introduce(connection: socket.socket, token: Token | None, until: float, where: str) -> None:
    """Wait for the server's greeting, and check that the server runs for this user. Called by the client.

    Args:
        connection: the socket. Its timeout is changed.
        token: secret of the port; None on a Unix socket.
        until: monotonic time until which the handshake must be complete.
        where: path of the database, for messages.

    Raises:
        TooManyQueries: the server executes as many queries as it may.
        DatabaseError: the server uses another version of the protocol.
        TimeoutError: the server did not respond in time.
        EOFError, OSError: the connection failed, or the server is not a tui-runner of this user.
    """
    if token is None and not is_own_peer(connection):
        raise PermissionError("the process there runs for another user")
    kind, content = receive_frame(connection, _LONGEST_GREETING, until)
    if kind == BUSY:
        raise TooManyQueries(where)
    if kind != HELLO or len(content) < _NUMBER.size:
        raise ConnectionError("no tui-runner answers there")
    (protocol,) = _NUMBER.unpack_from(content)
    if protocol != PROTOCOL:
        what = f"the tui-runner that has it open speaks another protocol ({protocol}, this one {PROTOCOL})"
        raise DatabaseError(what, where, "use the same tui-runner on both sides")
    if token is None:
        return
    theirs, ours = content[_NUMBER.size :], secrets.token_bytes(_NONCE_BYTES)
    if len(theirs) != _NONCE_BYTES:
        raise ConnectionError("no tui-runner answers there")
    send_frame(connection, PROOF, ours + token.proof(b"client", theirs, ours))
    kind, proof = receive_frame(connection, _PROOF_BYTES, until)
    if kind != PROOF or not hmac.compare_digest(proof, token.proof(b"server", theirs, ours)):
        raise PermissionError("the process there does not know the token")


def _peer_uid(connection: socket.socket) -> int:
    """Return the id of the effective user of the process at the other end.

    Raises:
        OSError: the platform does not report the user.
    """
    uid: int
    if sys.platform == "linux":
        _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    else:
        version, uid = _XUCRED.unpack_from(connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_BYTES))
        if version:
            raise OSError(f"version {version} of the peer's credentials is unknown")
    return uid
