"""How requests are sent: a transport of httpx on connections of our own, and the guard around any other.

httpx's own pool has one lock for all threads, and takes it when a response that was dropped half-read is collected as
garbage; if the collection begins while the same thread has that lock, it waits for itself (httpcore issue #996). Here
idle connections stand in a deque for each server. Taking one and putting one back are single operations, which no
collection can come between, so there is no lock.

An exchange ends at the deadline of the item that makes it: looking the name up, connecting and every read and write
included. Each request counts at the gate of its host while it is open, one after a redirect at that of the new host.
"""

from __future__ import annotations

import errno
import resource
import ssl
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from http.client import HTTPException, IncompleteRead
from queue import SimpleQueue
from typing import Any

import httpx

from tui_runner.jobs.http.connection import Connection, DeadlineError, Head, Header, NoAnswerError, connect
from tui_runner.jobs.http.host_gate import HostGate
from tui_runner.jobs.http.names import Names
from tui_runner.jobs.http.response import JobResponse, as_job_response
from tui_runner.jobs.http.retry_after import retry_after_seconds
from tui_runner.system.clock import time

Deadline = Callable[[], float | None]
"""Gives the moment, by `time.monotonic()`, at which the caller's item times out; None when it does not."""

Origin = tuple[str, str, int]
"""Scheme, host and port: what a connection is for."""

MAX_BYTES = "tui_runner.max_bytes"
"""Extension of a request: bytes that the body of its answer may have, decoded. None for no bound."""
ANSWER = "tui_runner.answer"
"""Extension of a request that has been sent: its answer."""

