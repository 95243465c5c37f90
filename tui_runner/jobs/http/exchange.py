"""One request that was sent, and its response. Errors are converted to httpx's errors."""

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
"""Body of a request, as httpx represents it."""


@dataclass(slots=True)
class Message:
    """A request in the form in which it is sent.

    Attributes:
        method: method, such as `GET`.
        origin: the server.
        target: path and query, encoded.
        header_lines: all headers as sent, with line ends.
        phases: timeouts in seconds for `connect`, `read` and `write`, as in httpx.
        make_request: returns the request to which errors refer.
        content: the body to send, framed as the headers say; None for no body.
        server_name: name that the certificate must have; None for the host.
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
    """One request that was sent, and its response: `head`, and the body after it.

    Args:
        message: the request.
        connection: the connection on which the response arrives.
        connections: the pool to which the connection is returned.
        head: head of the response.
        place: the request's place at the gate of its host.
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
        """Return the next bytes of the body, not decoded; no bytes at its end. Errors are raised as httpx's errors."""
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
        """End the exchange. If the body was not read to its end, close the connection."""
        self._drop_connection()
        self._place.leave()

    def abandon(self) -> None:
        """End the exchange like `close`. A garbage collection may call this in any thread."""
        self._drop_connection()
        self._place.leave_later()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def receive_error(error: Exception, request: httpx.Request) -> httpx.HTTPError:
    """Convert an error of a connection, while a response was being received, to one of httpx."""
    if isinstance(error, DeadlineError):
        return httpx.ReadTimeout(f"the item's deadline passed: {error}", request=request)
    if isinstance(error, TimeoutError):
        return httpx.ReadTimeout(str(error), request=request)
    if isinstance(error, IncompleteRead):
        missing = f", {error.expected} bytes before its end" if error.expected else ""
        return httpx.RemoteProtocolError(f"the response breaks off{missing}", request=request)
    if isinstance(error, HTTPException):
        return httpx.RemoteProtocolError(str(error), request=request)
    return httpx.ReadError(without_descriptors(error) or str(error), request=request)


def without_descriptors(error: Exception) -> str:
    """Return a message if the error means that no file descriptor is left; empty for any other error."""
    if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE):
        return ""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return f"too many open files: a process may have {most:,}; use fewer threads, or raise the limit (ulimit -n)"
