"""Decides whether and when a failed attempt is repeated: classes of errors, back-off, `Retry-After`, the retry budget.

*Budget.* While a service is down, every item is retried. With two retries the service gets three times the requests
when it can least handle them. So within ten seconds there may be one retry for each successful item, a fifth of a retry
for each first attempt that failed, and one per second for each thread. Further retries wait until the budget allows
them; they are not dropped. While most items succeed, the budget limits nothing: a source that fails now and then is not
slowed down, and waiting items catch up at full speed after an outage. The share of a fifth is that of Finagle's
`RetryBudget` (percentCanRetry 0.2). Finagle's minimum (minRetriesPerSec 10) is replaced by one per thread and second,
because threads that wait for a slow service cannot make more. So the budget has an effect only if threads fail faster
than once a second.

*Errors* of HTTP libraries are recognised by their attributes and by the names of their base classes
(`_TRANSIENT_CLASSES`), without importing these libraries.

*Delays* are exponential with full jitter, `uniform(0, min(cap, base * 2**n))`: the variant that finishes soonest with
the least load in Marc Brooker's comparison ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
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

_WINDOW = 10
"""Seconds over which the budget counts: Finagle's `ttl`."""


@dataclass(slots=True)
class _Second:
    """Numbers of attempts that ended in one second, by outcome. `number` is the whole part of its monotonic time."""

    number: int
    ok: int = 0
    failed: int = 0
    retries: int = 0


