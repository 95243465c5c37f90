"""Decides whether and when a failed attempt is made again: kinds of errors, back-off, `Retry-After`, the retry budget.

While a service is down every item is tried again, and again: with two retries it gets three times the requests just
when it can least bear them. So in any ten seconds there may be a retry for every item that ended well in them, for a
fifth of those whose first attempt failed, and one a second for every thread. Those beyond wait until there is room;
they are not given up.

Where most things go well this bounds nothing: a source that fails now and then is not slowed down, and what waits
after an outage is made up for at full speed. The share and the floor are those of Finagle's `RetryBudget`
(percentCanRetry 0.2, minRetriesPerSec 10), but for the floor: one for each thread and second is what threads that wait
for a slow service can make at all, so the budget bites only where failures come faster than answers would.

Errors of httpx, requests, urllib and aiohttp are read without importing any of them, by the attributes they have.

Delays are exponential with full jitter, `uniform(0, min(cap, base * 2**n))`: the variant that finishes soonest
with the least load in Marc Brooker's comparison ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
"""

from __future__ import annotations

import errno
import http.client
import random
import socket
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from tui_runner.jobs.hosts import host_of
from tui_runner.jobs.http.retry_after import retry_after_seconds
from tui_runner.system.clock import time

DEFAULT_SHARE = 0.2
_WINDOW = 10
"""Seconds that count as recent: Finagle's `ttl`."""


@dataclass(slots=True)
class _Second:
    """Counts of one second."""

    number: int
    ok: int = 0
    failed: int = 0
    retries: int = 0


class RetryBudget:
    """Says whether a retry may be made now. Its owner calls it under its own lock.

    Args:
        share: retries for each item whose first attempt failed lately.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._seconds: deque[_Second] = deque()
        self._ok = self._failed = self._retries = 0

    def count(self, ok: int, failed: int, now: float) -> None:
        """Count items that ended well, and first attempts that failed."""
        second = self._present(now)
        second.ok += ok
        second.failed += failed
        self._ok += ok
        self._failed += failed

    def take(self, threads: int, now: float) -> bool:
        """Take a retry out of the budget, if there is one; `threads` is how many execute items."""
        second = self._present(now)
        if self._retries + 1 > self._ok + self._share * self._failed + threads * _WINDOW:
            return False
        second.retries += 1
        self._retries += 1
        return True

    def _present(self, now: float) -> _Second:
        """Return the counts of this second, and forget those that are too old."""
        number = int(now)
        while self._seconds and self._seconds[0].number <= number - _WINDOW:
            old = self._seconds.popleft()
            self._ok -= old.ok
            self._failed -= old.failed
            self._retries -= old.retries
        if not self._seconds or self._seconds[-1].number != number:
            self._seconds.append(_Second(number))
        return self._seconds[-1]


def status_of(error: BaseException) -> int | None:
    """Return the status of the answer that an error stands for, None when it is not about an answer."""
    response = attribute(error, "response")
    for holder, name in ((response, "status_code"), (error, "code"), (error, "status")):
        status = attribute(holder, name)
        if isinstance(status, int) and 100 <= status < 600:
            return status
    return None


def retry_after(error: BaseException, now: float | None = None) -> float | None:
    """Return the seconds after which the server wants to be asked again; None when it does not say, or says "at once".

    Args:
        error: carries the answer, or its headers.
        now: seconds since the epoch; None for the present.
    """
    for holder in (attribute(error, "response"), error):
        text = _header(attribute(holder, "headers"), "retry-after")
        seconds = retry_after_seconds(text, time.time() if now is None else now)
        if seconds is not None:
            return seconds
    return None


def asked_host(error: BaseException) -> str:
    """Return the host that an error of an HTTP library is about; empty when it does not say."""
    holders = [attribute(error, name) for name in ("response", "request", "request_info")]
    for holder in (*holders, error):
        for name in ("url", "real_url"):
            url = attribute(holder, name)
            if url is not None and (host := host_of(_text(url))):
                return host
    return ""


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # the class may be the user's
        return ""


def attribute(holder: object, name: str) -> object:
    """Return an attribute, or None: a property of the user's class may raise anything."""
    try:
        return getattr(holder, name, None)
    except Exception:
        return None


def _header(headers: object, name: str) -> str | None:
    """Return a header by its name; other mappings than the usual ones are asked in both spellings."""
    get = attribute(headers, "get")
    if not callable(get):
        return None
    try:
        value = get(name) or get(name.title())
    except Exception:  # the mapping may be the user's
        return None
    return value if isinstance(value, str) else None


BASE_SECONDS = 0.5
"""Upper end of the first delay: long enough for a server to get over a hiccup, too short for anyone to notice."""
CAP_SECONDS = 60.0
"""Longest delay: an outage of hours is a matter for a pause of the run, not for ever longer waits."""

TRANSIENT_STATUSES = frozenset({408, 425, 429}) | frozenset(range(500, 600)) - {501, 505}
"""HTTP answers that another attempt may turn into a good one."""

_TRANSIENT_ERRNOS = frozenset(
    {
        errno.EAGAIN,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.EPIPE,
        errno.ETIMEDOUT,
    }
)


