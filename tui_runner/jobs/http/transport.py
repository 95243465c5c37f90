"""Transports of httpx with our own connections, for threads and for event loops.

An exchange ends at the deadline of its item at the latest, including name lookup, connecting and every read and write.
A request counts as open at the gate of its host until its response is read. A request after a redirect passes the gate
of its own host.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from http.client import HTTPException
from typing import Any

import httpx

from tui_runner.jobs.http.blocking import completed
from tui_runner.jobs.http.connection import Connection, Header, NoAnswerError
from tui_runner.jobs.http.connections import Connections
from tui_runner.jobs.http.exchange import Content, Exchange, Message, receive_error, without_descriptors
from tui_runner.jobs.http.gate_place import RELEASER, Place, admitted
from tui_runner.jobs.http.host_gate import HostGate
from tui_runner.jobs.http.response import JobResponse, as_job_response
from tui_runner.system.clock import time

Deadline = Callable[[], float | None]
"""A function that returns the time, by `time.monotonic()`, at which the current item times out; None for no timeout."""

MAX_BYTES = "tui_runner.max_bytes"
"""Key in a request's extensions: the limit for the decoded body in bytes; None for no limit."""
ANSWER = "tui_runner.answer"
"""Key in a request's extensions: the response, if the request was already sent."""

_PORTS = {"http": 80, "https": 443}
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods of requests that may be sent again on a new connection if the kept connection turns out to be closed (RFC
9110, 9.2.2)."""


class ReceivedBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a response that is being received. When it is read or closed, the connection becomes free.

    Args:
        exchange: the exchange with the body.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        RELEASER.start()

    def __iter__(self) -> Iterator[bytes]:
        while piece := completed(self._exchange.read()):
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self._exchange.read():
            yield piece

    def close(self) -> None:
        """Close the connection unless the whole body was read."""
        self._exchange.close()

    async def aclose(self) -> None:
        """Close the connection like `close`."""
        self._exchange.close()

    def __del__(self) -> None:
        self._exchange.abandon()


class _Transport:
    """The part of the transport that threads and tasks share: sends requests over HTTP/1.1 for the items of a worker.

    Args:
        gate: where a request waits until it may be sent to its host.
        deadline: returns the deadline of the current item.
        connections: connections that are kept open.
        context: returns the TLS context.
        max_bytes: limit for a decoded body in bytes, unless the request has its own limit; None for no limit.
    """

    def __init__(
        self,
        gate: HostGate,
        deadline: Deadline,
        connections: Connections,
        *,
        context: Callable[[], ssl.SSLContext],
        max_bytes: int | None,
    ) -> None:
        self._gate = gate
        self._deadline = deadline
        self._connections = connections
        self._context = context
        self.max_bytes = max_bytes

    async def handle(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Return the response before its body is read.

        Raises:
            httpx.TransportError: there is no response.
        """
        received = request.extensions.pop(ANSWER, None) if ANSWER in request.extensions else None
        if received is not None:
            return as_job_response(received)
        url = request.url
        if url.scheme not in _PORTS:
            begins = f"begins with {url.scheme}://" if url.scheme else "has no http:// or https://"
            raise httpx.UnsupportedProtocol(f"the URL {begins}; only http:// and https:// work", request=request)
        message = Message(
            request.method,
            (url.scheme, url.raw_host.decode("ascii").strip("[]"), url.port or _PORTS[url.scheme]),
            url.raw_path,
            _header_lines(request),
            request.extensions.get("timeout", {}),
            lambda: request,
            request.stream,
            request.extensions.get("sni_hostname"),
        )
        exchange = await self.exchange(message)
        response = self.response(exchange, request.extensions)
        response.request = request
        return response

    def response(self, exchange: Exchange, extensions: dict[str, Any]) -> JobResponse:
        """Return a response for an exchange whose body is not read yet."""
        head = exchange.head
        response = JobResponse(
            head.status,
            headers=head.headers,
            stream=ReceivedBody(exchange),
            extensions={"http_version": head.version, "reason_phrase": head.reason},
        )
        response.limits_pieces = MAX_BYTES in extensions
        response.max_bytes = extensions.get(MAX_BYTES, self.max_bytes)
        return response

    async def exchange(self, message: Message) -> Exchange:
        """Send a request and receive the head of its response.

        Raises:
            httpx.TransportError: there is no response.
            HostDown, ItemPostponed: see `admitted`.
        """
        until = self._deadline()
        if until is not None and until <= time.monotonic():
            raise httpx.ConnectTimeout(
                "the item's deadline passed before the request was sent", request=message.make_request()
            )
        host, waiter = message.origin[1], self._connections.kind.waiter
        place = await admitted(self._gate, host, until, waiter, message.make_request)
        until = self._deadline()  # read it again, because the time at the gate does not count for the item
        connection: Connection | None = None
        try:
            while True:
                connection = self._connections.take(message.origin) or await self._open(message, until)
                connection.until = until
                try:
                    return await self._exchange(message, connection, place)
                except _Stale as stale:
                    connection.close()
                    if message.content is not None and not isinstance(message.content, httpx.ByteStream):
                        raise receive_error(stale.error, message.make_request()) from stale.error
        except BaseException:
            if connection is not None:
                connection.close()
            place.leave(failed=True)
            raise

    async def _exchange(self, message: Message, connection: Connection, place: Place) -> Exchange:
        was_used = connection.is_used
        refused: OSError | None = None
        start = b"%s %s HTTP/1.1\r\n" % (message.method.encode("ascii"), message.target)
        connection.silence = message.phases.get("read")
        try:
            await connection.send(b"%s%s\r\n" % (start, message.header_lines))
            if message.content is not None:
                connection.silence = message.phases.get("write")
                await _send_content(connection, message.content, message.header_lines)
                connection.silence = message.phases.get("read")
        except TimeoutError as error:
            raise httpx.WriteTimeout(str(error), request=message.make_request()) from error
        except OSError as error:
            # A server that refuses the body of a request may send a response before it closes the connection.
            refused = error
        try:
            head = await connection.receive_head()
            return Exchange(message, connection, self._connections, head, place)
        except TimeoutError as error:
            raise receive_error(error, message.make_request()) from error
        except (OSError, HTTPException) as error:
            cause = refused or error
            nothing_came = isinstance(error, (OSError, NoAnswerError))
            if was_used and nothing_came and message.method in _REPEATABLE:
                raise _Stale(cause) from cause
            if refused is not None:
                raise httpx.WriteError(str(refused), request=message.make_request()) from refused
            raise receive_error(error, message.make_request()) from error

    async def _open(self, message: Message, until: float | None) -> Connection:
        seconds = message.phases.get("connect")
        ends = [each for each in (until, None if seconds is None else time.monotonic() + seconds) if each is not None]
        try:
            context = self._context() if message.origin[0] == "https" else None
            return await self._connections.open(message.origin, min(ends, default=None), context, message.server_name)
        except TimeoutError as error:
            text = str(error) or "the host did not answer"
            raise httpx.ConnectTimeout(text, request=message.make_request()) from error
        except (OSError, ValueError) as error:
            text = without_descriptors(error) or str(error)
            raise httpx.ConnectError(text, request=message.make_request()) from error