class RetryBudget:
    """A limit on the retries within the last ten seconds. Not thread-safe: the owner has to guard its calls by a lock.

    Args:
        share: retries for each first attempt that failed within the window.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._seconds: deque[_Second] = deque()
        self._ok = self._failed = self._retries = 0

    def count(self, ok: int, failed: int, now: float) -> None:
        """Count `ok` successful items and `failed` first attempts that failed."""
        second = self._present(now)
        second.ok += ok
        second.failed += failed
        self._ok += ok
        self._failed += failed

    def take(self, threads: int, now: float) -> bool:
        """Take a retry from the budget. Return False if no retry is left. `threads` is the number of item threads."""
        second = self._present(now)
        if self._retries + 1 > self._ok + self._share * self._failed + threads * _WINDOW:
            return False
        second.retries += 1
        self._retries += 1
        return True

    def _present(self, now: float) -> _Second:
        """Return the counters of the current second, and drop those outside of the window."""
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
    """Return the HTTP status that an error contains; None if the error is not about an HTTP response."""
    response = attribute(error, "response")
    for holder, name in ((response, "status_code"), (error, "code"), (error, "status")):
        status = attribute(holder, name)
        if isinstance(status, int) and 100 <= status < 600:
            return status
    return None


def retry_after(error: BaseException, now: float | None = None) -> float | None:
    """Return the seconds until a server accepts another request, from the header `Retry-After`.

    Return None if the header is missing or its value is no time in the future.

    Args:
        error: an error that contains the response or its headers.
        now: seconds since the epoch; None for the current time.
    """
    for holder in (attribute(error, "response"), error):
        text = _header(attribute(holder, "headers"), "retry-after")
        seconds = retry_after_seconds(text, time.time() if now is None else now)
        if seconds is not None:
            return seconds
    return None


def asked_host(error: BaseException) -> str:
    """Return the host of an error of an HTTP library; empty if the error does not name one."""
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
    except Exception:  # `__str__` may be user code
        return ""


def attribute(holder: object, name: str) -> object:
    """Return an attribute; None if it is missing or its property raises, which may be user code."""
    try:
        return getattr(holder, name, None)
    except Exception:  # a property of the user's class raises
        return None


def _header(headers: object, name: str) -> str | None:
    """Return the value of a header, or None. Plain dicts are case-sensitive, so both usual spellings are tried."""
    get = attribute(headers, "get")
    if not callable(get):
        return None
    try:
        value = get(name) or get(name.title())
    except Exception:  # the mapping may be user code
        return None
    return value if isinstance(value, str) else None


BASE_SECONDS = 0.5
"""Upper end of the first delay in seconds: long enough for a server to recover from a brief failure, too short for a
user to notice."""
CAP_SECONDS = 60.0
"""Upper end of every delay in seconds. During a longer outage the run pauses (`circuit_breaker`), so longer delays
would only make items wait after the end of the outage."""

TRANSIENT_STATUSES = frozenset({408, 425, 429}) | frozenset(range(500, 600)) - {501, 505}
"""HTTP statuses after which another attempt may succeed. 501 and 505 are left out, because the server lacks a
feature."""

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
"""Errors of the system after which another attempt may succeed."""


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
"""Base classes of network errors, by the package of each HTTP library. They are given by name, because no library is
imported here."""

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
"""Errors of HTTP libraries that another attempt cannot fix, because the request is wrong. They are checked first,
because some have a transient base class (`httpx.UnsupportedProtocol` is a `TransportError`)."""

_NO_SUCH_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
"""Errors of name resolution that are permanent. All other errors of name resolution, such as EAI_AGAIN, are
temporary."""
_LONGEST_CHAIN = 50
"""Most errors of a chain of causes that are examined. A chain that user code has built may be endless."""


def is_transient(error: BaseException) -> bool:
    """Return True if another attempt may succeed: network errors, timeouts, and HTTP statuses that are temporary.

    Errors of HTTP libraries are recognised without importing these libraries. If the error contains the status of a
    response, the status alone decides. Otherwise, a permanent error among its causes (a bad certificate, an unknown
    host, an invalid address) makes it permanent. A system's network error among its causes, or the name of a base class
    in `_TRANSIENT_CLASSES`, makes it transient.
    """
    if not isinstance(error, Exception):  # `sys.exit(500)` has a `code`, too, but is no response of a server
        return False
    status = status_of(error)
    if status is not None:
        return status in TRANSIENT_STATUSES
    chain = _chain(error)
    if any(map(_is_final, chain)):
        return False
    return any(map(_is_network_trouble, chain)) or any(_is_of_library(each) for each in chain[:1])


def _chain(error: Exception) -> list[Exception]:
    """Return an error, its causes and contexts, and the error that `urllib` keeps in `reason`.

    Contexts that a traceback hides are included: httpcore re-raises `from None`, which removes the cause.
    """
    found: list[Exception] = []
    waiting: list[object] = [error]
    while waiting and len(found) < _LONGEST_CHAIN:
        each = waiting.pop(0)
        if not isinstance(each, Exception) or any(each is known for known in found):
            continue
        found.append(each)
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, OSError):  # for example, URLError(ConnectionRefusedError(…)) has the inner error there
            waiting.append(attribute(each, "reason"))
    return found


def _is_final(error: Exception) -> bool:
    if isinstance(error, socket.gaierror):
        return error.errno in _NO_SUCH_HOST
    if isinstance(error, ExceptionGroup):  # for example one error per address: one address may work later
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
    """Return the rule for `@job(retry_on=…)`.

    Args:
        retry_on: an exception type, or a tuple of types, to retry in addition to transient errors. Or a function that
            is called with the error and returns True to retry, False not to, or None to let `is_transient` decide. Or
            None to retry transient errors only.
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
    """The rules for retries of an item.

    Attributes:
        retries: attempts after the first one.
        rule: returns True for errors that are worth another attempt.
        base: upper end of the first delay in seconds.
        cap: upper end of every delay in seconds.
        uniform: source of jitter; replaced in tests.
    """

    retries: int
    rule: Callable[[BaseException], bool] = is_transient
    base: float = BASE_SECONDS
    cap: float = CAP_SECONDS
    uniform: Callable[[float, float], float] = field(default=random.uniform)

    def delay(self, attempts: int, wanted: float | None = None) -> float:
        """Return the seconds to wait after `attempts` failed attempts.

        Args:
            attempts: number of failed attempts, 1 or more.
            wanted: seconds that the server demands, which can only lengthen the delay. Jitter is added, so that items
                that were refused together are not retried together.
        """
        own = self.uniform(0.0, min(self.cap, self.base * 2.0 ** min(attempts - 1, 63)))
        return own if wanted is None else max(own, wanted + self.uniform(0.0, self.base))