_TRANSIENT_CLASSES = {
    "aiohttp": ("ClientConnectionError", "ClientPayloadError"),
    "asyncio": ("IncompleteReadError",),
    "curl_cffi": ("ChunkedEncodingError", "ConnectionError", "IncompleteRead", "ProxyError", "Timeout"),
    "httpcore": ("NetworkError", "ProxyError", "RemoteProtocolError", "TimeoutException"),
    "httpcore2": ("NetworkError", "ProxyError", "RemoteProtocolError", "TimeoutException"),
    "httpx": ("TransportError",),
    "httpx2": ("TransportError",),
    "pyreqwest": ("TransportError",),
    "requests": ("ChunkedEncodingError", "ConnectionError", "Timeout"),
    "urllib3": ("HTTPError",),
}
"""Base classes of network trouble, by the package of each HTTP library: names, for none of them is imported here."""

_FINAL_CLASSES = frozenset(
    {
        "CertificateVerifyError",
        "InvalidHeader",
        "InvalidSchema",
        "InvalidURL",
        "LocalProtocolError",
        "LocationValueError",
        "MissingSchema",
        "SSLCertVerificationError",
        "UnsupportedProtocol",
    }
)
"""Errors of HTTP libraries that no attempt can mend, whichever library has them: what was asked for is at fault. Some
are among the transient ones by their base class (`httpx.UnsupportedProtocol` is a `TransportError`)."""

_NO_SUCH_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
_LONGEST_CHAIN = 50
"""Errors of a chain that are looked at; one that is made by hand may go in a circle."""


def is_transient(error: BaseException) -> bool:
    """Return True if another attempt may succeed: network trouble, timeouts, and HTTP answers that ask for one.

    Errors of HTTP libraries are recognised without importing any of them: by the status of the response they carry, by
    what the operating system said, which is in the chain of their causes whatever wraps it, and by the names of their
    base classes. What no attempt can mend goes before all of these but the status: a certificate, a
    name that is no host, an address that is none.
    """
    if not isinstance(error, Exception):  # `sys.exit(500)` is no answer of a server
        return False
    status = status_of(error)
    if status is not None:
        return status in TRANSIENT_STATUSES
    chain = _chain(error)
    if any(map(_is_final, chain)):
        return False
    return any(map(_is_network_trouble, chain)) or any(_is_of_library(each) for each in chain[:1])


def _chain(error: Exception) -> list[Exception]:
    """Return an error, what led to it, and what `urllib` hides in `reason`.

    Also what a traceback does not show: httpcore raises its errors again `from None`, which takes their cause away.
    """
    found: list[Exception] = []
    waiting: list[object] = [error]
    while waiting and len(found) < _LONGEST_CHAIN:
        each = waiting.pop(0)
        if not isinstance(each, Exception) or any(each is known for known in found):
            continue
        found.append(each)
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, OSError):  # URLError(ConnectionRefusedError(…))
            waiting.append(attribute(each, "reason"))
    return found


def _is_final(error: Exception) -> bool:
    if isinstance(error, socket.gaierror):
        return error.errno in _NO_SUCH_HOST
    if isinstance(error, ExceptionGroup):  # one an address, say: it takes one that may answer
        return all(any(map(_is_final, _chain(each))) for each in error.exceptions)
    return not _FINAL_CLASSES.isdisjoint(kind.__name__ for kind in type(error).__mro__)


def _is_network_trouble(error: Exception) -> bool:
    if isinstance(error, (ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError, http.client.HTTPException)):
        return True
    if isinstance(error, ExceptionGroup):
        return any(map(is_transient, error.exceptions))
    return isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNOS


def _is_of_library(error: Exception) -> bool:
    return any(
        kind.__name__ in _TRANSIENT_CLASSES.get(kind.__module__.partition(".")[0], ()) for kind in type(error).__mro__
    )


def retry_rule(retry_on: object) -> Callable[[BaseException], bool]:
    """Return the rule that `@job(retry_on=…)` stands for.

    Args:
        retry_on: an exception type or a tuple of them, which are retried besides what is transient; a function of
            the error that says whether to, or None to leave it to `is_transient`; None for that alone.
    """
    if retry_on is None:
        return is_transient
    if isinstance(retry_on, (type, tuple)):
        return lambda error: isinstance(error, retry_on) or is_transient(error)
    asked = cast("Callable[[BaseException], bool | None]", retry_on)

    def rule(error: BaseException) -> bool:
        answer = asked(error)
        return is_transient(error) if answer is None else bool(answer)

    return rule


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Decides when an item is tried again.

    Attributes:
        retries: attempts after the first one.
        rule: which errors are worth another attempt.
        base: upper end of the first delay, seconds.
        cap: upper end of every delay, seconds.
        uniform: source of jitter, `random.uniform` but in tests.
    """

    retries: int
    rule: Callable[[BaseException], bool] = is_transient
    base: float = BASE_SECONDS
    cap: float = CAP_SECONDS
    uniform: Callable[[float, float], float] = field(default=random.uniform)

    def delay(self, attempts: int, wanted: float | None = None) -> float:
        """Return the seconds to wait after `attempts` attempts have failed.

        Args:
            attempts: 1 or more.
            wanted: seconds the server asked for, which may make the delay longer, never shorter; a little jitter comes
                on top, or all items that were sent away at one moment would come back at one moment.
        """
        own = self.uniform(0.0, min(self.cap, self.base * 2.0 ** min(attempts - 1, 63)))
        return own if wanted is None else max(own, wanted + self.uniform(0.0, self.base))
