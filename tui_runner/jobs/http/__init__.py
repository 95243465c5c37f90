"""HTTP for jobs: httpx with what a job with many threads needs.

    from tui_runner import http

    response = http.get("https://example.org/page/1", params={"q": "x"})
    response.raise_for_status()

* Every thread has a client of its own, with one idle connection kept, and all share one SSL context. That is
  the fastest arrangement of httpx, with 256 threads as with 16, and an error in one thread cannot upset the
  connections of another (httpcore issue #550).
* A request never outlasts the item that makes it: its timeouts are cut to what `current.deadline` leaves.
* A request waits until its host may be asked (`--per-host`, `--delay`, a refusal); that is no time of its item.
* Redirects are followed; connecting may take 10 seconds, a pause in the answer 30; the User-Agent names
  tui-runner.
* What a response is and which errors there are: https://www.python-httpx.org/api/.

httpx is imported with the first request: a job can be loaded and shown without it.
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


CONNECT_SECONDS = 10.0
"""Seconds that connecting to a server may take."""
ANSWER_SECONDS = 30.0
"""Seconds that a server may stay silent, or refuse to take what is sent."""

# One connection kept a thread: more would be idle sockets times threads, none a new handshake an item.
_KEPT_CONNECTIONS = 1
# For the one client of an event loop, whose tasks share its connections.
_KEPT_CONNECTIONS_OF_A_LOOP = 100

gate = HostGate()
"""Where requests of this worker wait until their host may be asked."""
_lock = threading.Lock()
_options: dict[str, Any] = {}
_generation = 0
_context: ssl.SSLContext | None = None
_thread = threading.local()
_of_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, int]] = (
    weakref.WeakKeyDictionary()
)


class _Kept:
    """The client of a thread. The thread's end lets go of it, which closes the client."""

    def __init__(self, client: httpx.Client, generation: int) -> None:
        self.client = client
        self.generation = generation
        # At the end of the process the sockets go anyway, and threads may still be using them.
        weakref.finalize(self, client.close).atexit = False


def configure(*, per_host: int | EllipsisType | None = ..., **client_options: Any) -> None:
    """Set what holds for every request of this worker from now on.

    Call it in a job's `setup` hook, say `http.configure(headers={"Authorization": token})`.

    Args:
        per_host: requests that may be open to one host at once, None for no bound; left out, it stays as it
            was. tui-runner calls this with the setting of the same name before `setup`.
        client_options: keyword arguments of `httpx.Client` that replace the defaults: `headers` (added to the
            default ones), `cookies`, `auth`, `timeout`, `proxy`, `verify` …
    """
    global _generation
    if per_host is not ...:
        if per_host is not None and per_host < 1:
            raise ValueError(f"per_host must be 1 or more, not {per_host}")
        gate.set_limits(replace(gate.limits, per_host=per_host), shared=False)
    if client_options:
        with _lock:
            _options.update(client_options)
            _generation += 1


def client() -> httpx.Client:
    """The client of this thread: for a session of several requests, or for anything else that httpx offers.

    It keeps the cookies it is sent until the next `http.get` or other function of this module in the same
    thread. Don't close it and don't hand it to another thread.
    """
    kept: _Kept | None = getattr(_thread, "kept", None)
    if kept is None or kept.generation != _generation:
        from tui_runner.jobs.http.thread_client import JobClient

        generation = _generation
        kept = _Kept(JobClient(gate, _deadline, **_client_options(_KEPT_CONNECTIONS)), generation)
        _thread.kept = kept
    return kept.client


def async_client() -> httpx.AsyncClient:
    """The client of the running event loop, for `async def` jobs: `await http.async_client().get(url)`.

    Its tasks share it, with the cookies it is sent. Mind that httpx is slower with tasks than with threads.

    Raises:
        RuntimeError: no event loop is running.
    """
    loop = asyncio.get_running_loop()
    with _lock:
        known = _of_loop.get(loop)
    if known is not None and known[1] == _generation:
        return known[0]
    from tui_runner.jobs.http.thread_client import JobAsyncClient

    generation = _generation
    made = JobAsyncClient(gate, _deadline, **_client_options(_KEPT_CONNECTIONS_OF_A_LOOP))
    with _lock:
        _of_loop[loop] = (made, generation)
    return made


def close() -> None:
    """Close the client of this thread; the next request opens another. A thread's end does the same."""
    kept: _Kept | None = _thread.__dict__.pop("kept", None)
    if kept is not None:
        kept.client.close()


async def aclose() -> None:
    """Close the client of the running event loop; call it before the loop ends."""
    with _lock:
        known = _of_loop.pop(asyncio.get_running_loop(), None)
    if known is not None:
        await known[0].aclose()


def request(method: str, url: str | httpx.URL, **options: Any) -> httpx.Response:
    """Send a request and read the whole answer.

    Cookies of earlier requests are not sent: what an item gets must not depend on the thread that happens to
    execute it, nor on the items before. For a session use `client()`.

    Args:
        method: `GET`, `POST` …
        url: where to.
        options: keyword arguments of `httpx.Client.request`: `params`, `headers`, `json`, `data`, `content`,
            `files`, `auth`, `timeout`, `follow_redirects`, `extensions`.

    Raises:
        httpx.HTTPError: no answer; `httpx.TimeoutException` is the one for time that ran out, the item's too.
            An answer with status 404 or 500 is an answer: call `response.raise_for_status()`.
    """
    return _fresh_client().request(method, url, **options)


def get(url: str | httpx.URL, **options: Any) -> httpx.Response:
    """Send a `GET` request; see `request`."""
    return request("GET", url, **options)


def head(url: str | httpx.URL, **options: Any) -> httpx.Response:
    """Send a `HEAD` request, which is answered without a body; see `request`."""
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
    """Send a request and read the answer piece by piece, for answers too large to hold.

        with http.stream("GET", url) as response:
            for piece in response.iter_bytes():
                ...

    It counts as open for `per_host` until the block ends: with `per_host=1`, a second request to the same
    host inside the block waits for ever. Otherwise as `request`.
    """
    return _fresh_client().stream(method, url, **options)


def _fresh_client() -> httpx.Client:
    """The client of this thread with no cookies but those of `configure`."""
    import httpx

    own = client()
    own.cookies = httpx.Cookies(_options.get("cookies"))
    return own


def _deadline() -> float | None:
    return current.deadline


def _client_options(kept_connections: int) -> dict[str, Any]:
    """Keyword arguments for a new client: the defaults, replaced by what `configure` was given."""
    import httpx

    with _lock:
        given = dict(_options)
    headers = httpx.Headers({"User-Agent": f"tui-runner/{__version__}"})
    headers.update(given.pop("headers", None))
    options: dict[str, Any] = {
        "timeout": httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        "follow_redirects": True,
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=kept_connections),
        **given,
        "headers": headers,
    }
    if "verify" not in options:
        options["verify"] = _ssl_context()
    return options


def _ssl_context() -> ssl.SSLContext:
    """The one SSL context; reading the certificates for each thread took most of a client's start."""
    global _context
    import httpx

    with _lock:
        if _context is None:
            _context = httpx.create_ssl_context()
        return _context
