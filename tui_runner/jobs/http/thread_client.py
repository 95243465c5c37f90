"""The clients behind `tui_runner.jobs.http`: httpx, with an item's deadline and a limit of requests a host.

httpx bounds the phases of a request (connect, each read, each write) but not the whole (httpx issue #1450).
Here every phase is cut to what the item has left when the request, or a redirect of it, is sent, and a body
that trickles in is cut off with the first piece that comes after the deadline. What stays possible is one
silence that begins just before the deadline and lasts for a read timeout.

This module imports httpx; `tui_runner.jobs.http` imports it with the first request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx

from tui_runner.jobs.http.host_gate import HostGate
from tui_runner.jobs.http.retry_after import retry_after_seconds
from tui_runner.jobs.http.whole_bodies import check_end
from tui_runner.system.clock import time

Deadline = Callable[[], float | None]
"""Gives the moment, by `time.monotonic()`, at which the caller's item times out; None when it does not."""

_PHASES = ("connect", "read", "write", "pool")


class JobClient(httpx.Client):
    """An `httpx.Client` for the items of one thread.

    Args:
        gate: where a request waits until its host may be asked.
        deadline: asks for the deadline of the item that makes the request.
        options: keyword arguments of `httpx.Client`.
    """

    def __init__(self, gate: HostGate, deadline: Deadline, **options: Any) -> None:
        def cut(request: httpx.Request) -> None:
            _cut_timeout(request, deadline())

        def guard(response: httpx.Response) -> None:
            check_end(response)
            until = deadline()
            if until is not None and isinstance(response.stream, httpx.SyncByteStream):
                response.stream = _TimedBody(response.stream, until, response.request)

        super().__init__(event_hooks=_hooks(options.pop("event_hooks", None), cut, guard), **options)
        self._gate = gate
        self._deadline = deadline

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """`httpx.Client.send`, holding a slot of the host until the body is read or the response closed.

        A redirect to another host stays on the slot of the first.

        Raises:
            httpx.PoolTimeout: no slot came free before the deadline.
        """
        host = request.url.host
        if not self._gate.enter(host, self._deadline()):
            raise _no_slot(request)
        began = time.monotonic()
        try:
            response = super().send(request, stream=stream, **options)
        except BaseException:
            self._gate.leave(host, status=None, seconds=time.monotonic() - began)
            raise
        leave = _leaver(self._gate, host, response, began)
        if stream and isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _HeldBody(response.stream, leave)
        else:
            leave()
        return response


class JobAsyncClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` for the items of one event loop; its arguments are those of `JobClient`."""

    def __init__(self, gate: HostGate, deadline: Deadline, **options: Any) -> None:
        async def cut(request: httpx.Request) -> None:
            _cut_timeout(request, deadline())

        async def guard(response: httpx.Response) -> None:
            check_end(response)
            until = deadline()
            if until is not None and isinstance(response.stream, httpx.AsyncByteStream):
                response.stream = _TimedAsyncBody(response.stream, until, response.request)

        super().__init__(event_hooks=_hooks(options.pop("event_hooks", None), cut, guard), **options)
        self._gate = gate
        self._deadline = deadline

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """`JobClient.send`, awaited."""
        host = request.url.host
        if not await self._gate.enter_async(host, self._deadline()):
            raise _no_slot(request)
        began = time.monotonic()
        try:
            response = await super().send(request, stream=stream, **options)
        except BaseException:
            self._gate.leave(host, status=None, seconds=time.monotonic() - began)
            raise
        leave = _leaver(self._gate, host, response, began)
        if stream and isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _HeldAsyncBody(response.stream, leave)
        else:
            leave()
        return response


class _TimedBody(httpx.SyncByteStream):
    """A response body that ends in `httpx.ReadTimeout` at the deadline of its item."""

    def __init__(self, body: httpx.SyncByteStream, until: float, request: httpx.Request) -> None:
        self._body = body
        self._until = until
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            _check_body(self._until, self._request)
            yield piece

    def close(self) -> None:
        self._body.close()


class _TimedAsyncBody(httpx.AsyncByteStream):
    """`_TimedBody` for an event loop."""

    def __init__(self, body: httpx.AsyncByteStream, until: float, request: httpx.Request) -> None:
        self._body = body
        self._until = until
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            _check_body(self._until, self._request)
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()


class _HeldBody(httpx.SyncByteStream):
    """The body of a streamed response; gives its host's slot back when httpx closes it, once."""

    def __init__(self, body: httpx.SyncByteStream, leave: Callable[[], None]) -> None:
        self._body = body
        self._leave = leave

    def __iter__(self) -> Iterator[bytes]:
        yield from self._body

    def close(self) -> None:
        try:
            self._body.close()
        finally:
            self._leave()


class _HeldAsyncBody(httpx.AsyncByteStream):
    """`_HeldBody` for an event loop."""

    def __init__(self, body: httpx.AsyncByteStream, leave: Callable[[], None]) -> None:
        self._body = body
        self._leave = leave

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            yield piece

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            self._leave()


def _leaver(gate: HostGate, host: str, response: httpx.Response, began: float) -> Callable[[], None]:
    """Return what gives a host's slot back, with what its answer says."""
    seconds = time.monotonic() - began
    retry_after = retry_after_seconds(response.headers.get("retry-after"), time.time())
    return lambda: gate.leave(host, status=response.status_code, seconds=seconds, retry_after=retry_after)


def _seconds_left(until: float | None) -> float | None:
    return None if until is None else until - time.monotonic()


def _hooks(given: dict[str, list[Any]] | None, request: Any, response: Any) -> dict[str, list[Any]]:
    """The hooks that a job gave its client, behind our own."""
    given = given or {}
    return {"request": [request, *given.get("request", ())], "response": [response, *given.get("response", ())]}


def _cut_timeout(request: httpx.Request, until: float | None) -> None:
    """Bound every phase of `request` by the time that is left until `until`.

    Raises:
        httpx.ConnectTimeout: none is left.
    """
    left = _seconds_left(until)
    if left is None:
        return
    if left <= 0:
        raise httpx.ConnectTimeout("the item's deadline passed before the request was sent", request=request)
    asked = request.extensions.get("timeout", {})
    phases = {phase: left if asked.get(phase) is None else min(asked[phase], left) for phase in _PHASES}
    request.extensions = {**request.extensions, "timeout": phases}


def _check_body(until: float, request: httpx.Request) -> None:
    if time.monotonic() > until:
        raise httpx.ReadTimeout("the item's deadline passed while the body was being read", request=request)


def _no_slot(request: httpx.Request) -> httpx.PoolTimeout:
    return httpx.PoolTimeout(
        f"the item's deadline passed while {request.url.host} had as many requests open as per_host allows",
        request=request,
    )
