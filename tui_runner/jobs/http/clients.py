"""The clients of `tui_runner.jobs.http`: httpx clients that use `transport.py` and `guarded_transport.py`.

This module imports httpx, so `tui_runner.jobs.http` imports it only with the first request.
"""

from __future__ import annotations

import datetime
import re
import ssl
from collections.abc import Callable, Mapping
from types import EllipsisType
from typing import Any

import httpx

from tui_runner.jobs.http.blocking import completed
from tui_runner.jobs.http.connections import Connections
from tui_runner.jobs.http.content import accepted
from tui_runner.jobs.http.exchange import Message
from tui_runner.jobs.http.guarded_transport import AsyncGuardedTransport, GuardedTransport
from tui_runner.jobs.http.host_gate import HostGate
from tui_runner.jobs.http.name_lookup import Names
from tui_runner.jobs.http.sockets import TaskSocket
from tui_runner.jobs.http.transport import (
    ANSWER,
    MAX_BYTES,
    AsyncJobTransport,
    Deadline,
    JobTransport,
    header_lines,
)
from tui_runner.system.clock import time

DEFAULT_MAX_BYTES = 256_000_000
"""Default limit for a decoded body, in bytes: larger than any page, and small beside the memory of a worker."""

NAMES = Names()
"""The addresses of hosts that this process has looked up."""
CONNECTIONS = Connections(NAMES)
"""The connections that are kept open for the threads of this process."""

