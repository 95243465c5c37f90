"""Guards around httpx's own transports, for example for a proxy: they apply an item's deadline, the gate and limits.

httpx limits the phases of a request (connect, each read, each write) but not the whole request (httpx issue #1450). So
a guard limits every phase to the time until the item's deadline, and raises an error at the first piece of a body that
arrives after the deadline.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx

from tui_runner.jobs.http.blocking import Waiter, WaitingTask, WaitingThread, completed
from tui_runner.jobs.http.gate_place import RELEASER, Place, admitted
from tui_runner.jobs.http.host_gate import HostGate
from tui_runner.jobs.http.response import as_job_response
from tui_runner.jobs.http.transport import MAX_BYTES, Deadline
from tui_runner.system.clock import time

_PHASES = ("connect", "read", "write", "pool")
"""Keys of `timeout` in the extensions of httpx's requests. Each phase is limited to the time until the item's deadline.
"""


class _Guard:
    """The base of both guards, which send each request when the gate of its host allows it.

    Args:
        gate: where a request waits until it may be sent to its host.
        deadline: returns the deadline of the current item.
        max_bytes: limit for a decoded body in bytes, unless the request has its own limit; None for no limit.
    """

    def __init__(self, gate: HostGate, deadline: Deadline, max_bytes: int | None) -> None:
        self._gate = gate
        self._deadline = deadline
        self._max_bytes = max_bytes

    async def handle(
        self,
        request: httpx.Request,
        send: Callable[[httpx.Request], Awaitable[httpx.Response]],
        waiter: type[Waiter],
    ) -> httpx.Response:
        """Send a request by calling `send`. Return the response before its body is read."""
        place = await admitted(self._gate, request.url.host, self._deadline(), waiter, lambda: request)
        until = self._deadline()  # read it again, because the time at the gate does not count for the item
        try:
            _cut_timeout(request, until)
            response = await send(request)
        except BaseException:
            place.leave(failed=True)
            raise
        place.answered(response.status_code, response.headers.get("retry-after"))
        response.stream = _GuardedBody(response.stream, until, request, place)
        return as_job_response(
            response,
            limits_pieces=MAX_BYTES in request.extensions,
            max_bytes=request.extensions.get(MAX_BYTES, self._max_bytes),
        )


class GuardedTransport(_Guard, httpx.BaseTransport):
    """A guard around another transport, `inner`, for threads."""

    def __init__(self, inner: httpx.BaseTransport, gate: HostGate, deadline: Deadline, max_bytes: int | None) -> None:
        super().__init__(gate, deadline, max_bytes)
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Return the response before its body is read."""

        async def send(request: httpx.Request) -> httpx.Response:
            return self._inner.handle_request(request)

        return completed(self.handle(request, send, WaitingThread))

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()


class AsyncGuardedTransport(_Guard, httpx.AsyncBaseTransport):
    """A guard around another transport, `inner`, for an event loop."""

    def __init__(
        self, inner: httpx.AsyncBaseTransport, gate: HostGate, deadline: Deadline, max_bytes: int | None
    ) -> None:
        super().__init__(gate, deadline, max_bytes)
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. Return the response before its body is read."""
        return await self.handle(request, self._inner.handle_async_request, WaitingTask)

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()


class _GuardedBody(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a response. Reading it raises `httpx.ReadTimeout` after the deadline of its item."""

    def __init__(
        self,
        body: httpx.SyncByteStream | httpx.AsyncByteStream,
        until: float | None,
        request: httpx.Request,
        place: Place,
    ) -> None:
        self._body = body
        self._until = until
        self._request = request
        self._place = place
        RELEASER.start()

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._body, httpx.SyncByteStream)  # noqa: S101 - it is from a transport for threads
        for piece in self._body:
            self._check_deadline()
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._body, httpx.AsyncByteStream)  # noqa: S101 - it is from a transport for tasks
        async for piece in self._body:
            self._check_deadline()
            yield piece

    def _check_deadline(self) -> None:
        if self._until is not None and time.monotonic() > self._until:
            raise httpx.ReadTimeout("the item's deadline passed while the body was being read", request=self._request)

    def close(self) -> None:
        try:
            if isinstance(self._body, httpx.SyncByteStream):
                self._body.close()
        finally:
            self._place.leave()

    async def aclose(self) -> None:
        try:
            if isinstance(self._body, httpx.AsyncByteStream):
                await self._body.aclose()
        finally:
            self._place.leave()

    def __del__(self) -> None:
        self._place.leave_later()


def _cut_timeout(request: httpx.Request, until: float | None) -> None:
    """Limit every phase of a request to the time until `until`, by `time.monotonic()`; None for no limit."""
    if until is None:
        return
    left = until - time.monotonic()
    if left <= 0:
        raise httpx.ConnectTimeout("the item's deadline passed before the request was sent", request=request)
    asked = request.extensions.get("timeout", {})
    phases = {phase: left if asked.get(phase) is None else min(asked[phase], left) for phase in _PHASES}
    request.extensions = {**request.extensions, "timeout": phases}