_IDLE_SECONDS = 15.0
"""Seconds that an idle connection is kept. Servers close theirs after 5 to 75; one that is found closed costs a
system call, one that closes while a request is under way a second request."""
_MOST_IDLE = 256
"""Idle connections of a process, the oldest of which goes first."""
_PORTS = {"http": 80, "https": 443}
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods that may be sent again on a new connection, where a kept one turns out to be closed (RFC 9110, 9.2.2)."""
_PHASES = ("connect", "read", "write", "pool")


class Connections:
    """Connections that are kept open between requests, for all threads of a process.

    Args:
        names: finds addresses.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._idle: dict[Origin, deque[Connection]] = {}
        self._order: deque[tuple[Origin, Connection, float]] = deque()

    def take(self, origin: Origin) -> Connection | None:
        """Return an idle connection that the server still has, None if there is none."""
        idle = self._idle.get(origin)
        while idle:
            try:
                found = idle.pop()
            except IndexError:  # another thread had it
                return None
            if not idle:  # a crawl of a million hosts must not leave a million empty deques
                self._idle.pop(origin, None)
            age = time.monotonic() - found.idle_since
            found.idle_since = 0.0  # says to `_forget` that it is in use
            if age < _IDLE_SECONDS and not found.is_stale():
                return found
            found.close()
        return None

    def put(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection whose exchange has ended."""
        connection.idle_since = since = time.monotonic()
        connection.is_used = True
        self._idle.setdefault(origin, deque()).append(connection)
        self._order.append((origin, connection, since))
        while len(self._order) > _MOST_IDLE:
            try:
                self._forget(*self._order.popleft())
            except IndexError:  # another thread was faster
                return

    def _forget(self, origin: Origin, connection: Connection, since: float) -> None:
        if connection.idle_since != since:  # in use, or idle again: then it stands in `_order` once more
            return
        idle = self._idle.get(origin)
        if idle is not None:
            try:
                idle.remove(connection)
            except (ValueError, IndexError):
                return  # another thread has taken it
            if not idle:
                self._idle.pop(origin, None)
        # Else it was put into a deque that another thread had just given up: nobody else knows of it.
        connection.close()

    def close(self) -> None:
        """Close all that are idle."""
        for idle in list(self._idle.values()):
            while idle:
                try:
                    idle.pop().close()
                except IndexError:
                    break
        self._idle.clear()
        self._order.clear()

    def open(
        self,
        origin: Origin,
        *,
        until: float | None,
        context: ssl.SSLContext | None,
        server_name: str | None = None,
        source: tuple[str, int] | None = None,
    ) -> Connection:
        """Open a new connection before `until`; the errors are those of `Names.addresses` and `connect`."""
        _, host, port = origin
        left = None if until is None else max(0.0, until - time.monotonic())
        addresses = self._names.addresses(host, port, left)
        return Connection(connect(addresses, until, context=context, server_name=server_name or host, source=source))


class _Releaser:
    """Gives places at gates back for responses that are collected as garbage.

    A collection can begin anywhere, also in a thread that has the gate's lock at that moment; so what it releases goes
    through a queue that may be used there (`queue.SimpleQueue`), to a thread that takes the lock.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._lock = threading.Lock()
        self._started = False

    def start(self) -> None:
        """Start the thread, if there is none; called where a response is made, not where it is collected."""
        if self._started:
            return
        with self._lock:
            if not self._started:
                threading.Thread(target=self._run, name="http-releaser", daemon=True).start()
                self._started = True

    def put(self, release: Callable[[], object]) -> None:
        """Have the thread call `release`."""
        self._queue.put(release)

    def _run(self) -> None:
        while True:
            self._queue.get()()


_releaser = _Releaser()


class Place:
    """A place at the gate of a host, held while a request to it is open. Made when the gate has let it in."""

    __slots__ = ("_began", "_gate", "_held", "_host", "_retry_after", "_seconds", "_status")

    def __init__(self, gate: HostGate, host: str) -> None:
        self._gate = gate
        self._host = host
        self._held = True
        self._began = time.monotonic()
        self._seconds: float | None = None
        self._status: int | None = None
        self._retry_after: str | None = None

    def answered(self, status: int, retry_after: str | None) -> None:
        """Take in the head of the answer: its status, and the value of `Retry-After`."""
        self._seconds = time.monotonic() - self._began
        self._status = status
        self._retry_after = retry_after

    def leave(self, *, failed: bool = False) -> None:
        """Give the place back, once.

        Args:
            failed: whether there was no answer, or no whole one.
        """
        if not self._held:
            return
        self._held = False
        self._gate.leave(
            self._host,
            status=None if failed else self._status,
            seconds=time.monotonic() - self._began if self._seconds is None else self._seconds,
            sent=self._began,
            retry_after=None if self._retry_after is None else retry_after_seconds(self._retry_after, time.time()),
        )

    def leave_later(self) -> None:
        """Give the place back from wherever garbage is collected."""
        if self._held:
            _releaser.put(self.leave)


def enter(gate: HostGate, host: str, until: float | None, make_request: Callable[[], httpx.Request]) -> Place:
    """Wait until a host may be asked, and return the place at its gate.

    Raises:
        httpx.PoolTimeout: none came free before the deadline.
        HostDown: the host failed again and again, and is not asked.
    """
    if not gate.enter(host, until):
        raise _no_place(host, make_request())
    return Place(gate, host)


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
        self._body = connection.body(head, method)

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it is sent; errors are those of httpx."""
        # No `finally`: when this is collected half-read, nothing may happen that takes a lock.
        try:
            yield from self._body
        except Exception as error:
            self._drop_connection()
            self._place.leave(failed=True)
            raise _receive_error(error, self._make_request()) from error
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


class ReceivedBody(httpx.SyncByteStream):
    """The body of an answer that is being received. Once it is read or closed, the connection is free.

    Args:
        exchange: that has the body.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        _releaser.start()

    def __iter__(self) -> Iterator[bytes]:
        return self._exchange.pieces()

    def close(self) -> None:
        """Close the connection unless all of the body was read."""
        self._exchange.close()

    def __del__(self) -> None:
        self._exchange.abandon()


class JobTransport(httpx.BaseTransport):
    """Sends requests over HTTP/1.1, for the items of a worker.

    Args:
        gate: where a request waits until its host may be asked.
        deadline: asks for the deadline of the item that makes a request.
        connections: those that are kept open.
        context: of TLS.
        max_bytes: bytes that the body of an answer may have, decoded, unless the request says otherwise.
        source: local address to connect from.
    """

    def __init__(
        self,
        gate: HostGate,
        deadline: Deadline,
        connections: Connections,
        *,
        context: Callable[[], ssl.SSLContext],
        max_bytes: int | None,
        source: tuple[str, int] | None = None,
    ) -> None:
        self._gate = gate
        self._deadline = deadline
        self._connections = connections
        self._context = context
        self._source = source
        self.max_bytes = max_bytes

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the body of the response is not read yet.

        Raises:
            httpx.TransportError: no answer.
        """
        answer = request.extensions.pop(ANSWER, None) if ANSWER in request.extensions else None
        if answer is not None:
            return as_job_response(answer)
        url = request.url
        if url.scheme not in _PORTS:
            raise httpx.UnsupportedProtocol(
                f"{url.scheme or 'no scheme'}: is neither http:// nor https://", request=request
            )
        exchange = self.exchange(
            request.method,
            (url.scheme, url.raw_host.decode("ascii").strip("[]"), url.port or _PORTS[url.scheme]),
            url.raw_path,
            _header_lines(request),
            request.stream if isinstance(request.stream, httpx.SyncByteStream) else None,
            timeout=request.extensions.get("timeout", {}),
            server_name=request.extensions.get("sni_hostname"),
            make_request=lambda: request,
        )
        response = self.response(exchange, request.extensions)
        response.request = request
        return response

    def response(self, exchange: Exchange, extensions: dict[str, Any]) -> JobResponse:
        """Return the response for an answer whose body is not read yet."""
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

    def exchange(
        self,
        method: str,
        origin: Origin,
        target: bytes,
        header_lines: bytes,
        content: httpx.SyncByteStream | None,
        *,
        timeout: dict[str, float | None],
        make_request: Callable[[], httpx.Request],
        server_name: str | None = None,
    ) -> Exchange:
        """Send a request and receive the head of its answer.

        Args:
            method: `GET`, …
            origin: whom to ask.
            target: path and query, encoded.
            header_lines: all headers as they are sent, with the line ends.
            content: the body to send, framed as the headers say.
            timeout: seconds for `connect`, `read` and `write`, as httpx has them.
            make_request: makes the request that errors name.
            server_name: what the certificate is to name, if that is not the host.

        Raises:
            httpx.TransportError: no answer.
        """
        until = self._deadline()
        if until is not None and until <= time.monotonic():
            raise httpx.ConnectTimeout("the item's deadline passed before the request was sent", request=make_request())
        place = enter(self._gate, origin[1], until, make_request)
        until = self._deadline()  # the wait at the gate does not count
        connection: Connection | None = None
        try:
            while True:
                connection = self._connections.take(origin)
                if connection is None:
                    connection = self._open(origin, until, timeout.get("connect"), server_name, make_request)
                connection.until = until
                connection.silence = timeout.get("read")
                try:
                    return self._exchange(
                        connection, origin, method, target, header_lines, content, timeout, place, make_request
                    )
                except _Stale as stale:
                    connection.close()
                    if content is not None and not isinstance(content, httpx.ByteStream):
                        raise _receive_error(stale.error, make_request()) from stale.error
        except BaseException:
            if connection is not None:
                connection.close()
            place.leave(failed=True)
            raise

    def _exchange(
        self,
        connection: Connection,
        origin: Origin,
        method: str,
        target: bytes,
        header_lines: bytes,
        content: httpx.SyncByteStream | None,
        timeout: dict[str, float | None],
        place: Place,
        make_request: Callable[[], httpx.Request],
    ) -> Exchange:
        was_used = connection.is_used
        refused: OSError | None = None
        try:
            connection.send(b"%s %s HTTP/1.1\r\n%s\r\n" % (method.encode("ascii"), target, header_lines))
            if content is not None:
                connection.silence = timeout.get("write")
                _send_content(connection, content, header_lines)
                connection.silence = timeout.get("read")
        except TimeoutError as error:
            raise httpx.WriteTimeout(str(error), request=make_request()) from error
        except OSError as error:
            # A server that refuses a body may say why before it closes the connection.
            refused = error
        try:
            head = connection.receive_head()
            return Exchange(self._connections, origin, connection, head, method, place, make_request)
        except TimeoutError as error:
            raise _receive_error(error, make_request()) from error
        except (OSError, HTTPException) as error:
            cause = refused or error
            nothing_came = isinstance(error, (OSError, NoAnswerError))
            if was_used and nothing_came and method in _REPEATABLE:
                raise _Stale(cause) from cause
            if refused is not None:
                raise httpx.WriteError(str(refused), request=make_request()) from refused
            raise _receive_error(error, make_request()) from error

    def _open(
        self,
        origin: Origin,
        until: float | None,
        seconds: float | None,
        server_name: str | None,
        make_request: Callable[[], httpx.Request],
    ) -> Connection:
        ends = [each for each in (until, None if seconds is None else time.monotonic() + seconds) if each is not None]
        try:
            return self._connections.open(
                origin,
                until=min(ends, default=None),
                context=self._context() if origin[0] == "https" else None,
                server_name=server_name,
                source=self._source,
            )
        except TimeoutError as error:
            raise httpx.ConnectTimeout(str(error) or "the host did not answer", request=make_request()) from error
        except (OSError, ValueError) as error:
            raise httpx.ConnectError(_without_descriptors(error) or str(error), request=make_request()) from error


class _Stale(Exception):
    """A kept connection turned out to be closed when a request was sent on it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def header_lines(headers: list[Header]) -> bytes:
    """Return headers as they are sent.

    Raises:
        httpx.LocalProtocolError: one would end its line, and begin another header.
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


def _send_content(connection: Connection, content: httpx.SyncByteStream, lines: bytes) -> None:
    if b"transfer-encoding: chunked" not in lines.lower():
        for piece in content:
            if piece:
                connection.send(piece)
        return
    for piece in content:
        if piece:
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    connection.send(b"0\r\n\r\n")


def _receive_error(error: Exception, request: httpx.Request) -> httpx.HTTPError:
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
    return httpx.ReadError(_without_descriptors(error) or str(error), request=request)


def _without_descriptors(error: Exception) -> str:
    """Return what to say where no file descriptor is left; empty for another error."""
    if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE):
        return ""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return f"too many open files: a process may have {most:,}; use fewer threads, or raise the limit (ulimit -n)"


def _no_place(host: str, request: httpx.Request) -> httpx.PoolTimeout:
    return httpx.PoolTimeout(
        f"the item's deadline passed while {host} had as many requests open as per_host allows", request=request
    )


# --- the guard around transports of httpx ------------------------------------------------------------------------


class GuardedTransport(httpx.BaseTransport):
    """Sends requests by another transport, a proxy's say, with the deadline, the gate and the bounds of a job.

    httpx bounds the phases of a request (connect, each read, each write) but not the whole (httpx issue #1450). Every
    phase is cut to what the item has left, and a body that trickles in is cut off with the first piece that comes after
    the deadline.

    Args:
        inner: the transport.
        gate: where a request waits until its host may be asked.
        deadline: asks for the deadline of the item that makes a request.
        max_bytes: bytes that the body of an answer may have, decoded, unless the request says otherwise.
    """

    def __init__(self, inner: httpx.BaseTransport, gate: HostGate, deadline: Deadline, max_bytes: int | None) -> None:
        self._inner = inner
        self._gate = gate
        self._deadline = deadline
        self._max_bytes = max_bytes

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the body of the response is not read yet."""
        place = enter(self._gate, request.url.host, self._deadline(), lambda: request)
        until = self._deadline()  # the wait at the gate does not count
        try:
            _cut_timeout(request, until)
            response = self._inner.handle_request(request)
        except BaseException:
            place.leave(failed=True)
            raise
        place.answered(response.status_code, response.headers.get("retry-after"))
        if isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _GuardedBody(response.stream, until, request, place)
        else:
            place.leave()
        return _bounded(response, request, self._max_bytes)

    def close(self) -> None:
        """Close the transport."""
        self._inner.close()


class AsyncGuardedTransport(httpx.AsyncBaseTransport):
    """`GuardedTransport` for an event loop."""

    def __init__(
        self, inner: httpx.AsyncBaseTransport, gate: HostGate, deadline: Deadline, max_bytes: int | None
    ) -> None:
        self._inner = inner
        self._gate = gate
        self._deadline = deadline
        self._max_bytes = max_bytes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the body of the response is not read yet."""
        host = request.url.host
        if not await self._gate.enter_async(host, self._deadline()):
            raise _no_place(host, request)
        place = Place(self._gate, host)
        until = self._deadline()  # the wait at the gate does not count
        try:
            _cut_timeout(request, until)
            response = await self._inner.handle_async_request(request)
        except BaseException:
            place.leave(failed=True)
            raise
        place.answered(response.status_code, response.headers.get("retry-after"))
        if isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _AsyncGuardedBody(response.stream, until, request, place)
        else:
            place.leave()
        return _bounded(response, request, self._max_bytes)

    async def aclose(self) -> None:
        """Close the transport."""
        await self._inner.aclose()


class _GuardedBody(httpx.SyncByteStream):
    """A response body that ends in `httpx.ReadTimeout` at the deadline of its item."""

    def __init__(self, body: httpx.SyncByteStream, until: float | None, request: httpx.Request, place: Place) -> None:
        self._body = body
        self._until = until
        self._request = request
        self._place = place
        _releaser.start()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            _check_deadline(self._until, self._request)
            yield piece

    def close(self) -> None:
        try:
            self._body.close()
        finally:
            self._place.leave()

    def __del__(self) -> None:
        self._place.leave_later()


class _AsyncGuardedBody(httpx.AsyncByteStream):
    """`_GuardedBody` for an event loop."""

    def __init__(self, body: httpx.AsyncByteStream, until: float | None, request: httpx.Request, place: Place) -> None:
        self._body = body
        self._until = until
        self._request = request
        self._place = place
        _releaser.start()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            _check_deadline(self._until, self._request)
            yield piece

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            self._place.leave()

    def __del__(self) -> None:
        self._place.leave_later()


def _bounded(response: httpx.Response, request: httpx.Request, max_bytes: int | None) -> httpx.Response:
    return as_job_response(
        response,
        limits_pieces=MAX_BYTES in request.extensions,
        max_bytes=request.extensions.get(MAX_BYTES, max_bytes),
    )


def _cut_timeout(request: httpx.Request, until: float | None) -> None:
    """Bound every phase of `request` by the time that is left until `until`.

    Raises:
        httpx.ConnectTimeout: none is left.
    """
    if until is None:
        return
    left = until - time.monotonic()
    if left <= 0:
        raise httpx.ConnectTimeout("the item's deadline passed before the request was sent", request=request)
    asked = request.extensions.get("timeout", {})
    phases = {phase: left if asked.get(phase) is None else min(asked[phase], left) for phase in _PHASES}
    request.extensions = {**request.extensions, "timeout": phases}


def _check_deadline(until: float | None, request: httpx.Request) -> None:
    if until is not None and time.monotonic() > until:
        raise httpx.ReadTimeout("the item's deadline passed while the body was being read", request=request)
