"""Which failures are worth another attempt, and when.

Delays are exponential with full jitter, `uniform(0, min(cap, base * 2**n))`: the variant that finishes soonest
with the least load in Marc Brooker's comparison ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
"""

from __future__ import annotations

import errno
import http.client
import random
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from tui_runner.engine.http_answer import attribute, status_of

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


_TRANSIENT_CLASSES = (
    ("httpx", "TransportError"),
    ("requests", "ConnectionError"),
    ("requests", "Timeout"),
    ("requests.exceptions", "ChunkedEncodingError"),
    ("aiohttp", "ClientConnectionError"),
    ("aiohttp", "ClientPayloadError"),
    ("urllib3.exceptions", "HTTPError"),
)
"""Base classes of network trouble in HTTP libraries, by module and name."""


def is_transient(error: BaseException) -> bool:
    """Whether another attempt may succeed: network trouble, timeouts, and HTTP answers that say so.

    Errors of HTTP libraries are recognised without importing any of them: by their base classes where the library
    is loaded, and by the status of the response they carry.
    """
    if not isinstance(error, Exception):  # `sys.exit(500)` is no answer of a server
        return False
    if isinstance(error, (ssl.SSLCertVerificationError, http.client.InvalidURL)):
        return False
    if isinstance(error, (ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError, http.client.HTTPException)):
        return True
    status = status_of(error)
    if status is not None:
        return status in TRANSIENT_STATUSES
    # urllib wraps what happened: URLError(ConnectionRefusedError(…)).
    reason = attribute(error, "reason")
    if isinstance(error, OSError) and isinstance(reason, OSError) and reason is not error:
        return is_transient(reason)
    for module, name in _TRANSIENT_CLASSES:
        base = getattr(sys.modules.get(module), name, None)
        if isinstance(base, type) and isinstance(error, base):
            return True
    return isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNOS


def retry_rule(retry_on: object) -> Callable[[BaseException], bool]:
    """The rule that `@job(retry_on=…)` stands for.

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
    """When an item is tried again.

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
        """Seconds to wait after `attempts` attempts have failed.

        Args:
            attempts: 1 or more.
            wanted: seconds the server asked for, which count instead; a little jitter comes on top, or all items that
                were sent away at one moment would come back at one moment.
        """
        if wanted is not None:
            return wanted + self.uniform(0.0, self.base)
        return self.uniform(0.0, min(self.cap, self.base * 2.0 ** min(attempts - 1, 63)))
