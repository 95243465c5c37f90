"""What the HTTP answer says that an error carries: its status, and when to come back.

Errors of httpx, requests, urllib and aiohttp are read without importing any of them, by the attributes they have.
"""

from __future__ import annotations

import math
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

MOST_RETRY_AFTER = 3600.0
"""Seconds that a server may put a retry off. The windows of common rate limits are an hour at most; a server that
says more must not keep a run from its end for days."""


def status_of(error: BaseException) -> int | None:
    """Status of the answer that an error stands for, None when it is not about an answer."""
    response = attribute(error, "response")
    for holder, name in ((response, "status_code"), (error, "code"), (error, "status")):
        status = attribute(holder, name)
        if isinstance(status, int) and 100 <= status < 600:
            return status
    return None


def retry_after(error: BaseException, now: float | None = None) -> float | None:
    """Seconds after which the server wants to be asked again (RFC 9110, 10.2.3); None when it does not say.

    Args:
        error: carries the answer, or its headers.
        now: seconds since the epoch; None for the present.
    """
    for holder in (attribute(error, "response"), error):
        text = _header(attribute(holder, "headers"), "retry-after")
        seconds = None if text is None else _seconds(text.strip(), time.time() if now is None else now)
        if seconds is not None:
            return min(max(0.0, seconds), MOST_RETRY_AFTER)
    return None


def attribute(holder: object, name: str) -> object:
    """An attribute, or None: one that is a property of the user's may raise anything."""
    try:
        return getattr(holder, name, None)
    except Exception:
        return None


def _header(headers: object, name: str) -> str | None:
    """A header by its name; what is not one of the usual mappings is asked in both spellings."""
    get = attribute(headers, "get")
    if not callable(get):
        return None
    try:
        value = get(name) or get(name.title())
    except Exception:  # the mapping may be the user's
        return None
    return value if isinstance(value, str) else None


def _seconds(text: str, now: float) -> float | None:
    """Seconds in a `Retry-After`: a number of them, or a date."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
            # "-0000" says that the zone is not known: HTTP dates are UTC.
            return (date.replace(tzinfo=UTC) if date.tzinfo is None else date).timestamp() - now
        except (ValueError, OverflowError, TypeError, IndexError):
            return None
    return seconds if math.isfinite(seconds) else None
