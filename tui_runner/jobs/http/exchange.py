"""One request that was sent, and its answer. Errors are converted to those of httpx."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead

import httpx

from tui_runner.jobs.http.connection import Body, Connection, DeadlineError, Head
from tui_runner.jobs.http.connections import Connections, Origin
from tui_runner.jobs.http.gate_place import Place

Content = httpx.SyncByteStream | httpx.AsyncByteStream
"""Body of a request."""


@dataclass(slots=True)
class Message:
    """A request ready to be sent.

    Attributes:
        method: `GET`, for example.
        origin: the server.
        target: path and query, encoded.
        header_lines: all headers as sent, with line ends.
        phases: seconds for `connect`, `read` and `write`, as in httpx.
        make_request: returns the request that errors refer to.
        content: the body to send, framed as in the headers; None for none.
        server_name: name that the certificate must have, if that is not the host.
    """

    method: str
    origin: Origin
    target: bytes
    header_lines: bytes
    phases: Mapping[str, float | None]
    make_request: Callable[[], httpx.Request]
    content: Content | None = None
    server_name: str | None = None


class Exchange:
    """One request that was sent, and its answer: `head`, and the body after it.

    Args:
        message: the request.
        connection: the connection that receives the answer.
        connections: pool to which the connection is returned.
        head: head of the answer.
        place: place at the gate of the host.
    """

    __slots__ = ("_body", "_connection", "_connections", "_keeps", "_message", "_place", "head")

    def __init__(
        self, message: Message, connection: Connection, connections: Connections, head: Head, place: Place
    ) -> None:
        self._message = message
        self._connection: Connection | None = connection
        self._connections = connections
        self._place = place
        self.head = head
        waits = head.values(b"retry-after")
        place.answered(head.status, waits[0].decode("latin-1") if waits else None)
        self._keeps = connection.keeps_alive(head, message.method)
        self._body = Body(connection, head, message.method)

    async def read(self) -> bytes:
        """Return the next piece of the body, not decoded; empty after the last. Errors are those of httpx."""
        try:
            piece = await self._body.read()
        except BaseException as error:
            self._drop_connection()
            self._place.leave(failed=True)
            if isinstance(error, Exception):
                raise receive_error(error, self._message.make_request()) from error
            raise
        if self._body.is_complete:
            self._release()
        return piece

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._keeps:
                self._connections.put(self._message.origin, connection)
            else:
                connection.close()
        self._place.leave()

    def close(self) -> None:
        """End the exchange. If a part of the body was not read, the connection is closed."""
        self._drop_connection()
        self._place.leave()

    def abandon(self) -> None:
        """End the exchange like `close`; may be called by a garbage collection in any thread."""
        self._drop_connection()
        self._place.leave_later()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def receive_error(error: Exception, request: httpx.Request) -> httpx.HTTPError:
    """Return httpx's error for an error of a connection."""
    if isinstance(error, DeadlineError):
        return httpx.ReadTimeout(f"the item's deadline passed: {error}", request=request)
    if isinstance(error, TimeoutError):
        return httpx.ReadTimeout(str(error), request=request)
    if isinstance(error, IncompleteRead):
        missing = f", {error.expected} bytes before its end" if error.expected else ""
        return httpx.RemoteProtocolError(f"the answer breaks off{missing}", request=request)
    if isinstance(error, HTTPException):
        return httpx.RemoteProtocolError(str(error), request=request)
    return httpx.ReadError(without_descriptors(error) or str(error), request=request)


def without_descriptors(error: Exception) -> str:
    """Return a message if the error is that no file descriptor is left; empty for any other error."""
    if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE):
        return ""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return f"too many open files: a process may have {most:,}; use fewer threads, or raise the limit (ulimit -n)"