class JobTransport(_Transport, httpx.BaseTransport):
    """The transport for threads."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; see `handle`."""
        return completed(self.handle(request))


class AsyncJobTransport(_Transport, httpx.AsyncBaseTransport):
    """The transport for an event loop, with its own connections."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; see `handle`."""
        return await self.handle(request)

    async def aclose(self) -> None:
        """Close the idle connections."""
        self._connections.close()
        await asyncio.sleep(0)  # the loop closes their sockets in its next iteration (`TaskSocket.close`)


class _Stale(Exception):
    """Raised if a kept connection turns out to be closed when a request is sent on it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def header_lines(headers: list[Header]) -> bytes:
    """Return headers in the form in which they are sent.

    Raises:
        httpx.LocalProtocolError: a header is not valid; for example, a line end in a value would begin another header.
    """
    for name, value in headers:
        if b"\n" in value or b"\r" in value or b"\0" in value or not name or not _is_name(name):
            raise httpx.LocalProtocolError(f"Illegal header {name.decode('latin-1')!r}")
    return b"".join([b"%s: %s\r\n" % header for header in headers])


def _is_name(name: bytes) -> bool:
    return not any(byte <= 32 or byte in b":\x7f" for byte in name)


def _header_lines(request: httpx.Request) -> bytes:
    if not request.method.isascii() or not request.method.isalpha():
        raise httpx.LocalProtocolError(f"Illegal method {request.method!r}", request=request)
    try:
        return header_lines(request.headers.raw)
    except httpx.LocalProtocolError as error:
        error.request = request
        raise


async def _send_content(connection: Connection, content: Content, lines: bytes) -> None:
    is_chunked = b"transfer-encoding: chunked" in lines.lower()
    async for piece in _pieces(content):
        if piece:
            await connection.send(b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece)
    if is_chunked:
        await connection.send(b"0\r\n\r\n")


async def _pieces(content: Content) -> AsyncIterator[bytes]:
    if isinstance(content, httpx.SyncByteStream):
        for piece in content:
            yield piece
    else:
        async for piece in content:
            yield piece
