"""One request that has been sent and its answer, and what httpx calls the errors on the way."""

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
    """A request as it is sent.

    Attributes:
        method: `GET`, …
        origin: the server to ask.
        target: path and query, encoded.
        header_lines: all headers as they are sent, with the line ends.
        phases: seconds for `connect`, `read` and `write`, as httpx has them.
        make_request: makes the request that errors name.
        content: the body to send, framed as the headers say; None for none.
        server_name: what the certificate is to name, if that is not the host.
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
    """One request that has been sent, and its answer: `head`, and the body that follows.

    Args:
        message: what was sent.
        connection: on which the answer comes.
        connections: take it back.
        head: of the answer.
        place: at the gate of the host.
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
        """Return the next piece of the body as it is sent, empty after the last; errors are those of httpx."""
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
        """End the exchange; what was not read of the body is lost with the connection."""
        self._drop_connection()
        self._place.leave()

    def abandon(self) -> None:
        """Do what `close` does, from wherever garbage is collected."""
        self._drop_connection()
        self._place.leave_later()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def receive_error(error: Exception, request: httpx.Request) -> httpx.HTTPError:
    """Return what httpx calls an error of a connection."""
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
    """Return what to say where no file descriptor is left; empty for another error."""
    if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE):
        return ""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return f"too many open files: a process may have {most:,}; use fewer threads, or raise the limit (ulimit -n)"