_PLAIN_URL = re.compile(
    r"(https?)://([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::(\d{1,5}))?"
    r"((?!/(?:[^?#]*/)?\.)/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*)"
    r"(\?(?:[A-Za-z0-9\-._~!$&()*+,;=:@/?]|%[0-9A-Fa-f]{2})*)?(?:#.*)?",
    re.ASCII | re.DOTALL,
)
"""Matches URLs that `httpx.URL` would not change, because nothing must be encoded, normalised or removed."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})  # statuses that httpx follows


class JobClient(httpx.Client):
    """An `httpx.Client` for the items of one thread.

    Args:
        gate: where a request waits until it may be sent to its host.
        deadline: returns the deadline of the current item.
        context: returns the TLS context. Called when the context is needed, unless `options` have `verify` or `cert`.
        max_bytes: limit for a decoded body in bytes; None for no limit.
        options: keyword arguments of `httpx.Client`.
    """

    def __init__(
        self,
        gate: HostGate,
        deadline: Deadline,
        context: Callable[[], ssl.SSLContext] | None = None,
        *,
        max_bytes: int | None = DEFAULT_MAX_BYTES,
        **options: Any,
    ) -> None:
        self._gate = gate
        self._deadline = deadline
        self._context = None if options.keys() & {"verify", "cert"} else context
        self._max_bytes = max_bytes
        self._own: JobTransport | None = None  # set by `_init_transport`
        super().__init__(**_with_encodings(options))
        hooks = options.get("event_hooks") or {}
        is_bare = not any([options.get("auth"), options.get("params"), options.get("base_url"), *hooks.values()])
        self._may_be_plain = not self._mounts and is_bare and self.follow_redirects
        self._plain_headers = header_lines(self.headers.raw) if self._may_be_plain else b""
        timeout = self.timeout
        self._phases = {"connect": timeout.connect, "read": timeout.read, "write": timeout.write}

    def get_plain(
        self,
        method: str,
        url: object,
        headers: Mapping[str, str] | None,
        max_bytes: int | EllipsisType | None,
        *,
        follow: bool = True,
    ) -> httpx.Response | None:
        """Send a request without a body and read the whole response. Return None if only httpx itself can do that.

        `httpx.Client.request` takes longer than the exchange with the server: of 0.85 ms that a request took, 0.6 were
        spent in httpx's classes. This method creates only the response. The response creates its request when a caller
        needs it.

        Args:
            method: method of the request; None is returned for any but `GET` and `HEAD`.
            url: the URL.
            headers: headers in addition to the client's headers.
            max_bytes: limit for the decoded body, as in `http.request`.
            follow: True to follow redirects.

        Raises:
            httpx.HTTPError: as in `http.request`.
        """
        own = self._own
        if own is None or not self._may_be_plain or type(url) is not str or self.cookies:
            return None
        # httpx turns other methods into upper case, refuses invalid ones, and adds `Content-Length: 0` to a POST.
        if method not in ("GET", "HEAD"):
            return None
        found = _PLAIN_URL.fullmatch(url)
        if found is None or self.is_closed:
            return None
        scheme, host, port, path, query = found.groups()
        if port and int(port) > 65_535:
            return None
        started = time.perf_counter()
        number = int(port) if port else 443 if scheme == "https" else 80
        netloc = host if number == (443 if scheme == "https" else 80) else f"{host}:{number}"
        merged, lines = self.headers, self._plain_headers
        if headers:
            merged = httpx.Headers(self.headers)
            merged.update(headers)
            lines = header_lines(merged.raw)
        if "host" not in merged:
            lines = b"Host: %s\r\n%s" % (netloc.encode("ascii"), lines)
        extensions: dict[str, Any] = {} if max_bytes is ... else {MAX_BYTES: max_bytes}

        def make_request() -> httpx.Request:
            extra = {**extensions, "timeout": {**self._phases, "pool": self.timeout.pool}}
            return httpx.Request(method, url, headers=merged, extensions=extra)

        target = (path + (query or "")).encode("ascii")
        message = Message(method, (scheme, host, number), target, lines, self._phases, make_request)
        exchange = completed(own.exchange(message))
        response = own.response(exchange, extensions)
        response.make_request = make_request
        response.method = method
        if follow and response.status_code in _REDIRECTS and response.has_redirect_location:
            request = make_request()
            request.extensions[ANSWER] = response
            return self.send(request)
        response.read_exchange(lambda: completed(exchange.read()))
        response.elapsed = datetime.timedelta(seconds=time.perf_counter() - started)
        return response

    def _init_transport(self, *args: Any, **options: Any) -> httpx.BaseTransport:
        if _is_own(options):
            context = self._context or _tls_context_factory(options)
            self._own = JobTransport(
                self._gate, self._deadline, CONNECTIONS, context=context, max_bytes=self._max_bytes
            )
            return self._own
        return self._guarded(super()._init_transport(*args, **self._verified(options)))

    def _init_proxy_transport(self, *args: Any, **options: Any) -> httpx.BaseTransport:
        return self._guarded(super()._init_proxy_transport(*args, **self._verified(options)))

    def _verified(self, options: dict[str, Any]) -> dict[str, Any]:
        return options if self._context is None else {**options, "verify": self._context()}

    def _guarded(self, inner: httpx.BaseTransport) -> httpx.BaseTransport:
        return GuardedTransport(inner, self._gate, self._deadline, self._max_bytes)


class JobAsyncClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` for the items of one event loop, with the arguments of `JobClient` except `context`."""

    def __init__(
        self, gate: HostGate, deadline: Deadline, *, max_bytes: int | None = DEFAULT_MAX_BYTES, **options: Any
    ) -> None:
        self._gate = gate
        self._deadline = deadline
        self._max_bytes = max_bytes
        super().__init__(**_with_encodings(options))

    def _init_transport(self, *args: Any, **options: Any) -> httpx.AsyncBaseTransport:
        if _is_own(options):
            connections = Connections(NAMES, TaskSocket)
            return AsyncJobTransport(
                self._gate,
                self._deadline,
                connections,
                context=_tls_context_factory(options),
                max_bytes=self._max_bytes,
            )
        return self._guarded(super()._init_transport(*args, **options))

    def _init_proxy_transport(self, *args: Any, **options: Any) -> httpx.AsyncBaseTransport:
        return self._guarded(super()._init_proxy_transport(*args, **options))

    def _guarded(self, inner: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        return AsyncGuardedTransport(inner, self._gate, self._deadline, self._max_bytes)


def _with_encodings(options: dict[str, Any]) -> dict[str, Any]:
    """Return `options` with a header that accepts the content encodings that this module can decode."""
    headers = httpx.Headers({"Accept-Encoding": accepted()})
    headers.update(options.get("headers"))
    return {**options, "headers": headers}


def _is_own(options: dict[str, Any]) -> bool:
    """Return True if requests are sent over our own connections, which support only HTTP/1.1."""
    return options.get("transport") is None and not options.get("http2") and bool(options.get("http1", True))


def _tls_context_factory(options: dict[str, Any]) -> Callable[[], ssl.SSLContext]:
    """Return a function that returns a TLS context, the same at each call. Its first call reads the certificates."""
    made: list[ssl.SSLContext] = []
    verify, cert, trust_env = options.get("verify", True), options.get("cert"), options.get("trust_env", True)

    def context() -> ssl.SSLContext:
        if not made:
            is_context = isinstance(verify, ssl.SSLContext)
            found = verify if is_context else httpx.create_ssl_context(verify=verify, cert=cert, trust_env=trust_env)
            found.set_alpn_protocols(["http/1.1"])
            made.append(found)
        return made[0]

    return context
