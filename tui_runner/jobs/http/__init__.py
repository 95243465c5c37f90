"""HTTP for jobs: httpx, adapted to jobs with many threads.

    from tui_runner import http

    response = http.get("https://example.org/page/1", params={"q": "x"})
    response.raise_for_status()

* Requests are sent by our own transport, which keeps connections open without a lock (`transport.py`,
  `connections.py`).
* A request ends at `current.deadline` at the latest, including name lookup, connecting, and every read and write.
* A body that is incomplete, or longer than `max_bytes` after decoding, is an error. Text is decoded as in a browser: by
  byte order mark, header, or `<meta>` (`charset.py`).
* A request waits until the limits of its host allow it (`--per-host`, `--delay`, or the time after a refusal). The wait
  does not count for the item's duration and timeout.
* Redirects are followed. Connecting may take 10 seconds, and a server may be silent for 30 seconds. The User-Agent
  names tui-runner.
* Proxies, SOCKS and HTTP/2 are supported as in httpx: `HTTPS_PROXY=…`, or `http.configure(proxy=…)`. Then httpx's own
  transport sends the requests, and the last read may end after the deadline (`guarded_transport.py`).
* Responses and errors are documented at https://www.python-httpx.org/api/.

httpx is imported with the first request, so that a job can be loaded and shown without it.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from contextlib import AbstractContextManager
from dataclasses import replace
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from tui_runner._version import __version__
from tui_runner.jobs.current import current
from tui_runner.jobs.http.host_gate import HostGate

if TYPE_CHECKING:
    import ssl

    import httpx

    from tui_runner.jobs.http.clients import JobClient


CONNECT_SECONDS = 10.0
"""Seconds that connecting to a server may take. The system sends a lost first packet again after 1, 3 and 7 s."""
ANSWER_SECONDS = 30.0
"""Seconds for which a server may send nothing or accept no data. Slow APIs compute for 10 or 20 seconds."""

_KEPT_CONNECTIONS = 1
"""Idle connections that httpx's own transport keeps open; it is used, for example, for a proxy. Each thread has its own
client and sends one request at a time, so one connection is enough."""
_KEPT_CONNECTIONS_OF_A_LOOP = 100
"""Idle connections that httpx's own transport keeps open for an event loop, whose tasks share one client. With httpx's
default of 20, most of 100 tasks would open a new connection for each request."""

gate = HostGate()
"""The gate at which all requests of this worker wait until they may be sent to their hosts."""
_lock = threading.Lock()
"""Protects the settings, `_context` and `_of_loop`, which all threads of a worker share."""
_options: dict[str, Any] = {}
"""Options that were passed to `configure`."""
_max_bytes: int | EllipsisType | None = ...
"""The limit that was passed to `configure`; ... if none was."""
_generation = 0
"""Number of calls of `configure` that changed options. A client of an earlier generation is replaced before its next
use."""
_context: ssl.SSLContext | None = None
_thread = threading.local()
_of_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, int]] = (
    weakref.WeakKeyDictionary()
)


class _ThreadClient:
    """The client of a thread. It is closed when the thread ends and so drops the last reference to it."""

    def __init__(self, client: JobClient, generation: int) -> None:
        self.client = client
        self.generation = generation
        # Not at the end of the process: it closes the sockets anyway, and threads may still use them.
        weakref.finalize(self, client.close).atexit = False


def configure(
    *, per_host: int | EllipsisType | None = ..., max_bytes: int | EllipsisType | None = ..., **client_options: Any
) -> None:
    """Set options for all further requests of this worker.

    Call it in a job's `setup` hook, for example `http.configure(headers={"Authorization": token})`.

    Args:
        per_host: open requests to one host at most; None for no limit; unchanged if omitted. Before `setup`, it has the
            value of the setting of the same name.
        max_bytes: bytes of a decoded body at most; a longer body is an error. None for no limit. The default is 256 MB;
            a request may have its own limit.
        client_options: keyword arguments of `httpx.Client` that replace the defaults: `headers` (added to the
            default ones), `cookies`, `auth`, `timeout`, `proxy`, `verify` …

    Raises:
        ValueError: `per_host` is less than 1.
    """
    global _generation, _max_bytes
    if per_host is not ...:
        if per_host is not None and per_host < 1:
            raise ValueError(f"per_host must be 1 or more, not {per_host}")
        gate.set_limits(replace(gate.limits, per_host=per_host), shared=False)
    if client_options or max_bytes is not ...:
        with _lock:
            _options.update(client_options)
            _max_bytes = _max_bytes if max_bytes is ... else max_bytes
            _generation += 1


def client() -> JobClient:
    """Return the client of this thread, for a session of several requests or for other features of httpx.

    The client keeps received cookies until the same thread calls `http.get` or another request function of this module.
    Do not close it, and do not pass it to another thread.
    """
    own: _ThreadClient | None = getattr(_thread, "client", None)
    if own is None or own.generation != _generation:
        from tui_runner.jobs.http.clients import JobClient

        generation = _generation
        own = _ThreadClient(JobClient(gate, _deadline, _ssl_context, **_client_options(_KEPT_CONNECTIONS)), generation)
        _thread.client = own
    return own.client


def async_client() -> httpx.AsyncClient:
    """Return the client of the running event loop, for `async def` jobs: `await http.async_client().get(url)`.

    All tasks of the loop share the client and its cookies. Do not close it.

    Raises:
        RuntimeError: no event loop is running.
    """
    loop = asyncio.get_running_loop()
    with _lock:
        known = _of_loop.get(loop)
    if known is not None and known[1] == _generation:
        return known[0]
    from tui_runner.jobs.http.clients import JobAsyncClient

    generation = _generation
    options = _client_options(_KEPT_CONNECTIONS_OF_A_LOOP)
    made = JobAsyncClient(gate, _deadline, **{"verify": _ssl_context(), **options})
    with _lock:
        _of_loop[loop] = (made, generation)
    return made


def close() -> None:
    """Close the client of this thread and the idle connections of the process. The next request opens new ones.

    Do nothing if this thread has no client.
    """
    own: _ThreadClient | None = _thread.__dict__.pop("client", None)
    if own is not None:
        from tui_runner.jobs.http.clients import CONNECTIONS

        own.client.close()
        CONNECTIONS.close()


async def aclose() -> None:
    """Close the client of the running event loop. Call it before the loop ends."""
    with _lock:
        known = _of_loop.pop(asyncio.get_running_loop(), None)
    if known is not None:
        await known[0].aclose()


def request(method: str, url: str | httpx.URL, **options: Any) -> httpx.Response:
    """Send a request and read the whole response.

    Cookies of earlier requests are not sent, because the response for an item must not depend on its thread or on
    earlier items. For a session use `client()`.

    Args:
        method: `GET`, `POST` …
        url: the URL.
        options: keyword arguments of `httpx.Client.request`: `params`, `headers`, `json`, `data`, `content`, `files`,
            `auth`, `timeout`, `follow_redirects`, `extensions`; and `max_bytes`, the limit for the decoded body in
            bytes.

    Raises:
        httpx.HTTPError: there is no response, or it is damaged or too large; `httpx.TimeoutException` for any time
            limit, including the item's. Status 404 or 500 raises nothing: call `response.raise_for_status()`.
    """
    own = _fresh_client()
    if not options or options.keys() <= _PLAIN_OPTIONS:
        response = own.get_plain(
            method,
            url,
            options.get("headers"),
            options.get("max_bytes", ...),
            follow=options.get("follow_redirects", True) is not False,
        )
        if response is not None:
            return response
    return own.request(method, url, **_with_max_bytes(options))


def get(url: str | httpx.URL, **options: Any) -> httpx.Response:
    """Send a `GET` request; see `request`."""
    return request("GET", url, **options)


def head(url: str | httpx.URL, **options: Any) -> httpx.Response:
    """Send a `HEAD` request, whose response has no body; see `request`."""
    return request("HEAD", url, **options)


def post(url: str | httpx.URL, **options: Any) -> httpx.Response:
    """Send a `POST` request; see `request`."""
    return request("POST", url, **options)


def put(url: str | httpx.URL, **options: Any) -> httpx.Response:
    """Send a `PUT` request; see `request`."""
    return request("PUT", url, **options)


def patch(url: str | httpx.URL, **options: Any) -> httpx.Response:
    """Send a `PATCH` request; see `request`."""
    return request("PATCH", url, **options)


def delete(url: str | httpx.URL, **options: Any) -> httpx.Response:
    """Send a `DELETE` request; see `request`."""
    return request("DELETE", url, **options)


def stream(method: str, url: str | httpx.URL, **options: Any) -> AbstractContextManager[httpx.Response]:
    """Send a request and read the response piece by piece, for responses that do not fit into memory.

        with http.stream("GET", url) as response:
            for piece in response.iter_bytes():
                ...

    The request counts as open for `per_host` until the block ends: with `per_host=1`, a second request to the same host
    inside the block waits forever. `iter_bytes` has no size limit unless `max_bytes` is given; `read` has the limit of
    `request`. In all other respects it is like `request`.
    """
    return _fresh_client().stream(method, url, **_with_max_bytes(options))


# Options with which `get_plain` can send a request. They include none that gives the request a body.
_PLAIN_OPTIONS = frozenset({"follow_redirects", "headers", "max_bytes"})


def _with_max_bytes(options: dict[str, Any]) -> dict[str, Any]:
    if "max_bytes" not in options:
        return options
    from tui_runner.jobs.http.transport import MAX_BYTES

    most = options.pop("max_bytes")
    return {**options, "extensions": {**(options.get("extensions") or {}), MAX_BYTES: most}}


def _fresh_client() -> JobClient:
    """Return the client of this thread without cookies, except those passed to `configure`."""
    own = client()
    given = _options.get("cookies")
    if given or own.cookies:
        import httpx

        own.cookies = httpx.Cookies(given)
    return own


def _deadline() -> float | None:
    return current.deadline


def _client_options(kept_connections: int) -> dict[str, Any]:
    """Return keyword arguments for a new client: the defaults, replaced by those passed to `configure`."""
    import httpx

    with _lock:
        given = dict(_options)
        if _max_bytes is not ...:
            given["max_bytes"] = _max_bytes
    headers = httpx.Headers({"User-Agent": f"tui-runner/{__version__}"})
    headers.update(given.pop("headers", None))
    return {
        "timeout": httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        "follow_redirects": True,
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=kept_connections),
        **given,
        "headers": headers,
    }


def _ssl_context() -> ssl.SSLContext:
    """Return the SSL context that all threads share: reading the certificates takes most of a client's start."""
    global _context
    import httpx

    with _lock:
        if _context is None:
            _context = httpx.create_ssl_context()
            _context.set_alpn_protocols(["http/1.1"])
        return _context
