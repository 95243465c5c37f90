"""One request that has been sent and its answer, and what httpx calls the errors on the way."""

from __future__ import annotations

import errno
import resource
from collections.abc import Callable
from http.client import HTTPException, IncompleteRead

import httpx

from tui_runner.jobs.http.connection import Body, Connection, DeadlineError, Head
from tui_runner.jobs.http.connections import Connections, Origin
from tui_runner.jobs.http.place import Place


class Exchange:
    """One request that has been sent, and its answer: `head`, and the body that follows.

    Args:
        connections: takes the connection back.
        origin: what the connection is to.
        connection: on which the answer comes.
        head: of the answer.
        method: of the request.
        place: at the gate of the host.
        make_request: makes the request that errors name.
    """

    __slots__ = ("_body", "_connection", "_connections", "_keeps", "_make_request", "_origin", "_place", "head")

    def __init__(
        self,
        connections: Connections,
        origin: Origin,
        connection: Connection,
        head: Head,
        method: str,
        place: Place,
        make_request: Callable[[], httpx.Request],
    ) -> None:
        self._connections = connections
        self._origin = origin
        self._connection: Connection | None = connection
        self._place = place
        self._make_request = make_request
        self.head = head
        waits = head.values(b"retry-after")
        place.answered(head.status, waits[0].decode("latin-1") if waits else None)
        self._keeps = connection.keeps_alive(head, method)
        self._body = Body(connection, head, method)

    async def read(self) -> bytes:
        """Return the next piece of the body as it is sent, empty behind the last; errors are those of httpx."""
        try:
            piece = await self._body.read()
        except BaseException as error:
            self._drop_connection()
            self._place.leave(failed=True)
            if isinstance(error, Exception):
                raise receive_error(error, self._make_request()) from error
            raise
        if self._body.is_complete:
            self._release()
        return piece

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._keeps:
                self._connections.put(self._origin, connection)
            else:
                connection.close()
        self._place.leave()

    def close(self) -> None:
        """End the exchange; what was not read of the body is lost with the connection."""
        self._drop_connection()
        self._place.leave()

    def abandon(self) -> None:
        """`close`, from where garbage is collected."""
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
